"""Figures made from rows of records, never from a model."""

import math
import pathlib
import statistics
import textwrap

from matplotlib.figure import Figure  # not pyplot: no global state, no display

from nfm_keras import corruptions
from nfm_keras.reports.aggregate import CORRUPTION_MEAN, caption, columns

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

# Okabe and Ito's colours, told apart by colour-blind readers; markers for print.
STYLES = (
    ("#000000", "o"), ("#56B4E9", "s"), ("#E69F00", "^"), ("#CC79A7", "D"),
    ("#009E73", "v"), ("#D55E00", "P"), ("#0072B2", "X"), ("#999999", "*"),
)  # fmt: skip
DASHES = ("-", "--", ":", "-.")

# The schemes of most figures have a colour of their own; one beyond the eight has that
# of a relative, such as nfm_star that of nfm, with another marker and dashes.
_STYLED = (
    *("erm", "noise", "mixup", "noisy_mixup", "manifold_mixup", "nfm"),
    *("label_smoothing", "cutmix", "adversarial", "noise_reference", "puzzlemix"),
    *("noisymix", None, "nfm_star"),
)


def curves(rows, path, *, title=None):
    """Draw accuracy over severity, one panel a perturbation family.

    One line a row, starting from the clean accuracy at severity 0. The shade is one
    standard deviation over seeds to either side or, for one seed, the Wilson 95 %
    interval.

    Args:
        rows: list of `nfm_keras.reports.aggregate.Row`.
        path: PNG, PDF or SVG file to write; its folder is created.
        title: str.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: if there is nothing to draw.

    Example:

    >>> curves(summarise(runs, "pixel"), "curves.png")  # doctest: +SKIP
    """
    panels = families(rows)
    if not panels:
        raise ValueError(
            "Robustness curves need scores under some perturbation. "
            f"Received: none in {[row.label for row in rows]}"
        )
    count = len(panels)
    figure, axes = panel_grid(count, across=2 if count == 4 else min(count, 3))
    for axis, family in zip(axes, panels, strict=True):
        for row, style in zip(rows, styles(rows), strict=True):
            draw(axis, _curve(row, family), row.label, style)
        axis.set_xlabel(axis_label(family, rows[0].protocol))
        axis.set_ylabel("test accuracy (%)")
        axis.locator_params(axis="x", nbins=6, steps=[1, 2, 5, 10])
    text = f"{caption(rows)}; {_shade(rows)}"
    return finish(figure, path, title, text, order=labels(rows))


def families(rows):
    """The perturbation families that rows have an accuracy for.

    Args:
        rows: list of `nfm_keras.reports.aggregate.Row`.

    Returns:
        List of str without `"clean"`: the panels of `curves`. An attack that was run
        with several settings is as many families.
    """
    cells = {name: cell for row in rows for name, cell in row.cells.items()}
    names = dict.fromkeys(cells[name].family for name in columns(rows))
    # The corruptions have figures of their own, in the report of an evaluation.
    known = ("clean", CORRUPTION_MEAN, *corruptions.NAMES)
    return [name for name in names if name not in known]


def histories(rows, path, *, title=None):
    """Draw training error, test or validation error and training loss over epochs.

    One line a row, the mean over seeds; the shade is one standard deviation to either
    side. The training error of what mixes labels is on mixed batches, where no network
    gets far below half a mixture wrong: it has a panel of its own.

    Args:
        rows: list of `nfm_keras.reports.aggregate.Row`, of any protocol.
        path: PNG, PDF or SVG file to write; its folder is created.
        title: str.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: if no record has a history.

    Reference: Lim et al., *Noisy Feature Mixup*, ICLR 2022, figure 13.
    """
    runs = [record for row in rows for record in row.records]
    # Where a run holds no image out, what it watches is the test set.
    sets = {"validation" if r.config.get("validation") else "test" for r in runs}
    panels = {
        "accuracy": "training error (%)",
        "mixed_accuracy": "training error (mixed batches, %)",
        "val_accuracy": f"{' or '.join(sorted(sets))} error (%)",
        "loss": "training loss (nats)",
    }
    panels = {
        k: v for k, v in panels.items() if any(run.history.get(k) for run in runs)
    }
    if not panels:
        raise ValueError(
            "Training curves need a history. "
            f"Received: none in {[run.name for run in runs]}"
        )
    figure, axes = panel_grid(len(panels), across=min(len(panels), 2))
    for axis, (key, label) in zip(axes, panels.items(), strict=True):
        for row, style in zip(rows, styles(rows), strict=True):
            draw(axis, _history(row, key), row.label, style)
        axis.set_ylabel(label)
        axis.set_xlabel("epoch")
        axis.locator_params(axis="x", integer=True)
    text = caption(rows, measured=False)
    return finish(figure, path, title, text, order=labels(rows))


