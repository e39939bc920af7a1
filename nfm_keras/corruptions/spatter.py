"""Spatter: drops of water, which refract at their edges, or of mud.

The edges, distances and equalised histograms of water are those of OpenCV, for batches.
"""

import numpy as np
from scipy import ndimage

from nfm_keras.corruptions import filters

_WATER = np.array([175, 238, 238], "float32")
_MUD = np.array([63, 42, 20], "float32")
_RELIEF = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
_LOW, _HIGH = 50, 150  # of the edges
_FAR = 20  # pixels from an edge, where its influence ends
_TANGENT = 13573  # of 22.5 degrees, times 2**15
# Of one step to the side, one aslant and one as a knight moves, times 2**16.
_SIDE, _SLANT, _KNIGHT = 65536, 91750, 143976


def spatter(images, generators, mean, deviation, sigma, threshold, strength, mud):
    """Splashes drops on each image.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        generators: one `np.random.Generator` an image.
        mean, deviation: floats. Of the normal layer that the drops are cut from.
        sigma: float, pixels. Of the blur of that layer.
        threshold: float. What of the layer is below stays dry.
        strength: float. Opacity of water; sigma of the blur of mud.
        mud: bool.

    Returns:
        uint8 array of the same shape.
    """
    layers = np.empty(images.shape[:3], "float32")
    for layer, generator in zip(layers, generators, strict=True):
        generator.standard_normal(dtype="float32", out=layer)
    layers = layers * np.float32(deviation) + np.float32(mean)
    layers = filters.gaussian(layers, sigma)
    if mud:
        wet = filters.gaussian((layers > threshold).astype("float32"), strength)
        wet = np.where(wet < 0.8, 0, wet)[..., None]
        return filters.truncate(images * (1 - wet) + wet * _MUD)
    layers[layers < threshold] = 0
    wet = water(filters.truncate(layers * 255))[..., None]
    return filters.truncate(images + np.float32(strength) * wet * _WATER)


def water(layers):
    """Returns how much of the water's colour each pixel gets.

    Args:
        layers: uint8 `(batch, height, width)`, 0 where it is dry.

    Returns:
        float32 array of the same shape; the largest of each image is 1, or all are 0.
    """
    distances = np.minimum(distance(edges(layers)), _FAR)
    relief = equalise(_box(distances).astype("uint8"))
    relief = filters.correlate(relief.astype("float32"), _RELIEF)
    relief = np.rint(_box(np.clip(relief, 0, 255)))
    wet = layers * relief
    top = wet.max(axis=(1, 2), keepdims=True)
    # Where no drop fell the published code divides 0 by 0.
    return wet / np.maximum(top, 1)


def edges(layers):
    """Finds Canny's edges from 50 to 150, by 3 x 3 Sobel gradients and their L1 norm.

    Args:
        layers: uint8 `(batch, height, width)`.

    Returns:
        bool array of the same shape.

    Reference: Canny, A Computational Approach to Edge Detection, IEEE PAMI 1986.
    """
    across, down = _gradients(layers)
    norms = np.abs(across) + np.abs(down)
    ridges = _is_ridge(across, down, norms) & (norms > _LOW)
    # A weak edge counts where it hangs together with a strong one, in its own image.
    structure = np.zeros((3, 3, 3), int)
    structure[1] = 1
    labels, count = ndimage.label(ridges, structure)
    strong = np.zeros(count + 1, bool)
    strong[labels[ridges & (norms > _HIGH)]] = True
    return strong[labels]


