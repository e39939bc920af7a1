"""Figures of the evaluation suite, made from plain values, never from a model.

A number that was not measured (None or NaN) is a gap, and so is a mean that lacks one
of its numbers: it could not be compared with the means beside it.
"""

import math
import textwrap

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure  # not pyplot: no global state, no display

from nfm_keras.corruptions import EXTRA
from nfm_keras.figures.base import (
    DASHES,
    STYLES,
    axis_label,
    draw,
    finish,
    panel_grid,
    save,
)

_WIDTH = 10  # inches, of the widest figure


def accuracy_curves(curves, path, *, title=None, caption=""):
    """Draw accuracy over severity, one panel a perturbation, one line a model.

    Args:
        curves: dict `{kind: {model: points}}`, kind as in a perturbation's id
            (`"white_noise"`, `"pgd"`), points a list of `(severity, value, low, high)`
            in any order, the last three in percent; the shade reaches from low to high.
        path: PNG, PDF or SVG file to write; its folder is created.
        title: str.
        caption: str, small under the title: protocol, number of images, hardware.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: points of another form, or not one number to draw.

    Example:

    >>> points = [(0, 95.0, 94.5, 95.5), (8 / 255, 1.2, 0.9, 1.6)]
    >>> accuracy_curves({"pgd": {"erm": points}}, "curves.png")  # doctest: +SKIP
    """
    panels = {
        kind: {model: _points(points, kind, model) for model, points in lines.items()}
        for kind, lines in curves.items()
    }
    panels = {kind: lines for kind, lines in panels.items() if _drawn(lines.values())}
    check_any(panels, "`curves` must hold at least one accuracy", curves)
    styles = _styles(model for lines in panels.values() for model in lines)
    across = math.ceil(len(panels) / math.ceil(len(panels) / 4))
    width = min(4, _WIDTH / across)
    figure, axes = panel_grid(len(panels), across, width, height=3)
    for axis, (kind, lines) in zip(axes, panels.items(), strict=True):
        for model, points in lines.items():
            draw(axis, points, model, styles[model])
        axis.set_xlabel(textwrap.fill(axis_label(kind), int(width * 12)))
        axis.set_ylabel("accuracy (%)")
        axis.locator_params(axis="x", nbins=5, steps=[1, 2, 5, 10])
    return finish(figure, path, title, caption)


def corruption_bars(values, path, *, title=None, caption=""):
    """Draw mean accuracies under corruptions: by severity and by corruption.

    The mean by severity is over the standard corruptions alone, if there are any.

    Args:
        values: dict `{model: {kind: accuracies}}`, accuracies a list of five in percent
            for severities 1 to 5, None where there is none.
        path, title, caption: as in `accuracy_curves`.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: not five accuracies a corruption, or not one number to draw.

    Example:

    >>> values = {"nfm": {"fog": [94.0, 93.5, 92.1, 90.0, 80.3]}}
    >>> corruption_bars(values, "corruptions.png")  # doctest: +SKIP
    """
    kinds, severities, accuracies = _tabulate(values)
    standard = sum(kind not in EXTRA for kind in kinds)
    figure = Figure((_WIDTH, 4.6), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 3))
    _by_severity(left, values, severities, accuracies[:, : standard or None])
    averaged = f"{standard} standard" if standard else f"{len(kinds)} extra"
    left.set_xlabel(f"severity\n(mean of {averaged}\ncorruptions)")
    _by_kind(right, values, kinds, accuracies)
    right.set_title(f"mean of severities {_list(severities)}", fontsize=9, loc="left")
    if 0 < standard < len(kinds):
        _divide(right, standard - 0.5)
    return finish(figure, path, title, caption, grid="y")


def heat_map(values, path, *, title=None, caption=""):
    """Draw the accuracies of one model: corruptions down, severities across.

    The last column is the mean of a row. Colours reach from 0 to 100 % in every figure,
    so that the figures of two models can be compared.

    Args:
        values: dict `{kind: accuracies}`, as in `corruption_bars`.
        path, title, caption: as in `accuracy_curves`.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: as `corruption_bars`.

    Example:

    >>> heat_map({"fog": [94.0, 93.5, 92.1, 90.0, None]}, "fog.png")  # doctest: +SKIP
    """
    kinds, severities, (table,) = _tabulate({"": values})
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


def reliability_diagram(diagrams, path, *, title=None, caption=""):
    """Draw accuracy over confidence, and below it how many images each bin holds.

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
        ValueError: no diagram, one without an image, or arrays that do not fit.

    Example:

    >>> diagrams = {"nfm": reliability(logits, labels)}  # doctest: +SKIP
    >>> reliability_diagram(diagrams, "reliability.png")  # doctest: +SKIP

    Reference: C. Guo et al., *On calibration of modern neural networks*, ICML 2017,
    equation 5.
    """
    check_any(diagrams, "`diagrams` must hold at least one model", diagrams)
    figure = Figure((5, 6.6), dpi=150, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 100], [0, 100], color="0.5", linewidth=1, label="calibrated")
    for model, style in _styles(diagrams).items():
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


