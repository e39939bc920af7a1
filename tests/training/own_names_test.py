"""Sets of images and networks of one's own, by the names of their functions."""

import sys
import types

import keras
import numpy as np
import pytest

import nfm_keras as nfm
from nfm_keras import data, networks, records, training
from nfm_keras.mixing.sites import remove_sites
from nfm_keras.networks.blocks import with_keras_layers
from nfm_keras.serving import half_weights
from nfm_keras.training import inputs
from nfm_keras.training.weights.files import initialise

RANDOM = np.random.default_rng(0)


def pair(n, classes=3, shape=(8, 8)):
    images = RANDOM.integers(0, 256, (n, *shape)).astype("uint8")
    return images, (np.arange(n) % classes)[:, None]


def network(input_shape, num_classes, depth=1):
    images = keras.Input(input_shape)
    x = nfm.NoisyFeatureMixup(name="first")(keras.layers.Flatten()(images))
    for _ in range(depth):
        x = keras.layers.Dense(8, "relu")(x)
    return keras.Model(images, keras.layers.Dense(num_classes)(x))


def softmax(input_shape, num_classes):
    images = keras.Input(input_shape)
    x = keras.layers.Flatten()(images)
    return keras.Model(images, keras.layers.Dense(num_classes, "softmax")(x))


def of_bytes(input_shape, num_classes):
    images = keras.Input(input_shape)
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    return keras.Model(images, keras.layers.Dense(num_classes)(x))


def with_lambda(input_shape, num_classes):
    images = keras.Input(input_shape)
    x = keras.layers.Lambda(lambda x: 2 * x, name="twice")(images)
    return keras.Model(
        images, keras.layers.Dense(num_classes)(keras.layers.Flatten()(x))
    )


