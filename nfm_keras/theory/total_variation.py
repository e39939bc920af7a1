"""Theorem 5 in a form that holds: how far noise hides a perturbation.

The paper's bound, 9/2 min(1, max(A, B)) of equation (107), is false: for noise of
covariance s_add^2 I + s_mult^2 x x^T its B is 0 always, its A can be negative, and at
s_mult = 0 it is 0 while the distance is not. What is here is a sum in which the first
term is the exact distance of Gaussians of one covariance.

Distances between features, `sigma_add` and norms of features are in units of the
features; `sigma_mult` is a ratio; `alpha` is in units of the input.
"""

import numpy as np
import scipy.special
from numpy.typing import ArrayLike

from nfm_keras.checks import check_number, unknown

FORMS = ("diag", "outer")


def total_variation_bound(
    z: ArrayLike,
    tau: ArrayLike,
    sigma_add: float,
    sigma_mult: float,
    form: str = "diag",
) -> float:
    """Returns a bound of the total variation of two features under Gaussian noise.

    Of N(z, S(z)) and N(z + tau, S(z + tau)), with E = S1^-1/2 S2 S1^-1/2 - I, the least
    of 1, of

        2 Phi(m / 2) - 1 + c |E|_F,   m^2 = tau^T S1^-1 tau

    with c = 1/2 where the least eigenvalue of E is at least -2/3 and 3/2 elsewhere, and
    of sqrt(KL / 2) of either direction. Exact at `sigma_mult = 0`.

    Args:
        z, tau: `(d,)`.
        sigma_add: float, above 0.
        sigma_mult: float.
        form: `"diag"`, S(x) = s_add^2 I + s_mult^2 diag(x)^2, the noise of NFM; or
            `"outer"`, with x x^T, that of the paper's Lemma 3.

    Returns:
        float in [0, 1].

    Raises:
        ValueError: For numbers out of range or another form.

    Example:

    >>> round(total_variation_bound([3.0], [1.0], 0.5, 0.0), 4)  # 2 Phi(1) - 1
    0.6827

    Reference: Lim et al. 2021, Lemma 3; corrected.
    """
    _check(sigma_add, sigma_mult)
    z, tau = np.asarray(z, "float64"), np.asarray(tau, "float64")
    first, second = (covariance(x, sigma_add, sigma_mult, form) for x in (z, z + tau))
    root = np.linalg.cholesky(first)
    whitened = np.linalg.solve(root, np.linalg.solve(root, second).T)
    values = np.linalg.eigvalsh((whitened + whitened.T) / 2)
    shift = np.linalg.norm(np.linalg.solve(root, tau))
    change = values - 1
    constant = 0.5 if change.min() >= -2 / 3 else 1.5
    split = _same_covariance(shift) + constant * np.linalg.norm(change)
    back = tau @ np.linalg.solve(second, tau)
    log = np.sum(np.log(values))
    divergences = (
        np.sum(1 / values) - len(z) + log + back,
        np.sum(values) - len(z) - log + shift**2,
    )
    pinsker = np.sqrt(max(min(divergences), 0) / 4)
    return float(min(1.0, split, pinsker)) if sigma_mult else float(min(1.0, split))


def covariance(x, sigma_add, sigma_mult, form="diag"):
    """Returns S(x), `(d, d)`; see `total_variation_bound`."""
    if form not in FORMS:
        raise unknown("form", form, FORMS)
    square = np.diag(x**2) if form == "diag" else np.outer(x, x)
    return sigma_add**2 * np.eye(len(x)) + sigma_mult**2 * square


def feature_epsilon(
    distance: float, size: float, sigma_add: float, sigma_mult: float
) -> float:
    """Returns epsilon_k, the closed form of the bound over all features of a size.

        min(1, 2 Phi(t / 2 s_add) - 1 + c (s_mult / s_add)^2 (2 N t + t^2))

    c is 1/2 where the factor of it is at most 2/3, and 3/2 elsewhere.

    Args:
        distance: float, t. Largest l2 distance that the perturbation moves a feature
            vector by. Measured on some pairs, it makes a measurement, not a bound.
        size: float, N. Largest l-inf norm of the features (l2 norm for `"outer"`).
        sigma_add, sigma_mult: floats.

    Raises:
        ValueError: For numbers out of range.

    Reference: Lim et al. 2021, equation (107); corrected.
    """
    _check(sigma_add, sigma_mult)
    check_number("distance", distance, least=0)
    check_number("size", size, least=0)
    change = (sigma_mult / sigma_add) ** 2 * (2 * size * distance + distance**2)
    constant = 0.5 if change <= 2 / 3 else 1.5
    return min(1.0, float(_same_covariance(distance / sigma_add) + constant * change))


