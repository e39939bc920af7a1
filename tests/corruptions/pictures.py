"""Images to corrupt, and what their corruptions are compared with."""

import itertools
import math

import numpy as np
import pytest
from scipy import ndimage

from nfm_keras import corruptions
from nfm_keras.corruptions.constants import CONSTANTS

BOTH = pytest.mark.parametrize("constants", ["cifar", "imagenet"])


def pictures(count=4, height=32, width=32, seed=0):
    """Smooth colours, sharp rectangles, black, white, grey and texture, uint8."""
    random = np.random.default_rng(seed)
    smooth = random.normal(size=(count, height, width, 3))
    smooth = ndimage.gaussian_filter(smooth, (0, 5, 5, 0), mode="wrap")
    images = 128 + 60 * smooth / smooth.std() + random.normal(0, 4, smooth.shape)
    for image, level in zip(images, itertools.cycle([0, 255, 128, 30]), strict=False):
        top, left = random.integers(0, height // 2), random.integers(0, width // 2)
        image[top : top + height // 3, left : left + width // 3] = level
        image[-3:, :5] = random.integers(0, 256, 3)
    return np.clip(images, 0, 255).astype("uint8")


def levels(images):
    """How the published scripts end: [0,1] to uint8, truncated."""
    return np.uint8(np.clip(images, 0, 1) * 255)


def constant(constants, kind, severity):
    return CONSTANTS[constants][kind][severity - 1]


def corrupt(kind, severity, images, constants="cifar", **keywords):
    corruption = corruptions.Corruption(kind, severity, constants, jpeg=False)
    return corruption(images, **keywords)


def assert_truncated(found, expected, tolerance=0.002):
    """The truncation of a formula's [0,1] values, to within `tolerance` grey levels.

    Where a level comes out whole, the formula's own rounding takes either side of it.
    """
    expected = np.clip(np.asarray(expected, "float64"), 0, 1) * 255
    assert (found >= np.floor(expected - tolerance)).all()
    assert (found <= np.floor(expected + tolerance)).all()


def zoomed(image, zoom):
    height = image.shape[0]
    crop = math.ceil(height / zoom)
    top = (height - crop) // 2
    image = image[top : top + crop, top : top + crop]
    image = ndimage.zoom(image, (zoom, zoom, 1)[: image.ndim], order=1)
    trim = (image.shape[0] - height) // 2
    return image[trim : trim + height, trim : trim + height]


def generators(count):
    return [np.random.default_rng(index) for index in range(count)]
