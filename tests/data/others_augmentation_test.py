"""Which laws the random layers of Keras and keras-cv follow: docs/augmentation.md.

Each runs the real layer on one image, repeated: what differs is the layer's draw.
"""

import keras
import numpy as np
import pytest
from conftest import BACKEND
from keras import layers

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="in tf.data, mostly")

COUNT = 128
IMAGE = np.random.default_rng(0).integers(0, 249, (24, 24, 3)).astype("float32")
BATCH = np.repeat(IMAGE[None], COUNT, axis=0)


def made(layer):
    return keras.ops.convert_to_numpy(layer(BATCH.copy(), training=True))


def distinct(images):
    return len(np.unique(images.round(2).reshape(len(images), -1), axis=0))


def changed(images):
    return float((np.abs(images - BATCH).max(axis=(1, 2, 3)) > 0.5).mean())


def cv(name, *args, **options):
    keras_cv = pytest.importorskip("keras_cv")
    return getattr(keras_cv.layers, name)(*args, **options)


KERAS_SAFE = {
    "RandomTranslation": (0.2, 0.2),
    "RandomRotation": (0.1,),
    "RandomZoom": (0.2,),
    "RandomShear": (0.3, 0.3),
    "RandomBrightness": (0.2,),
    "RandomHue": (0.5,),
    "RandomSharpness": (1.0,),
}
CV_SAFE = {
    "RandomTranslation": (0.2, 0.2),
    "RandomRotation": (0.1,),
    "RandomZoom": (0.2,),
}
CV_UNSEEDED = {
    "RandomBrightness": (0.2,),
    "RandomContrast": ((0, 255), 0.5),
    "RandomSaturation": ((0.3, 0.7),),
    "RandomHue": (0.5, (0, 255)),
    "RandomCutout": (0.3, 0.3),
}


@pytest.mark.parametrize("name", KERAS_SAFE)
def test_of_keras_these_draw_for_each_image_and_repeat_with_their_seed(name):
    make = lambda: getattr(layers, name)(*KERAS_SAFE[name], seed=1)  # noqa: E731
    first = made(make())
    assert distinct(first) > 0.9 * COUNT
    assert first.min() >= 0 and first.max() <= 255
    np.testing.assert_array_equal(first, made(make()))


@pytest.mark.parametrize("name", CV_SAFE)
def test_of_keras_cv_these_do_too(name):
    first, again = (made(cv(name, *CV_SAFE[name], seed=1)) for _ in range(2))
    assert distinct(first) > 0.9 * COUNT
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("name", CV_UNSEEDED)
def test_of_keras_cv_these_draw_for_each_image_whatever_their_seed(name):
    first, again = (made(cv(name, *CV_UNSEEDED[name], seed=1)) for _ in range(2))
    assert distinct(first) > 0.9 * COUNT
    assert not np.array_equal(first, again)


@pytest.mark.parametrize("of", ["keras", "keras_cv"])
def test_flips_are_of_half_of_the_images_each_by_itself(of):
    make = (
        cv if of == "keras_cv" else lambda name, *a, **k: getattr(layers, name)(*a, **k)
    )
    images = made(make("RandomFlip", "horizontal", seed=1))
    mirrored = (images == BATCH[:, :, ::-1]).all(axis=(1, 2, 3))
    own = (images == BATCH).all(axis=(1, 2, 3))
    assert (mirrored ^ own).all() and 0.3 < mirrored.mean() < 0.7


@pytest.mark.parametrize(
    "name", ["RandomInvert", "RandomErasing", "RandomGaussianBlur"]
)
def test_a_factor_of_one_acts_on_half_of_the_images(name):
    assert 0.3 < changed(made(getattr(layers, name)(1, seed=1))) < 0.7


def test_one_draw_is_for_the_whole_batch():
    assert distinct(made(layers.RandomCrop(20, 20, seed=1))) == 1
    blurred = made(layers.RandomGaussianBlur(1, seed=1))
    assert distinct(blurred) == 2  # as it was, and with the one sigma


def test_contrast_is_never_lowered_by_keras_and_is_by_keras_cv():
    ours = made(layers.RandomContrast(0.5, seed=1)).std(axis=(1, 2, 3)) / IMAGE.std()
    theirs = made(cv("RandomContrast", (0, 255), 0.5)).std(axis=(1, 2, 3)) / IMAGE.std()
    assert ours.min() > 0.99 and ours.max() > 1.1
    assert theirs.min() < 0.7 and theirs.max() > 1.1


def test_saturation_makes_about_half_grey_in_keras_and_none_in_keras_cv():
    def grey(images):
        return (np.ptp(images, axis=-1).max(axis=(1, 2)) < 1).mean()

    assert 0.3 < grey(made(layers.RandomSaturation(0.5, seed=1))) < 0.7
    assert grey(made(cv("RandomSaturation", (0.3, 0.7)))) == 0


@pytest.mark.parametrize("of", ["keras", "keras_cv"])
def test_labels_of_cutmix_are_not_the_share_of_the_pixels(of):
    """Images of zeros are of class 0, images of ones of class 1: so is each pixel."""
    classes = np.arange(64) % 2
    images = np.ones((64, 8, 8, 1), "float32") * classes[:, None, None, None]
    batch = {"images": images, "labels": np.eye(2, dtype="float32")[classes]}
    layer = cv("CutMix", seed=1) if of == "keras_cv" else layers.CutMix(seed=1)
    tensors = {k: keras.ops.convert_to_tensor(v, "float32") for k, v in batch.items()}
    mixed = layer(tensors, training=True)
    images, labels = (keras.ops.convert_to_numpy(mixed[k]) for k in batch)
    gap = np.abs(labels[:, 1] - images.mean(axis=(1, 2, 3)))
    assert gap.max() > 0.02
