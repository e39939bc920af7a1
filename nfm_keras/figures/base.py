"""What all figures share: panels, legend, heading and the file."""

import io
import math
import pathlib
import textwrap
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.container import BarContainer
from matplotlib.figure import Figure  # not pyplot: no global state, no display
from matplotlib.legend_handler import HandlerTuple
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter
from numpy.typing import ArrayLike

from nfm_keras.records.files import whole

Point: TypeAlias = tuple[float, float, float, float]
"""`(x, value, low, high)`: the shade reaches from low to high."""

Accuracies: TypeAlias = Sequence[float | None]
"""In percent, for severities 1 to 5; None where there is none."""


class Diagram(Protocol):
    """What is drawn of an `nfm_keras.evaluation.calibration.Reliability`."""

    @property
    def edges(self) -> ArrayLike: ...
    @property
    def counts(self) -> ArrayLike: ...
    @property
    def confidence(self) -> ArrayLike: ...
    @property
    def accuracy(self) -> ArrayLike: ...


_LEGEND_LINE = 0.2  # inches
_NO_WIDTH = "\N{ZERO WIDTH SPACE}"


def panel_grid(count, across, width=4.0, height=3.4):
    """Returns an empty figure and its panels.

    Args:
        count: int, panels.
        across: int, panels a row.
        width, height: float, of a panel in inches.

    Returns:
        `(figure, axes)`.

    Example:

    >>> figure, axes = panel_grid(5, across=3)
    >>> len(axes), figure.get_size_inches().tolist()
    (5, [12.0, 7.7])
    """
    down = math.ceil(count / across)
    size = width * across, height * down + 0.9
    figure = Figure(size, dpi=150, layout="constrained")
    axes = [figure.add_subplot(down, across, i + 1) for i in range(count)]
    return figure, axes


