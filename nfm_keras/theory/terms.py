"""What NFM's loss regularises at small noise: Theorems 1 and 3, as measured numbers.

The expansion is a diagnostic at small noise. At the noise that NFM trains with it is
off by more than the loss itself (120 to 140 % in the median of small tanh networks), so
no sum of these terms is "the NFM loss"; each on its own says what is penalised.
"""

import keras
import numpy as np
from numpy.typing import ArrayLike

from nfm_keras.checks import check_count, unknown
from nfm_keras.mixing import Mixing
from nfm_keras.theory import labels as forms
from nfm_keras.theory.estimates import Estimate, Regularizers
from nfm_keras.theory.moments import mixing_moments
from nfm_keras.theory.noise import factor, steps
from nfm_keras.theory.split import Split, check_per_image

METHODS = ("exact", "estimate", "finite")

EXACT_CLASSES = 10
"""Up to so many, R2 takes a gradient a class and is exact; beyond, sampled labels."""


def regularizers(
    model: keras.Model | Split,
    site: str | None,
    images: ArrayLike,
    labels: ArrayLike,
    mixing: Mixing | None = None,
    *,
    method: str = "estimate",
    probes: int = 2,
    cov_add: ArrayLike | None = None,
    cov_mult: ArrayLike | None = None,
    seed: int = 0,
    batch_size: int = 64,
) -> Regularizers:
    r"""Returns R1, R2, R3 and the terms of the noise at a site.

    With g_i the features of image i, D_ir = g_r - g_i for every image r, i itself
    among them, p = h'(f), J the Jacobian of the logits with respect to g and H^c the
    Hessian of the c-th,

        R1 = m1 mean_i (p - y)^T J (mean_r g_r - g_i)
        R2 = m2/2 mean_ir (J D)^T h'' (J D)
        R3 = m2/2 mean_ir sum_c (p - y)_c D^T H^c D

    and the same forms with the covariance of the noise in place of m2 E[D D^T]: C_add
    for additive, C_mult o g g^T for multiplicative noise. Equation (19) of the paper
    has h'(f - y) in R1, which is wrong: h'(f) - y is meant.

    Args:
        model: As `Split` takes it, or a `Split`.
        site: Name of the site; not used with a `Split`.
        images: `(n, ...)`, all that partners are drawn from.
        labels: `(n,)` integers, or `(n, K)` rows of sum 1.
        mixing: `Mixing`; `Mixing()` by default.
        method: `"exact"` takes one Hessian product a feature. `"estimate"` takes
            random directions, and so many of them for each image as `probes` says.
            `"finite"` does too, and takes R3 from steps of the size that the noise
            really has: Hessians of ReLU networks are 0 almost everywhere, which says
            nothing beyond the nearest kink. Terms of a noise of 0 are NaN then.
        probes: int, at least 2.
        cov_add, cov_mult: `(d, d)` covariances of xi_add and xi_mult, over features;
            the identity by default.
        seed: int, of the directions.
        batch_size: int. Images a call of the network.

    Returns:
        `Regularizers`. The errors are those of the directions, given these images.
        R1 is exact, and R2 too for up to ten classes; else labels are sampled from
        the model's own law, and errors from few probes are too small where it is
        sharp.

    Raises:
        ValueError: As `Split`; for labels that do not fit or are of one class; for a
            network that is no function of one image, or has no gradient at all.

    Example:

    >>> from nfm_keras import networks
    >>> images = np.random.default_rng(0).uniform(size=(8, 4, 4, 1))
    >>> network, labels = networks.mlp((4, 4, 1), 3), np.arange(8) % 3
    >>> found = regularizers(network, "site_0", images, labels)
    >>> found.r2_add.value > found.r2_add.error
    True

    Reference: Lim et al. 2021, equations (3) to (7) and (19) to (25).
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if method != "exact":
        check_count("probes", probes, least=2)
    mixing = Mixing() if mixing is None else mixing
    split = _split(model, site, batch_size)
    check_per_image(split, images)
    point = Point(split, images, labels)
    covariances = [factor(c, point.g.shape[1]) for c in (cov_add, cov_mult)]
    law = mixing_moments(mixing)
    rng = np.random.default_rng(seed)
    if method == "exact" or split.outputs <= EXACT_CLASSES:
        r2 = _exact_r2(point, covariances)
    else:
        r2 = _sampled_r2(point, covariances, probes, rng)
    if method == "exact":
        r3 = _exact_r3(point, covariances)
    else:
        third = _finite_r3 if method == "finite" else _sampled_r3
        r3 = third(point, covariances, probes, rng, mixing)
    return _as_they_count(point, law, r2, r3, method)


def _as_they_count(point, law, r2, r3, method):
    """The terms by name; those of mixing with m1 and m2 in them."""
    r3_mix = Estimate(*r3[0]) if method == "finite" else _times(law.m2, r3[0])
    return Regularizers(
        site=point.split.site,
        loss=float(np.mean(forms.losses(point.logits, point.y))),
        r1=Estimate(law.m1 * point.first_order()),
        r2=_times(law.m2, r2[0]),
        r3=r3_mix,
        r2_add=r2[1],
        r3_add=r3[1],
        r2_mult=r2[2],
        r3_mult=r3[2],
        moments=law,
        method=method,
    )


class Point:
    """The features of a set of images, and what the terms need of the loss there."""

    def __init__(self, split, images, labels):
        self.split = split
        self.g = split.features(images)
        self.logits = split.logits(self.g)
        self.y = forms.targets_of(labels, split.outputs)
        if len(self.y) != len(self.g):
            raise ValueError(
                "There must be a label for each image. Received: "
                f"{len(self.g)} images and {len(self.y)} labels"
            )
        self.weights = forms.means(self.logits) - self.y
        self.gradients = split.pullback(self.g, self.weights)
        if not np.any(self.gradients):
            raise ValueError(
                "The loss must depend on the features at the site. Received: gradients "
                f"that are all 0 at {split.site!r}"
            )
        self.centred = self.g - self.g.mean(axis=0)

    def first_order(self):
        """R1 / m1: the gradient of the loss along the way to the mean."""
        return -float(np.mean(np.sum(self.gradients * self.centred, axis=1)))


def _split(model, site, batch_size):
    if isinstance(model, Split):
        return model
    return Split(model, site, batch_size=batch_size)


def _times(factor, estimate):
    return Estimate(factor * estimate.value, factor * estimate.error)


def _squares(point, vectors, covariances):
    """Half of E(w . u)^2 of each image, with u of mixing, added or multiplied noise."""
    across = np.mean((vectors @ point.centred.T) ** 2, axis=1)
    own = np.sum(vectors * point.centred, axis=1) ** 2
    add, mult = (root(v) for root, v in zip(covariances, (vectors, vectors * point.g)))
    return np.stack([across + own, np.sum(add**2, 1), np.sum(mult**2, 1)]) / 2


def _exact_r2(point, covariances):
    law, residuals = forms.label_law(point.logits)
    total = 0.0
    for c in range(law.shape[1]):
        vectors = point.split.pullback(point.g, residuals[:, c])
        total = total + law[:, c] * _squares(point, vectors, covariances)
    return [Estimate(float(value)) for value in np.mean(total, axis=1)]


def _sampled_r2(point, covariances, probes, rng):
    law, residuals = forms.label_law(point.logits)
    bars, rows, drawn = np.cumsum(law, axis=1), np.arange(len(law)), []
    for _ in range(probes):
        u = rng.uniform(size=(len(law), 1)) * bars[:, -1:]
        picked = np.minimum(np.sum(u > bars, axis=1), law.shape[1] - 1)
        vectors = point.split.pullback(point.g, residuals[rows, picked])
        drawn.append(_squares(point, vectors, covariances))
    return summarised(drawn)


def _exact_r3(point, covariances):
    """Traces of Hessian times second moment, a column of both at a time."""
    n, d = point.g.shape
    total = np.zeros(3)
    moment = point.centred.T @ point.centred / n
    squares = [root(np.eye(d)) for root in covariances]
    add, mult = (s @ s.T for s in squares)
    for j in range(d):
        unit = np.zeros((n, d))
        unit[:, j] = 1
        column = point.split.curvature(point.g, point.weights, unit)
        mixed = moment[j] + point.centred * point.centred[:, j : j + 1]
        scaled = mult[j] * point.g * point.g[:, j : j + 1]
        seconds = mixed, add[j], scaled
        total += [np.sum(column * second) / (2 * n) for second in seconds]
    return [Estimate(float(value)) for value in total]


def _sampled_r3(point, covariances, probes, rng, mixing):
    n, d = point.g.shape
    drawn = []
    for _ in range(probes):
        signs = [rng.choice([-1.0, 1.0], size=(n, d)) for _ in range(2)]
        add, mult = (root.transposed(s) for root, s in zip(covariances, signs))
        directions = point.g[rng.integers(n, size=n)] - point.g, add, mult * point.g
        drawn.append([_form(point, u) / 2 for u in directions])
    return summarised(drawn)


def _form(point, u):
    product = point.split.curvature(point.g, point.weights, u)
    return np.sum(u * product, axis=1)


def _finite_r3(point, covariances, probes, rng, mixing):
    """Second differences at the steps that training takes, over their mean square."""
    law = mixing_moments(mixing)
    sizes = 1.0, law.add, law.mult
    drawn = []
    for _ in range(probes):
        differences = []
        for size, step in zip(sizes, steps(rng, mixing, point.g, covariances)):
            if not size or step is None:
                differences.append(np.full(len(point.g), np.nan if not size else 0.0))
                continue
            ends = (point.split.logits(point.g + s) for s in (step, -step))
            second = sum(ends) - 2 * point.logits
            differences.append(np.sum(point.weights * second, axis=1) / (2 * size))
        drawn.append(differences)
    return summarised(drawn)


def summarised(drawn):
    """Means over probes and images, with standard errors of the probes alone.

    Args:
        drawn: `(probes, terms, n)`.

    Returns:
        List of `Estimate`, one a term.
    """
    drawn = np.asarray(drawn)
    probes, _, n = drawn.shape
    variances = np.var(drawn, axis=0, ddof=1) / probes
    errors = np.sqrt(np.sum(variances, axis=1)) / n
    values = np.mean(drawn, axis=(0, 2))
    return [Estimate(float(v), float(e)) for v, e in zip(values, errors)]
