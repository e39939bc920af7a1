"""Figures of accuracy under common corruptions.

A number that was not measured (None or NaN) is a gap, and so is a mean that lacks one
of its numbers: it could not be compared with the means beside it.
"""

from collections.abc import Collection, Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure  # not pyplot: no global state, no display

from nfm_keras.figures.base import (
    Accuracies,
    draw,
    finish,
    named,
    save,
    widen,
    words,
)
from nfm_keras.figures.styles import bar_styles, model_styles
from nfm_keras.types import StrPath

SEVERITIES = (1, 2, 3, 4, 5)

_WIDTH = 10  # inches, of the widest figure


def corruption_bars(
    values: Mapping[str, Mapping[str, Accuracies]],
    path: StrPath,
    *,
    extra: Collection[str] = (),
    title: str | None = None,
    caption: str = "",
    styles: Mapping[str, dict] | None = None,
    ends: Mapping[str, Mapping[str | int, tuple[float, float]]] | None = None,
) -> Figure:
    """Draws mean accuracies under corruptions: by severity and by corruption.

    The mean by severity is over the standard corruptions alone, if there are any.

    Args:
        values: dict `{model: {kind: accuracies}}`, accuracies a list of five in percent
            for severities 1 to 5, None where there is none.
        path: PNG, PDF or SVG file to write; its folder is created.
        extra: the kinds that are not standard; they are drawn last.
        title: str.
        caption: str, small under the title.
        styles: dict from model to line properties, in the order of the legend; by
            default those of the schemes that the models are named after.
        ends: dict `{model: {kind or severity: (low, high)}}`, the ends of the intervals
            of the means that have one, in percent.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: If there are not five accuracies a corruption, or not one number to
            draw.

    Example:

    >>> values = {"nfm": {"fog": [94.0, 93.5, 92.1, 90.0, 80.3]}}
    >>> figure = corruption_bars(values, "corruptions.png")
    """
    kinds, severities, accuracies = _tabulate(values, extra)
    standard = sum(kind not in extra for kind in kinds)
    styles, ends = styles or model_styles(values), ends or {}
    figure = Figure((_WIDTH, 4.6), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 3))
    for model, table in zip(values, accuracies, strict=True):
        means = table[: standard or None].mean(axis=0)
        own = ends.get(model, {})
        points = [
            (severity, mean, *own.get(severity, (mean, mean)))
            for severity, mean in zip(severities, means, strict=True)
        ]
        draw(left, points, model, styles[model])
    left.set_xticks(severities)
    left.set_ylabel("mean accuracy (%)")
    averaged = f"{standard} standard" if standard else f"{len(kinds)} extra"
    of = f"mean of {averaged}\ncorruptions"
    if (standard or len(kinds)) == 1:
        of = words(kinds[0])
    left.set_xlabel(f"severity\n({of})")
    widen(left)
    heights = {
        model: [
            (mean, *ends.get(model, {}).get(kind, (None, None)))
            for kind, mean in zip(kinds, row, strict=True)
        ]
        for model, row in zip(values, accuracies.mean(axis=2), strict=True)
    }
    _bars(right, heights, bar_styles(styles))
    right.set_xticks(range(len(kinds)), map(words, kinds), rotation=45, ha="right")
    right.tick_params(axis="x", length=0, labelsize=8)
    right.set_title(f"mean of severities {_list(severities)}", fontsize=9, loc="left")
    if 0 < standard < len(kinds):
        _divide(right, standard - 0.5)
    return finish(figure, path, title, caption, grid="y")


