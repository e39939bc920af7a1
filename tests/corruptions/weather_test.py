"""Fog and snow against plain versions of the published steps."""

import itertools

import numpy as np
import pytest
from pictures import (
    assert_truncated,
    corrupt,
    generators,
    levels,
    pictures,
    zoomed,
)

from nfm_keras import corruptions
from nfm_keras.corruptions import weather
from nfm_keras.corruptions.constants import CONSTANTS


def diamond_square(draws, size, decay):
    """A plain one, point by point, around the torus."""
    draws, points = iter(draws), np.zeros((size, size))
    step, wibble = size, 100.0
    while step >= 2:
        half, starts = step // 2, range(0, size, step)
        for top, left, places in (
            (half, half, ((-half, -half), (-half, half), (half, -half), (half, half))),
            (0, half, ((-half, 0), (half, 0), (0, -half), (0, half))),
            (half, 0, ((-half, 0), (half, 0), (0, -half), (0, half))),
        ):
            for row, column in itertools.product(starts, starts):
                row, column = row + top, column + left
                near = [
                    points[(row + a) % size, (column + b) % size] for a, b in places
                ]
                points[row, column] = sum(near) / 4 + wibble * wibble * next(draws)
        step, wibble = half, wibble / decay
    points -= points.min()
    return points / points.max()


@pytest.mark.parametrize("size", [2, 8, 32])
def test_fog_is_a_diamond_square(size):
    draws = np.random.default_rng(size).uniform(-1, 1, (3, size * size - 1))
    expected = [diamond_square(draw, size, 1.75) for draw in draws]
    np.testing.assert_allclose(weather.plasma(draws, 1.75), expected, atol=2e-5)


def test_fog_keeps_the_brightest_level_as_its_ceiling():
    images = pictures()
    images[0] //= 3
    for severity in corruptions.SEVERITIES:
        foggy = corrupt("fog", severity, images)
        assert (foggy.max(axis=(1, 2, 3)) <= images.max(axis=(1, 2, 3))).all()


def test_snow_flakes_follow_the_published_steps():
    rival = pytest.importorskip("imagecorruptions.corruptions")
    random = np.random.default_rng(0)
    for mean, std, zoom, low, radius, sigma, _ in CONSTANTS["cifar"]["snow"]:
        layers = random.normal(mean, std, (3, 32, 32)).astype("float32")
        angles = random.uniform(-135, -45, 3)
        found = weather.fallen(layers, zoom, low, radius, sigma, angles)
        for flakes, layer, angle in zip(found, layers, angles, strict=True):
            expected = zoomed(layer.astype("float64"), zoom)
            expected[expected < low] = 0
            expected = levels(expected)
            expected = rival._motion_blur(expected, radius, sigma, angle)
            behind = expected - flakes  # whole levels, truncated
            assert behind.min() > -0.003 and 0.9 < behind.max() < 1.001
            np.testing.assert_array_equal(flakes, np.rint(flakes))


def test_snow_falls_twice_once_turned_around():
    snowy = corrupt("snow", 3, np.zeros((5, 32, 32, 3), "uint8"))
    np.testing.assert_array_equal(snowy, snowy[:, ::-1, ::-1])
    assert (snowy == int(0.1 * 127.5)).any() and (snowy > 60).any()


def test_snow_whitens_by_the_grey_of_each_pixel():
    images = pictures()
    quiet = weather.snow(images, generators(4), 0, 0, 1, 0.5, 8, 3, 0.9)
    x = images / 255.0
    grey = x @ [0.299, 0.587, 0.114]
    expected = 0.9 * x + 0.1 * np.maximum(x, 1.5 * grey[..., None] + 0.5)
    assert_truncated(quiet, expected)