def l2_radius(alpha: float, p: float, dimension: int) -> float:
    """Returns the l2 radius of an lp ball: alpha d^(1/2 - 1/p) for p above 2.

    Args:
        alpha: float, in units of the input, [0,1] or [0,255] alike.
        p: float above 0, or `math.inf`.
        dimension: int, d, of the input.

    Raises:
        ValueError: For numbers out of range.

    Example:

    >>> round(l2_radius(8 / 255, float("inf"), 3072), 3)
    1.739
    """
    check_number("alpha", alpha, least=0)
    if not p > 0:
        raise ValueError(f"`p` must be above 0. Received: {p!r}")
    return float(alpha * (dimension ** (0.5 - 1 / p) if p > 2 else 1.0))


def certified(probabilities: ArrayLike, epsilon: float) -> np.ndarray:
    """Returns whether the most likely class stays, equation (112).

    Args:
        probabilities: `(n, classes)`, of the noisy classifier, known exactly.
        epsilon: float, epsilon_k.

    Returns:
        `(n,)` bool: top1 - top2 > 2 epsilon. Strictly: a tie has no argmax.
    """
    ordered = np.sort(np.asarray(probabilities, "float64"), axis=1)
    return ordered[:, -1] - ordered[:, -2] > 2 * epsilon


def certified_distance(
    gap: float, size: float, sigma_add: float, sigma_mult: float
) -> float:
    """Returns the largest distance between features at which (112) certifies.

    Args:
        gap: float in [0, 1], top1 - top2 of the noisy classifier's probabilities.
        size, sigma_add, sigma_mult: As in `feature_epsilon`.

    Returns:
        float, l2, in units of the features. At site 0 these are the input's, and
        `nfm_keras.evaluation.smoothing.certify` gives a larger radius.
    """
    check_number("gap", gap, least=0, most=1)
    far = 10 * sigma_add

    def excess(t):
        return 2 * feature_epsilon(t, size, sigma_add, sigma_mult) - gap

    if gap == 0 or excess(far) <= 0:
        return 0.0 if gap == 0 else far
    low, high = 0.0, far
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if excess(middle) > 0 else (middle, high)
    return low


def sampled_total_variation(
    z: ArrayLike,
    tau: ArrayLike,
    sigma_add: float,
    sigma_mult: float,
    form: str = "diag",
    *,
    n: int = 100_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Returns the distance that `total_variation_bound` bounds, with standard error.

    The mean of (1 - q/p)+ over n samples of p.
    """
    _check(sigma_add, sigma_mult)
    z, tau = np.asarray(z, "float64"), np.asarray(tau, "float64")
    first, second = (covariance(x, sigma_add, sigma_mult, form) for x in (z, z + tau))
    root = np.linalg.cholesky(first)
    white = np.random.default_rng(seed).normal(size=(n, len(z)))
    other = np.linalg.solve(np.linalg.cholesky(second), (white @ root.T - tau).T)
    logs = np.linalg.slogdet(first)[1] - np.linalg.slogdet(second)[1]
    ratio = (np.sum(white**2, axis=1) - np.sum(other**2, axis=0) + logs) / 2
    values = np.maximum(0, -np.expm1(np.minimum(ratio, 0)))
    return float(values.mean()), float(values.std() / np.sqrt(n))


def printed_bound(z, tau, sigma_add, sigma_mult):
    """Returns 9/2 min(1, max(A, B)) of Lemma 3 as printed, with beta = 0; false.

    B is 0: with x x^T all of its eigenvalues are.
    """
    z, tau = np.asarray(z, "float64"), np.asarray(tau, "float64")
    a = (sigma_mult / sigma_add) ** 2 * (tau @ tau + 2 * tau @ z)
    return 4.5 * min(1.0, max(float(a), 0.0))


def _same_covariance(shift):
    """Total variation of N(0, I) and N(m, I): 2 Phi(|m| / 2) - 1."""
    return scipy.special.erf(shift / np.sqrt(8))


def _check(sigma_add, sigma_mult):
    check_number("sigma_add", sigma_add, above=0)
    check_number("sigma_mult", sigma_mult, least=0)
