"""Figures of models side by side: clean against worst, differences, confusions."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure  # not pyplot: no global state, no display
from numpy.typing import ArrayLike

from nfm_keras.figures.base import check_any, finish, named, panel_grid, save, widen
from nfm_keras.figures.styles import model_styles
from nfm_keras.types import StrPath

_ROW = 0.24  # inches
_LARGEST = 20  # classes with numbers in their cells
_PALE = 10.0  # percent that have the full colour, at least

Ends = tuple[float, float, float]
"""`(value, low, high)`."""


def clean_against_worst(
    points: Mapping[str, tuple[Ends, Ends]],
    path: StrPath,
    *,
    worst: str,
    title: str | None = None,
    caption: str = "",
    styles: Mapping[str, dict] | None = None,
) -> Figure:
    """Draws a point a model: clean accuracy against that in the worst case.

    Args:
        points: dict `{model: (clean, worst)}`, each `(value, low, high)` in percent;
            whiskers reach from low to high.
        path, title, caption, styles: as in `accuracy_curves`.
        worst: str, what the worst case is.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: If there is no model.

    Example:

    >>> points = {"nfm": ((87.2, 86.6, 87.9), (10.8, 9.0, 12.9))}
    >>> figure = clean_against_worst(points, "tradeoff.png", worst="PGD at 2/255")
    """
    check_any(points, "`points` must hold at least one model", points)
    figure, (axis,) = panel_grid(1, across=1, width=6, height=3.8)
    styles = styles or model_styles(points)
    for model, (clean, attacked) in points.items():
        axis.errorbar(
            clean[0],
            attacked[0],
            xerr=_whiskers(clean),
            yerr=_whiskers(attacked),
            label=named(model),
            color=styles[model]["color"],
            marker=styles[model]["marker"],
            markersize=7,
            linestyle="none",
            capsize=3,
        )
    widen(axis)
    widen(axis, which="x")
    axis.set_xlabel("accuracy on images as they are (%)")
    axis.set_ylabel(f"accuracy under\n{worst} (%)")
    return finish(figure, path, title, caption, order=styles)


def differences(
    values: Mapping[str, Mapping[str, Ends]],
    path: StrPath,
    *,
    first: str,
    title: str | None = None,
    caption: str = "",
    styles: Mapping[str, dict] | None = None,
) -> Figure:
    """Draws by how many points models differ from the first one, a row a perturbation.

    Args:
        values: dict `{row: {model: (difference, low, high)}}`, in percent points.
        path, title, caption, styles: as in `accuracy_curves`.
        first: str, the model that the others are compared with: the line at 0.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: If there is no row.

    Example:

    >>> rows = {"fog": {"nfm": (1.2, 0.4, 2.0)}, "snow": {"nfm": (-0.1, -1.0, 0.8)}}
    >>> figure = differences(rows, "differences.png", first="erm")
    """
    check_any(values, "`values` must hold at least one row", values)
    models = list(dict.fromkeys(model for row in values.values() for model in row))
    styles = styles or model_styles(models)
    height = max(2.0, _ROW * len(values) * max(1, 0.45 * len(models)))
    figure, (axis,) = panel_grid(1, across=1, width=7, height=height)
    gap = 0.7 / len(models)
    for index, model in enumerate(models):
        shift = (index - (len(models) - 1) / 2) * gap
        places = [i + shift for i, row in enumerate(values.values()) if model in row]
        ends = np.array([row[model] for row in values.values() if model in row])
        whiskers = np.array([_whiskers(one)[:, 0] for one in ends]).T
        look = {"color": styles[model]["color"], "marker": styles[model]["marker"]}
        marks = {"markersize": 4, "linestyle": "none", "linewidth": 1, "capsize": 2}
        look["label"] = named(model)
        axis.errorbar(ends[:, 0], places, xerr=whiskers, **marks, **look)
    axis.axvline(0, color="0.3", linewidth=1)
    axis.set_yticks(range(len(values)), values)
    axis.set_ylim(len(values) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0, labelsize=8)
    _about_zero(axis)
    axis.set_xlabel(f"points more than {first} (paired, same images)")
    return finish(figure, path, title, caption, grid="x", order=styles)


def confusions(
    matrices: Mapping[str, ArrayLike],
    path: StrPath | None,
    *,
    classes: Sequence[str],
    title: str | None = None,
    caption: str = "",
) -> Figure:
    """Draws what images of each class are taken for, in percent of the class.

    Colours are of the confusions alone; the diagonal, what is right, has none.

    Args:
        matrices: dict `{model: counts}`, counts `(classes, classes)`: rows are true
            classes, columns the predicted ones.
        path: as in `accuracy_curves`; None to write nothing.
        classes: names of the classes.
        title, caption: as in `accuracy_curves`.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ValueError: If there is no matrix, or one does not fit the classes.

    Example:

    >>> counts = [[9, 1], [2, 8]]
    >>> figure = confusions({"nfm": counts}, None, classes=["cat", "dog"])
    """
    check_any(matrices, "`matrices` must hold at least one model", matrices)
    shares = {name: _shares(counts, len(classes)) for name, counts in matrices.items()}
    off = ~np.eye(len(classes), dtype=bool)
    top = max(_PALE, *(float(np.nanmax(s[off], initial=0)) for s in shares.values()))
    side = max(3.6, min(0.42 * len(classes), 8.0))
    across = min(len(shares), 2)
    figure, axes = panel_grid(len(shares), across, side + 1, side)
    for axis, (model, share) in zip(axes, shares.items(), strict=True):
        axis.imshow(np.where(off, share, np.nan), cmap="Oranges", vmin=0, vmax=top)
        _write_shares(axis, share, top)
        axis.set_title(model, fontsize=9)
        axis.set_xticks(range(len(classes)), classes, rotation=90, fontsize=7)
        axis.set_yticks(range(len(classes)), classes, fontsize=7)
        axis.set_xlabel("predicted", fontsize=8)
        axis.set_ylabel("true", fontsize=8)
        axis.tick_params(length=0)
    return save(figure, path, title, caption)


def _whiskers(ends):
    value, low, high = ends
    return np.maximum([[value - low], [high - value]], 0)


def _about_zero(axis, least=5.0):
    """Keeps small differences from filling the axis."""
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, -least), max(high, least))


def _shares(counts, classes):
    """Percent of each row; NaN where a class has no image."""
    counts = np.asarray(counts, float)
    if counts.shape != (classes, classes):
        raise ValueError(
            f"A matrix must have {classes} rows and columns, one a class. "
            f"Received: shape {counts.shape}"
        )
    total = counts.sum(axis=1, keepdims=True)
    return 100 * counts / np.where(total, total, np.nan)


def _write_shares(axis, share, top):
    if len(share) > _LARGEST:
        return
    for row, values in enumerate(share):
        for column, value in enumerate(values):
            if value >= 0.5:
                dark = row != column and value > 0.6 * top
                weight = "bold" if row == column else "normal"
                look = {"color": "white" if dark else "black", "weight": weight}
                place = {"ha": "center", "va": "center", "fontsize": 7}
                axis.text(column, row, f"{value:.0f}", **look, **place)
