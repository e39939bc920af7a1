"""The windows of Square: how large they are at each query, and the bumps in them."""

import numpy as np

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""After these proposals the share of the image that a window covers is halved."""


def sides(queries, height, width, p_init=0.8, norm="linf"):
    """Returns the side of the window at each query, in pixels.

    Args:
        queries: int. The first evaluates the start and has no window of its own.
        height, width: Ints, of the image.
        p_init: float, share of the image that the first window covers.
        norm: str. In `"l2"` sides are odd and at least 3 where the image allows it.

    Returns:
        `(queries,)` int32 array.

    Example:

    >>> sides(100, 32, 32)[[1, 10, 11, 12, 51, 52]].tolist()
    [29, 29, 29, 20, 20, 14]
    """
    proposals = np.maximum(np.arange(queries) - 1, 0)
    share = p_init / 2.0 ** np.searchsorted(HALVINGS, proposals)
    pixels = np.rint(np.sqrt(share * height * width)).astype("int32")
    if norm == "l2":
        pixels = np.maximum(pixels, 3)
        pixels += 1 - pixels % 2
    return np.clip(pixels, 1, min(height, width))


def bump(side):
    """Returns two pyramids side by side, up and down, of length 1: the step of `l2`.

    Args:
        side: int.

    Returns:
        `(side, side)` float32 array: the rows of the upper half are positive.

    Example:

    >>> print(bump(2).round(2))
    [[ 0.14  0.69]
     [-0.14 -0.69]]
    """
    upper = _pyramid(side // 2, side)
    both = np.concatenate([upper, -_pyramid(side - side // 2, side)])
    return (both / np.linalg.norm(both)).astype("float32")


def _pyramid(height, width):
    """Gives a pixel r away from the middle the sum of 1 / k^2 from k = r + 1."""
    rings = max(height, width) // 2 + 1
    values = np.cumsum(1.0 / np.arange(rings, 0, -1) ** 2)[::-1]
    rows = np.abs(np.arange(height) - height // 2)
    columns = np.abs(np.arange(width) - width // 2)
    pyramid = values[np.maximum(rows[:, None], columns)]
    return pyramid / max(np.linalg.norm(pyramid), 1e-12)


def padded_bumps(sizes):
    """Returns the bumps of some sides, each in the upper left of the largest."""
    bumps = np.zeros((len(sizes), max(sizes), max(sizes)), "float32")
    for row, size in zip(bumps, sizes, strict=True):
        row[:size, :size] = bump(size)
    return bumps
