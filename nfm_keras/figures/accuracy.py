"""Curves of accuracy over the severity of a perturbation or a setting of training.

A number that was not measured (None or NaN) is a gap.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure  # not pyplot: no global state, no display

from nfm_keras.figures.base import (
    Point,
    check_any,
    draw,
    draw_points,
    finish,
    panel_grid,
    widen,
    words,
)
from nfm_keras.figures.styles import model_styles
from nfm_keras.records.ids import format_severity
from nfm_keras.types import StrPath

_WIDTH = 10  # inches, of the widest figure

_FEWEST = 3
"""Severities that make a curve."""

_NAMES = {
    "fgsm": "FGSM", "pgd": "PGD", "apgd_ce": "APGD-CE", "apgd_dlr": "APGD-DLR",
    "apgd_t": "APGD-T", "fab_t": "FAB-T", "square": "Square",
    "autoattack": "AutoAttack", "pgd_t": "targeted PGD",
}  # fmt: skip
AXES = {
    "white_noise": "white noise, standard deviation σ",
    "salt_and_pepper": "salt and pepper, share of pixels γ",
    **{kind: f"{name}, l∞ ε ([0, 1] pixels)" for kind, name in _NAMES.items()},
    **{f"{kind}_l2": f"{name}, l2 ε ([0, 1] pixels)" for kind, name in _NAMES.items()},
}
"""Axis labels of the kinds of perturbation."""

_SETTINGS = {
    "epochs": "epochs of training",
    "sigma_add": "additive noise in training, σ",
    "sigma_mult": "multiplicative noise in training, σ",
    "alpha": "α of Beta(α, α)",
    "limit": "training images",
}


def accuracy_curves(
    curves: Mapping[str, Mapping[str, Sequence[Point]]],
    path: StrPath,
    *,
    title: str | None = None,
    caption: str = "",
    styles: Mapping[str, dict] | None = None,
    protocol: str | None = None,
    counts: Mapping[str, int | Mapping[str, int]] | None = None,
) -> Figure:
    """Draws accuracy over severity, one panel a perturbation, one line a model.

    A perturbation that was measured at one or two severities is drawn as points with
    whiskers, side by side: a line between them would claim what nobody measured.

    Args:
        curves: dict `{family: {model: points}}`, family as in `axis_label`, points a
            list of `(severity, value, low, high)` in any order, the last three in
            percent; the shade reaches from low to high.
        path: PNG, PDF or SVG file to write; its folder is created.
        title: str.
        caption: str, small under the title: protocol, number of images, hardware.
        styles: dict from model to line properties, in the order of the legend; by
            default those of `scheme_styles`, for the schemes that the models are named
            after.
        protocol: str, which white noise is measured in.
        counts: dict from family to how many images its panel is of; of several data
            sets, to a dict from their names.

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
    models = dict.fromkeys(m for lines in panels.values() for m in lines)
    styles = styles or model_styles(models)
    across = math.ceil(len(panels) / math.ceil(len(panels) / 4))
    width = min(4, _WIDTH / across)
    figure, axes = panel_grid(len(panels), across, width, height=3.4)
    for axis, (kind, lines) in zip(axes, panels.items(), strict=True):
        _panel(axis, kind, lines, styles)
        label = axis_label(kind, protocol)
        axis.set_xlabel(textwrap.fill(label, int(width * 12)))
        axis.set_ylabel("accuracy (%)")
        widen(axis)
        if counts and kind in counts:
            text = textwrap.fill(_images(counts[kind]), int(width * 15))
            axis.set_title(text, fontsize=8, loc="right")
    return finish(figure, path, title, caption, order=styles)


def against_setting(
    panels: Mapping[str, Mapping[str, Sequence[Point]]],
    setting: str,
    path: StrPath,
    styles: Mapping[str, dict],
    *,
    title: str | None = None,
    caption: str = "",
) -> Figure:
    """Draws accuracy against a setting of training, one panel a perturbation.

    Args:
        panels: dict `{perturbation: {line: points}}`, points a list of `(value of the
            setting, accuracy, low, high)` in rising order, the last three in percent;
            NaN is a gap.
        setting: str, a field of `nfm_keras.training.Config`.
        path: PNG, PDF or SVG file to write; its folder is created.
        styles: dict from line to line properties, in the order of the legend.
        title: str.
        caption: str, small under the title.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: If there is no panel.

    Example:

    >>> looks = {"nfm": {"color": "black", "marker": "o"}}
    >>> lines = {"nfm": [(20, 79.6, 78.8, 80.4), (30, 87.2, 86.5, 87.9)]}
    >>> figure = against_setting({"clean": lines}, "epochs", "epochs.png", looks)
    """
    check_any(panels, "`panels` must hold at least one perturbation", panels)
    across = math.ceil(len(panels) / math.ceil(len(panels) / 4))
    width = min(4, _WIDTH / across)
    figure, axes = panel_grid(len(panels), across, width, height=3)
    for axis, (name, lines) in zip(axes, panels.items(), strict=True):
        for line, points in lines.items():
            measured = [point for point in points if not math.isnan(point[1])]
            if len(measured) == 1:  # a shade has no width there
                draw_points(axis, measured, [measured[0][0]], line, styles[line])
            else:
                draw(axis, points, line, styles[line])
        axis.set_title(words(name).replace("@", " "), fontsize=9)
        axis.set_xlabel(_SETTINGS.get(setting, words(setting)))
        axis.set_ylabel("accuracy (%)")
        widen(axis)
    return finish(figure, path, title, caption, order=styles)


def _images(count):
    if isinstance(count, Mapping):
        return "n = " + ", ".join(f"{n:,} ({name})" for name, n in count.items())
    return f"n = {count:,} images"


def _panel(axis, kind, lines, styles):
    measured = {severity for points in lines.values() for severity in points[:, 0]}
    if len(measured - {0.0}) < _FEWEST:
        _scatter(axis, kind, lines, sorted(measured), styles)
        return
    for model, points in lines.items():
        draw(axis, points, model, styles[model])
    if _in_levels(kind, measured):
        top = max(measured) * 255
        step = 2 ** max(0, math.ceil(math.log2(top / 4)))
        places = np.arange(0, top + 0.5, step) / 255
        axis.set_xticks(places, [_severity(kind, place) for place in places])
        axis.tick_params(axis="x", labelsize=7)
    else:
        axis.locator_params(axis="x", nbins=5, steps=[1, 2, 5, 10])


def _scatter(axis, kind, lines, severities, styles):
    """Draws points side by side, at a place for each severity."""
    gap = min(0.7 / len(lines), 0.12)
    for index, (model, points) in enumerate(lines.items()):
        shift = (index - (len(lines) - 1) / 2) * gap
        places = [severities.index(severity) + shift for severity in points[:, 0]]
        if len(points):
            draw_points(axis, points, places, model, styles[model])
    names = [_severity(kind, severity) for severity in severities]
    axis.set_xticks(range(len(severities)), names)
    axis.set_xlim(-0.6, len(severities) - 0.4)


def _in_levels(kind, severities):
    """Whether the severities are radii, some of them whole numbers of grey levels."""
    told = [format_severity(severity) for severity in severities if severity]
    radii = kind.partition(" ")[0] in _NAMES
    return radii and any(text.endswith("/255") for text in told)


def _severity(kind, severity):
    """A severity as an id has it; 8/255 also where it was computed another way."""
    if severity == 0:
        return "clean"
    level = round(severity * 255)
    near = kind.partition(" ")[0] in _NAMES and abs(severity * 255 - level) < 1e-6
    return f"{level}/255" if near else f"{severity:.4g}"


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