def corruption_panels(lines, bars, path, styles, *, severity, title=None, caption=""):
    """Draws accuracy under corruptions over severity, and each one at one severity.

    Args:
        lines: dict `{label of the horizontal axis: {model: points}}`, at most two;
            points a list of `(severity, mean, low, high)`.
        bars: list of dicts `{model: {kind: (mean, low, high)}}`, a panel each, all
            models with the same kinds. None where there is no number; a model that has
            none leaves no room. Without low and high there is no whisker.
        path: PNG, PDF or SVG file to write; its folder is created.
        styles: dict from model to line properties, in the order of the legend. What is
            dashed above is hatched below.
        severity: int, that of the bars.
        title: str.
        caption: str, small under the title.

    Returns:
        The `matplotlib.figure.Figure` written.

    Example:

    >>> bars = [{"nfm": {"fog": (90.0, 89.0, 91.0)}}]
    >>> styles = model_styles(["nfm"])
    >>> figure = corruption_panels(
    ...     {}, bars, "corruptions.png", styles, severity=3
    ... )
    """
    layout = [list(lines) * (2 // len(lines))] if lines else []
    layout += [[index, index] for index in range(len(bars))]
    figure = Figure((8, 2.6 * len(layout) + 1.2), dpi=150, layout="constrained")
    axes = figure.subplot_mosaic(layout)
    for label, curves in lines.items():
        for model, points in curves.items():
            draw(axes[label], points, model, styles[model])
        axes[label].set_xlabel(label)
        axes[label].set_xticks(SEVERITIES)
        axes[label].set_ylabel("accuracy (%)")
        widen(axes[label])
    looks = bar_styles(styles)
    for index, values in enumerate(bars):
        axis, kinds = axes[index], next(iter(values.values()))
        _bars(axis, _heights(values), looks)
        axis.set_xticks(range(len(kinds)), [kind.replace("_", "\n") for kind in kinds])
        axis.tick_params(axis="x", length=0, labelsize=7)
        axis.set_ylabel(f"accuracy (%)\nat severity {severity}")
    return finish(figure, path, title, caption, grid="y", order=styles)


def heat_map(
    values: Mapping[str, Accuracies],
    path: StrPath,
    *,
    extra: Collection[str] = (),
    title: str | None = None,
    caption: str = "",
) -> Figure:
    """Draws the accuracies of one model: corruptions down, severities across.

    The last column is the mean of a row. Colours reach from 0 to 100 % in every figure,
    so that the figures of two models can be compared.

    Args:
        values: dict `{kind: accuracies}`, as in `corruption_bars`.
        path, extra, title, caption: as in `corruption_bars`.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: As `corruption_bars`.

    Example:

    >>> figure = heat_map({"fog": [94.0, 93.5, 92.1, 90.0, None]}, "fog.png")
    """
    kinds, severities, (table,) = _tabulate({"": values}, extra)
    table = np.column_stack([table, table.mean(axis=1)])
    size = 6, 0.27 * len(kinds) + 1.3
    figure = Figure(size, dpi=150, layout="constrained")
    axis = figure.add_subplot()
    colors = colormaps["viridis"]
    image = axis.imshow(table, cmap=colors, vmin=0, vmax=100, aspect="auto")
    axis.set_facecolor("0.9")  # shows where there is no number
    for (row, column), value in np.ndenumerate(table):
        _write(axis, column, row, value, colors)
    axis.set_xticks(range(len(severities) + 1), [*severities, "mean"])
    axis.set_yticks(range(len(kinds)), map(words, kinds))
    axis.tick_params(length=0, labelsize=8)
    axis.set_xlabel("severity")
    axis.axvline(len(severities) - 0.5, color="white", linewidth=3)
    figure.colorbar(image, label="accuracy (%)")
    return save(figure, path, title, caption)


def _bars(axis, heights, looks):
    """Draws a group of bars a place, a bar a model, with whiskers where it has ends."""
    width = min(0.84 / len(heights), 0.3)
    for index, (model, bars) in enumerate(heights.items()):
        places = np.arange(len(bars)) + (index - (len(heights) - 1) / 2) * width
        means, lows, highs = np.array(bars, float).T
        edge = {"edgecolor": "white", "linewidth": 0.3}
        axis.bar(places, means, width, label=named(model), **edge, **looks[model])
        if np.isfinite(lows).any():
            axis.vlines(places, lows, highs, color="0.3", linewidth=0.8)
    axis.set_xlim(-0.6, len(bars) - 0.4)


def _heights(values):
    """The bars of each model that has any number; None three times without one."""
    return {
        model: [bar or (None, None, None) for bar in bars.values()]
        for model, bars in values.items()
        if any(bars.values())
    }


def _tabulate(values, extra):
    """Returns kinds, severities and accuracies (model, kind, severity), NaN for None.

    Standard kinds come first; severities that were never measured are left out.
    """
    for model, rows in values.items():
        for kind, row in rows.items():
            if len(row) != 5:
                raise ValueError(
                    "A corruption must have five accuracies, one for each severity, "
                    f"None where there is none. Received: {row!r} for {kind!r} {model}"
                )
    kinds = dict.fromkeys(kind for rows in values.values() for kind in rows)
    kinds = sorted(kinds, key=extra.__contains__)  # stable
    missing = [None] * 5
    table = [[rows.get(kind, missing) for kind in kinds] for rows in values.values()]
    table = np.array(table, float).reshape(len(values), len(kinds), 5)
    measured = np.isfinite(table).any(axis=(0, 1))
    if not measured.any():
        raise ValueError(
            f"`values` must hold at least one accuracy. Received: {values!r}"
        )
    return kinds, (np.flatnonzero(measured) + 1).tolist(), table[..., measured]


def _divide(axis, place):
    axis.axvline(place, color="0.4", linestyle="--", linewidth=1)
    corner = {"xy": (place, 1), "xycoords": axis.get_xaxis_transform()}
    shift = {"xytext": (3, 6), "textcoords": "offset points"}
    axis.annotate("extra", **corner, **shift, fontsize=9)


def _list(severities):
    return "1 to 5" if len(severities) == 5 else ", ".join(map(str, severities))


def _write(axis, column, row, value, colors):
    text, ink = "–", "black"
    if not np.isnan(value):
        text, ink = f"{value:.1f}", _ink(colors(value / 100))
    axis.text(column, row, text, color=ink, fontsize=8, ha="center", va="center")


def _ink(color):
    """Black or white, whichever has more contrast (WCAG 2.1) with a colour."""
    luminance = np.dot(np.asarray(color[:3]) ** 2.2, (0.2126, 0.7152, 0.0722))
    return "black" if luminance > 0.18 else "white"
