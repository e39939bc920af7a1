"""What classifiers are told apart by, without asking them anything."""

import keras
import numpy as np
import pytest
from conftest import BACKEND
from keras import layers, ops

from nfm_keras.evaluation.classifiers import SavedModel
from nfm_keras.evaluation.store.identity import identity_of

pytestmark = pytest.mark.backends


class Defence(layers.Layer):
    """A layer of one's own, which says nothing of its settings."""

    def __init__(self, strength=1.0, **options):
        super().__init__(**options)
        self.strength = strength

    def call(self, x):
        return self.strength * x

    def get_config(self):
        return {}


class Sneaky(Defence):
    def call(self, x):
        return ops.stop_gradient(self.strength * x)


@keras.saving.register_keras_serializable("tests")
def twice(x):
    return 2 * x


def scaled(factor):
    return layers.Lambda(lambda x: factor * x)


class Subclassed(keras.Model):
    """No graph, and a `get_config` that does not work."""

    def __init__(self, inner, power):
        super().__init__()
        self.inner, self.power = inner, power
        self.built = True

    def call(self, images):
        return self.inner(images) ** self.power


def model(*middle, seed=0, activation="relu", dtype=None, filters=4, skip=False):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(filters, 3, activation=activation, dtype=dtype)(inputs)
    for layer in middle:
        x = x + layer(x) if skip else layer(x)
    return keras.Model(inputs, layers.Dense(5)(layers.Flatten()(x)))


OTHERS = {
    "weights": (model(), model(seed=1), "its weights"),
    "one more layer": (model(), model(layers.ReLU()), "its structure"),
    "activation": (model(), model(activation="tanh"), "its structure"),
    "own activation": (model(), model(activation=twice), "its structure"),
    "graph": (
        model(twice_layer := layers.ReLU()),
        model(twice_layer, skip=True),
        "its",
    ),
    "half precision": (model(), model(dtype="mixed_float16"), "its structure"),
    "code of a lambda": (
        model(layers.Lambda(lambda x: 2 * x)),
        model(layers.Lambda(lambda x: 3 * x)),
        "its structure",
    ),
    "what a lambda holds": (model(scaled(2)), model(scaled(3)), "its structure"),
    "code of a layer": (
        model(Defence()),
        model(Sneaky(name="defence")),
        "its structure",
    ),
    "attribute of a layer": (model(Defence(1.0)), model(Defence(0.5)), "its structure"),
    "attribute of a model": (
        Subclassed(model(), 1),
        Subclassed(model(), 3),
        "its structure",
    ),
}


@pytest.mark.parametrize("first, second, what", OTHERS.values(), ids=OTHERS)
def test_another_classifier_is_told_apart(first, second, what):
    assert identity_of(first).differs(identity_of(second)).startswith(what)
    assert identity_of(first).differs(identity_of(first)) == ""


def test_the_same_classifier_is_recognised_whoever_made_it(tmp_path):
    parts = [layers.Dropout(0.5), layers.BatchNormalization(), Defence()]
    first = model(*parts, layers.Lambda(twice), skip=False)
    expected = identity_of(first)
    model()  # names count up
    copy = keras.models.clone_model(first)
    copy.set_weights(first.get_weights())
    copy.layers[-1].trainable = False
    copy.compile("adam", "mse")
    assert copy.layers[1].name == first.layers[1].name
    assert expected.differs(identity_of(copy)) == ""
    again = model(
        *(layers.Dropout(0.5), layers.BatchNormalization(), Defence()),
        layers.Lambda(twice),
    )
    assert again.layers[1].name != first.layers[1].name
    assert expected.differs(identity_of(again)) == ""
    plain = model(layers.Dropout(0.5), layers.BatchNormalization())
    plain.save(tmp_path / "plain.keras")
    loaded = keras.saving.load_model(tmp_path / "plain.keras")
    assert identity_of(plain).differs(identity_of(loaded)) == ""


def test_what_shows_nothing_is_known_by_name_alone():
    network = model()
    for function in (lambda images: network(images), network.call, print):
        assert not identity_of(function).known
        assert (
            identity_of(function, "mine").differs(identity_of(function)) == "its name"
        )
    # Where there is more to see, a name says nothing: folders are renamed.
    assert identity_of(network, "mine").differs(identity_of(network, "yours")) == ""


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow")
def test_modules_and_saved_models_of_tensorflow(tmp_path):
    import tensorflow as tf

    class Module(tf.Module):
        def __init__(self, value, sign):
            super().__init__()
            self.scale, self.sign = tf.Variable(value), sign

        @tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 3))])
        def __call__(self, images):
            return self.sign * self.scale * tf.reduce_mean(images, (1, 2))

    def saved(name, module):
        signatures = {"serving_default": module.__call__.get_concrete_function()}
        tf.saved_model.save(module, str(tmp_path / name), signatures)
        return SavedModel(tmp_path / name)

    for same, other, what in (
        ((1.0, 1), (2.0, 1), "its weights"),
        ((1.0, 1), (1.0, -1), "its structure"),
    ):
        first, second = Module(*same), Module(*other)
        assert identity_of(first).differs(identity_of(second)) == what
        assert identity_of(first).differs(identity_of(Module(*same))) == ""
        paths = [f"{what} {i}" for i in range(2)]
        pair = [saved(*each) for each in zip(paths, (first, second), strict=True)]
        first, second = map(identity_of, pair)
        assert first.weights and first.structure and first.differs(second)
        assert first.differs(identity_of(SavedModel(tmp_path / paths[0]))) == ""


@pytest.mark.skipif(BACKEND != "torch", reason="of PyTorch")
def test_modules_of_pytorch():
    import torch

    class Module(torch.nn.Module):
        def __init__(self, seed=0, mean=0.0, sign=1, active="ReLU"):
            super().__init__()
            torch.manual_seed(seed)
            self.dense, self.sign = torch.nn.Linear(3, 5), sign
            self.active = getattr(torch.nn, active)()
            mean = torch.full((3,), mean)
            self.register_buffer("mean", mean, persistent=False)

        def forward(self, images):
            x = images.mean((1, 2)) - self.mean
            return self.sign * self.active(self.dense(x))

    expected = identity_of(Module())
    assert expected.differs(identity_of(Module().eval())) == ""
    for change, what in (
        ({"seed": 1}, "its weights"),
        ({"mean": 0.5}, "its weights"),
        ({"sign": -1}, "its structure"),
        ({"active": "Tanh"}, "its structure"),
    ):
        assert expected.differs(identity_of(Module(**change))) == what


@pytest.mark.skipif(BACKEND != "jax", reason="of JAX")
def test_pytrees_of_jax():
    import jax

    @jax.tree_util.register_pytree_node_class
    class Linear:
        def __init__(self, kernel, sign=1):
            self.kernel, self.sign = kernel, sign

        def __call__(self, images):
            return self.sign * images.mean((1, 2)) @ self.kernel

        def tree_flatten(self):
            return (self.kernel,), self.sign

        @classmethod
        def tree_unflatten(cls, sign, leaves):
            return cls(*leaves, sign)

    expected = identity_of(Linear(np.ones((3, 5))))
    assert expected.differs(identity_of(Linear(np.ones((3, 5))))) == ""
    assert expected.differs(identity_of(Linear(2 * np.ones((3, 5))))) == "its weights"
    assert expected.differs(identity_of(Linear(np.ones((3, 5)), -1))) == "its structure"
