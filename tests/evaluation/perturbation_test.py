import dataclasses
import math

import numpy as np
import pytest

from nfm_keras.evaluation.noise import (
    WHITE_NOISE_SEVERITIES,
    Perturbation,
    curve,
    parse,
)
from nfm_keras.records import ids
from nfm_keras.records.ids import PROTOCOLS

pytestmark = pytest.mark.backends

STD = np.array([0.247, 0.2435, 0.2616], "float32")
IMAGES = np.random.default_rng(0).integers(20, 236, (64, 32, 32, 3)).astype("uint8")
FLOATS = IMAGES.astype("float32") / 255
NOISES = [Perturbation("white_noise", 0.1), Perturbation("salt_and_pepper", 0.1)]


def perturb(perturbation, images=IMAGES, indices=None, protocol="pixel", seed=0):
    return perturbation(images, indices, protocol=protocol, seed=seed, std=STD)


def test_reference_white_noise_is_gaussian_in_units_of_the_normalised_image():
    noise = (perturb(Perturbation("white_noise", 0.35), protocol="reference")) - FLOATS
    normalised = noise / STD / 0.35
    n = normalised.size
    assert abs(normalised.mean()) < 5 / math.sqrt(n)
    assert abs(normalised.std() - 1) < 5 / math.sqrt(2 * n)
    assert abs((normalised**4).mean() - 3) < 5 * math.sqrt(96 / n)


def test_reference_white_noise_is_not_clipped_and_pixel_white_noise_is():
    noise = Perturbation("white_noise", 2.0)
    assert perturb(noise, protocol="reference").min() < 0
    pixel = perturb(noise, protocol="pixel")
    assert pixel.min() == 0 and pixel.max() == 1


def test_pixel_white_noise_has_level_sigma_in_pixels():
    grey = np.full((64, 32, 32, 3), 0.5, "float32")
    noise = perturb(Perturbation("white_noise", 0.1), grey) - 0.5
    assert abs(noise.std() / 0.1 - 1) < 5 / math.sqrt(2 * noise.size)


@pytest.mark.parametrize("gamma", [0.02, 0.1, 0.35])
def test_reference_salt_and_pepper_sets_channel_0_to_its_extremes(gamma):
    ramps = np.stack([np.linspace(0.2, 0.8, 1024, dtype="float32")] * 3, -1)
    ramps = np.stack([np.random.default_rng(i).permutation(ramps) for i in range(64)])
    ramps = ramps.reshape(64, 32, 32, 3)
    noise = Perturbation("salt_and_pepper", gamma)
    changed = perturb(noise, ramps, protocol="reference")
    np.testing.assert_array_equal(changed[..., 1:], ramps[..., 1:])

    first, count = changed[..., 0], math.ceil(gamma * 1024 / 2)
    maximum, minimum = first == ramps.max(), first == ramps.min()
    assert (maximum | minimum | (first == ramps[..., 0])).all()
    # The second draw is without replacement and nothing overwrites it. Plus at most 1:
    # the pixel that is the maximum anyway.
    hit = maximum.sum(axis=(1, 2))
    assert ((hit == count) | (hit == count + 1)).all()
    # The first draw loses what the second, independent of it, overwrites.
    expected = (count + 1 - count / 1024) * (1 - count / 1024)
    assert abs(minimum.sum(axis=(1, 2)).mean() - expected) < 5 * math.sqrt(count / 64)


@pytest.mark.parametrize("gamma", [0.04, 0.35, 1.0])
def test_pixel_salt_and_pepper_hits_whole_pixels_half_to_each_extreme(gamma):
    changed = perturb(Perturbation("salt_and_pepper", gamma))
    hit = (changed != FLOATS).any(axis=3)
    white, black = (changed == 1).all(axis=3), (changed == 0).all(axis=3)
    np.testing.assert_array_equal(hit, white | black)
    tolerance = 5 * math.sqrt(gamma / hit.size)
    assert abs(white.mean() - gamma / 2) < tolerance
    assert abs(black.mean() - gamma / 2) < tolerance


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.id)
def test_an_image_meets_the_same_noise_in_any_batch_and_order(noise, protocol):
    whole = perturb(noise, protocol=protocol)
    order = np.random.default_rng(1).permutation(64)
    shuffled = perturb(noise, IMAGES[order], order, protocol)
    np.testing.assert_array_equal(shuffled, whole[order])
    for i in (0, 7, 63):
        alone = perturb(noise, IMAGES[i : i + 1], [i], protocol)
        np.testing.assert_array_equal(alone[0], whole[i])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.id)