def panel_grid(count, across, width=4.0, height=3.4):
    """An empty figure and its panels.

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


def styles(rows):
    """Colour, marker and dashes of each row, the same in every figure of the rows.

    By scheme, its variants told apart by their dashes; by row in an experiment in which
    some rows share a scheme.
    """
    schemes = [row.scheme for row in rows]
    if rows[0].name and len(set(schemes)) < len(schemes):
        return [_style(index) for index in range(len(rows))]
    order = [*_STYLED, *sorted(set(schemes) - set(_STYLED))]
    return [
        _style(order.index(scheme), schemes[:index].count(scheme))
        for index, scheme in enumerate(schemes)
    ]


def labels(rows):
    """What the rows are called, in the order of the legend."""
    return [row.label for row in rows]


def spread(values):
    """(mean, low, high), one standard deviation to either side."""
    mean = statistics.fmean(values)
    deviation = statistics.stdev(values) if len(values) > 1 else 0
    return mean, mean - deviation, mean + deviation


def _style(index, variant=0):
    turn, at = divmod(index, len(STYLES))
    marker = STYLES[(at + 3 * turn) % len(STYLES)][1]
    dashes = DASHES[(turn + variant) % len(DASHES)]
    return {"color": STYLES[at][0], "marker": marker, "linestyle": dashes}


def _curve(row, family):
    """(severity, mean, low, high) of each cell, the clean accuracy at 0."""
    cells = [
        cell
        for kind in ("clean", family)
        for cell in row.cells.values()
        if cell.family == kind
    ]
    # A family that was measured at 0 itself replaces the clean accuracy there.
    points = {cell.severity: (cell.mean, cell.low, cell.high) for cell in cells}
    return [(severity, *points[severity]) for severity in sorted(points)]


def _history(row, key):
    """(epoch, mean, low, high) of each epoch in which all runs have a number.

    NaN is an epoch that was not evaluated, or a run that diverged: no point there.
    An accuracy is drawn as the error in percent.
    """
    points = []
    series = zip(*(run.history.get(key, ()) for run in row.records), strict=False)
    for epoch, values in enumerate(series, start=1):
        if all(map(math.isfinite, values)):
            if key.endswith("accuracy"):
                values = [100 * (1 - value) for value in values]
            points.append((epoch, *spread(values)))
    return points


def draw(axis, points, label, style):
    """Draw a line with its shade.

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


def axis_label(family, protocol=None):
    """What the horizontal axis of a perturbation family says.

    Args:
        family: str, as in `Cell.family`: a kind, perhaps followed by its settings.
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


def _shade(rows):
    kinds = {cell.deviation is None for row in rows for cell in row.cells.values()}
    words = {False: "one standard deviation over seeds", True: "Wilson 95 % (one seed)"}
    return "shade: " + " or ".join(words[kind] for kind in sorted(kinds))


def finish(figure, path, title, text, *, grid="both", order=()):
    """Add grid, legend and heading to a figure, and write it.

    Args:
        figure: `matplotlib.figure.Figure` with its panels drawn; everything that has a
            label is in the legend, once.
        path: PNG, PDF or SVG file to write; its folder is created.
        title: str or None.
        text: str, small under the title.
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
    width = figure.get_size_inches()[0]
    labels = [textwrap.fill(label, int(width * 9)) for label in handles]
    fit = int(width * 11 / (max(map(len, labels), default=0) + 7))
    place = {"loc": "outside lower center", "ncols": max(1, min(len(labels), fit))}
    figure.legend(handles.values(), labels, fontsize=9, frameon=False, **place)
    return save(figure, path, title, text)


def save(figure, path, title, text):
    """Put a heading over a figure and write it.

    Args:
        figure: `matplotlib.figure.Figure`.
        path: PNG, PDF or SVG file to write; its folder is created.
        title: str or None.
        text: str, small under the title.

    Returns:
        The figure.
    """
    width = figure.get_size_inches()[0]
    heading = [textwrap.fill(part, int(width * 13)) for part in (title, text) if part]
    figure.suptitle("\n".join(heading), fontsize=9)
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return figure
