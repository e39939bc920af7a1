"""Classifiers that fool an attack: error, warning or right number."""

import warnings

import keras
import numpy as np
import pytest
from conftest import BACKEND
from keras import layers, ops

from nfm_keras.attacks import APGD, FAB, PGD, AttackWarning, AutoAttack
from nfm_keras.backend.classifier import PlainClassifier

pytestmark = pytest.mark.backends

N, EPSILON = 50, 0.04


@pytest.fixture(scope="module")
def network():
    """A small network as it was drawn, whose gradient is as honest as any."""
    generator = np.random.default_rng(0)  # the same network on every backend
    weights = [generator.normal(size=(48, 24)) * 0.5, generator.normal(size=(24, 5))]
    model = keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            layers.Rescaling(2.0, offset=-1.0),
            layers.Flatten(),
            layers.Dense(24, activation="tanh", use_bias=False),
            layers.Dense(5, use_bias=False),
        ]
    )
    model.set_weights([0.5 * weights[0], 1.5 * weights[1]])
    return model


@pytest.fixture(scope="module")
def images(network):
    """Of many, those that the network is surest of, and some on the way to them."""
    images = np.random.default_rng(1).random((10 * N, 4, 4, 3)).astype("float32")
    logits = np.sort(ops.convert_to_numpy(network(images)), axis=1)
    return images[np.argsort(logits[:, -2] - logits[:, -1])[: 4 * N : 4]]


@pytest.fixture(scope="module")
def labels(network, images):
    return ops.convert_to_numpy(network(images)).argmax(axis=1)


