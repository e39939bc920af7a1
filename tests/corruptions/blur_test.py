"""Blurs against the libraries that the benchmark was made with."""

import base64
import itertools

import numpy as np
import pytest
from pictures import (
    BOTH,
    assert_truncated,
    constant,
    corrupt,
    pictures,
    zoomed,
)
from scipy import stats

from nfm_keras import corruptions
from nfm_keras.corruptions import blur
from nfm_keras.corruptions.constants import CONSTANTS

IMAGEMAGICK = (
    (
        *(6, 1.5, 20.0),
        "IjMcITlTMlBwVnmfi2CLe0FyY5Z4lMpFlEiJwXFYdrVtXILHNn6eQ2aLQ2qUR3GdPrCTYoZZmFibjKSb"
        "fKCXj3i1k5Vt029KiTGYbnOLPbxxKMuGQ8GCR8qRY5a2d0PPYIxkQIZlm35gsJp2YqZrV7WsjIWAcm5s"
        "YGVCTUxYaVFUa4Rif5+DpstgibM3Q29gb2ylZndeZqZzi3KOy4VwjuI+dc4ua8cqccc1oHxEtS1miFuZ"
        "WJqJoJN0oIN8abhLnlmqe2ZolJo41HYbvGQOtGIRt2kevXIp",
    ),
    (
        *(14, 12, -77.0),
        "MTJBUkpZcmhxlXZqoIZcqJ46p9AyvukbNjpMYEtdeXJulnlwmYNcmqRDos80suAmOURcZVZegXByoHl3"
        "loVUmalOo9cxttolREdpa1Vngnp2nYB2jodPjbZVo+A0sc4zWEhmZWtpgHV8oH9xhotPib9apN09rcc4"
        "YFBcamBthHh/koBihopdh8xWsdg3pb0+ZVdmZm9viH53jX1hiY1jkNdTscs7oLw9YGhscnBllH99im9Z"
        "dp96ndlLrr5CmrtAZXRzcWdzjIB3jXdbgaJ1otY/o6xHmrRA",
    ),
)


@BOTH
def test_gaussian_blur_is_that_of_scikit_image(constants):
    skimage_filters = pytest.importorskip("skimage.filters")
    for severity in corruptions.SEVERITIES:
        images, sigma = pictures(), constant(constants, "gaussian_blur", severity)
        expected = [
            skimage_filters.gaussian(image / 255.0, sigma=sigma, channel_axis=-1)
            for image in images
        ]
        assert_truncated(
            corrupt("gaussian_blur", severity, images, constants), expected
        )


@BOTH
def test_defocus_blur_is_that_of_opencv(constants):
    cv2 = pytest.importorskip("cv2")
    for severity in corruptions.SEVERITIES:
        radius, alias = constant(constants, "defocus_blur", severity)
        half = 8 if radius <= 8 else radius
        x, y = np.meshgrid(np.arange(-half, half + 1), np.arange(-half, half + 1))
        kernel = (x**2 + y**2 <= radius**2).astype("float32")
        side = (3, 3) if radius <= 8 else (5, 5)
        kernel = cv2.GaussianBlur(kernel / kernel.sum(), ksize=side, sigmaX=alias)
        images = pictures()
        expected = [
            np.dstack([cv2.filter2D(c, -1, kernel) for c in np.moveaxis(x, -1, 0)])
            for x in images / 255.0
        ]
        assert_truncated(corrupt("defocus_blur", severity, images, constants), expected)


ZOOMS = {
    "cifar": [(1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)],
    "imagenet": [(1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)],
}


@BOTH
def test_zoom_blur_is_that_of_scipy(constants):
    for severity in corruptions.SEVERITIES:
        top, step = ZOOMS[constants][severity - 1]
        zooms = np.arange(1, top, step)
        images = pictures()
        expected = []
        for image in (images / 255.0).astype("float32"):
            total = image + sum(zoomed(image, zoom) for zoom in zooms)
            expected.append(total / (len(zooms) + 1))
        assert_truncated(corrupt("zoom_blur", severity, images, constants), expected)


