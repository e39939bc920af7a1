"""Networks of images in [0, 255], attacked and exported as ones of [0, 1]."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import nfm_keras as nfm
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.backend.unit_range import expects_bytes

pytestmark = pytest.mark.backends

IMAGES = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 3), dtype=np.uint8)
UNIT = IMAGES.astype("float32") / np.float32(255)
SHAPE = (8, 8, 3)


def network(first, dtype="float32"):
    inputs = keras.Input(SHAPE, dtype=dtype)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(first(inputs)))
    return keras.Model(inputs, layers.Dense(2)(x), name="network")


def inner(dtype="float32"):
    scale = layers.Rescaling(1 / 255)
    return keras.Sequential(
        [keras.Input(SHAPE, dtype=dtype), layers.RandomFlip(), scale]
    )


def of_dicts():
    inputs = keras.Input(SHAPE, dtype="uint8", name="image")
    x = layers.Flatten()(layers.Rescaling(1 / 255)(inputs))
    return keras.Model({"image": inputs}, {"logits": layers.Dense(2)(x)})


BYTES = {
    "uint8, rescaled": lambda: network(layers.Rescaling(1 / 255), "uint8"),
    "uint8, cast": lambda: network(lambda x: ops.cast(x, "float32") / 255, "uint8"),
    "int32, not scaled": lambda: network(lambda x: ops.cast(x, "float32"), "int32"),
    "rescaled to 1": lambda: network(layers.Rescaling(1 / 127.5, -1)),
    "divided": lambda: network(lambda x: x / 127.5 - 1.0),
    "means taken off": lambda: network(lambda x: ops.flip(x, -1) - np.float32(110)),
    "a model before": lambda: network(inner()),
    "a model before, uint8": lambda: network(inner("uint8"), "uint8"),
    "normalised": lambda: network(
        layers.Normalization(mean=[120.0] * 3, variance=[60.0**2] * 3)
    ),
    "dicts": of_dicts,
}
UNITS = {
    "as they are": lambda: network(lambda x: x),
    "standardised": lambda: network(layers.Rescaling(4.0, -2.0)),
    "rescaled to 1": lambda: network(layers.Rescaling(2.0, -1)),
    "ours": lambda: nfm.networks.build(
        "small_resnet", SHAPE, 2, width=0.25, mean=[0.5] * 3, std=[0.25] * 3
    ),
}


@pytest.mark.parametrize("name", BYTES)
def test_a_network_of_bytes_takes_the_unit_range(name):
    model = BYTES[name]()
    dtype = keras.backend.standardize_dtype(model.inputs[0].dtype)
    given = {"image": IMAGES} if name == "dicts" else IMAGES.astype(dtype)
    expected = keras.tree.flatten(model(given, training=False))[0]
    expected = ops.convert_to_numpy(expected)
    made = nfm.unit_range(model)
    assert made.inputs[0].dtype == "float32" and made.name == model.name
    found = ops.convert_to_numpy(PlainClassifier(model).logits(UNIT))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    for a, b in zip(made.weights, model.weights, strict=True):
        assert a is b
    assert nfm.unit_range(made) is made


@pytest.mark.parametrize("name", UNITS)
def test_a_network_of_the_unit_range_is_left_as_it_is(name):
    model = UNITS[name]()
    assert nfm.unit_range(model) is model


def test_a_table_is_no_image_whatever_its_columns_are_divided_by():
    scale = layers.Normalization(mean=[40.0, 1000.0, 3.0], variance=[144.0, 2500.0, 1])
    for shape, first in (((3,), scale), ((5, 3), layers.Rescaling(1 / 255))):
        stack = [keras.Input(shape), first, layers.Flatten(), layers.Dense(4)]
        model = keras.Sequential(stack)
        assert not expects_bytes(model) and nfm.unit_range(model) is model


def test_numbers_of_words_are_no_bytes():
    words = keras.Input((6,), dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(9, 2)(words))
    model = keras.Model(words, layers.Dense(2)(x))
    assert not expects_bytes(model) and nfm.unit_range(model) is model


def test_gamma_and_beta_of_a_batch_norm_say_nothing_of_the_range():
    norm = layers.BatchNormalization()
    model = keras.Sequential([keras.Input(SHAPE), norm, layers.Flatten()])
    gamma, beta = np.array([0.9, 1.1, 0.02]), np.array([0.1, -0.1, 0.3])
    for mean, variance, expected in ((0.4, 0.1, False), (120.0, 3000.0, True)):
        norm.set_weights([gamma, beta, np.full(3, mean), np.full(3, variance)])
        assert expects_bytes(model) == expected
    # Nothing is built by the way, which would change the names of layers to come.
    _, _, number = layers.BatchNormalization().name.rpartition("_")
    expects_bytes(model)
    number = int(number) + 1 if number.isdecimal() else 1
    assert layers.BatchNormalization().name == f"batch_normalization_{number}"


def test_a_network_that_does_not_scale_is_told_or_refused():
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(2)])
    weights = np.zeros((192, 2), "float32")
    weights[0] = [-1, 1]
    model.set_weights([weights, np.array([128, -128], "float32")])
    labels = (IMAGES[:, 0, 0, 0] > 128).astype("int32")
    chosen = labels == 1  # of [0, 1] all are class 0
    images, labels = IMAGES[chosen].repeat(4, 0)[:32], labels[chosen].repeat(4)[:32]
    suite = nfm.Suite(["clean"])
    with pytest.raises(ValueError, match=r"unit_range\(model, factor=255\).*100%"):
        nfm.evaluate(model, (images, labels), suite=suite)
    told = nfm.unit_range(model, factor=255)
    scores = nfm.evaluate(told, (images, labels), suite=suite).scores
    assert scores[0].value == 100


def test_what_cannot_be_scaled_is_refused():
    with pytest.raises(ValueError, match="Only a functional .* Received: function"):
        nfm.unit_range(lambda x: x, factor=255)
