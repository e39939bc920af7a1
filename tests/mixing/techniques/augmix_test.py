import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
from conftest import compiled
from keras import ops

from nfm_keras.backend import random
from nfm_keras.mixing.techniques import augmix

pytestmark = pytest.mark.backends

RNG = np.random.default_rng(0)
SIZE = 12
# Smooth, with a narrow range in one channel; and one without any.
GRID = np.linspace(0, 1, SIZE)
SMOOTH = np.stack(
    [
        90 + 100 * np.outer(GRID, GRID),
        255 * np.outer(np.sin(3 * GRID), GRID),
        np.full((SIZE, SIZE), 77.0),
    ],
    -1,
).round()
NOISE = RNG.integers(0, 256, (SIZE, SIZE, 3)).astype("float64")


def operate(image, name, strength, sign=1.0):
    which = augmix.OPERATIONS.index(name)
    found = augmix.operate(
        ops.convert_to_tensor(image[None], "float32"),
        ops.convert_to_tensor([which], "int32"),
        ops.convert_to_tensor([strength], "float32"),
        ops.convert_to_tensor([sign], "float32"),
    )
    return ops.convert_to_numpy(found)[0]


def by_pillow(image, name, strength, sign):
    image = PIL.Image.fromarray(image.astype("uint8"))
    level = int(256 * strength)
    tonal = {
        "autocontrast": lambda: PIL.ImageOps.autocontrast(image),
        "equalize": lambda: PIL.ImageOps.equalize(image),
        "posterize": lambda: PIL.ImageOps.posterize(image, 4 - int(4 * strength)),
        "solarize": lambda: PIL.ImageOps.solarize(image, 256 - level),
    }
    if name in tonal:
        return np.array(tonal[name](), "float64")
    if name == "rotate":
        turned = image.rotate(sign * int(30 * strength), PIL.Image.Resampling.BILINEAR)
        return np.array(turned, "float64")
    shift, shear = sign * int(SIZE / 3 * strength), sign * 0.3 * strength
    affine = {
        "shear_x": (1, shear, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, shear, 1, 0),
        "translate_x": (1, 0, shift, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, shift),
    }[name]
    turned = image.transform(
        image.size, PIL.Image.Transform.AFFINE, affine, PIL.Image.Resampling.BILINEAR
    )
    return np.array(turned, "float64")


@pytest.mark.parametrize("name", augmix.TONAL)
def test_tonal_operations_are_those_of_the_imaging_library(name):
    for image in (SMOOTH, NOISE):
        for strength in (0.05, 0.2, 0.3):
            expected = by_pillow(image, name, strength, 1)
            difference = abs(operate(image, name, strength) - expected)
            # Where a quotient is whole, one of the two may round below it.
            assert difference.max() <= (name == "autocontrast")


@pytest.mark.parametrize("name", augmix.GEOMETRIC)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_geometric_operations_are_those_of_the_imaging_library(name, sign):
    """Within the image; at its border that library repeats half a pixel."""
    for image in (SMOOTH, NOISE):
        for strength in (0.1, 0.3):
            expected = by_pillow(image, name, strength, sign)
            found = operate(image, name, strength, sign)
            inner = (slice(2, -2),) * 2
            assert abs(found - expected)[inner].max() <= 2
            assert abs(found - image).max() > 0 or strength == 0.1


def test_an_image_that_nothing_is_done_to_stays():
    images = ops.convert_to_tensor(np.stack([SMOOTH, NOISE]), "float32")
    none, ones = ops.full((2,), -1, "int32"), ops.ones((2,))
    np.testing.assert_array_equal(augmix.operate(images, none, ones, ones), images)


def test_every_image_has_a_draw_of_its_own(jit):
    images = np.tile(NOISE[None] / 255, (8, 1, 1, 1)).astype("float32")
    run = compiled(
        lambda images, i: augmix.augmix(images, random.fold(random.key(0), i)), jit
    )
    mixed = ops.convert_to_numpy(run(images, ops.convert_to_tensor(5)))
    again = ops.convert_to_numpy(run(images, ops.convert_to_tensor(5)))
    np.testing.assert_array_equal(mixed, again)
    assert mixed.min() >= 0 and mixed.max() <= 1 + 1e-6
    assert len({image.tobytes() for image in mixed}) == 8


def test_weights_sum_to_one():
    """Images that no operation changes come back: of one dark shade, since solarize
    leaves what is dark, and posterize whole multiples of 32."""
    dark = np.zeros((64, 4, 4, 1), "float32")
    mixed = ops.convert_to_numpy(
        augmix.augmix(ops.convert_to_tensor(dark), random.key(1))
    )
    np.testing.assert_array_equal(mixed, dark)
