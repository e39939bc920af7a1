"""Theorem 1 checked: NFM's loss by quadrature, and how fast the expansion nears it.

An expansion to second order that is right leaves an error of epsilon^3: its slope in a
log-log plot is 3. A wrong term of first order leaves 1, one of second order 2. That is
what is looked at here, since any formula is near at a small epsilon.
"""

from typing import NamedTuple

import keras
import numpy as np
import scipy.special
from keras import layers
from numpy.typing import ArrayLike

from nfm_keras.mixing import Mixing
from nfm_keras.theory import labels as forms
from nfm_keras.theory.moments import mixing_moments
from nfm_keras.theory.noise import factor, law_of
from nfm_keras.theory.split import Split
from nfm_keras.theory.terms import Point, regularizers

EPSILONS = (2e-3, 8e-3)
"""Where slopes are measured: larger ones meet terms of fourth order."""

_NORMALS = 4  # nodes a dimension of the noise; exact to epsilon^7


class Expansion(NamedTuple):
    """Errors of expansions against the exact loss.

    Attributes:
        epsilons: `(m,)`.
        errors: dict from the name of an expansion to `(m,)` absolute errors in nats.
    """

    epsilons: np.ndarray
    errors: dict[str, np.ndarray]

    def slopes(self) -> dict[str, float]:
        """Returns the log-log slope of each error between first and last epsilon."""
        run = np.log(self.epsilons[-1] / self.epsilons[0])
        ends = {name: error[[0, -1]] for name, error in self.errors.items()}
        return {name: float(np.log(b / a) / run) for name, (a, b) in ends.items()}


def small_network(outputs: int = 1, seed: int = 0) -> keras.Model:
    """Returns a tanh network 2-2-4-outputs in float64, small enough for quadrature.

    Its sites are `"input"` and `"hidden"`, both of two features.
    """
    start = keras.initializers.RandomNormal(seed=seed)
    weights = np.random.default_rng(seed)
    inputs = keras.Input((2,), dtype="float64")
    x = layers.Dense(2, "tanh", dtype="float64", name="hidden")(inputs)
    x = layers.Dense(4, "tanh", dtype="float64")(x)
    x = layers.Dense(outputs, dtype="float64", kernel_initializer=start)(x)
    model = keras.Model(inputs, x)
    for variable in model.weights:
        variable.assign(weights.normal(size=variable.shape))
    return model


def exact_loss(
    split: Split,
    images: ArrayLike,
    labels: ArrayLike,
    mixing: Mixing,
    epsilon: float,
    *,
    cov_add: ArrayLike | None = None,
    cov_mult: ArrayLike | None = None,
    rescaled: bool = False,
    nodes: int = 5,
) -> float:
    """Returns NFM's loss at a site, exact in lambda and noise.

    By Gauss-Jacobi nodes in lambda, Gauss-Hermite nodes in the noise and all pairs of
    images: for small sets and at most three features.

    Args:
        split: `Split` in float64.
        images, labels: As in `regularizers`.
        mixing: `Mixing` of the `gaussian` law, without `sparsity` and `probability`.
        epsilon: float. Multiplies 1 - lambda, sigma_add and sigma_mult.
        cov_add, cov_mult: As in `regularizers`.
        rescaled: bool. Equation (26) with mixed labels and lambda ~ Beta(alpha, beta),
            instead of (28) with own labels and lambda ~ D~, which Theorem 1 expands.
            They are equal at epsilon = 1, and nowhere else.
        nodes: int, of each law of lambda. Five are exact to epsilon^9.

    Raises:
        ValueError: For another law of the noise, or more than three features.
    """
    _check(split, mixing)
    g = split.features(images)
    y = forms.targets_of(labels, split.outputs)
    n, d = g.shape
    roots = factor(cov_add, d), factor(cov_mult, d)
    chances, adds, mults = _normals(d, mixing, *roots)
    total = 0.0
    for lam, weight in _lambdas(mixing, rescaled, nodes):
        share = epsilon * (1 - lam)
        mixed = g[:, None] + share * (g[None] - g[:, None])  # (i, r, d)
        targets = np.broadcast_to(y[:, None], (n, n, y.shape[1]))
        if rescaled:
            targets = targets + share * (y[None] - targets)
        rows = mixed[..., None, :] * (1 + epsilon * mults) + epsilon * adds
        logits = split.logits(rows.reshape(-1, d)).reshape(n, n, len(chances), -1)
        values = forms.losses(logits, targets[:, :, None])
        total += weight * float(np.mean(values @ chances))
    return total


