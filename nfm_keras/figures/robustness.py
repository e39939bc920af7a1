"""Figures of how accuracy and confidence hold: curves, reliability, certificates.

A number that was not measured (None or NaN) is a gap.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure  # not pyplot: no global state, no display
from numpy.typing import ArrayLike

from nfm_keras.figures.base import (
    DASHES,
    Diagram,
    Point,
    check_any,
    draw,
    finish,
    panel_grid,
    place_styles,
)
from nfm_keras.types import StrPath

_WIDTH = 10  # inches, of the widest figure

_NAMES = {
    "fgsm": "FGSM", "pgd": "PGD", "apgd_ce": "APGD-CE", "apgd_dlr": "APGD-DLR",
    "apgd_t": "APGD-T", "fab_t": "FAB-T", "square": "Square",
    "autoattack": "AutoAttack",
}  # fmt: skip
AXES = {
    "white_noise": "white noise, standard deviation σ",
    "salt_and_pepper": "salt and pepper, share of pixels γ",
    **{kind: f"{name}, l∞ ε ([0, 1] pixels)" for kind, name in _NAMES.items()},
    **{f"{kind}_l2": f"{name}, l2 ε ([0, 1] pixels)" for kind, name in _NAMES.items()},
}
"""Axis labels of the kinds of perturbation."""


def accuracy_curves(
    curves: Mapping[str, Mapping[str, Sequence[Point]]],
    path: StrPath,
    *,
    title: str | None = None,
    caption: str = "",
    styles: Mapping[str, dict] | None = None,
    protocol: str | None = None,
) -> Figure:
    """Draws accuracy over severity, one panel a perturbation, one line a model.

    Args:
        curves: dict `{family: {model: points}}`, family as in `axis_label`, points a
            list of `(severity, value, low, high)` in any order, the last three in
            percent; the shade reaches from low to high.
        path: PNG, PDF or SVG file to write; its folder is created.
        title: str.
        caption: str, small under the title: protocol, number of images, hardware.
        styles: dict from model to line properties, in the order of the legend; by
            default those of `place_styles`.
        protocol: str, which white noise is measured in.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: If points are of another form, or there is not one number to draw.

    Example:

    >>> points = [(0, 95.0, 94.5, 95.5), (8 / 255, 1.2, 0.9, 1.6)]
    >>> figure = accuracy_curves({"pgd": {"erm": points}}, "curves.png")
    """
    panels = {
        kind: {model: _points(points, kind, model) for model, points in lines.items()}
        for kind, lines in curves.items()
    }
    panels = {kind: lines for kind, lines in panels.items() if _drawn(lines.values())}
    check_any(panels, "`curves` must hold at least one accuracy", curves)
    styles = styles or place_styles(m for lines in panels.values() for m in lines)
    across = math.ceil(len(panels) / math.ceil(len(panels) / 4))
    width = min(4, _WIDTH / across)
    figure, axes = panel_grid(len(panels), across, width, height=3.2)
    for axis, (kind, lines) in zip(axes, panels.items(), strict=True):
        for model, points in lines.items():
            draw(axis, points, model, styles[model])
        label = axis_label(kind, protocol)
        axis.set_xlabel(textwrap.fill(label, int(width * 12)))
        axis.set_ylabel("accuracy (%)")
        axis.locator_params(axis="x", nbins=5, steps=[1, 2, 5, 10])
    return finish(figure, path, title, caption, order=styles)


def axis_label(family, protocol=None):
    """Returns what the horizontal axis of a perturbation family says.

    Args:
        family: str, a kind of perturbation (`"white_noise"`, `"pgd"`), perhaps followed
            by its settings.
        protocol: str, which white noise is measured in; None to leave it out.

    Example:

    >>> axis_label("pgd (steps=20)")
    'PGD, l∞ ε ([0, 1] pixels) (steps=20)'
    """
    kind, _, settings = family.partition(" ")
    label = AXES.get(kind, f"{kind}, severity")
    if kind == "white_noise" and protocol:
        reference = protocol == "reference"
        label += " (after normalisation)" if reference else " ([0, 1] pixels)"
    return f"{label} {settings}".strip()


def reliability_diagram(
    diagrams: Mapping[str, Diagram],
    path: StrPath,
    *,
    title: str | None = None,
    caption: str = "",
) -> Figure:
    """Draws accuracy over confidence, and below it how many images each bin holds.

    The legend has the expected calibration error,

        ECE = sum_b n_b / n |accuracy_b - confidence_b|

    Args:
        diagrams: dict `{model: diagram}`; a diagram has `edges` `(bins + 1,)`, and
            `counts`, `confidence` and `accuracy` `(bins,)`, the last two the means of
            each bin in [0,1].
        path, title, caption: as in `accuracy_curves`.

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
    for model, style in place_styles(diagrams).items():
        edges, counts, confidence, accuracy = _bins(model, diagrams[model])
        accuracy = np.where(counts > 0, accuracy, np.nan)  # an empty bin has none
        error = np.nansum(counts * np.abs(accuracy - confidence)) / np.sum(counts)
        label = f"{model}, ECE {100 * error:.2f} %"
        above.plot(100 * confidence, 100 * accuracy, label=label, markersize=4, **style)
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
) -> Figure:
    """Draws the share of images that are certainly right within an l2 radius.

    Args:
        radii: dict `{model: (radii, correct)}`: the certified radius of each image,
            `(n,)` in [0,1] pixels, and whether its prediction is right, `(n,)` bool. An
            image that is not right counts at no radius, whatever its own.
        path, title, caption: as in `accuracy_curves`; sigma and the largest radius that
            can be certified belong in the caption.

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
    for index, (model, style) in enumerate(place_styles(radii).items()):
        line = {"color": style["color"], "linestyle": DASHES[index % len(DASHES)]}
        axis.step(*_steps(model, *radii[model]), where="pre", label=model, **line)
    axis.set_xlabel("l2 radius ([0, 1] pixels)")
    axis.set_ylabel("certified accuracy (%)")
    axis.set_ylim(bottom=0)
    axis.set_xlim(left=0)
    return finish(figure, path, title, caption)


def _drawn(lines):
    return any(np.isfinite(points[:, 1]).any() for points in lines)


def _points(points, kind, model):
    """(severity, value, low, high), by severity; NaN for None."""
    array = np.array(points, float) if len(points) else np.full((0, 4), np.nan)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(
            "A curve must be a list of (severity, value, low, high). "
            f"Received: {points!r} for {kind!r} and {model!r}"
        )
    return array[np.argsort(array[:, 0])]


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