def draw(axis, points, label, style):
    """Draws a line with its shade.

    Args:
        axis: `matplotlib.axes.Axes`.
        points: list of `(x, value, low, high)`; NaN is a gap.
        label: str.
        style: dict of line properties with `color` among them.
    """
    if not len(points):
        return
    x, means, lows, highs = zip(*points, strict=True)
    every = max(1, len(x) // 10)  # more markers would hide the line
    axis.plot(x, means, label=named(label), markersize=4, markevery=every, **style)
    axis.fill_between(x, lows, highs, color=style["color"], alpha=0.12, linewidth=0)


def draw_points(axis, points, places, label, style):
    """Draws points with whiskers, and no line: nothing was measured between them.

    Args:
        axis: `matplotlib.axes.Axes`.
        points: As in `draw`.
        places: where each goes on the horizontal axis.
        label: str.
        style: dict of line properties with `color` and `marker` among them.
    """
    _, means, lows, highs = np.array(points, float).T
    marks = {"markersize": 5, "linestyle": "none", "linewidth": 1, "capsize": 2}
    look = {"color": style["color"], "marker": style["marker"]}
    whiskers = np.maximum([means - lows, highs - means], 0)
    axis.errorbar(places, means, whiskers, label=named(label), **marks, **look)


def widen(axis, least=20.0, which="y"):
    """Makes an axis in percent show a range of at least so many points.

    On a shorter one the chance of a thousand images looks like a trend.

    Args:
        axis: `matplotlib.axes.Axes`.
        least: float, the shortest range in percent points.
        which: str, `"y"` or `"x"`.
    """
    low, high = getattr(axis, f"get_{which}lim")()
    if high - low < least:
        middle = (low + high) / 2
        middle = min(max(middle, least / 2 - 1), 101 - least / 2)
        getattr(axis, f"set_{which}lim")(middle - least / 2, middle + least / 2)
        axis.locator_params(axis=which, steps=[1, 2, 5, 10])


def finish(figure, path, title, caption, *, grid="both", order=()):
    """Adds grid, legend and heading to a figure, and writes it.

    Args:
        figure: `matplotlib.figure.Figure` with its panels drawn; everything that has a
            label is in the legend, once.
        path: PNG, PDF or SVG file to write; its folder is created. None to write
            nothing.
        title: str or None.
        caption: str, small under the title.
        grid: str. `"both"`, `"x"` or `"y"`.
        order: labels, those that come first in the legend.

    Returns:
        The figure.
    """
    handles, hatched = {}, {}
    for axis in figure.axes:
        axis.grid(True, axis=grid, alpha=0.3)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            label = label.removeprefix(_NO_WIDTH)
            handles.setdefault(label, handle)
            if isinstance(handle, BarContainer) and handle.patches[0].get_hatch():
                hatched.setdefault(label, handle)
    first = [label for label in order if label in handles]
    handles = {label: handles[label] for label in [*first, *handles]}
    for label, bars in hatched.items():  # the line and the bars, side by side
        handles[label] = (handles[label], bars)
    width, height = figure.get_size_inches()
    labels = [textwrap.fill(named(label), int(width * 9)) for label in handles]
    fit = int(width * 11 / (max(map(len, labels), default=0) + 7))
    across = max(1, min(len(labels), fit))
    # A long legend must not take its room from the panels. Columns are filled first.
    deep = max(1, math.ceil(len(labels) / across))
    columns = [labels[i : i + deep] for i in range(0, len(labels), deep)]
    lines = [sum(1 + label.count("\n") for label in column) for column in columns]
    more = max(0, max(lines, default=0) - 2)
    figure.set_size_inches(width, height + _LEGEND_LINE * more)
    place = {"loc": "outside lower center", "ncols": across, "frameon": False}
    pairs = {tuple: HandlerTuple(ndivide=None, pad=0.5)}
    look = {"fontsize": 9, "handlelength": 3.0, "handler_map": pairs}
    figure.legend(list(handles.values()), labels, **place, **look)
    return save(figure, path, title, caption)


def check_ending(path):
    """Refuses a file that no figure can be written to, before there is a figure.

    Args:
        path: File.

    Raises:
        ValueError: If it does not end as a format of pictures does.
    """
    ending = pathlib.Path(path).suffix.removeprefix(".").lower()
    if ending not in FigureCanvasBase.get_supported_filetypes():
        raise ValueError(
            f"A figure must be a file such as x.png, x.pdf or x.svg. Received: {path}"
        )


def save(figure, path, title, caption):
    """Puts a heading over a figure and writes it, whole or not at all.

    Args:
        figure: `matplotlib.figure.Figure`.
        path: PNG, PDF or SVG file to write; its folder is created. None to write
            nothing.
        title: str or None.
        caption: str, small under the title.

    Returns:
        The figure.
    """
    width = figure.get_size_inches()[0]
    parts = [textwrap.fill(part, int(width * 13)) for part in (title, caption) if part]
    figure.suptitle("\n".join(parts), fontsize=9)
    _show_as_written(figure)
    if path is not None:
        with whole(path) as hidden:
            figure.savefig(hidden)
    return figure


def png(figure):
    """Returns a figure as the bytes of a PNG file."""
    _show_as_written(figure)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _show_as_written(figure):
    """Makes no formula of a name with two dollar signs; powers of ten are formulas."""
    sides = [side for axes in figure.axes for side in (axes.xaxis, axes.yaxis)]
    powers = {
        text
        for side in sides
        if isinstance(side.get_major_formatter(), LogFormatter)
        for text in side.get_ticklabels(which="both")
    }
    for text in figure.findobj(Text):
        text.set_parse_math(text in powers)


def check_any(values, expected, received):
    """Refuses to draw nothing.

    Args:
        values: What would be drawn.
        expected: str, the start of the error.
        received: What was given.

    Raises:
        ValueError: If `values` is empty.
    """
    if not len(values):
        raise ValueError(f"{expected}. Received: {received!r}")


def named(label):
    """Returns a label that a legend shows also where it begins with `_`."""
    return f"{_NO_WIDTH}{label}" if label.startswith("_") else label


def words(name):
    """Returns a name as text: `jpeg_compression` as `jpeg compression`."""
    return name.replace("_", " ")
