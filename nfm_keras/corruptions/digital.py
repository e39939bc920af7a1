"""Brightness, contrast, saturation, and what storing an image small does to it."""

import io

import numpy as np
from PIL import Image

from nfm_keras.corruptions import filters


def brightness(images, generators, added):
    """Adds to the value of hue, saturation and value.

    Hue and saturation stay as they are when all three channels grow in proportion.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        generators: one `np.random.Generator` an image; not used.
        added: float, in units of [0,1].

    Returns:
        uint8 array of the same shape.
    """
    before = np.arange(256, dtype="float64")
    after = np.minimum(before + 255 * added, 255)
    red, green, blue = np.moveaxis(images, -1, 0)
    value = np.maximum(np.maximum(red, green), blue)[..., None]
    factors = (after[1:] / before[1:]).astype("float32")
    levels = images * np.concatenate([[np.float32(0)], factors])[value]
    # Black has no hue: it becomes grey.
    return filters.truncate(np.where(value, levels, np.float32(after[0])))


def saturate(images, generators, factor, added):
    """Multiplies and shifts the saturation of hue, saturation and value.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        generators: one `np.random.Generator` an image; not used.
        factor, added: floats, the second in units of [0,1].

    Returns:
        uint8 array of the same shape.
    """
    levels = filters.to_planes(images)
    value = levels.max(axis=1, keepdims=True)
    chroma = value - levels.min(axis=1, keepdims=True)
    before = chroma / np.maximum(value, 1)
    after = np.clip(before * np.float32(factor) + np.float32(added), 0, 1)
    # How far each channel lies below the value, as a share of the chroma. A grey pixel
    # has the hue 0, so what is added to its saturation makes it red.
    share = (value - levels) / np.maximum(chroma, 1)
    red = np.array([0, 1, 1], "float32")[:, None, None]
    share = np.where(chroma > 0, share, red)
    return filters.to_images(value * (1 - after * share))


def contrast(images, generators, kept):
    """Moves every channel towards its mean over the image.

    Args:
        images: uint8 `(batch, height, width, channels)`.
        generators: one `np.random.Generator` an image; not used.
        kept: float in [0,1].

    Returns:
        uint8 array of the same shape.
    """
    sums = images.sum(axis=(1, 2), keepdims=True, dtype="int64")
    means = sums / (images.shape[1] * images.shape[2])
    return filters.truncate(images * np.float32(kept) + np.float32((1 - kept) * means))


def jpeg_compression(images, generators, quality):
    """Stores images as JPEG and reads them again.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        generators: one `np.random.Generator` an image; not used.
        quality: int, 1 to 95.

    Returns:
        uint8 array of the same shape.
    """
    return np.stack([_jpeg(Image.fromarray(image), quality) for image in images])


def pixelate(images, generators, kept):
    """Reduces and enlarges, averaging over boxes.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        generators: one `np.random.Generator` an image; not used.
        kept: float in (0,1]. Share of the pixels kept on each side.

    Returns:
        uint8 array of the same shape.
    """
    large = images.shape[2], images.shape[1]
    small = tuple(int(side * kept) for side in large)
    box = Image.Resampling.BOX
    return np.stack(
        [
            np.asarray(Image.fromarray(image).resize(small, box).resize(large, box))
            for image in images
        ]
    )


def _jpeg(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))