def certified_curves(radii, path, *, title=None, caption=""):
    """Draw the share of images that are certainly right within an l2 radius.

    Args:
        radii: dict `{model: (radii, correct)}`: the certified radius of each image,
            `(n,)` in [0,1] pixels, and whether its prediction is right, `(n,)` bool. An
            image that is not right counts at no radius, whatever its own.
        path, title, caption: as in `accuracy_curves`; sigma and the largest radius that
            can be certified belong in the caption.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: no model or no image, arrays that do not fit, or the radius of an
            image that is right negative or not finite.

    Example:

    >>> radii = {"nfm": ([0.3, 0.1], [True, False])}
    >>> certified_curves(radii, "certified.png")  # doctest: +SKIP

    Reference: J. Cohen et al., *Certified adversarial robustness via randomized
    smoothing*, ICML 2019, section 4.
    """
    check_any(radii, "`radii` must hold at least one model", radii)
    figure, (axis,) = panel_grid(1, across=1, width=6)
    for index, (model, style) in enumerate(_styles(radii).items()):
        line = {"color": style["color"], "linestyle": DASHES[index % len(DASHES)]}
        axis.step(*_steps(model, *radii[model]), where="pre", label=model, **line)
    axis.set_xlabel("l2 radius ([0, 1] pixels)")
    axis.set_ylabel("certified accuracy (%)")
    axis.set_ylim(bottom=0)
    axis.set_xlim(left=0)
    return finish(figure, path, title, caption)


def _styles(models):
    """{model: line properties}; the ninth has the first one's colour, but dashed."""
    models = list(dict.fromkeys(models))
    styles = [
        {"color": color, "marker": marker, "linestyle": dashes}
        for dashes in DASHES
        for color, marker in STYLES
    ]
    return {model: styles[i % len(styles)] for i, model in enumerate(models)}


def check_any(held, expected, received):
    if not len(held):
        raise ValueError(f"{expected}. Received: {received!r}")


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


def _tabulate(values):
    """Kinds, severities, and accuracies (model, kind, severity) with NaN for None.

    Standard kinds first; severities that were never measured are left out.
    """
    for model, rows in values.items():
        for kind, row in rows.items():
            if len(row) != 5:
                raise ValueError(
                    "A corruption must have five accuracies, one for each severity, "
                    f"None where there is none. Received: {row!r} for {kind!r} {model}"
                )
    kinds = dict.fromkeys(kind for rows in values.values() for kind in rows)
    kinds = sorted(kinds, key=EXTRA.__contains__)  # stable
    missing = [None] * 5
    table = [[rows.get(kind, missing) for kind in kinds] for rows in values.values()]
    table = np.array(table, float).reshape(len(values), len(kinds), 5)
    measured = np.isfinite(table).any(axis=(0, 1))
    if not measured.any():
        raise ValueError(
            f"`values` must hold at least one accuracy. Received: {values!r}"
        )
    return kinds, (np.flatnonzero(measured) + 1).tolist(), table[..., measured]


def _by_severity(axis, models, severities, accuracies):
    for table, (model, style) in zip(accuracies, _styles(models).items(), strict=True):
        axis.plot(severities, table.mean(axis=0), label=model, markersize=4, **style)
    axis.set_xticks(severities)
    axis.set_ylabel("mean accuracy (%)")


def _by_kind(axis, models, kinds, accuracies):
    bar = min(0.8 / len(models), 0.5)
    places = np.arange(len(kinds)) - bar * (len(models) - 1) / 2
    for index, (model, style) in enumerate(_styles(models).items()):
        heights = accuracies[index].mean(axis=1)
        place = places + index * bar
        axis.bar(place, heights, bar, label=model, color=style["color"])
    axis.set_xticks(range(len(kinds)), map(words, kinds), rotation=45, ha="right")
    axis.tick_params(axis="x", length=0, labelsize=8)
    axis.set_xlim(-0.6, len(kinds) - 0.4)


def _divide(axis, place):
    axis.axvline(place, color="0.4", linestyle="--", linewidth=1)
    corner = {"xy": (place, 1), "xycoords": axis.get_xaxis_transform()}
    shift = {"xytext": (3, 6), "textcoords": "offset points"}
    axis.annotate("extra", **corner, **shift, fontsize=9)


def words(kind):
    return kind.replace("_", " ")


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