def check_expansion(
    outputs: int = 1,
    site: str = "input",
    *,
    epsilons: ArrayLike = EPSILONS,
    mixing: Mixing | None = None,
    seed: int = 0,
) -> Expansion:
    """Returns the errors of the printed equations and of the right ones.

    On `small_network` with four images, alpha != beta and correlated noise. It needs
    the TensorFlow backend: on the others Keras computes a product of float64 matrices
    or a tanh in float32, and the errors to be seen are of 1e-9.

    Args:
        outputs: int. 1 for the binary form.
        site: `"input"` or `"hidden"`.
        epsilons: Increasing.
        mixing: `Mixing` of the `gaussian` law; one with alpha = 1.5, beta = 0.7 by
            default.
        seed: int, of weights, images and covariances.

    Returns:
        `Expansion` with the errors of `"theorem 1"`, of `"(19) as printed"` where
        `outputs` is 1, of `"D~ as printed"`, with weights of a half, and for the loss
        (26) rescaled those of `"(26), theorem 1"` and `"(26), its own"`.

    Raises:
        RuntimeError: On another backend.
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "The expansion is checked in float64, which Keras keeps on TensorFlow "
            f"alone. Received: KERAS_BACKEND={keras.backend.backend()}"
        )
    mixing = mixing or Mixing(1.5, 0.6, 0.8, 0.7, noise="gaussian")
    rng = np.random.default_rng(seed + 100)
    images = rng.normal(size=(4, 2))
    labels = np.arange(4) % max(outputs, 2)
    roots = rng.normal(size=(2, 2, 2))
    noise = {"cov_add": roots[0] @ roots[0].T, "cov_mult": roots[1] @ roots[1].T}
    split = Split(small_network(outputs, seed), site, batch_size=4096)
    given = split, images, labels, mixing
    found = regularizers(split, None, images, labels, mixing, method="exact", **noise)
    point = Point(split, images, labels)
    epsilons = np.asarray(epsilons, "float64")
    exact, other = (
        np.array([exact_loss(*given, e, **noise, rescaled=r) for e in epsilons])
        for r in (False, True)
    )
    right = np.array([found.expansion(e) for e in epsilons])
    errors = {"theorem 1": abs(exact - right)}
    if outputs == 1:
        wrong = printed_r1(point, found.moments.m1) - found.r1.value
        errors["(19) as printed"] = abs(exact - right - epsilons * wrong)
    errors["D~ as printed"] = abs(exact - _uniform(found, mixing, epsilons))
    errors["(26), theorem 1"] = abs(other - right)
    own = np.array([_rescaled(found, point, mixing, e) for e in epsilons])
    errors["(26), its own"] = abs(other - own)
    return Expansion(epsilons, errors)


def printed_r1(point, m1):
    """Returns equation (19) as printed, with h'(f - y) for h'(f) - y; one logit."""
    weights = scipy.special.expit(point.logits - point.y)
    gradients = point.split.pullback(point.g, weights)
    return -m1 * float(np.mean(np.sum(gradients * point.centred, axis=1)))


def _uniform(found, mixing, epsilons):
    """Theorem 1 with D~ as printed: both of its parts with the weight 1/2."""
    a, b = law_of(mixing)
    whole = a + b + 1
    m1 = (a + b) / (2 * whole)
    m2 = (a * (a + 1) + b * (b + 1)) / (2 * whole * (whole + 1))
    mix = found.r2.value + found.r3.value
    second = found.r2_total.value + found.r3_total.value
    second = second + (m2 / found.moments.m2 - 1) * mix
    first = found.r1.value * m1 / found.moments.m1
    return found.loss + epsilons * first + epsilons**2 * second


def _rescaled(found, point, mixing, epsilon):
    """The expansion of (26) with 1 - lambda rescaled in the labels, too."""
    a, b = law_of(mixing)
    first = b / (a + b)
    second = b * (b + 1) / ((a + b) * (a + b + 1))
    m1, m2, add, mult = mixing_moments(mixing)
    y, mean = point.y, point.y.mean(axis=0)
    labels = float(np.mean(np.sum((mean - y) * point.logits, axis=1)))
    # mean_r (y_r - y_i) . J_i (g_r - g_i), one output at a time
    cross = 0.0
    for c in range(y.shape[1]):
        rows = point.split.pullback(point.g, np.eye(y.shape[1])[[c] * len(y)])
        ways = rows @ point.g.T - np.sum(rows * point.g, axis=1, keepdims=True)
        cross += float(np.mean((y[:, c][None] - y[:, c][:, None]) * ways))
    mix = (found.r2.value + found.r3.value) / m2 - cross
    noise = add * (found.r2_add.value + found.r3_add.value)
    noise += mult * (found.r2_mult.value + found.r3_mult.value)
    return (
        found.loss
        + epsilon * first * (found.r1.value / m1 - labels)
        + epsilon**2 * (second * mix + noise)
    )


def _lambdas(mixing, rescaled, count):
    """Nodes of lambda with their weights."""
    if not mixing.mixes:
        return [(1.0, 1.0)]
    a, b = law_of(mixing)
    laws = [(a, b, 1.0)]
    if not rescaled:
        laws = [(a + 1, b, a / (a + b)), (b + 1, a, b / (a + b))]
    nodes = []
    for p, q, share in laws:
        x, w = scipy.special.roots_jacobi(count, q - 1, p - 1)
        nodes += zip((1 + x) / 2, share * w / w.sum())
    return nodes


def _normals(d, mixing, add, mult):
    """Nodes of both noises: weights, additive and multiplicative noise."""
    x, w = np.polynomial.hermite_e.hermegauss(_NORMALS)
    sizes = [mixing.sigma_add] * d + [mixing.sigma_mult] * d
    axes = [(x, w / w.sum()) if size else ([0.0], [1.0]) for size in sizes]
    points = np.stack(np.meshgrid(*(a for a, _ in axes), indexing="ij"), -1)
    chances = np.stack(np.meshgrid(*(w for _, w in axes), indexing="ij"), -1)
    points = points.reshape(-1, 2 * d)
    chances = chances.reshape(-1, 2 * d).prod(axis=1)
    adds = mixing.sigma_add * add.transposed(points[:, :d])
    mults = mixing.sigma_mult * mult.transposed(points[:, d:])
    return chances, adds, mults


def _check(split, mixing):
    plain = mixing.noise == "gaussian" and mixing.probability == 1
    if not plain or mixing.sparsity:
        raise ValueError(
            "Quadrature needs Gaussian noise in every draw: noise='gaussian', "
            f"probability=1, no sparsity. Received: {mixing}"
        )
    features = int(np.prod(split.shape))
    if features > 3:
        raise ValueError(
            f"Quadrature takes at most 3 features. Received: {features} at "
            f"{split.site!r}"
        )
