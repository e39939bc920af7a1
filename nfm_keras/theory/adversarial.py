"""Theorem 2: NFM's loss against an adversarial one, and whether it applies at all."""

import dataclasses
from typing import NamedTuple

import keras
import numpy as np
import scipy.special
from numpy.typing import ArrayLike

from nfm_keras.mixing import Mixing
from nfm_keras.theory.labels import targets_of
from nfm_keras.theory.moments import mixing_moments
from nfm_keras.theory.noise import factor
from nfm_keras.theory.split import Split, check_per_image


class Hypothesis(NamedTuple):
    """One assumption of a theorem, tested.

    Attributes:
        name: What is assumed.
        holds: Whether it does, within `limit`.
        value: What was measured.
        limit: The largest value at which it holds.
    """

    name: str
    holds: bool
    value: float
    limit: float

    def __str__(self) -> str:
        word = "holds" if self.holds else "does not hold"
        return f"{self.name}: {word} ({self.value:.3g}, at most {self.limit:.3g})"


@dataclasses.dataclass(frozen=True)
class AdversarialBound:
    """The quantities of Theorem 2, and its hypotheses.

    Attributes:
        epsilon_mix: `(n,)`, equation (72): radius of the attack that the loss is said
            to cover, l2, in units of the input. Less than half of the linearised
            margin, so it never reaches a point that an attack could misclassify.
        epsilon_reg: `(n,)`, equation (9).
        reg: `(n,)`, h'' epsilon_reg^2 / 2; L_reg is their mean.
        linearised_margin: `(n,)`, |f| / |grad f|.
        hypotheses: tuple of `Hypothesis`.
    """

    epsilon_mix: np.ndarray
    epsilon_reg: np.ndarray
    reg: np.ndarray
    linearised_margin: np.ndarray
    hypotheses: tuple[Hypothesis, ...]

    @property
    def applies(self) -> bool:
        """Whether every hypothesis holds; without that there is no bound."""
        return all(hypothesis.holds for hypothesis in self.hypotheses)


def adversarial_bound(
    model: keras.Model,
    site: str,
    images: ArrayLike,
    labels: ArrayLike,
    mixing: Mixing | None = None,
    *,
    epsilon: float = 1.0,
    cov_add: ArrayLike | None = None,
    cov_mult: ArrayLike | None = None,
    tolerance: float = 1e-3,
    batch_size: int = 64,
) -> AdversarialBound:
    r"""Returns epsilon_mix, epsilon_reg and L_reg of Theorem 2, with its hypotheses.

    Written without the cosines of the paper, which are 0/0 where a gradient vanishes:

        epsilon_mix_i = epsilon m1 (min_j |g_j| / |g_i|) |f_i| / |grad_x f_i|
        epsilon_reg_i^2 = epsilon^2 (m1^2 mean_r (v_i . g_r)^2
            + s_add^2 v_i^T C_add v_i + s_mult^2 v_i^T (C_mult o g_i g_i^T) v_i)

    with v the gradient of f with respect to g. Where every hypothesis holds,
    L_NFM >= mean max_{|d| <= epsilon_mix} loss(x + d) + L_reg up to o(epsilon^2). That
    remainder must not be dropped: at epsilon = 1 random ReLU networks violate it.
    Two hypotheses are not in the paper and needed: that f has no second derivative at
    the input (cos/sin features are a counterexample), and E g = 0 without the way out
    of Remark 1, which misses a term of first order.

    A network with biases, batch normalisation, or sites behind a ReLU does not meet
    them; then R1 and its sign are measurements, and this is no bound.

    Args:
        model: Binary: one logit, or two, of which the difference is f.
        site: As in `regularizers`.
        images: `(n, ...)`.
        labels: `(n,)`, 0 or 1.
        mixing: `Mixing`; `Mixing()` by default.
        epsilon: float.
        cov_add, cov_mult: As in `regularizers`.
        tolerance: float. What counts as 0, relative to the size of f and g.
        batch_size: int.

    Returns:
        `AdversarialBound`.

    Raises:
        ValueError: For more than two outputs, and as `regularizers`.

    Reference: Lim et al. 2021, Theorem 2, equations (8), (9) and (72).
    """
    split = Split(model, site, batch_size=batch_size)
    whole = Split(model, "input", batch_size=batch_size)
    if split.outputs > 2:
        raise ValueError(
            "Theorem 2 is about two classes: one logit, or two. Received: "
            f"{split.outputs} outputs"
        )
    check_per_image(split, images)
    g = split.features(images)
    y = targets_of(labels, split.outputs, count=len(g))[:, -1]
    law = mixing_moments(mixing or Mixing())
    rows = np.tile([1.0] if split.outputs == 1 else [-1.0, 1.0], (len(g), 1))
    f = np.sum(split.logits(g) * rows, axis=1)
    v = split.pullback(g, rows)
    gradient = _norm(whole.pullback(x := whole.features(images), rows))
    margin = np.divide(
        abs(f), gradient, out=np.full(len(f), np.inf), where=gradient > 0
    )
    size = _norm(g)
    # Features that are 0 have no direction: nothing is said of their images.
    share = np.divide(size.min(), size, out=np.zeros(len(size)), where=size > 0)
    finite = np.where(share > 0, margin, 0.0)
    mix = epsilon * law.m1 * finite * share
    squares = epsilon**2 * _squares(g, v, law, cov_add, cov_mult)
    second = scipy.special.expit(f) * scipy.special.expit(-f)
    at = {"f": f, "g": g, "v": v, "x": x, "rows": rows, "gradient": gradient}
    hypotheses = _hypotheses(split, whole, 2 * y - 1, tolerance, **at)
    return AdversarialBound(
        mix, np.sqrt(squares), second * squares / 2, margin, hypotheses
    )


