"""Figures of confidence and of certificates."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure  # not pyplot: no global state, no display
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from nfm_keras.figures.base import Diagram, check_any, draw, finish, named, panel_grid
from nfm_keras.figures.styles import model_styles
from nfm_keras.types import StrPath


def reliability_diagram(
    diagrams: Mapping[str, Diagram],
    path: StrPath,
    *,
    title: str | None = None,
    caption: str = "",
    styles: Mapping[str, dict] | None = None,
) -> Figure:
    """Draws accuracy over confidence, and below it how many images each bin holds.

    The shade is the 95 % interval of each bin (Wilson's). The legend has the expected
    calibration error,

        ECE = sum_b n_b / n |accuracy_b - confidence_b|

    Args:
        diagrams: dict `{model: diagram}`; a diagram has `edges` `(bins + 1,)`, and
            `counts`, `confidence` and `accuracy` `(bins,)`, the last two the means of
            each bin in [0,1].
        path, title, caption, styles: as in `accuracy_curves`.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: If there is no diagram, one has no image, or arrays do not fit.

    Example:

    >>> from nfm_keras.evaluation.calibration import reliability
    >>> diagrams = {"nfm": reliability([[2.0, 0.0], [0.0, 1.0]], [0, 0])}
    >>> figure = reliability_diagram(diagrams, "reliability.png")

    Reference: C. Guo et al., *On calibration of modern neural networks*, ICML 2017,
    equation 5.
    """
    check_any(diagrams, "`diagrams` must hold at least one model", diagrams)
    figure = Figure((5, 6.6), dpi=150, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 100], [0, 100], color="0.5", linewidth=1, label="calibrated")
    styles = styles or model_styles(diagrams)
    for model in diagrams:
        style = styles[model]
        edges, counts, confidence, accuracy = _bins(model, diagrams[model])
        accuracy = np.where(counts > 0, accuracy, np.nan)  # an empty bin has none
        error = np.nansum(counts * np.abs(accuracy - confidence)) / np.sum(counts)
        label = f"{model}, ECE {100 * error:.2f} %"
        ends = _wilson(counts * np.nan_to_num(accuracy), counts)
        points = np.column_stack([100 * confidence, 100 * accuracy, *ends])
        draw(above, points, label, style)
        line = {"color": style["color"], "linestyle": style["linestyle"]}
        below.stairs(counts, 100 * edges, linewidth=1.3, **line)
    above.set_ylabel("accuracy (%)")
    # The last bin holds most images: on a linear scale the others would be invisible.
    below.set_yscale("log")
    below.set_ylim(bottom=0.5)  # a bin of one image is seen
    below.set_ylabel("images")
    below.set_xlabel("confidence (%)")
    return finish(figure, path, title, caption)


def certified_curves(
    radii: Mapping[str, tuple[ArrayLike, ArrayLike]],
    path: StrPath,
    *,
    title: str | None = None,
    caption: str = "",
    styles: Mapping[str, dict] | None = None,
) -> Figure:
    """Draws the share of images that are certainly right within an l2 radius.

    The shade is the 95 % interval over images (Wilson's).

    Args:
        radii: dict `{model: (radii, correct)}`: the certified radius of each image,
            `(n,)` in [0,1] pixels, and whether its prediction is right, `(n,)` bool. An
            image that is not right counts at no radius, whatever its own.
        path, title, caption, styles: as in `accuracy_curves`; sigma and the largest
            radius that can be certified belong in the caption.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: If there is no model or no image, arrays do not fit, or the radius
            of an image that is right is negative or not finite.

    Example:

    >>> radii = {"nfm": ([0.3, 0.1], [True, False])}
    >>> figure = certified_curves(radii, "certified.png")

    Reference: J. Cohen et al., *Certified adversarial robustness via randomized
    smoothing*, ICML 2019, section 4.
    """
    check_any(radii, "`radii` must hold at least one model", radii)
    figure, (axis,) = panel_grid(1, across=1, width=6)
    styles = styles or model_styles(radii)
    for model in radii:
        style, (places, shares) = styles[model], _steps(model, *radii[model])
        line = {"color": style["color"], "linestyle": style["linestyle"]}
        axis.step(places, shares, where="pre", label=named(model), **line)
        n = len(np.asarray(radii[model][1]))
        ends = _wilson(shares * n / 100, np.full(len(shares), n))
        shade = {"color": style["color"], "alpha": 0.12, "linewidth": 0, "step": "pre"}
        axis.fill_between(places, *ends, **shade)
    axis.set_xlabel("l2 radius ([0, 1] pixels)")
    axis.set_ylabel("certified accuracy (%)")
    axis.set_ylim(bottom=0)
    axis.set_xlim(left=0)
    return finish(figure, path, title, caption)


def _wilson(right, n):
    """Ends of the 95 % intervals of shares, in percent; NaN where n is 0."""
    tests = zip(np.rint(right).astype(int), np.asarray(n, int), strict=True)
    ends = [
        binomtest(k, total).proportion_ci(0.95, "wilson") if total else (np.nan,) * 2
        for k, total in tests
    ]
    return 100 * np.array(ends, float).T


def _bins(model, diagram):
    names = ("edges", "counts", "confidence", "accuracy")
    arrays = [np.asarray(getattr(diagram, name), float) for name in names]
    bins = len(arrays[1])
    if [array.shape for array in arrays] != [(bins + 1,), *[(bins,)] * 3]:
        raise ValueError(
            "A diagram must have one edge more than counts, confidence and accuracy. "
            f"Received: shapes {[array.shape for array in arrays]} for {model!r}"
        )
    if not arrays[1].sum() > 0:
        raise ValueError(
            "A diagram must count at least one image. "
            f"Received: {arrays[1].tolist()} for {model!r}"
        )
    return arrays


def _steps(model, radii, correct):
    """(radius, certified accuracy in percent): what holds up to and at each radius."""
    radii, correct = np.asarray(radii, float), np.asarray(correct, bool)
    if radii.ndim != 1 or radii.shape != correct.shape or not radii.size:
        raise ValueError(
            "Radii and correct must be two arrays (n,) of at least one image. "
            f"Received: shapes {radii.shape} and {correct.shape} for {model!r}"
        )
    certified = np.sort(radii[correct])
    if not np.all((certified >= 0) & np.isfinite(certified)):
        raise ValueError(
            "The radius of an image that is right must be a finite number, at least 0. "
            f"Received: from {certified.min():g} to {certified.max():g} for {model!r}"
        )
    number = len(certified)
    shares = 100 * np.arange(number, -1, -1) / len(radii)
    last = certified[-1:] if number else [0.0]
    # Flat from 0 to the first radius, and down to nothing after the last.
    return np.concatenate([[0], certified, last]), np.concatenate([shares[:1], shares])