def distance(marks):
    """Returns the distance to the nearest mark.

    It is the shortest path of steps to the side (1), aslant (1.4) and as a knight moves
    (2.1969).

    Args:
        marks: bool `(batch, height, width)`.

    Returns:
        float32 array of the same shape, in pixels; thousands where there is no mark.

    Example:

    >>> distance(np.eye(1, 4, dtype=bool)[None])[0].tolist()
    [[0.0, 1.0, 2.0, 3.0]]

    Reference: Borgefors, Distance Transformations in Digital Images, CVGIP 1986.
    """
    far = 2**29
    batch, height, width = marks.shape
    # Images last, and two rows and columns of border, from which no path leads.
    paths = np.full((height + 4, width + 4, batch), far, "int32")
    inside = paths[2:-2, 2:-2]
    inside[...] = np.where(marks, 0, far).transpose(1, 2, 0)
    along = _SIDE * np.arange(width, dtype="int32")[:, None]
    for rows in (paths, paths[::-1, ::-1]):
        for row in range(2, height + 2):
            line = _nearer(rows, row, width)
            # Any number of steps to the side: a running minimum, the slope taken off.
            line -= along
            np.minimum.accumulate(line, axis=0, out=line)
            rows[row, 2:-2] = line + along
    return inside.transpose(2, 0, 1).astype("float32") / _SIDE


def equalise(layers):
    """Spreads the grey levels of each image evenly over 0 to 255.

    Args:
        layers: uint8 `(batch, height, width)`.

    Returns:
        uint8 array of the same shape; a flat image stays as it is.

    Example:

    >>> equalise(np.array([[[3, 3, 4, 5]]], "uint8")).tolist()
    [[[0, 0, 128, 255]]]
    """
    batch, pixels = len(layers), layers[0].size
    offset = 256 * np.arange(batch)[:, None, None]
    counts = np.bincount((layers + offset).ravel(), minlength=256 * batch)
    totals = counts.reshape(batch, 256).cumsum(axis=1)
    least = layers.reshape(batch, -1).min(axis=1)
    darkest = np.take_along_axis(totals, least[:, None].astype(int), axis=1)
    scale = np.float32(255) / np.maximum(pixels - darkest, 1).astype("float32")
    levels = np.rint((totals - darkest).astype("float32") * scale)
    levels = np.clip(levels, 0, 255).astype("uint8")
    flat = (darkest == pixels)[..., None]
    return np.where(flat, layers, levels.ravel()[layers + offset])


def _box(layers):
    """Returns the mean of 3 x 3 pixels, mirrored at the border."""
    return filters.correlate(layers.astype("float32"), np.ones((3, 3))) / 9


def _gradients(layers):
    padded = np.pad(layers.astype("int32"), ((0, 0), (1, 1), (1, 1)), mode="edge")
    sums = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    across = sums[..., 2:] - sums[..., :-2]
    sums = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return across, sums[:, 2:] - sums[:, :-2]


def _is_ridge(across, down, norms):
    """Says whether the gradient is largest here along its direction, out of four."""
    height, width = norms.shape[1:]
    padded = np.pad(norms, ((0, 0), (1, 1), (1, 1)))

    def neighbour(row, column):
        return padded[:, 1 + row : 1 + row + height, 1 + column : 1 + column + width]

    flat = np.abs(across) * _TANGENT
    tall = np.abs(down) << 15
    steep = tall > flat + (np.abs(across) << 16)
    # Of two equal neighbours one edge pixel remains: > on one side, >= on the other.
    beside = (norms > neighbour(0, -1)) & (norms >= neighbour(0, 1))
    above = (norms > neighbour(-1, 0)) & (norms >= neighbour(1, 0))
    falling = (norms > neighbour(-1, -1)) & (norms > neighbour(1, 1))
    rising = (norms > neighbour(-1, 1)) & (norms > neighbour(1, -1))
    aslant = np.where((across ^ down) < 0, rising, falling)
    return np.where(tall < flat, beside, np.where(steep, above, aslant))


def _nearer(rows, row, width):
    """Returns a row of `distance` after the steps from the two rows above it."""
    line = rows[row, 2:-2].copy()
    steps = (
        *((1, 0, _SIDE), (1, -1, _SLANT), (1, 1, _SLANT)),
        *((1, -2, _KNIGHT), (1, 2, _KNIGHT), (2, -1, _KNIGHT), (2, 1, _KNIGHT)),
    )
    for up, aside, cost in steps:
        start = 2 + aside
        np.minimum(line, rows[row - up, start : start + width] + cost, out=line)
    return line
