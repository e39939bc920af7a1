"""Brightness, contrast, saturation, JPEG and pixels against libraries."""

import io

import numpy as np
import pytest
from pictures import (
    BOTH,
    assert_truncated,
    constant,
    corrupt,
    pictures,
)
from PIL import Image

from nfm_keras import corruptions


@BOTH
def test_contrast_shrinks_towards_the_mean_of_each_channel(constants):
    for severity in corruptions.SEVERITIES:
        images, kept = pictures(), constant(constants, "contrast", severity)
        expected = images / 255.0
        means = expected.mean(axis=(1, 2), keepdims=True)
        expected = (expected - means) * kept + means
        assert_truncated(corrupt("contrast", severity, images, constants), expected)


@BOTH
@pytest.mark.parametrize("kind", ["brightness", "saturate"])
def test_brightness_and_saturation_are_those_of_scikit_image(kind, constants):
    color = pytest.importorskip("skimage.color")
    for severity in corruptions.SEVERITIES:
        images = pictures()
        images[0, :2] = np.arange(64).reshape(2, 32, 1)  # greys, which have no hue
        expected = color.rgb2hsv(images / 255.0)
        if kind == "brightness":
            expected[..., 2] += constant(constants, kind, severity)
        else:
            factor, added = constant(constants, kind, severity)
            expected[..., 1] = expected[..., 1] * factor + added
        expected = color.hsv2rgb(np.clip(expected, 0, 1))
        assert_truncated(corrupt(kind, severity, images, constants), expected)


@BOTH
def test_jpeg_and_pixelate_are_those_of_pillow(constants):
    for severity in corruptions.SEVERITIES:
        images = pictures()
        quality = constant(constants, "jpeg_compression", severity)
        share = constant(constants, "pixelate", severity)
        small, jpegs, boxes = int(32 * share), [], []
        for image in map(Image.fromarray, images):
            file = io.BytesIO()
            image.save(file, "JPEG", quality=quality)
            jpegs.append(np.asarray(Image.open(file)))
            image = image.resize((small, small), Image.Resampling.BOX)
            boxes.append(np.asarray(image.resize((32, 32), Image.Resampling.BOX)))
        found = corrupt("jpeg_compression", severity, images, constants)
        np.testing.assert_array_equal(found, jpegs)
        found = corrupt("pixelate", severity, images, constants)
        np.testing.assert_array_equal(found, boxes)
