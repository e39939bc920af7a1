"""Lemma 1, Theorem 2, Proposition 1 and Theorem 5: the forms that hold, and others."""

import math

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy import special

from nfm_keras import theory
from nfm_keras.mixing import Mixing
from nfm_keras.theory import perturbed, total_variation
from nfm_keras.theory.expansion import exact_loss
from nfm_keras.theory.study import statements

pytestmark = pytest.mark.backends

LAW = Mixing(alpha=1.5, beta=0.7, sigma_add=0.6, sigma_mult=0.8, noise="gaussian")
MIX = Mixing(alpha=1.0, sigma_add=0.0, sigma_mult=0.0, noise="gaussian")
double = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="errors of 1e-9 are looked at"
)


def network(*kernels, activation="relu", biases=0.0, last=None):
    """Dense layers of these kernels, in float64."""
    x = inputs = keras.Input((len(kernels[0]),), dtype="float64")
    for number, kernel in enumerate(kernels):
        end = number == len(kernels) - 1
        layer = layers.Dense(
            len(kernel[0]), last if end else activation, dtype="float64"
        )
        x = layer(x)
        layer.set_weights([np.asarray(kernel), np.full(len(kernel[0]), biases)])
    return keras.Model(inputs, x)


# Lemma 1


@pytest.mark.parametrize(
    "mixing", [LAW, Mixing(), Mixing(probability=0.5, sparsity=0.3)]
)
def test_moments_of_the_perturbation_are_those_of_samples(mixing):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(3, 2)) + 1
    moments = theory.perturbation(z, mixing, epsilon=0.7)
    n = 60_000
    e = theory.sample_perturbation(np.tile(z, (n, 1)), mixing, epsilon=0.7)
    e = e.reshape(n, 3, 2).transpose(1, 0, 2)
    error = np.sqrt(np.einsum("idd->id", moments.covariance) / n)
    assert np.all(abs(e.mean(axis=1) - moments.mean) < 4.5 * error)
    for samples, covariance in zip(e, moments.covariance):
        scale = np.trace(covariance)
        np.testing.assert_allclose(np.cov(samples.T), covariance, atol=0.03 * scale)
    assert abs(moments.mean).max() > 10 * error.max()  # not 0, as the paper says


def test_moments_given_the_partner_average_to_those_without():
    z = np.random.default_rng(1).normal(size=(4, 2))
    x, w = np.polynomial.legendre.leggauss(6)
    mixing = Mixing(
        alpha=1.0, sigma_add=0.6, sigma_mult=0.8, noise="gaussian", probability=0.7
    )
    mean, square = 0, 0
    for lam, weight in zip((1 + x) / 2, w / 2):
        for partner in z:
            given = perturbed.given_partner(z, np.tile(partner, (4, 1)), lam, mixing)
            outer = given.mean[:, :, None] * given.mean[:, None, :]
            mean = mean + weight * given.mean / 4
            square = square + weight * (given.covariance + outer) / 4
    found = theory.perturbation(z, mixing)
    np.testing.assert_allclose(found.mean, mean, atol=1e-12)
    variances = np.einsum("idd->id", square) - mean**2
    np.testing.assert_allclose(np.einsum("idd->id", found.covariance), variances)


# Theorem 2


def meeting_the_hypotheses(seed=1):
    """A ReLU network without biases, and centred images of one norm, all right."""
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(3, 2))
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    images = np.concatenate([half, -half])
    model = network(rng.normal(size=(2, 8)), rng.normal(size=(8, 1)))
    labels = ops.convert_to_numpy(model(images))[:, 0] > 0
    return model, images, labels.astype(int)


@double
def test_the_loss_is_above_the_adversarial_one_where_the_hypotheses_hold():
    model, images, labels = meeting_the_hypotheses()
    epsilon = 1e-4
    bound = theory.adversarial_bound(
        model, "input", images, labels, MIX, epsilon=epsilon
    )
    assert bound.applies, [str(h) for h in bound.hypotheses]
    split = theory.Split(model, "input")
    f = split.logits(images)[:, 0]
    slope = np.linalg.norm(split.pullback(images, np.ones((6, 1))), axis=1)
    worst = (2 * labels - 1) * f - bound.epsilon_mix * slope
    adversarial = np.mean(np.logaddexp(0, -worst)) + np.mean(bound.reg)
    loss = exact_loss(split, images, labels, MIX, epsilon)
    assert -1e-3 < (loss - adversarial) / epsilon**2 < 10
    assert np.all(bound.epsilon_mix < epsilon * bound.linearised_margin / 2)


