"""Linear filters of whole batches, and the way from grey levels to floats and back.

Filters work on planes: float32 `(batch, channels, height, width)` in grey levels, 0 to
255. A filter that treats rows and columns separately is a matrix a side, made by the
one-dimensional filter of SciPy from the unit matrix: what happens at the border is in
it, and every image is multiplied on its own, so that the batch changes no bit.
"""

import functools
import math

import numpy as np
from scipy import ndimage

NUDGE = 2**-11
"""Added before truncation, in grey levels: an image that is flat, say, must keep its
level, which float32 may have missed by 0.0001 from below."""


def to_planes(images):
    """Turns uint8 images into planes.

    Args:
        images: uint8 `(batch, height, width, channels)`.

    Example:

    >>> to_planes(np.zeros((2, 8, 9, 3), "uint8")).shape
    (2, 3, 8, 9)
    """
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype("float32")


def to_images(planes):
    """Turns planes into uint8 images `(batch, height, width, channels)`, truncated."""
    return np.ascontiguousarray(truncate(planes).transpose(0, 2, 3, 1))


def truncate(levels):
    """Turns grey levels into uint8, cut off at 0 and 255 and truncated, never rounded.

    Args:
        levels: float array. It is overwritten.

    Example:

    >>> truncate(np.array([-3.0, 1.9, 2.99999, 300.0])).tolist()
    [0, 1, 3, 255]
    """
    levels += NUDGE
    return np.clip(levels, 0, 255, out=levels).astype("uint8")


def separable(planes, rows, columns):
    """Filters along rows and columns.

    Args:
        planes: `(..., height, width)` float32.
        rows: `(height, height)` matrix.
        columns: `(width, width)` matrix.
    """
    return np.matmul(np.matmul(rows, planes), columns.T)


def gaussian(planes, sigma, mode="nearest", truncate=4):
    """Blurs with a Gaussian.

    Args:
        planes: `(..., height, width)` float32.
        sigma: float > 0, pixels.
        mode: str. The border, as SciPy calls it.
        truncate: float. Where the kernel ends, in standard deviations.

    Example:

    >>> spot = np.zeros((1, 9, 9), "float32")
    >>> spot[0, 4, 4] = 1
    >>> round(float(gaussian(spot, 1.0)[0, 4, 4]), 3)
    0.159
    """
    rows, columns = (
        _gaussian_matrix(size, sigma, mode, truncate) for size in planes.shape[-2:]
    )
    return separable(planes, rows, columns)


@functools.lru_cache(maxsize=32)
def _gaussian_matrix(size, sigma, mode, truncate):
    return ndimage.gaussian_filter1d(
        np.eye(size), sigma, axis=0, mode=mode, truncate=truncate
    ).astype("float32")


@functools.lru_cache(maxsize=256)
def zoom_matrix(size, zoom):
    """Returns a zoom into the middle of an image that keeps its size, along one side.

    The middle ceil(size / zoom) pixels are enlarged bilinearly, first and last pixel
    onto first and last, and what is too much is trimmed evenly.

    Args:
        size: int, pixels.
        zoom: float >= 1.

    Returns:
        `(size, size)` float64 matrix.

    Example:

    >>> bool((zoom_matrix(8, 1.0) == np.eye(8)).all())
    True
    """
    crop = math.ceil(size / zoom)
    top = (size - crop) // 2
    enlarged = ndimage.zoom(np.eye(size)[top : top + crop], (zoom, 1), order=1)
    trim = (len(enlarged) - size) // 2
    return enlarged[trim : trim + size]


def correlate(planes, kernel):
    """Correlates with a small kernel, the image mirrored at its border pixels.

    Args:
        planes: `(..., height, width)` float32.
        kernel: `(odd, odd)` array; its zeros cost nothing.

    Example:

    >>> right = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 0]])
    >>> correlate(np.eye(3, dtype="float32"), right)
    array([[0., 0., 0.],
           [1., 0., 1.],
           [0., 1., 0.]], dtype=float32)
    """
    height, width = planes.shape[-2:]
    reach = [side // 2 for side in kernel.shape]
    border = [(0, 0)] * (planes.ndim - 2) + [(side, side) for side in reach]
    padded = np.pad(planes, border, mode="reflect")
    total, term = np.zeros_like(planes), np.empty_like(planes)
    for row, column in np.argwhere(kernel):
        window = padded[..., row : row + height, column : column + width]
        total += np.multiply(window, np.float32(kernel[row, column]), out=term)
    return total
