"""Theorems 1 and 3: the terms, their error bars, and the expansion that they make."""

import importlib

import keras
import numpy as np
import pytest
from keras import layers
from scipy import stats

from nfm_keras import networks
from nfm_keras.mixing import Mixing, NoisyFeatureMixup, remove_sites
from nfm_keras.theory import Split, mixing_moments, regularizers
from nfm_keras.theory.expansion import check_expansion, exact_loss, small_network

pytestmark = pytest.mark.backends

module = importlib.import_module("nfm_keras.theory.terms")
LAW = Mixing(alpha=1.5, beta=0.7, sigma_add=0.6, sigma_mult=0.8, noise="gaussian")


# Keras computes matrix products (PyTorch) and tanh (JAX) of float64 in float32.
DOUBLE = keras.backend.backend() == "tensorflow"
double = pytest.mark.skipif(not DOUBLE, reason="errors of 1e-9 are looked at")
CLOSE = {"rtol": 1e-9 if DOUBLE else 1e-5}


def close(received, expected):
    np.testing.assert_allclose(received, expected, **CLOSE)


def dense(weights, activation=None):
    """A network x -> activation(x W), or x -> x W."""
    weights = np.asarray(weights, "float64")
    inputs = keras.Input((len(weights),), dtype="float64")
    layer = layers.Dense(weights.shape[1], activation, use_bias=False, dtype="float64")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([weights])
    return model


@double
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("site", ["input", "hidden"])
def test_only_the_right_expansion_has_slope_three(site, outputs):
    slopes = check_expansion(outputs, site).slopes()
    assert slopes["theorem 1"] > 2.7
    assert slopes["(26), its own"] > 2.7
    assert slopes["(26), theorem 1"] < 1.3
    if outputs == 1:
        assert slopes["(19) as printed"] < 1.3


@double
@pytest.mark.parametrize("alpha, beta", [(1.5, 0.7), (1.0, None)])
def test_both_forms_of_the_loss_are_equal_at_epsilon_one(alpha, beta):
    mixing = Mixing(alpha, 0, 0, beta, noise="gaussian")
    split = Split(small_network(3), "hidden", batch_size=4096)
    images, labels = np.random.default_rng(0).normal(size=(3, 2)), [0, 1, 2]
    given = split, images, labels, mixing
    for epsilon, equal in ((1.0, True), (0.5, False)):
        own, mixed = (
            exact_loss(*given, epsilon, rescaled=r, nodes=40) for r in (False, True)
        )
        assert (abs(own - mixed) < 1e-12) == equal


def test_terms_of_a_linear_model_are_their_closed_forms():
    rng = np.random.default_rng(0)
    weights, images = rng.normal(size=(3, 1)), rng.normal(size=(6, 3))
    labels = np.arange(6) % 2
    root = rng.normal(size=(3, 3))
    found = regularizers(
        dense(weights),
        "input",
        images,
        labels,
        LAW,
        method="exact",
        cov_add=root @ root.T,
    )
    f, v = (images @ weights)[:, 0], weights[:, 0]
    mean = 1 / (1 + np.exp(-f))
    second, (m1, m2, _, _) = mean * (1 - mean), mixing_moments(LAW)
    close(found.r1.value, m1 * np.mean((mean - labels) * (f.mean() - f)))
    pairs = (f[None] - f[:, None]) ** 2
    close(found.r2.value, m2 / 2 * np.mean(second * pairs.mean(axis=1)))
    close(found.r2_add.value, np.mean(second) * np.sum((root.T @ v) ** 2) / 2)
    close(found.r2_mult.value, np.mean(second * np.sum((images * v) ** 2, 1)) / 2)
    # Neither sigma_mult^2 (g . v)^2 nor a third term: the model is linear.
    assert found.r3.value == found.r3_add.value == found.r3_mult.value == 0


def test_terms_of_a_quadratic_model_are_their_closed_forms():
    images = np.random.default_rng(0).normal(size=(6, 2))
    labels = np.arange(6) % 2
    model = dense([[2.0], [-1.0]], keras.ops.square)
    found = regularizers(model, "input", images, labels, LAW, method="exact")
    u = np.array([2.0, -1.0])
    f = (images @ u) ** 2
    residual = 1 / (1 + np.exp(-f)) - labels
    pairs = (images[None] - images[:, None]) @ u
    expected = {
        "r3": mixing_moments(LAW).m2 * np.mean(residual * np.mean(pairs**2, axis=1)),
        "r3_add": np.mean(residual) * 5,
        "r3_mult": np.mean(residual * np.sum((images * u) ** 2, axis=1)),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(found, name).value, value, **CLOSE)


def test_error_bars_cover_the_exact_terms_as_often_as_they_say(monkeypatch):
    monkeypatch.setattr(module, "EXACT_CLASSES", 0)  # labels are sampled, too
    rng = np.random.default_rng(0)
    split = Split(small_network(3), "hidden", batch_size=128)
    images, labels = rng.normal(size=(128, 2)), np.arange(128) % 3
    given = split, None, images, labels, LAW
    exact = regularizers(*given, method="exact")
    terms = ("r2", "r3", "r2_add", "r3_add", "r2_mult", "r3_mult")
    inside = []
    for seed in range(25):
        found = regularizers(*given, probes=8, seed=seed)
        for name in terms:
            (value, error), truth = getattr(found, name), getattr(exact, name).value
            inside.append(abs(value - truth) <= 1.96 * error)
        assert found.r1 == exact.r1
    assert 0.90 <= np.mean(inside) <= 0.99