@double
def test_cosines_are_a_counterexample_that_an_added_hypothesis_excludes():
    """Every hypothesis of the paper holds, and the bound does not."""
    model, site, x, labels, _ = statements.cosines()
    epsilon = 1e-3
    bound = theory.adversarial_bound(model, site, x, labels, MIX, epsilon=epsilon)
    failing = [h.name for h in bound.hypotheses if not h.holds]
    assert failing == ["f has no curvature at the input"]
    sign = 2 * labels - 1
    ends = np.stack([np.cos(x[:, 0] + s * bound.epsilon_mix) for s in (1, -1)])
    adversarial = np.mean(np.logaddexp(0, -sign * ends).max(axis=0))
    loss = exact_loss(theory.Split(model, site), x, labels, MIX, epsilon)
    gap = (loss - adversarial - np.mean(bound.reg)) / epsilon**2
    np.testing.assert_allclose(gap, -0.0715, atol=2e-4)


@pytest.mark.parametrize(
    "broken, change",
    [
        ("classified", lambda m, x, y: (m, x, 1 - y)),
        ("v . g", lambda m, x, y: (biased(m), x, y)),
        ("no curvature", lambda m, x, y: (tanh(), x, np.arange(6) % 2)),
        ("gradients", lambda m, x, y: (network([[1.0], [0.0]], [[1.0]]), x, y)),
        ("features are not 0", lambda m, x, y: (m, x * (np.arange(6) > 0)[:, None], y)),
        ("mean of the features", lambda m, x, y: (m, x + 1.5, y)),
    ],
)
def test_each_hypothesis_fails_on_a_model_made_to_break_it(broken, change):
    model, images, labels = change(*meeting_the_hypotheses())
    bound = theory.adversarial_bound(model, "input", images, labels, MIX)
    assert not bound.applies
    failing = [h.name for h in bound.hypotheses if not h.holds]
    assert any(broken in name for name in failing), failing


def biased(model):
    for layer in model.layers[1:]:
        layer.bias.assign(layer.bias + 0.5)
    return model


def tanh():
    rng = np.random.default_rng(0)
    kernels = rng.normal(size=(2, 8)), rng.normal(size=(8, 1))
    return network(*kernels, activation="tanh")


def test_more_than_two_classes_are_refused():
    model = network(np.ones((2, 3)))
    with pytest.raises(ValueError, match="two classes.*Received: 3"):
        theory.adversarial_bound(model, "input", np.eye(2), [0, 1])


# Proposition 1


@pytest.mark.parametrize("outputs", [2, 3])
def test_the_bound_of_a_linear_network_is_its_margin_and_that_of_fab(outputs):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(4, outputs))
    x = rng.uniform(0.3, 0.7, size=(12, 4)).astype("float32")
    model = keras.Sequential([keras.Input((4,)), layers.Dense(outputs)])
    model.layers[0].set_weights([kernel, -0.5 * kernel.sum(axis=0)])
    labels = ops.convert_to_numpy(model(x)).argmax(axis=1)
    assert len(set(labels)) > 1
    found = theory.margins(model, x, labels)
    f = (x - 0.5) @ kernel
    gaps, sizes = (
        f[range(12), labels][:, None] - f,
        kernel.T[labels][:, None] - kernel.T,
    )
    sizes = np.linalg.norm(sizes, axis=2)
    true = np.where(sizes > 0, gaps / np.maximum(sizes, 1e-9), np.inf).min(axis=1)
    np.testing.assert_allclose(found.bound, true, rtol=1e-4)
    np.testing.assert_allclose(found.linearised, true, rtol=1e-4)
    if outputs == 3:
        found_by_fab = theory.fab_margins(model, x, labels, steps=10)
        np.testing.assert_allclose(found_by_fab, true, rtol=0.01)
    assert np.all(found.corrected <= true * (1 + 1e-5))


