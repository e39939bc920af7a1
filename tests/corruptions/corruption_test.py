"""What all corruptions have in common."""

import io
import itertools

import numpy as np
import pytest
from pictures import (
    BOTH,
    corrupt,
    pictures,
)
from PIL import Image

from nfm_keras import corruptions
from nfm_keras.corruptions.constants import CONSTANTS

KIND = pytest.mark.parametrize("kind", corruptions.NAMES)


RANDOM = set(corruptions.NAMES) - {
    *("gaussian_blur", "defocus_blur", "zoom_blur", "brightness", "contrast"),
    *("saturate", "pixelate", "jpeg_compression"),
}


@BOTH
@KIND
def test_every_corruption_returns_images_that_depend_on_their_own_key_only(
    kind, constants
):
    images, indices = pictures(7), np.array([5, 3, 11, 900, 0, 7, 8])
    severity = 1 + corruptions.NAMES.index(kind) % 5
    corruption = corruptions.Corruption(kind, severity, constants)
    together = corruption(images, indices, seed=4)
    assert together.dtype == np.uint8 and together.shape == images.shape
    assert (together != images).any()
    back = corruption(images[::-1], indices[::-1], seed=4)[::-1]
    np.testing.assert_array_equal(together, back)
    alone = [
        corruption(images[i : i + 1], indices[i : i + 1], seed=4)[0] for i in range(7)
    ]
    np.testing.assert_array_equal(together, alone)
    same = corruption(np.repeat(images[:1], 2, axis=0), [1, 2], seed=4)
    other = corruption(np.repeat(images[:1], 2, axis=0), [1, 2], seed=5)
    assert (same[0] != same[1]).any() == (kind in RANDOM)
    assert (same != other).any() == (kind in RANDOM)