def test_noise_depends_on_seed_index_and_severity(noise, protocol):
    pair = np.stack([IMAGES[0]] * 2)
    first, second = perturb(noise, pair, protocol=protocol)
    assert (first != second).any()
    assert (perturb(noise, pair, protocol=protocol, seed=1)[0] != first).any()
    other = dataclasses.replace(noise, severity=0.2)
    assert (perturb(other, pair, protocol=protocol)[0] != first).any()


@pytest.mark.parametrize("kind", ids.NOISES)
def test_severity_0_is_the_image(kind):
    np.testing.assert_array_equal(perturb(Perturbation(kind, 0.0)), FLOATS)


@pytest.mark.parametrize(
    "text",
    ["clean", "white_noise@0.1", "salt_and_pepper@0.04", "pgd@8/255", "pgd_l2@0.5"]
    + ["fgsm@1/255", "fgsm_l2@0.25", "white_noise@0", "pgd@0.03"],
)
def test_ids_survive_the_round_trip(text):
    assert parse(text).id == text
    assert parse(parse(text).id) == parse(text)


def test_a_curve_is_one_perturbation_per_severity():
    severities = [p.severity for p in curve("white_noise")]
    assert severities == list(WHITE_NOISE_SEVERITIES)
    assert len(severities) == 13


@pytest.mark.parametrize(
    "text, message",
    [
        ("white_nose@0.1", "Did you mean 'white_noise'.*Received: 'white_nose'"),
        ("zebra@1", "Known: clean, white_noise.*Received: 'zebra'"),
        ("white_noise", "`white_noise@severity`.*Received: 'white_noise'"),
        ("clean@0.1", "`clean`.*Received: 'clean@0.1'"),
        ("pgd@8/0", "fraction such as 8/255.*Received: 'pgd@8/0'"),
        ("pgd@strong", "fraction such as 8/255.*Received: 'pgd@strong'"),
        ("white_noise@-0.1", "Received: -0.1"),
        ("white_noise@nan", "Received: nan"),
        ("white_noise@inf", "Received: inf"),
        ("salt_and_pepper@1.5", "between 0 and 1. Received: 1.5"),
    ],
)
def test_bad_ids_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


@pytest.mark.parametrize(
    "images, message",
    [
        (FLOATS * 255, "from 20 to 235"),
        (FLOATS - 0.5, r"must lie in \[0,1\]"),
        (np.full((1, 2, 2, 3), np.nan), "Received: values from nan"),
        (IMAGES.astype("int32"), "Received: dtype int32"),
        (IMAGES[:0], r"Received: shape \(0, 32, 32, 3\)"),
    ],
    ids=["255", "negative", "nan", "int32", "empty"],
)
def test_bad_images_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        perturb(NOISES[0], images)


def test_reference_white_noise_needs_std():
    with pytest.raises(ValueError, match="Received: std=None"):
        NOISES[0](IMAGES, protocol="reference")
    with pytest.raises(ValueError, match="must hold 3 positive numbers"):
        NOISES[0](IMAGES, protocol="reference", std=[0.2])


def test_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match="Received: 'paper'"):
        perturb(NOISES[0], protocol="paper")


def test_levels_in_units_of_255_are_refused():
    with pytest.raises(ValueError, match="between 0 and 10. Received: 25"):
        Perturbation("white_noise", 25)
    with pytest.raises(ValueError, match=r"in units of \[0, 1\]. Received: \[63"):
        NOISES[0](IMAGES, protocol="reference", std=[63.0, 62.1, 66.7])


def test_a_level_of_numpy_has_the_same_id():
    level = np.linspace(0, 0.1, 8)[1]
    assert ids.format_severity(level) == ids.format_severity(float(level))