def _squares(g, v, law, cov_add, cov_mult):
    """epsilon_reg^2 / epsilon^2 of each image."""
    add, mult = factor(cov_add, g.shape[1]), factor(cov_mult, g.shape[1])
    squares = law.m1**2 * np.mean((v @ g.T) ** 2, axis=1)
    squares = squares + law.add * np.sum(add(v) ** 2, axis=1)
    return squares + law.mult * np.sum(mult(v * g) ** 2, axis=1)


def _hypotheses(split, whole, sign, tolerance, f, g, v, x, rows, gradient):
    return (
        _small("every image is classified correctly", np.mean(sign * f < 0), 0),
        _small("f_k(g) = v . g", _worst(f - np.sum(v * g, 1), f), tolerance),
        _small("f_k has no curvature", _bend(split, g, rows, v), tolerance),
        _small("f has no curvature at the input", _bend(whole, x, rows), tolerance),
        _small("gradients at the input are not 0", np.mean(gradient == 0), 0),
        _small("features are not 0", np.mean(_norm(g) == 0), 0),
        _small("the mean of the features is 0", _centre(g), tolerance),
    )


def _small(name, value, limit):
    return Hypothesis(name, bool(value <= limit), float(value), float(limit))


def _norm(rows):
    return np.linalg.norm(rows, axis=1)


def _worst(gaps, sizes):
    return float(np.max(abs(gaps) / np.maximum(abs(sizes), 1e-300)))


def _centre(g):
    scale = np.sqrt(np.mean(np.sum(g**2, axis=1)))
    return float(np.linalg.norm(g.mean(axis=0)) / max(scale, 1e-300))


def _bend(split, points, rows, slopes=None):
    """|H u| |g| / |v| for a random unit u: curvature over the size of the features."""
    slopes = split.pullback(points, rows) if slopes is None else slopes
    u = np.random.default_rng(0).normal(size=points.shape)
    product = split.curvature(points, rows, u / _norm(u)[:, None])
    return _worst(_norm(product) * np.maximum(_norm(points), 1e-12), _norm(slopes))
