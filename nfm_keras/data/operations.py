"""The image operations of AutoAugment and RandAugment, in NumPy, a batch at a time.

Each does what the Python imaging library does, in terms of which the policies are
published, its rounding included.
"""

import numpy as np

GREY = 128
"""What is beyond an image, in all channels."""


def _move(images, matrix):
    """Takes each pixel from `matrix @ (column, row, 1)`, of the centres of pixels."""
    count, height, width, _ = images.shape
    start = matrix @ [[0.5], [0.5], [1.0]]
    # In 1/65536 of a pixel, as that library; else what lies halfway goes elsewhere.
    matrix = np.concatenate([matrix[..., :2], start], -1) * (1 << 16) + 0.5
    row, column = np.mgrid[:height, :width]
    places = np.stack([column, row, np.ones_like(row)]).reshape(3, -1)
    x, y = (np.floor(matrix).astype(int) @ places >> 16).swapaxes(0, 1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    at = np.arange(count)[:, None], y.clip(0, height - 1), x.clip(0, width - 1)
    return np.where(inside[..., None], images[at], GREY).reshape(images.shape)


def _slant(images, strength, row, column, size):
    matrix = np.tile(np.eye(2, 3), (len(images), 1, 1))
    matrix[:, row, column] += size * strength
    return _move(images, matrix)


def _shear_x(images, strength):
    return _slant(images, strength, 0, 1, 0.3)


def _shear_y(images, strength):
    return _slant(images, strength, 1, 0, 0.3)


def _translate_x(images, strength):
    return _slant(images, strength, 0, 2, images.shape[2] * 150 / 331)


def _translate_y(images, strength):
    return _slant(images, strength, 1, 2, images.shape[1] * 150 / 331)


def _rotate(images, strength):
    angle = np.radians(30 * strength)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.stack([cos, -sin, sin, cos], -1).reshape(-1, 2, 2)
    centre = np.array([[images.shape[2] / 2], [images.shape[1] / 2]])
    return _move(images, np.concatenate([turn, centre - turn @ centre], -1))


def _blend(images, plain, strength):
    """Away from the plain image, or towards it."""
    factor = (1 + 0.9 * strength).astype("float32")[:, None, None, None]
    plain = plain.astype("float32")
    return np.clip(plain + factor * (images - plain), 0, 255).astype("uint8")


def _grey(images):
    if images.shape[-1] == 1:
        return images
    weights = np.array([19595, 38470, 7471])
    return ((images @ weights + (1 << 15)) >> 16)[..., None]


def _color(images, strength):
    return _blend(images, _grey(images), strength)


def _contrast(images, strength):
    mean = _grey(images).mean((1, 2, 3), keepdims=True)
    return _blend(images, np.floor(mean + 0.5), strength)


def _brightness(images, strength):
    return _blend(images, np.zeros(1), strength)


def _sharpness(images, strength):
    wide, smooth = images.astype("int16"), images.copy()
    rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    total += 4 * wide[:, 1:-1, 1:-1]
    # Thirteenths, rounded. The border stays, as it does in the imaging library.
    smooth[:, 1:-1, 1:-1] = (2 * total + 13) // 26
    return _blend(images, smooth, strength)


def _posterize(images, strength):
    dropped = np.round(4 * abs(strength)).astype("uint8")[:, None, None, None]
    return images >> dropped << dropped


def _solarize(images, strength):
    threshold = 256 * (1 - abs(strength))[:, None, None, None]
    return np.where(images < threshold, images, 255 - images)


def _invert(images, strength):
    return 255 - images


def _autocontrast(images, strength):
    low = images.min((1, 2), keepdims=True).astype(float)
    high = images.max((1, 2), keepdims=True)
    scale = 255 / np.maximum(high - low, 1)
    stretched = np.clip(images * scale - low * scale, 0, 255).astype("uint8")
    return np.where(high > low, stretched, images)


def _equalize(images, strength):
    count, height, width, channels = images.shape
    levels = images.transpose(0, 3, 1, 2).reshape(count * channels, -1)
    first = 256 * np.arange(len(levels))[:, None]
    counts = np.bincount((levels + first).ravel(), minlength=256 * len(levels))
    counts = counts.reshape(-1, 256)
    brightest = np.take_along_axis(counts, levels.max(1, keepdims=True), 1)
    step = (height * width - brightest) // 255
    ranks = np.cumsum(counts, 1) - counts
    ranks = np.minimum((step // 2 + ranks) // np.maximum(step, 1), 255)
    tables = np.where(step > 0, ranks, np.arange(256)).astype("uint8")
    equalized = np.take_along_axis(tables, levels, 1)
    return equalized.reshape(count, channels, height, width).transpose(0, 2, 3, 1)


OPERATIONS = {
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "rotate": _rotate,
    "color": _color,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "invert": _invert,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}
"""Name -> function of uint8 images `(batch, height, width, channels)` and of their
strengths `(batch,)`, which are in [-1, 1] where it has two directions."""
