"""Figures of rows of records under common corruptions."""

import statistics

from matplotlib.figure import Figure  # not pyplot: no global state, no display

from nfm_keras import corruptions
from nfm_keras.figures.base import DASHES, draw, finish, labels, spread, styles
from nfm_keras.reports.aggregate import accuracies, caption

_HATCHES = dict(zip(DASHES, (None, "////", "....", "xxxx"), strict=True))
_BARS = 3  # the severity the paper draws


def corruptions_shown(rows):
    """The panels of `corruption_bars` that rows have an accuracy for.

    Args:
        rows: list of `nfm_keras.reports.aggregate.Row`.

    Returns:
        Dict from panel to the corruptions in it. `"paper"` and `"standard"`, accuracy
        over severity, need a mean over all six, or all 15, in some row; `"bars"`
        and `"more"`, one group of bars a corruption, what was measured at severity 3.
    """
    means = {"paper": corruptions.PAPER, "standard": corruptions.STANDARD}
    more = [kind for kind in corruptions.NAMES if kind not in corruptions.PAPER]
    bars = {"bars": corruptions.PAPER, "more": more}
    panels = {
        panel: kinds
        for panel, kinds in means.items()
        if any(_averages(row, kinds) for row in rows)
    }
    for panel, kinds in bars.items():
        there = [kind for kind in kinds if any(_bar(row, kind) for row in rows)]
        panels |= {panel: there} if there else {}
    return panels


def corruption_bars(rows, path, *, title=None):
    """Draw accuracy under corruptions: by severity, and each one at severity 3.

    By severity, it is the mean over the six corruptions that the paper draws and,
    beside it, over the 15 of the benchmark. Shades and whiskers are one standard
    deviation over seeds to either side.

    Args:
        rows: list of `nfm_keras.reports.aggregate.Row`.
        path: PNG, PDF or SVG file to write; its folder is created.
        title: str.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: if there is nothing to draw.

    Reference: Lim et al., *Noisy Feature Mixup*, ICLR 2022, figure 6.
    """
    panels = corruptions_shown(rows)
    if not panels:
        raise ValueError(
            "A figure of corruptions needs all of the paper's six at one severity, or "
            f"any at {_BARS}. Received: neither in {[row.label for row in rows]}"
        )
    lines = [panel for panel in ("paper", "standard") if panel in panels]
    bars = [panel for panel in ("bars", "more") if panel in panels]
    layout = ([lines * (2 // len(lines))] if lines else []) + [
        [bar] * 2 for bar in bars
    ]
    figure = Figure((8, 2.6 * len(layout) + 1.2), dpi=150, layout="constrained")
    axes = figure.subplot_mosaic(layout)
    for panel in lines:
        _lines(axes[panel], rows, panels[panel])
    for panel in bars:
        _bars(axes[panel], rows, panels[panel])
    text = caption(rows)
    if any(row.seeds > 1 for row in rows):
        text += "; shade and whiskers: one standard deviation over seeds"
    if any(style["linestyle"] != DASHES[0] for style in styles(rows)):
        text += "; what is dashed above is hatched below"
    return finish(figure, path, title, text, grid="y", order=labels(rows))


def _lines(axis, rows, kinds):
    for row, style in zip(rows, styles(rows), strict=True):
        draw(axis, _averages(row, kinds), row.label, style)
    standard = "standard " if kinds == corruptions.STANDARD else ""
    whose = "the" if standard else "the paper's"
    axis.set_xlabel(f"severity (mean of {whose} {len(kinds)} {standard}corruptions)")
    axis.set_xticks(corruptions.SEVERITIES)
    axis.set_ylabel("test accuracy (%)")


def _bars(axis, rows, kinds):
    """One group a corruption, one bar a row; rows without any leave no room."""
    drawn = [
        (row, style)
        for row, style in zip(rows, styles(rows), strict=True)
        if any(_bar(row, kind) for kind in kinds)
    ]
    width = min(0.84 / len(drawn), 0.3)
    for index, (row, style) in enumerate(drawn):
        shift = (index - (len(drawn) - 1) / 2) * width
        bars = [
            (at + shift, *bar) for at, k in enumerate(kinds) for bar in _bar(row, k)
        ]
        x, _, means, lows, highs = zip(*bars, strict=True)
        look = {"color": style["color"], "hatch": _HATCHES[style["linestyle"]]}
        axis.bar(x, means, width, label=row.label, edgecolor="white", lw=0.3, **look)
        if row.seeds > 1:
            axis.vlines(x, lows, highs, color="0.3", linewidth=0.8)
    names = [kind.replace("_", "\n") for kind in kinds]
    axis.set_xticks(range(len(kinds)), names)
    axis.tick_params(axis="x", length=0, labelsize=7)
    axis.set_xlim(-0.6, len(kinds) - 0.4)
    axis.set_ylabel(f"test accuracy (%)\nat severity {_BARS}")


def _bar(row, kind):
    return [point for point in _averages(row, [kind]) if point[0] == _BARS]


def _averages(row, kinds):
    """(severity, mean, low, high) of the mean over kinds, where all have a score."""
    points, runs = [], [accuracies(run, row.protocol) for run in row.records]
    for severity in corruptions.SEVERITIES:
        names = [f"{kind}@{severity}" for kind in kinds]
        scored = [run for run in runs if all(name in run for name in names)]
        means = [statistics.fmean(run[name] for name in names) for run in scored]
        points += [(severity, *spread(means))] if means else []
    return points
