"""Noise: exact laws, and draws that follow them."""

import math

import numpy as np
import pytest
from pictures import BOTH, constant, corrupt
from scipy import stats

from nfm_keras import corruptions
from nfm_keras.corruptions import noise


@BOTH
def test_noise_tables_have_the_closed_form(constants):
    for severity in corruptions.SEVERITIES:
        values = [constant(constants, kind, severity) for kind in noises()]
        levels_before = np.arange(256)
        for table in (
            make(v) for make, v in zip(noises().values(), values, strict=True)
        ):
            assert table.min() >= 0
            np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-9)
        sigma, photons, amount, speckle = values
        probability = stats.norm(128, 255 * sigma).cdf([140, 141])
        assert noise.gaussian_table(sigma)[128, 140] == pytest.approx(
            np.diff(probability)[0]
        )
        assert noise.gaussian_table(sigma)[250, 255] == pytest.approx(
            stats.norm(250, 255 * sigma).sf(255)
        )
        shot = noise.shot_table(photons)
        bright = stats.poisson(photons * 200 / 255).sf(photons - 1)
        assert shot[200, 255] == pytest.approx(bright, abs=1e-9)
        assert shot[0, 0] == 1
        impulse = noise.impulse_table(amount)
        assert np.allclose(impulse[levels_before, levels_before][1:-1], 1 - amount)
        assert np.allclose(impulse[1:-1, [0, 255]], amount / 2)
        assert noise.speckle_table(speckle)[0, 0] == 1


def noises():
    return {
        "gaussian_noise": noise.gaussian_table,
        "shot_noise": noise.shot_table,
        "impulse_noise": noise.impulse_table,
        "speckle_noise": noise.speckle_table,
    }


@BOTH
@pytest.mark.parametrize("kind", list(noises()))
def test_noise_is_drawn_from_its_table(kind, constants):
    table = noises()[kind](constant(constants, kind, 3))
    for level in (40, 250):
        flat = np.full((40, 32, 32, 3), level, "uint8")
        counts = np.bincount(corrupt(kind, 3, flat, constants).ravel(), minlength=256)
        expected = table[level] * flat.size
        assert counts[expected < 1e-9].sum() == 0
        usual = expected > 20
        statistic = ((counts - expected)[usual] ** 2 / expected[usual]).sum()
        assert stats.chi2(usual.sum() - 1).sf(statistic) > 1e-4


@pytest.mark.parametrize("kind", list(noises()))
def test_noise_has_the_moments_of_the_published_formula(kind):
    parameter, level = constant("cifar", kind, 3), 100
    x = level / 255
    variance = {
        "gaussian_noise": parameter**2,
        "shot_noise": x / parameter,
        "impulse_noise": parameter
        * ((x**2 + (1 - x) ** 2) / 2 - parameter * (0.5 - x) ** 2),
        "speckle_noise": (parameter * x) ** 2,
    }[kind]
    mean = x + parameter * (0.5 - x) if kind == "impulse_noise" else x
    table = noises()[kind](parameter)[level]
    found = np.arange(256) @ table / 255
    truncation = 0 if kind == "impulse_noise" else 0.5 / 255
    assert found == pytest.approx(mean - truncation, abs=0.06 / 255)
    found_variance = (np.arange(256) / 255 - found) ** 2 @ table
    assert found_variance == pytest.approx(variance, rel=0.01)


def test_noise_hits_channels_and_neighbours_independently():
    flat = np.full((60, 32, 32, 3), 128, "uint8")
    drawn = corrupt("gaussian_noise", 5, flat).astype(float)
    drawn -= drawn.mean()
    for a, b in (
        (drawn[..., 0], drawn[..., 1]),
        (drawn[:, 1:], drawn[:, :-1]),
        (drawn[:, :, 1:], drawn[:, :, :-1]),
        (drawn[1:], drawn[:-1]),
    ):
        assert abs((a * b).mean()) / drawn.var() < 5 / math.sqrt(a.size)
