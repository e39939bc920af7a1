"""Classifiers that end in other things than a layer of logits."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from nfm_keras.serving import checks, heads, saved_model
from nfm_keras.serving.saved_model import export

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="SavedModel is TensorFlow's format"
)

# Of two channels: no file has them, and files take the time of an export.
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 2), dtype=np.uint8)
UNIT = (IMAGES / 255).astype("float32")


def network(*head, first=(), dtype="float32"):
    inputs = keras.Input((4, 4, 2), dtype=dtype)
    x = inputs
    for layer in (*first, layers.Flatten(), *head):
        x = layer(x)
    return keras.Model(inputs, x)


def nested():
    part = keras.Sequential([keras.Input((32,)), layers.Dense(2, activation="softmax")])
    return network(part)


SIGMOIDS = {
    "one": lambda: network(layers.Dense(1, activation="sigmoid")),
    "one logit": lambda: network(layers.Dense(1)),
    "several": lambda: network(layers.Dense(3, activation="sigmoid")),
    "a layer of its own": lambda: network(
        layers.Dense(3), layers.Activation("sigmoid")
    ),
    "an operation": lambda: network(layers.Dense(3), ops.sigmoid),
    "of keras.ops": lambda: network(layers.Dense(1, activation=ops.sigmoid)),
    "of TensorFlow": lambda: network(layers.Dense(3, activation=tensorflow_sigmoid())),
    "uint8": lambda: network(
        layers.Dense(1, activation="sigmoid"),
        first=[layers.Rescaling(1 / 255)],
        dtype="uint8",
    ),
}


@pytest.mark.parametrize("name", SIGMOIDS)
def test_probabilities_of_sigmoids_are_the_sigmoids(name, tmp_path):
    import tensorflow as tf

    model = SIGMOIDS[name]()
    expected = model(IMAGES if name == "uint8" else UNIT, training=False).numpy()
    if name == "one logit":
        expected = ops.sigmoid(expected).numpy()
    path = export(model, tmp_path / "model")
    found = tf.saved_model.load(str(path)).signatures["serving_default"](
        images=tf.constant(UNIT)
    )
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)
    np.testing.assert_allclose(ops.sigmoid(found["logits"]), expected, atol=1e-6)
    single = expected.shape[1] == 1
    best = expected[:, 0] > 0.5 if single else expected.argmax(1)
    classes = [str(int(number)) for number in best]
    assert [text.decode() for text in found["classes"].numpy()] == classes
    assert [label for label, _ in saved_model.classify(path, IMAGES)] == classes


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
def test_dicts_of_one_tensor_are_that_tensor(tmp_path):
    plain = network(layers.Dense(3))
    model = keras.Model({"image": plain.inputs[0]}, {"logits": plain.outputs[0]})
    path = export(model, tmp_path / "model")
    best = plain.predict(UNIT, verbose=0).argmax(1)
    assert [label for label, _ in saved_model.classify(path, IMAGES)] == [
        *map(str, best)
    ]


def tensorflow_sigmoid():
    import tensorflow as tf

    return tf.nn.sigmoid


class InCode(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2, activation="softmax")

    def call(self, x):
        return self.dense(ops.reshape(x, (-1, 32)))


def in_code():
    model = InCode()
    model(UNIT)
    return model


REFUSED = {
    "a model in code": (in_code, "must be a functional model.*Received: InCode"),
    "a softmax in code": (
        lambda: network(layers.Reshape((4, 4, 2)), InCode()),
        "must end in logits",
    ),
    "a softmax within": (nested, "must end in logits"),
    "a hard sigmoid": (
        lambda: network(layers.Dense(1, activation="hard_sigmoid")),
        "must end in logits or sigmoids.*'dense.*, which is a hard_sigmoid",
    ),
    "sigmoids in code": (
        lambda: network(layers.Dense(1, activation=lambda x: ops.sigmoid(x))),
        "must end in logits or sigmoids.*whose outputs are all in .0, 1.",
    ),
    "an image": (
        lambda: network(layers.Reshape((4, 8))),
        r"logits of shape \(batch, classes\)",
    ),
    "two outputs": (
        lambda: keras.Model((x := keras.Input((4, 4, 1))), {"a": x, "b": x}),
        "one input and one output",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_classifier_is_refused_in_one_sentence(name, tmp_path):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        export(make(), tmp_path / "model")


def test_a_sigmoid_before_the_last_layer_is_refused():
    """Taken for logits it would be served as a softmax of probabilities."""
    model = network(layers.Dense(3, activation="sigmoid"), layers.Reshape((3,)))
    with pytest.raises(ValueError, match="A sigmoid must be .*Received: 'reshape"):
        heads.head_of(model, UNIT)


class OfHalves(layers.Dense):
    """A layer of one's own with a softmax, which nothing but its numbers shows."""

    def call(self, x):
        return ops.softmax(super().call(x))


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_a_softmax_in_half_precision_is_seen(dtype):
    """Its sums are off by what the type rounds."""
    keras.utils.set_random_seed(0)
    last = layers.Activation("linear", dtype="float32")
    for head in ([OfHalves(100, dtype=dtype)], [OfHalves(100, dtype=dtype), last]):
        with pytest.raises(ValueError, match="which is a softmax"):
            checks.check_classifier(network(*head))


def test_logits_between_0_and_1_are_taken_where_the_layers_say_so():
    """A constant of 0.5 looks like a probability."""
    half = keras.initializers.Constant(0.5)
    settings = {"kernel_initializer": "zeros", "bias_initializer": half}
    unknown = layers.Dense(1, activation=lambda x: x, **settings)
    for head in ([layers.Dense(1, **settings)], [unknown, layers.Activation("linear")]):
        assert checks.check_classifier(network(*head))
    with pytest.raises(ValueError, match=r"a last `Activation\('linear'\)` says"):
        checks.check_classifier(network(unknown))