def saved(image):
    """As the script that made ImageNet-C writes it."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=85, optimize=True)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("kind", ["gaussian_noise", "glass_blur"])
def test_imagenet_c_ends_as_the_files_it_is_published_in(kind):
    images = pictures(2, 96, 96)
    plain = corruptions.Corruption(kind, 3, jpeg=False)(images)
    published = corruptions.Corruption(kind, 3)(images)
    np.testing.assert_array_equal(published, [saved(image) for image in plain])
    small = images[:, :32, :32]
    by_default, on = (
        corruptions.Corruption(kind, 3, jpeg=jpeg)(small) for jpeg in (None, True)
    )
    np.testing.assert_array_equal(by_default, corrupt(kind, 3, small))
    np.testing.assert_array_equal(on, [saved(image) for image in by_default])
    grey = corruptions.Corruption(kind, 3)(images[..., :1])
    assert grey.shape == (2, 96, 96, 1)


def test_a_jpeg_takes_a_quarter_off_the_noise_of_imagenet_c():
    images = np.full((2, 224, 224, 3), 128, "uint8")
    plain, stored = (
        corruptions.Corruption("gaussian_noise", 3, jpeg=jpeg)(images).std()
        for jpeg in (False, None)
    )
    assert 0.65 < stored / plain < 0.85
    asked = corruptions.Corruption("fog", 3, jpeg=False).settings
    assert asked["jpeg"] is False
    assert "jpeg" not in corruptions.Corruption("fog", 3).settings


@KIND
def test_batches_longer_than_a_chunk_change_nothing(kind):
    images = np.resize(pictures(8), (67, 32, 32, 3))
    corruption = corruptions.Corruption(kind, 4)
    whole = corruption(images)
    parts = [
        corruption(images[i : i + 32], range(i, min(i + 32, 67))) for i in (0, 32, 64)
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


# By their constants, not monotone in this distance: spatter changes from water to mud,
# saturate from less to more, the elastic transform from an affine map to displacement.
UNORDERED = {"spatter", "saturate", "elastic_transform", "frost"}


LOOSE = {("snow", "imagenet"), ("glass_blur", "imagenet")}


@BOTH
@pytest.mark.parametrize("kind", [k for k in corruptions.NAMES if k not in UNORDERED])
def test_distortion_grows_with_severity(kind, constants):
    images = pictures(24)
    distances = [
        np.abs(corrupt(kind, s, images, constants).astype(int) - images).mean()
        for s in corruptions.SEVERITIES
    ]
    assert distances[0] > 0
    assert distances[-1] > distances[0]
    if (kind, constants) not in LOOSE:
        assert (np.diff(distances) > -0.05 * distances[-1]).all(), distances


@KIND
def test_any_size_and_grey(kind):
    shapes = [(8, 8, 3), (20, 33, 3), (28, 28, 1), (9, 14, 1)]
    for shape, constants, severity in itertools.product(shapes, CONSTANTS, (1, 3, 5)):
        images = pictures(2, *shape[:2])[..., : shape[2]]
        found = corrupt(kind, severity, images, constants)
        assert found.shape == images.shape and found.dtype == np.uint8
        if shape[2] == 1:
            three = corrupt(kind, severity, images.repeat(3, axis=-1), constants)
            np.testing.assert_array_equal(found, three[..., :1])


@pytest.mark.parametrize("kind", ["shot_noise", "frost", "elastic_transform", "fog"])
def test_large_images_get_the_constants_of_imagenet(kind):
    images = pictures(1, 100, 64)
    automatic = corruptions.Corruption(kind, 2, jpeg=False)(images)
    np.testing.assert_array_equal(automatic, corrupt(kind, 2, images, "imagenet"))
    small = corruptions.Corruption(kind, 2)(images[:, :95])
    np.testing.assert_array_equal(small, corrupt(kind, 2, images[:, :95], "cifar"))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_the_levels_they_came_from(dtype):
    ramp = np.arange(256, dtype="uint8").repeat(3).reshape(1, 16, 16, 3)
    floats = (ramp / np.array(255, dtype)).astype(dtype)
    for kind in ("contrast", "impulse_noise"):
        np.testing.assert_array_equal(corrupt(kind, 1, floats), corrupt(kind, 1, ramp))


def test_ids_settings_and_values():
    corruption = corruptions.Corruption("fog", 2)
    assert corruption.id == "fog@2" and corruption.settings == {"constants": "auto"}
    assert corruption == corruptions.Corruption("fog", np.int64(2))
    assert len({corruption, corruptions.Corruption("fog", 2)}) == 1
    assert len(corruptions.NAMES) == 19 and set(corruptions.PAPER) < set(
        corruptions.NAMES
    )
    for table in CONSTANTS.values():
        assert set(table) == set(corruptions.NAMES)
        assert all(len(values) == 5 for values in table.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gausian_noise", 1), "Did you mean 'gaussian_noise'"),
        (("fog", 0), "from 1 to 5. Received: 0"),
        (("fog", 6), "from 1 to 5"),
        (("fog", True), "from 1 to 5. Received: True"),
        (("fog", 2.0), "from 1 to 5. Received: 2.0"),
        (("fog", "2"), "from 1 to 5"),
        (("fog", 1, "tiny"), "auto, cifar, imagenet. Received: 'tiny'"),
    ],
)
def test_bad_corruptions_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        corruptions.Corruption(*arguments)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((32, 32, 3), "uint8"), "Received: shape"),
        (np.zeros((0, 32, 32, 3), "uint8"), "at least one image"),
        (np.zeros((1, 32, 32, 4), "uint8"), "1 or 3 channels"),
        (np.zeros((1, 7, 32, 3), "uint8"), "at least 8 pixels"),
        (np.zeros((1, 32, 32, 3), "int32"), "Received: dtype int32"),
        (np.full((1, 32, 32, 3), 255.0), "must lie in"),
        (np.full((1, 32, 32, 3), np.nan), "must lie in"),
    ],
)
def test_bad_images_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        corruptions.Corruption("fog", 1)(images)


def test_indices_must_match():
    with pytest.raises(ValueError, match="each of the 2 images. Received: 3"):
        corruptions.Corruption("fog", 1)(pictures(2), [0, 1, 2])
