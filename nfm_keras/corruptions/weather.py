"""Weather: snow and fog."""

import numpy as np

from nfm_keras.corruptions import blur, filters

_GREY = np.array([0.299, 0.587, 0.114], "float32")


def snow(images, generators, mean, deviation, zoom, threshold, radius, sigma, share):
    """Lets flakes fall at a random angle over an image whitened by them.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        generators: one `np.random.Generator` an image.
        mean, deviation: floats. Of the normal layer that the flakes are cut from.
        zoom: float >= 1. Size of the flakes.
        threshold: float. What of the layer is below is no flake.
        radius, sigma: As in `blur.motion_blur`.
        share: float in [0,1]. What is left of the image; the rest is whitened.

    Returns:
        uint8 array of the same shape.
    """
    layers, angles = np.empty(images.shape[:3], "float32"), []
    for layer, generator in zip(layers, generators, strict=True):
        generator.standard_normal(dtype="float32", out=layer)
        angles.append(generator.uniform(-135, -45))
    layers = layers * np.float32(deviation) + np.float32(mean)
    flakes = fallen(layers, zoom, threshold, radius, sigma, angles)
    levels = images.astype("float32")
    whitened = np.maximum(levels, (levels @ _GREY * 1.5 + 127.5)[..., None])
    levels = share * levels + (1 - share) * whitened
    return filters.truncate(levels + (flakes + flakes[:, ::-1, ::-1])[..., None])


def fallen(layers, zoom, threshold, radius, sigma, angles):
    """Returns the flakes of `snow`, given its draws.

    Args:
        layers: `(batch, height, width)` float32, in units of [0,1].
        zoom, threshold, radius, sigma: as in `snow`.
        angles: `(batch,)` degrees.

    Returns:
        Whole grey levels, float32 `(batch, height, width)`.
    """
    sides = (filters.zoom_matrix(side, zoom) for side in layers.shape[1:])
    layers = filters.separable(layers, *(side.astype("float32") for side in sides))
    layers[layers < threshold] = 0
    levels = filters.truncate(layers * 255).astype("float32")
    blurred = blur.along_lines(levels[..., None], radius, sigma, angles)[..., 0]
    return blur.stored_levels(blurred)


def fog(images, generators, amount, decay):
    """Lays mist with the texture of a plasma fractal over images.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        generators: one `np.random.Generator` an image.
        amount: float. Brightness of the thickest mist, in units of [0,1].
        decay: float > 1. By what the roughness falls from one scale to the next.

    Returns:
        uint8 array of the same shape.
    """
    height, width = images.shape[1:3]
    size = 1 << (max(height, width) - 1).bit_length()
    draws = [generator.uniform(-1, 1, size * size - 1) for generator in generators]
    mist = plasma(np.stack(draws), decay)[:, :height, :width, None]
    top = images.max(axis=(1, 2, 3), keepdims=True).astype("float32")
    levels = (images + 255 * amount * mist) * (top / (top + 255 * amount))
    return filters.truncate(levels)


def plasma(draws, decay):
    """Returns diamond-square fractals that wrap around, scaled to [0,1].

    Args:
        draws: `(batch, size * size - 1)` floats in [-1,1], size a power of two. From
            the coarsest scale to the finest: centres of squares, then of the two kinds
            of diamonds, each row by row.
        decay: float > 1. By what the roughness falls from one scale to the next.

    Returns:
        float32 `(batch, size, size)`.

    Example:

    >>> plasma(np.array([[0.5, 0.75, 0.0]]), 2.0).tolist()
    [[[0.0, 1.0], [0.25, 0.5]]]
    """
    size = round((draws.shape[1] + 1) ** 0.5)
    fractals = np.zeros((len(draws), size, size), "float32")
    step, roughness = size, 100.0
    while step >= 2:
        count = (size // step) ** 2
        squares, above, beside = np.split(draws[:, : 3 * count], 3, axis=1)
        # Squared: the published code multiplies a draw from +-wibble by wibble again.
        _refine(fractals, step, roughness**2, (squares, above, beside))
        draws, step, roughness = draws[:, 3 * count :], step // 2, roughness / decay
    fractals -= fractals.min(axis=(1, 2), keepdims=True)
    return fractals / fractals.max(axis=(1, 2), keepdims=True)


def _refine(fractals, step, roughness, draws):
    """Fills in the middles of all squares, then of all diamonds, of one scale."""
    corners = fractals[:, ::step, ::step]
    squares, above, beside = (
        np.float32(roughness) * draw.reshape(corners.shape).astype("float32")
        for draw in draws
    )
    pairs = corners + np.roll(corners, -1, axis=1)
    centres = (pairs + np.roll(pairs, -1, axis=2)) / 4 + squares
    fractals[:, step // 2 :: step, step // 2 :: step] = centres
    across = corners + np.roll(corners, -1, axis=2)
    down = centres + np.roll(centres, 1, axis=1)
    fractals[:, ::step, step // 2 :: step] = (across + down) / 4 + above
    across = centres + np.roll(centres, 1, axis=2)
    down = corners + np.roll(corners, -1, axis=1)
    fractals[:, step // 2 :: step, ::step] = (across + down) / 4 + beside
