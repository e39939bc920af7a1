"""Noise of a given covariance, and the steps that a draw of NFM takes."""

import numpy as np


class Root:
    """Multiplies rows by a root of a covariance; None is the identity."""

    def __init__(self, root=None):
        self.root = root

    def __call__(self, rows):
        """Returns rows w with |w|^2 the quadratic form of the covariance."""
        return rows if self.root is None else rows @ self.root

    def transposed(self, rows):
        """Returns rows that have the covariance where those given have the identity."""
        return rows if self.root is None else rows @ self.root.T


def factor(covariance, d):
    """Returns the `Root` of a covariance.

    Args:
        covariance: `(d, d)`, or None for the identity.
        d: int.

    Raises:
        ValueError: If it is not symmetric and positive semidefinite, or of another
            size.
    """
    if covariance is None:
        return Root()
    covariance = np.asarray(covariance, "float64")
    if covariance.shape != (d, d) or not np.allclose(covariance, covariance.T):
        raise ValueError(
            f"A covariance of {d} features must be a symmetric ({d}, {d}) matrix. "
            f"Received: shape {covariance.shape}"
        )
    values, vectors = np.linalg.eigh(covariance)
    if values[0] < -1e-9 * max(values[-1], 1):
        raise ValueError(
            "A covariance must be positive semidefinite. "
            f"Received: one with the eigenvalue {values[0]:g}"
        )
    return Root(vectors * np.sqrt(np.maximum(values, 0)))


def lam_tilde(rng, mixing, n):
    """Draws n values of lambda from D~, the law of Theorem 1.

    Args:
        rng: `numpy.random.Generator`.
        mixing: `Mixing` with alpha above 0.
        n: int.
    """
    a, b = law_of(mixing)
    swapped = rng.uniform(size=n) < b / (a + b)
    return np.where(swapped, rng.beta(b + 1, a, size=n), rng.beta(a + 1, b, size=n))


def law_of(mixing):
    """Returns (alpha, beta) of lambda."""
    return mixing.alpha, mixing.alpha if mixing.beta is None else mixing.beta


def steps(rng, mixing, features, covariances):
    """Draws the steps of mixing, of additive and of multiplicative noise.

    Each is of its own law and size, with a probability of 1 folded in by size.

    Args:
        rng: `numpy.random.Generator`.
        mixing: `Mixing`.
        features: `(n, d)`.
        covariances: Pair of `Root`.

    Returns:
        Three arrays `(n, d)`; the first is None where nothing is mixed.
    """
    n, d = features.shape
    kept = rng.uniform(size=(n, 1)) < mixing.probability
    mix = None
    if mixing.mixes:
        share = 1 - lam_tilde(rng, mixing, n)[:, None]
        mix = kept * share * (features[rng.integers(n, size=n)] - features)
    add, mult = xi(rng, mixing, (n, d))
    add = kept * mixing.sigma_add * covariances[0].transposed(add)
    mult = kept * mixing.sigma_mult * covariances[1].transposed(mult) * features
    return mix, add, mult


def xi(rng, mixing, shape):
    """Draws additive and multiplicative noise of the law of a `Mixing`, sigma 1.

    Args:
        rng: `numpy.random.Generator`.
        mixing: `Mixing`.
        shape: `(n, d)`.

    Returns:
        Two arrays of that shape.
    """
    add = rng.normal(size=shape)
    if mixing.noise == "gaussian":
        mult = rng.normal(size=shape)
    else:
        scales = rng.beta(2, 5, size=(2, shape[0], 1))
        add, mult = scales[0] * add, scales[1] * rng.uniform(-1, 1, size=shape)
    if mixing.sparsity:
        kept = rng.uniform(size=(2, *shape)) >= mixing.sparsity
        add, mult = kept[0] * add, kept[1] * mult
    return add, mult