def test_the_printed_margin_is_twice_that_of_opposite_logits():
    model = network([[1.0, -1.0], [0.5, -0.5]])
    found = theory.margins(model, [[0.4, 0.2], [-0.4, -0.2]], [0, 1])
    np.testing.assert_allclose(found.corrected, 0.5 / np.hypot(1, 0.5), rtol=1e-6)
    np.testing.assert_allclose(found.printed, 2 * found.corrected)
    np.testing.assert_allclose(found.bound, found.corrected, rtol=1e-6)


def test_the_bound_holds_for_networks_and_is_none_where_nothing_is_known():
    rng = np.random.default_rng(0)
    kernels = [rng.normal(size=size) / 2 for size in ((3, 6), (6, 6), (6, 2))]
    model, x = network(*kernels), rng.uniform(size=(20, 3))
    labels = ops.convert_to_numpy(model(x)).argmax(axis=1)
    found = theory.margins(model, x, labels)
    assert np.all(found.bound > 0) and np.all(found.corrected <= found.bound + 1e-9)
    way = rng.normal(size=(400, 1, 3))
    near = x + way / np.linalg.norm(way, axis=2, keepdims=True) * found.bound[:, None]
    kept = ops.convert_to_numpy(model(near.reshape(-1, 3))).argmax(axis=1)
    assert np.all(kept.reshape(400, 20) == labels)
    wrong = theory.margins(model, x, 1 - labels)
    assert not wrong.bound.any() and not wrong.linearised.any()
    swish = network(*kernels, activation="swish")
    assert theory.margins(swish, x, labels).bound is None


# Theorem 5


@pytest.mark.parametrize("form", total_variation.FORMS)
def test_bounds_of_the_total_variation_hold(form):
    rng = np.random.default_rng(0)
    for case in range(40):
        d = 1 + case % 3
        z, tau = rng.normal(size=(2, d)) * [[3.0], [rng.uniform(0.05, 1)]]
        add, mult = rng.uniform(0.2, 1, size=2)
        value, error = total_variation.sampled_total_variation(
            z, tau, add, mult, form, n=20_000
        )
        bound = theory.total_variation_bound(z, tau, add, mult, form)
        assert value - 5 * error <= bound + 1e-12
        size = np.abs(z).max() if form == "diag" else np.linalg.norm(z)
        closed = theory.feature_epsilon(np.linalg.norm(tau), size, add, mult)
        assert value - 5 * error <= closed + 1e-12


def test_without_multiplicative_noise_the_distance_is_exact():
    z, tau = np.array([1.0, 2.0]), np.array([0.3, 0.4])
    exact = 2 * special.ndtr(0.5 / (2 * 0.4)) - 1
    np.testing.assert_allclose(theory.total_variation_bound(z, tau, 0.4, 0), exact)
    np.testing.assert_allclose(theory.feature_epsilon(0.5, 2.0, 0.4, 0), exact)
    value, error = total_variation.sampled_total_variation(z, tau, 0.4, 0)
    assert abs(value - exact) < 5 * error
    assert total_variation.printed_bound(z, tau, 0.4, 0) == 0 < value


def test_the_printed_bound_is_below_the_distance():
    given = np.array([3.0, 0.0]), np.array([-0.5, 0.0]), 0.6, 1.0
    value, error = total_variation.sampled_total_variation(*given, "outer")
    assert total_variation.printed_bound(*given) == 0
    assert theory.total_variation_bound(*given, "outer") > value > 0.1 > 10 * error


def test_what_is_certified_is_within_the_bound():
    distance = total_variation.certified_distance(0.6, 2.0, 0.5, 0.1)
    inside = theory.feature_epsilon(distance, 2.0, 0.5, 0.1)
    outside = theory.feature_epsilon(distance * 1.001, 2.0, 0.5, 0.1)
    assert 2 * inside <= 0.6 < 2 * outside
    tie = [[0.5, 0.5], [0.8, 0.2]]
    assert total_variation.certified(tie, 0.0).tolist() == [False, True]
    assert total_variation.l2_radius(1.0, 2, 100) == 1.0
    np.testing.assert_allclose(total_variation.l2_radius(1.0, math.inf, 100), 10.0)
    with pytest.raises(ValueError, match="sigma_add"):
        theory.feature_epsilon(1.0, 1.0, 0.0, 0.1)