@pytest.fixture(scope="module")
def right(network, images, labels):
    """How many images PGD breaks."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", AttackWarning)  # none for a healthy network
        broken = attack(network, images, labels).success.sum()
    assert 15 < broken < 40
    return broken


def attack(classifier, images, labels, **options):
    return PGD(EPSILON, steps=5)(classifier, images, labels, **options)


def half(points, one, other):
    """One for images whose first pixel is bright, the other for the rest."""
    return ops.where(points[:, 0, 0, :1] > 0.5, one, other)


def dark(points):
    return ops.cast(points[:, 0, 0, :1] <= 0.5, "float32")


def stuck(x):
    return ops.stop_gradient(x)


def centred(x):
    """0, with a slope."""
    return ops.mean(x - stuck(x), axis=(1, 2, 3))[:, None]


def root(x):
    """The absolute value, by a root whose slope at 0 is not finite."""
    return ops.sqrt(ops.square(x))


def to_first(x):
    """Logits of which the first alone is something."""
    return ops.pad(x, ((0, 0), (0, 4)))


ERRORS = {
    "input cut off": (lambda f, x: f(stuck(x)), "0 for all of 50"),
    "logits cut off": (lambda f, x: stuck(f(x)), "0 for all of 50"),
    "rounded": (lambda f, x: f(ops.round(x * 64) / 64), "0 for all of 50"),
    "uint8": (
        lambda f, x: f(ops.cast(ops.cast(x * 255, "uint8"), "float32") / 255),
        "0 for all of 50",
    ),
    "thresholds": (lambda f, x: f(ops.cast(x > 0.5, "float32")), "0 for all of 50"),
    "rounded logits": (lambda f, x: ops.round(20 * f(x)), "0 for all of 50"),
    "saturated": (lambda f, x: 10 * ops.tanh(1e6 * f(x)), "gradient 0 for all|logits"),
    "softmax": (lambda f, x: ops.softmax(f(x)), "probabilities that sum to 1"),
    "100 softmax": (lambda f, x: 100 * ops.softmax(f(x)), "probabilities that sum to"),
    "one-hot": (lambda f, x: ops.one_hot(ops.argmax(f(x), -1), 5), "probabilities"),
    "root of logits": (
        lambda f, x: f(x) + to_first(root(centred(x))),
        "not finite for 50",
    ),
    "not finite": (lambda f, x: f(x) * float("nan"), "NaN or infinite logits"),
}

WARNED = {
    "half cut off": (lambda f, x: half(x, f(stuck(x)), f(x)), "no_gradient"),
    "half rounded": (lambda f, x: half(x, f(ops.round(x * 64) / 64), f(x)), "no_grad"),
    "blind in stripes": (
        lambda f, x: ops.where(ops.sin(99 * x[:, 1, 1, :1]) > 0, f(x), f(stuck(x))),
        "no_gradient",
    ),
    "half spoilt": (
        lambda f, x: f(x) + to_first(root(centred(x) + dark(x))),
        "not_finite",
    ),
    "one pixel spoilt": (
        lambda f, x: f(x) + to_first(root(centred(x[:, :1, :1, :1]))),
        "not_finite",
    ),
    "sigmoids": (lambda f, x: ops.sigmoid(f(x)), "bounded"),
    "tanh": (lambda f, x: 10 * ops.tanh(20 * f(x)), "bounded"),
    "in thousandths": (lambda f, x: 1e-3 * f(x), "flat"),
    "in billionths": (lambda f, x: 1e-9 * f(x), "flat"),
    "clipped": (lambda f, x: ops.clip(f(x), -1.0, 1.0), "bounded"),
}

RIGHT = {
    "as it is": lambda f, x: f(x),
    "in thousands": lambda f, x: 1000 * f(x),
    "shifted": lambda f, x: f(x) + 300,
    "log of softmax": lambda f, x: ops.log_softmax(f(x)),
    "unused classes": lambda f, x: ops.pad(
        f(x), ((0, 0), (0, 3)), constant_values=-1e9
    ),
}


def made(change, network):
    return PlainClassifier(lambda points: change(network, points))


@pytest.mark.filterwarnings("ignore::nfm_keras.attacks.AttackWarning")
@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_be_attacked_is_refused(name, network, images, labels):
    change, message = ERRORS[name]
    with pytest.raises(ValueError, match=message):
        attack(made(change, network), images, labels)


@pytest.mark.parametrize("name", WARNED)
def test_what_hinders_the_attack_is_said(name, network, images, labels, right):
    change, doubt = WARNED[name]
    classifier = made(change, network)
    with pytest.warns(AttackWarning, match="may be too high"):
        result = attack(classifier, images, labels)
    assert any(found.startswith(doubt) for found in result.warnings), result.warnings
    missed = right - result.success.sum()
    assert sum(result.warnings.values()) >= missed


@pytest.mark.parametrize("name", RIGHT)
def test_what_only_looks_different_is_broken_alike(
    name, network, images, labels, right
):
    with warnings.catch_warnings():
        warnings.simplefilter("error", AttackWarning)
        result = attack(made(RIGHT[name], network), images, labels)
    assert abs(int(result.success.sum()) - int(right)) <= 1
    assert not result.warnings


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_head_is_attacked_through_its_logits(activation, network, images, labels):
    """By itself where Keras shows it, and for any other where it is said."""
    smaller = keras.Sequential([network, layers.Rescaling(0.5)])
    headed = keras.Sequential([smaller, layers.Activation(activation)])
    right = attack(smaller, images, labels).success.sum()

    def function(points):
        return getattr(ops, activation)(0.5 * network(points))

    for classifier, said in ((headed, None), (function, False), (headed, False)):
        with warnings.catch_warnings():
            warnings.simplefilter("error", AttackWarning)
            result = attack(classifier, images, labels, from_logits=said)
        np.testing.assert_allclose(result.success.sum(), right, atol=1)
    logits = PlainClassifier(headed).logits_of(images)
    expected = ops.convert_to_numpy(smaller(images))
    if activation == "softmax":
        expected = ops.convert_to_numpy(ops.log_softmax(expected))
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)


def test_probabilities_that_round_to_zero_are_counted(network, images, labels):
    def saturated(points):
        return ops.softmax(10 * network(points))

    with pytest.warns(AttackWarning, match="round to 0 or 1"):
        result = attack(saturated, images, labels, from_logits=False)
    assert 0 < result.warnings["underflow"] <= (~result.success).sum()


def test_logits_are_no_probabilities(network, images, labels):
    with pytest.raises(ValueError, match="each in .0,1.. Received: others"):
        attack(network, images, labels, from_logits=False)


@pytest.mark.parametrize("make", [APGD, FAB], ids=["apgd", "fab"])
def test_all_that_follow_a_gradient_are_guarded(make, network, images, labels):
    with pytest.raises(ValueError, match=r"needs a gradient.*0 for all of 50 images"):
        make(EPSILON, steps=3)(made(ERRORS["rounded"][0], network), images, labels)
    cut = made(WARNED["half cut off"][0], network)
    with pytest.warns(AttackWarning, match="without a gradient"):
        found = make(EPSILON / 2, steps=3)(cut, images, labels)
    assert found.warnings["no_gradient"] > 0


def test_the_cascade_counts_images_once_and_names_square(network, images, labels):
    with pytest.raises(ValueError, match=r"autoattack@0.04 needs a gradient"):
        AutoAttack(EPSILON)(made(ERRORS["uint8"][0], network), images, labels)
    attack = AutoAttack(EPSILON, steps=4, queries=100, targets=2)
    away = made(lambda f, x: 2 * stuck(f(x)) - f(x), network)  # leads the wrong way
    with pytest.warns(AttackWarning, match="broken by Square"):
        found = attack(away, images, labels)
    stages = found.stages
    assert found.warnings == {"square": stages["fab_t"] - stages["square"]}
    cut = made(WARNED["half cut off"][0], network)
    with pytest.warns(AttackWarning, match="without a gradient"):
        found = attack(cut, images, labels)
    assert found.warnings["no_gradient"] <= found.stages["square"]


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's ways to lose a gradient")
@pytest.mark.parametrize("way", ["no_grad", "inference_mode", "detach", "numpy"])
def test_pytorch_without_a_gradient(way, network, images, labels):
    import torch

    def classifier(points):
        if way == "detach":
            return network(points.detach())
        if way == "numpy":
            return network(torch.from_numpy(points.detach().numpy()))
        with getattr(torch, way)():
            return network(points)

    with pytest.raises(ValueError, match="needs a gradient"):
        attack(classifier, images, labels)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's way through NumPy")
def test_tensorflow_through_numpy(network, images, labels):
    import tensorflow as tf

    def classifier(points):
        same = tf.numpy_function(lambda x: x, [points], tf.float32)
        return network(tf.reshape(same, tf.shape(points)))

    with pytest.raises(ValueError, match="needs a gradient"):
        attack(classifier, images, labels)
