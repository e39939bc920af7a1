"""Lemma 1: the perturbation of the features that NFM amounts to, and its moments."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nfm_keras.mixing import Mixing
from nfm_keras.theory.moments import mixing_moments
from nfm_keras.theory.noise import factor, law_of, xi


class Moments(NamedTuple):
    """Mean `(n, d)` and covariance `(n, d, d)` of a perturbation, for each image."""

    mean: np.ndarray
    covariance: np.ndarray


def given_partner(
    features: ArrayLike, partners: ArrayLike, lam: float, mixing: Mixing
) -> Moments:
    """Returns the moments of e, given partner and lambda.

        E e = (1 - lambda) (z~ - z),   Cov e = s_add^2 I + s_mult^2 diag(M)^2

    with M = lambda z + (1 - lambda) z~; where a batch is left as it is now and then
    (`Mixing.probability`), over that too. The paper writes N(0, s_add^2 + s_mult^2
    M^2): the mean is not 0. The law is Gaussian if the noise is, and all are mixed.

    Args:
        features: `(n, d)`, z.
        partners: `(n, d)`, z~.
        lam: float, lambda.
        mixing: `Mixing`; its lambda is not used.

    Example:

    >>> mixing = Mixing(sigma_add=1.0, sigma_mult=1.0, noise="gaussian")
    >>> given_partner([[0.0]], [[4.0]], 0.5, mixing)
    Moments(mean=array([[2.]]), covariance=array([[[5.]]]))
    """
    features, partners = np.asarray(features, float), np.asarray(partners, float)
    _, _, add, mult = mixing_moments(mixing)
    mixed = lam * features + (1 - lam) * partners
    variances = add + mult * mixed**2
    mean, active = (1 - lam) * (partners - features), mixing.probability
    covariance = variances[:, :, None] * np.eye(features.shape[1])
    covariance = covariance + active * (1 - active) * _outer(mean, mean)
    return Moments(active * mean, covariance)


def perturbation(
    features: ArrayLike,
    mixing: Mixing,
    *,
    epsilon: float = 1.0,
    cov_add: ArrayLike | None = None,
    cov_mult: ArrayLike | None = None,
) -> Moments:
    """Returns the moments of e of equation (11), over partners, lambda and noise.

    With B1, B2 the moments of 1 - lambda ~ Beta(beta, alpha) and D = z~ - z,

        E e = B1 (mean_r z_r - z)
        Cov e = B2 E[D D^T] - E e E e^T + s_add^2 C_add + s_mult^2 C_mult o E[M M^T]

    where M = z + epsilon (1 - lambda) D. It is not Gaussian, and its mean is not 0.

    Args:
        features: `(n, d)`: every image is a partner of every other, and of itself.
        mixing: `Mixing`.
        epsilon: float, as in Theorem 1; z + epsilon e is what the site returns.
        cov_add, cov_mult: `(d, d)`, the identity by default.

    Returns:
        `Moments`.

    Reference: Lim et al. 2021, Lemma 1 and equations (11) to (15).
    """
    z = np.asarray(features, "float64")
    d = z.shape[1]
    away = z.mean(axis=0) - z
    first, second = _shares(mixing)
    _, _, add, mult = mixing_moments(mixing)
    matrices = [_matrix(factor(c, d), d) for c in (cov_add, cov_mult)]
    pairs = np.cov(z.T, ddof=0).reshape(d, d) + _outer(away, away)
    crossed = _outer(z, away)
    mixed = _outer(z, z) + epsilon**2 * second * pairs
    mixed = mixed + epsilon * first * (crossed + crossed.transpose(0, 2, 1))
    active = mixing.probability
    mean = active * first * away
    square = active * second * pairs + add * matrices[0] + mult * matrices[1] * mixed
    return Moments(mean, square - _outer(mean, mean))


def sample_perturbation(
    features: ArrayLike, mixing: Mixing, *, seed: int = 0, epsilon: float = 1.0
) -> np.ndarray:
    """Returns one e of equation (11) for each image, `(n, d)`.

    Args:
        features: `(n, d)`.
        mixing: `Mixing`.
        seed: int.
        epsilon: float.
    """
    z = np.asarray(features, "float64")
    rng = np.random.default_rng(seed)
    n = len(z)
    mix = np.zeros_like(z)
    if mixing.mixes:
        a, b = law_of(mixing)
        share = 1 - rng.beta(a, b, size=(n, 1))
        mix = share * (z[rng.integers(n, size=n)] - z)
    add, mult = xi(rng, mixing, z.shape)
    add, mult = mixing.sigma_add * add, mixing.sigma_mult * mult
    active = rng.uniform(size=(n, 1)) < mixing.probability
    return active * ((1 + epsilon * mult) * mix + mult * z + add)


def _shares(mixing):
    """B1 and B2, the moments of 1 - lambda under Beta(alpha, beta)."""
    if not mixing.mixes:
        return 0.0, 0.0
    a, b = law_of(mixing)
    return b / (a + b), b * (b + 1) / ((a + b) * (a + b + 1))


def _outer(rows, others):
    return rows[:, :, None] * others[:, None, :]


def _matrix(root, d):
    square = root(np.eye(d))
    return square @ square.T