def test_finite_steps_see_the_kinks_that_second_derivatives_miss():
    """One ReLU and a kink at a distance: E (relu(x + s) + relu(x - s) - 2 relu(x))."""
    inputs = keras.Input((1,), dtype="float64")
    hidden = layers.Dense(1, "relu", dtype="float64")
    output = layers.Dense(1, dtype="float64")
    model = keras.Model(inputs, output(hidden(inputs)))
    hidden.set_weights([np.ones((1, 1)), np.zeros(1)])
    output.set_weights([np.ones((1, 1)), np.array([-0.3])])
    mixing = Mixing(alpha=0, sigma_add=0.5, sigma_mult=0, noise="gaussian")
    images, labels = np.array([[0.25], [0.75]] * 64), [0, 1] * 64
    given = model, "input", images, labels, mixing
    assert regularizers(*given, method="exact").r3_add.value == 0
    found = regularizers(*given, method="finite", probes=8).r3_add
    x = np.array([0.25, 0.75])
    relu = 0.5 * stats.norm.pdf(x / 0.5) - x * stats.norm.sf(x / 0.5)
    residual = 1 / (1 + np.exp(0.3 - x)) - [0, 1]
    expected = np.mean(residual * relu) / 0.25
    assert abs(found.value - expected) < 4 * found.error < abs(expected)


def test_laws_of_the_noise_and_of_lambda():
    assert mixing_moments(Mixing(noise="gaussian", sparsity=0.25)).add == 0.4**2 * 0.75
    law = mixing_moments(LAW)
    assert law.m1 == 2 * law.m2
    rng = np.random.default_rng(0)
    lam = rng.beta(1.5, 0.7, size=200_000)
    np.testing.assert_allclose(law.m2, np.mean(lam * (1 - lam)), rtol=0.01)
    scaled = mixing_moments(Mixing())
    np.testing.assert_allclose(scaled.add / 0.4**2, 3 / 28)
    np.testing.assert_allclose(scaled.mult / 0.2**2, 1 / 28)


def test_a_site_of_a_network_of_images_splits_it():
    inputs = keras.Input((4, 4, 1))
    x = layers.Conv2D(2, 3, activation="tanh")(inputs)
    x = NoisyFeatureMixup(name="site")(layers.BatchNormalization()(x))
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    images = np.random.default_rng(0).uniform(size=(5, 4, 4, 1))
    split = Split(model, "site", batch_size=2)
    logits = split.logits(split.features(images))
    expected = keras.ops.convert_to_numpy(model(images.astype("float32")))
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    found = regularizers(model, "site", images, np.arange(5) % 3, probes=4)
    assert found.r3_add == (0, 0) and found.r2.value > 0  # linear behind the site


class Centred(layers.Layer):
    """Subtracts the mean over the batch, whatever the mode."""

    def call(self, inputs):
        return inputs - keras.ops.mean(inputs, axis=0)


def ends_with(layer):
    inputs = keras.Input((2,))
    return keras.Model(inputs, layer(layers.Dense(2)(inputs)))


IMAGES = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
CONSTANT = layers.Lambda(lambda x: keras.ops.stop_gradient(x))


@pytest.mark.parametrize(
    "layer, labels, expected",
    [
        (Centred(), [0, 1, 0], "function of one image"),
        (layers.Softmax(), [0, 1, 0], "h\\(f\\) - y f"),
        (CONSTANT, [0, 1, 0], "gradients that are all 0"),
        (layers.Identity(), [1, 1, 1], "class 1 only"),
        (layers.Identity(), [0, 2, 1], "integers from 0 to 1"),
        (layers.Identity(), [[0.5, 0.6]] * 3, "the sum 1"),
        (layers.Identity(), [0, 1], "3 images and 2 labels"),
    ],
)
def test_what_the_theory_does_not_cover_is_named(layer, labels, expected):
    with pytest.raises(ValueError, match=expected):
        regularizers(ends_with(layer), "input", IMAGES, labels)


def test_a_site_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="Did you mean 'input'"):
        Split(small_network(), "inputs")
    with pytest.raises(ValueError, match="float32 or float64"):
        keras.config.set_dtype_policy("mixed_bfloat16")
        Split(ends_with(layers.Identity()), "input")


def test_the_site_of_a_copy_that_shares_its_layers_is_its_own():
    network = networks.mlp((2,), 3, width=0.25, depth=1)
    copy = remove_sites(network)
    x = np.random.default_rng(0).normal(size=(4, 2))
    for model in (network, copy):
        split = Split(model, "dense_1")
        expected = keras.ops.convert_to_numpy(model(x.astype("float32")))
        logits = split.logits(split.features(x))
        np.testing.assert_allclose(logits, expected, atol=1e-5)


@pytest.mark.parametrize("end", ["nested", "reshaped", "operation"])
def test_a_softmax_is_seen_wherever_it_stands(end):
    inputs = keras.Input((4,))
    head = layers.Dense(3, activation=None if end == "operation" else "softmax")
    if end == "nested":
        outputs = keras.Sequential([keras.Input((4,)), head])(inputs)
    elif end == "reshaped":
        outputs = layers.Reshape((3,))(head(inputs))
    else:
        outputs = keras.ops.softmax(head(inputs))
    with pytest.raises(ValueError, match="Received: a model that ends in softmax"):
        Split(keras.Model(inputs, outputs), "input")