def test_zoom_blur_counts_its_own_image_twice():
    counts = {
        name: [len(z) for z in CONSTANTS[name]["zoom_blur"]] for name in CONSTANTS
    }
    assert counts == {"cifar": [7, 12, 16, 21, 26], "imagenet": [12, 16, 11, 13, 11]}
    assert all(z[0] == 1 for name in CONSTANTS for z in CONSTANTS[name]["zoom_blur"])


@BOTH
def test_motion_blur_agrees_with_a_numpy_motion_blur(constants):
    rival = pytest.importorskip("imagecorruptions.corruptions")
    for severity in corruptions.SEVERITIES:
        radius, sigma = constant(constants, "motion_blur", severity)
        angles = [-44.1, -13.7, 2.3, 21.9, 40.2, -100.3]
        images = pictures(len(angles), 48, 48)
        found = blur.along_lines(images.astype("float32"), radius, sigma, angles)
        for blurred, image, angle in zip(found, images, angles, strict=True):
            expected = rival._motion_blur(image, radius, sigma, angle)
            difference = np.abs(blurred - expected)
            assert difference.max() < 1e-3


def test_motion_blur_is_what_imagemagick_stores():
    """Recorded from ImageMagick 6.9.11-60 Q16 of Debian 12, called by wand 0.7.2 as the
    published scripts do: a PNG in, MagickMotionBlurImage, a PNG out."""
    image = (np.arange(9 * 8 * 3).reshape(9, 8, 3) ** 2 % 251).astype("float32")
    for radius, sigma, angle, recorded in IMAGEMAGICK:
        stored = np.frombuffer(base64.b64decode(recorded), "uint8").reshape(9, 8, 3)
        levels = blur.along_lines(image[None], radius, sigma, [angle])[0]
        np.testing.assert_array_equal(blur.stored_levels(levels), stored)
        # What tells the two ways apart: rounded, half of them were one too bright.
        assert (np.rint(levels) == stored).mean() < 0.6


def test_motion_blur_draws_angles_within_45_degrees():
    spots = np.zeros((300, 41, 41, 3), "uint8")
    spots[:, 20, 20] = 255
    planes = corrupt("motion_blur", 5, spots)[..., 0].astype(float)
    rows, columns = np.arange(41)[:, None] - 20, np.arange(41) - 20
    weights = planes.sum(axis=(1, 2))
    down, across = ((planes * a).sum(axis=(1, 2)) / weights for a in (rows, columns))
    # The pixel that is read lies right of the one written, so the spot moves left.
    angles = np.rad2deg(np.arctan2(-down, -across))
    assert np.abs(angles).max() < 50
    assert stats.kstest(angles, stats.uniform(-45, 90).cdf).pvalue > 1e-3


@pytest.mark.parametrize("reach", [1, 2, 3, 4])
@pytest.mark.parametrize("rounds", [1, 2])
def test_glass_blur_walks_and_copies_one_way(reach, rounds):
    images = pictures(3, 17, 23)
    rows = range(17 - reach, reach, -1)
    columns = range(23 - reach, reach, -1)
    shape = (3, rounds, len(rows) * len(columns), 2)
    shifts = np.random.default_rng(reach).integers(-reach, reach, shape)
    expected = images.copy()
    for image, draws in zip(expected, shifts, strict=True):
        for turn in draws:
            for (h, w), (x, y) in zip(
                itertools.product(rows, columns), turn, strict=True
            ):
                image[h, w] = image[h + y, w + x]
    np.testing.assert_array_equal(blur.scatter(images, shifts, reach), expected)


def test_glass_blur_leaves_what_it_must():
    images = pictures()
    found = corrupt("glass_blur", 1, images)  # sigma 0.05 blurs nothing
    np.testing.assert_array_equal(found[:, :2], images[:, :2])
    np.testing.assert_array_equal(found[:, :, :2], images[:, :, :2])
    assert (found[:, 2:, 2:] != images[:, 2:, 2:]).any(axis=(1, 2, 3)).all()