def normalized(input_shape, num_classes):
    images = keras.Input(input_shape)
    x = nfm.NoisyFeatureMixup(name="first")(images)
    x = keras.layers.Normalization(axis=-1, name="normalization")(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(images, keras.layers.Dense(num_classes)(x))


@keras.saving.register_keras_serializable("tests")
class Block(keras.Model):
    """A model of a class of its own, which has no graph."""

    def __init__(self, name="block"):
        super().__init__(name=name)
        self.dense = keras.layers.Dense(4)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return self.dense(x)

    def get_config(self):
        return {"name": self.name}


def subclassed(input_shape, num_classes):
    images = keras.Input(input_shape)
    x = nfm.NoisyFeatureMixup(name="first")(keras.layers.Flatten()(images))
    return keras.Model(images, keras.layers.Dense(num_classes)(Block()(x)))


def branches(input_shape, num_classes):
    """A site of two tensors: with it, weights come in another order than without."""

    def conv(x, name):
        return keras.layers.Conv2D(4, 1, name=name)(x)

    images = keras.Input(input_shape)
    x = conv(images, "stem")
    y, skip = conv(conv(x, "first"), "second"), conv(x, "skip")
    y, skip = nfm.NoisyFeatureMixup(name="both")([y, skip])
    x = keras.layers.Flatten()(keras.layers.Add()([conv(y, "third"), skip]))
    return keras.Model(images, keras.layers.Dense(num_classes)(x))


NETWORKS = {
    function.__name__: function
    for function in (
        network,
        softmax,
        of_bytes,
        with_lambda,
        subclassed,
        normalized,
        branches,
    )
}
SETS = {
    "arrays": lambda: (pair(40), pair(10)),
    "described": lambda: (
        pair(8),
        pair(4),
        data.DatasetSpec("mine", (8, 8, 1), ("a", "b", "c"), (0.5,), (0.2,), pad=1),
    ),
    "one": lambda: pair(4),
    "floats": lambda: ((np.full((4, 8, 8), 0.3), np.arange(4)), pair(4)),
    "labels": lambda: ((pair(4)[0], np.ones(3, int)), pair(4)),
    "shapes": lambda: (pair(4), pair(4, shape=(9, 8))),
    "none_to_test": lambda: (pair(4), pair(0)),
    "one_class": lambda: ((pair(4)[0], np.zeros(4, int)),) * 2,
    "channels_first": lambda: (pair(4, shape=(3, 8, 8)),) * 2,
    "other_channels": lambda: (
        pair(4),
        pair(4),
        data.DatasetSpec("mine", (8, 8, 1), ("a", "b", "c"), (0.5,) * 3, (0.2,) * 3),
    ),
    "of_bytes_": lambda: (
        pair(4),
        pair(4),
        data.DatasetSpec("mine", (8, 8, 1), ("a", "b", "c"), (127.0,), (60.0,)),
    ),
    "number": 3,
}


@pytest.fixture(autouse=True)
def project(monkeypatch):
    module = types.ModuleType("my_project")
    vars(module).update(SETS, **NETWORKS, wrong=lambda *_: "no model")
    monkeypatch.setitem(sys.modules, "my_project", module)
    data.own_arrays.cache_clear()


def test_a_run_on_ones_own_set_and_network(tmp_path):
    config = training.Config(
        dataset="my_project:arrays",
        network="my_project:network",
        depth=2,
        epochs=1,
        batch_size=10,
        schedule="constant",
        augment=False,
        learning_rate=0.01,
    )
    record = training.train(config, tmp_path, verbose=0)
    assert record.config["sites"] == ["first"]
    assert records.load(tmp_path / records.FILE).dataset == "my_project:arrays"
    classifier = nfm.load_model(tmp_path / training.CLASSIFIER, compile=False)
    assert [layer.name for layer in classifier.layers if "dense" in layer.name][2:]
    test = data.load("my_project:arrays").test
    (score,) = nfm.evaluate(classifier, test, perturbations=["clean"])
    assert score.value == pytest.approx(100 * record.history["val_accuracy"][-1])


def test_what_is_not_said_of_a_set_is_measured():
    splits = data.load("my_project:arrays", validation=5, limit=20)
    images, known = data.load("my_project:arrays").train.images, splits.train.spec
    assert known.shape == (8, 8, 1) and known.classes == ("0", "1", "2")
    assert known.mean == pytest.approx([images.mean() / 255])
    assert known.std == pytest.approx([images.std() / 255])
    assert (known.pad, known.flip) == (0, False)
    assert len(splits.train.labels) == 15 and splits.test.labels.shape == (10,)
    assert data.load("my_project:described").test.spec.classes == ("a", "b", "c")


@pytest.mark.parametrize(
    "name, words",
    [
        ("my_project:none", "no attribute 'none'"),
        ("no_project:arrays", "No module named 'no_project'"),
        ("my_project:number", "is a int"),
        ("my_project:one", "pairs of images and labels"),
        ("my_project:floats", "8 bits"),
        ("my_project:labels", "an integer label for each"),
        ("my_project:shapes", r"images of \(8, 8, 1\)"),
        ("my_project:none_to_test", r"Received: images \(0, 8, 8, 1\)"),
        ("my_project:one_class", "two classes"),
        ("my_project:channels_first", "channels first"),
        ("my_project:other_channels", "`mean` with a number for each channel"),
        ("my_project:of_bytes_", "mean of images in .0, 1."),
    ],
)
def test_a_set_that_is_none_is_refused(name, words):
    with pytest.raises(ValueError, match=words) as error:
        data.load(name)
    assert "Received: " in str(error.value)


def test_a_network_that_is_none_is_refused():
    with pytest.raises(ValueError, match="a keras.Model with 3 logits. Received: str"):
        networks.build("my_project:wrong", (8, 8, 1), 3)
    with pytest.raises(ValueError, match="no attribute 'netwrk'"):
        networks.build("my_project:netwrk", (8, 8, 1), 3)
    with pytest.raises(ValueError, match="options"):
        networks.build("my_project:network", (8, 8, 1), 3, dropout=0.5)
    with pytest.raises(ValueError, match="no argument `width`. Received: width=0.5"):
        networks.build("my_project:network", (8, 8, 1), 3, width=0.5)


def test_a_network_of_probabilities_or_of_bytes_is_refused():
    """Training gives it images in [0, 1] and takes logits."""
    with pytest.raises(ValueError, match="logits, .*Received: .* ends in a softmax"):
        networks.build("my_project:softmax", (8, 8, 1), 3)
    with pytest.raises(ValueError, match="without Lambda layers, .*Received: twice"):
        networks.build("my_project:with_lambda", (8, 8, 1), 3)
    with pytest.raises(ValueError, match=r"images in .0, 1.. Received: one of .0, 255"):
        networks.build("my_project:of_bytes", (8, 8, 1), 3)


IMAGES = RANDOM.random((4, 8, 8, 1)).astype("float32")


def logits(network):
    return keras.ops.convert_to_numpy(network(IMAGES, training=False))


@pytest.mark.backends
@pytest.mark.parametrize("name", ["normalized", "branches", "subclassed"])
def test_weights_of_a_classifier_are_those_of_its_network(name, tmp_path):
    """From each kind of file, and back into a network that is built again."""
    first, second, third, halves = (
        networks.build(f"my_project:{name}", (8, 8, 1), 3) for _ in range(4)
    )
    if name == "normalized":
        layer = first.get_layer("normalization")
        layer.set_weights([np.float32([0.7]), np.float32([0.04]), np.int32(0)])
        layer.finalize_state()
    classifier = with_keras_layers(remove_sites(first))
    expected = logits(first)
    np.testing.assert_allclose(logits(classifier), expected, rtol=1e-5, atol=1e-5)
    classifier.save(tmp_path / "classifier.keras")
    classifier.save_weights(tmp_path / "classifier.weights.h5")
    half_weights.save_weights(first, tmp_path / half_weights.FILE)
    for network, file in (
        (second, "classifier.keras"),
        (third, "classifier.weights.h5"),
    ):
        initialise(network, tmp_path / file)
        np.testing.assert_allclose(logits(network), expected, rtol=1e-5, atol=1e-5)
    half_weights.load_weights(halves, tmp_path / half_weights.FILE)
    np.testing.assert_allclose(logits(halves), expected, atol=0.05)
    inputs.load_weights(nfm.NFMModel(halves), tmp_path / "classifier.keras")
    np.testing.assert_allclose(logits(halves), expected, rtol=1e-5, atol=1e-5)
