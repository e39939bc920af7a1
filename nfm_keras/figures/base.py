"""What all figures share: styles, panels, legend, heading and the file."""

import io
import math
import textwrap
from collections.abc import Sequence
from typing import Protocol, TypeAlias

from matplotlib.figure import Figure  # not pyplot: no global state, no display
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


# Okabe and Ito's colours, told apart by colour-blind readers; markers for print.
STYLES = (
    ("#000000", "o"), ("#56B4E9", "s"), ("#E69F00", "^"), ("#CC79A7", "D"),
    ("#009E73", "v"), ("#D55E00", "P"), ("#0072B2", "X"), ("#999999", "*"),
)  # fmt: skip
DASHES = ("-", "--", ":", "-.")

_LEGEND_LINE = 0.2  # inches

# The schemes of most figures have a colour of their own; one beyond the eight has that
# of a relative, such as nfm_star that of nfm, with another marker and dashes.
_STYLED = (
    *("erm", "noise", "mixup", "noisy_mixup", "manifold_mixup", "nfm"),
    *("label_smoothing", "cutmix", "adversarial", "noise_reference", "puzzlemix"),
    *("noisymix", None, "nfm_star"),
)


def place_styles(names):
    """Returns the colour, marker and dashes of lines, by their place.

    Args:
        names: iterable of str, with repetitions. The ninth has the first one's colour,
            but dashed.

    Returns:
        Dict from name to line properties of matplotlib.

    Example:

    >>> place_styles(["erm", "nfm", "erm"])["nfm"]
    {'color': '#56B4E9', 'marker': 's', 'linestyle': '-'}
    """
    looks = [
        {"color": color, "marker": marker, "linestyle": dashes}
        for dashes in DASHES
        for color, marker in STYLES
    ]
    return {n: looks[i % len(looks)] for i, n in enumerate(dict.fromkeys(names))}


def scheme_styles(schemes, by_place=False):
    """Returns the colour, marker and dashes of lines, by their scheme.

    Variants of a scheme are told apart by their dashes.

    Args:
        schemes: list of str, one a line.
        by_place: bool. Give lines that share a scheme colours of their own.

    Returns:
        List of dicts of line properties, in the order of `schemes`.

    Example:

    >>> [style["linestyle"] for style in scheme_styles(["nfm", "erm", "nfm"])]
    ['-', '-', '--']
    """
    if by_place and len(set(schemes)) < len(schemes):
        return [_style(index) for index in range(len(schemes))]
    order = [*_STYLED, *sorted(set(schemes) - set(_STYLED))]
    return [
        _style(order.index(scheme), schemes[:index].count(scheme))
        for index, scheme in enumerate(schemes)
    ]


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
    axis.plot(x, means, label=label, markersize=4, markevery=every, **style)
    axis.fill_between(x, lows, highs, color=style["color"], alpha=0.15, linewidth=0)


def finish(figure, path, title, caption, *, grid="both", order=()):
    """Adds grid, legend and heading to a figure, and writes it.

    Args:
        figure: `matplotlib.figure.Figure` with its panels drawn; everything that has a
            label is in the legend, once.
        path: PNG, PDF or SVG file to write; its folder is created.
        title: str or None.
        caption: str, small under the title.
        grid: str. `"both"`, `"x"` or `"y"`.
        order: labels, those that come first in the legend.

    Returns:
        The figure.
    """
    handles = {}
    for axis in figure.axes:
        axis.grid(True, axis=grid, alpha=0.3)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    first = [label for label in order if label in handles]
    handles = {label: handles[label] for label in [*first, *handles]}
    width, height = figure.get_size_inches()
    labels = [textwrap.fill(label, int(width * 9)) for label in handles]
    fit = int(width * 11 / (max(map(len, labels), default=0) + 7))
    across = max(1, min(len(labels), fit))
    # A long legend must not take its room from the panels.
    more = max(0, math.ceil(len(labels) / across) - 2)
    figure.set_size_inches(width, height + _LEGEND_LINE * more)
    place = {"loc": "outside lower center", "ncols": across}
    figure.legend(handles.values(), labels, fontsize=9, frameon=False, **place)
    return save(figure, path, title, caption)


def save(figure, path, title, caption):
    """Puts a heading over a figure and writes it, whole or not at all.

    Args:
        figure: `matplotlib.figure.Figure`.
        path: PNG, PDF or SVG file to write; its folder is created.
        title: str or None.
        caption: str, small under the title.

    Returns:
        The figure.
    """
    width = figure.get_size_inches()[0]
    parts = [textwrap.fill(part, int(width * 13)) for part in (title, caption) if part]
    figure.suptitle("\n".join(parts), fontsize=9)
    with whole(path) as hidden:
        figure.savefig(hidden)
    return figure


def png(figure):
    """Returns a figure as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


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


def words(name):
    """Returns a name as text: `jpeg_compression` as `jpeg compression`."""
    return name.replace("_", " ")


def _style(index, variant=0):
    turn, at = divmod(index, len(STYLES))
    marker = STYLES[(at + 3 * turn) % len(STYLES)][1]
    dashes = DASHES[(turn + variant) % len(DASHES)]
    return {"color": STYLES[at][0], "marker": marker, "linestyle": dashes}
