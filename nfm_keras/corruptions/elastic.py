"""Elastic transform: a random affine map, then a random smooth displacement."""

import numpy as np

from nfm_keras.corruptions import filters


def elastic_transform(images, generators, displacement, smoothness, jitter):
    """Jitters three points of an image, then shifts every pixel a little.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        generators: one `np.random.Generator` an image.
        displacement: float. Factor of the smoothed uniform field, over the image's
            shorter side, as are the next two.
        smoothness: float. Standard deviation of its Gaussian blur.
        jitter: float. Largest shift of a point.

    Returns:
        uint8 array of the same shape.
    """
    batch, height, width, _ = images.shape
    side = min(height, width)
    shifts = np.empty((batch, 3, 2))
    fields = np.zeros((2, batch, height, width), "float32")
    for index, generator in enumerate(generators):
        shifts[index] = generator.uniform(-1, 1, (3, 2))
        if displacement:
            fields[:, index] = generator.random((2, height, width), "float32") * 2 - 1
    pixels = np.zeros((*images.shape[:3], 4), "float32")
    pixels[..., :3] = images  # with a fourth channel, which makes pixels fast to copy
    pixels = sample(pixels, *affine(shifts * jitter * side, height, width), "mirror")
    if displacement:
        across, down = displaced(fields, smoothness * side, displacement * side)
        pixels = sample(pixels, across, down, "reflect")
    return filters.truncate(pixels[..., :3])


def affine(shifts, height, width):
    """Returns where each pixel of an affine map is read from.

    Three corners of a square in the middle, a third of the shorter side away from the
    centre, move by `shifts`.

    Args:
        shifts: `(batch, 3, 2)`, x and y in pixels.
        height, width: ints, of the images.

    Returns:
        x and y of the source, float32 `(batch, height, width)`.
    """
    centre, third = np.array([width // 2, height // 2]), min(height, width) // 3
    corners = centre + third * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = np.concatenate([corners + shifts, np.ones((len(shifts), 3, 1))], axis=-1)
    # Of the map from moved corners back to the corners: x, y, 1 -> source.
    maps = np.linalg.solve(moved, np.broadcast_to(corners.astype(float), shifts.shape))
    maps = maps.transpose(2, 1, 0)[..., None, None]
    rows, columns = np.arange(height)[:, None], np.arange(width)
    return [(x * columns + y * rows + one).astype("float32") for x, y, one in maps]


def displaced(fields, sigma, factor):
    """Returns where each pixel of a displacement is read from.

    Args:
        fields: `(2, batch, height, width)` uniform in [-1,1]; for x, then for y.
        sigma: float, of the blur of the fields.
        factor: float, of what is left of them.

    Returns:
        x and y of the source, float32 `(batch, height, width)`.
    """
    height, width = fields.shape[-2:]
    smooth = filters.gaussian(fields, sigma, mode="reflect", truncate=3)
    across, down = smooth * np.float32(factor)
    return (
        across + np.arange(width, dtype="float32"),
        down + np.arange(height, dtype="float32")[:, None],
    )


def sample(pixels, across, down, border):
    """Reads images between their pixels, bilinearly.

    Args:
        pixels: `(batch, height, width, channels)` float32.
        across, down: `(batch, height, width)` x and y of where to read, in pixels.
        border: str. How the image goes on: `"mirror"` about the border pixels,
            `"reflect"` about their outer edges.

    Returns:
        float32 array of the same shape.
    """
    batch, height, width, channels = pixels.shape
    left, top = np.floor(across), np.floor(down)
    right_share, low_share = (across - left)[..., None], (down - top)[..., None]
    columns = [_fold(left + step, width, border) for step in (0, 1)]
    first = np.arange(batch)[:, None, None] * height
    rows = [(_fold(top + step, height, border) + first) * width for step in (0, 1)]
    flat = pixels.reshape(-1, channels)

    def line(row):
        start = flat.take(row + columns[0], axis=0)
        end = flat.take(row + columns[1], axis=0)
        end -= start
        end *= right_share
        return start + end

    high, low = line(rows[0]), line(rows[1])
    low -= high
    low *= low_share
    return high + low


def _fold(places, size, border):
    """Turns coordinates outside an image into those inside that look the same."""
    period = 2 * size - 2 if border == "mirror" else 2 * size
    places = places.astype("int64")
    places -= period * (places // period)  # a third of the time of %
    last = period if border == "mirror" else period - 1
    return np.minimum(places, last - places)
