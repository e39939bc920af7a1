"""Figures of training: curves of one run or of many, draws, the images seen."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats
from matplotlib.figure import Figure  # not pyplot: no global state, no display

from nfm_keras.figures.base import (
    Point,
    check_any,
    draw,
    finish,
    panel_grid,
    widen,
)
from nfm_keras.figures.styles import STYLES, place_styles
from nfm_keras.types import StrPath

SHOWN = 16
"""The most images on a contact sheet."""

_NATS = 0.5
"""The least that an axis of a loss spans."""

_COLORS = [color for color, _ in STYLES]
_PANELS = {
    "loss (nats)": lambda name: name in ("loss", "val_loss"),
    "accuracy (%)": lambda name: "accuracy" in name,
    "learning rate": lambda name: name == "learning_rate",
}


def curves(history, watched):
    """Draws loss, accuracy and learning rate over the epochs.

    Args:
        history: Dict of str to list of float, one number an epoch. NaN, an epoch that
            was not validated or a loss that diverged, is no point.
        watched: str. What was validated on: `"validation"` or `"test"`.

    Returns:
        The `matplotlib.figure.Figure`; `None` where there is nothing to draw.

    Example:

    >>> figure = curves({"loss": [2.0, 1.5]}, "test")
    """
    panels = {k: sorted(filter(belongs, history)) for k, belongs in _PANELS.items()}
    panels = {label: names for label, names in panels.items() if names}
    if not panels:
        return None
    figure, axes = panel_grid(len(panels), across=len(panels), width=3.6, height=2.6)
    for axis, (label, names) in zip(axes, panels.items()):
        for name, look in place_styles(names).items():
            factor = 100 if "accuracy" in name else 1
            values = factor * np.asarray(history[name], "float64")
            _line(axis, values, series_name(name, watched), look)
        _widen(axis, label)
        axis.set_xlabel("epoch")
        axis.set_ylabel(label)
        axis.locator_params(axis="x", integer=True)
        axis.grid(True, alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        if len(names) > 1:
            axis.legend(fontsize=8, frameon=False)
    return figure


def histories(
    panels: Mapping[str, Mapping[str, Sequence[Point]]],
    path: StrPath,
    styles: Mapping[str, dict],
    *,
    title: str | None = None,
    caption: str = "",
) -> Figure:
    """Draws what many runs logged over the epochs.

    Args:
        panels: dict `{label of the vertical axis: {run: points}}`, points a list of
            `(epoch, mean, low, high)`; the shade reaches from low to high.
        path: PNG, PDF or SVG file to write; its folder is created.
        styles: dict from run to line properties, in the order of the legend.
        title: str.
        caption: str, small under the title.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: If there is no panel.

    Reference: Lim et al., *Noisy Feature Mixup*, ICLR 2022, figure 13.
    """
    check_any(panels, "`panels` must hold at least one history", panels)
    figure, axes = panel_grid(len(panels), across=min(len(panels), 2))
    for axis, (label, lines) in zip(axes, panels.items(), strict=True):
        for run, points in lines.items():
            draw(axis, points, run, styles[run])
        axis.set_ylabel(label)
        _widen(axis, label)
        axis.set_xlabel("epoch")
        axis.locator_params(axis="x", integer=True)
    return finish(figure, path, title, caption, order=styles)


def series_name(name, watched):
    """Returns what a column of the history is called.

    Args:
        name: Key of the history.
        watched: `"validation"` or `"test"`.

    Example:

    >>> series_name("val_accuracy_white_noise@0.1", "test")
    'test, white_noise@0.1'
    """
    if name.startswith("mixed_"):
        return "training, mixed batches"
    if not name.startswith("val_"):
        return "training"
    _, _, perturbation = name.partition("accuracy_")
    return f"{watched}, {perturbation}" if perturbation else watched


def draws(sites, lam, names, laws):
    """Draws how often each site mixed, and the weights next to their law.

    Args:
        sites: Integers `(n,)`, numbers of sites; -1 where nothing was mixed.
        lam: Floats `(n,)` or `(n, batch)`.
        names: Names of the sites.
        laws: `(n, 2)`, alpha and beta of lam at each step; (0, 0) for no mixing.

    Returns:
        The `matplotlib.figure.Figure`; `None` where nothing was left to chance.

    Example:

    >>> figure = draws([0, 0, 1], [0.2, 0.7, 0.5], ["site_0", "site_1"], [(1, 1)] * 3)
    """
    sites, lam, laws = np.asarray(sites), np.asarray(lam), np.asarray(laws, "float64")
    active, mixing = sites >= 0, (sites >= 0) & (laws > 0).all(axis=1)
    chosen = len(names) > 1 or not active.all()
    count = int(chosen) + int(mixing.any())
    if not count:
        return None
    figure, axes = panel_grid(count, across=count, width=4.2, height=2.6)
    if chosen:
        _sites(axes[0], sites, names, active.mean())
    if mixing.any():
        _weights(axes[-1], lam[mixing], laws[mixing])
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def contact_sheet(seen, classes=None):
    """Draws the first images of a batch with their labels.

    Args:
        seen: `nfm_keras.mixing.seen.MixedImages`, or what has its fields.
        classes: Names of the classes; `None` for their numbers.

    Returns:
        The `matplotlib.figure.Figure`.
    """
    images = pixels(seen.images[:SHOWN])
    across = 8
    down = math.ceil(len(images) / across)
    figure = Figure((1.3 * across, 1.6 * down + 0.4), dpi=120, layout="constrained")
    for index, (image, label) in enumerate(zip(images, seen.labels)):
        axis = figure.add_subplot(down, across, index + 1)
        axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
        axis.set_title(soft_label(label, classes).replace(", ", "\n"), fontsize=7)
        axis.set(xticks=[], yticks=[])
    figure.suptitle(description(seen), fontsize=9)
    return figure


def description(seen):
    """Returns where a batch was mixed and with which weights, in words.

    Example:

    >>> from nfm_keras.mixing.seen import MixedImages
    >>> description(MixedImages(None, None, "site_2", np.float32(0.25)))
    'mixed at site_2, λ = 0.25'
    """
    if seen.site is None:
        return "not mixed"
    lam = np.asarray(seen.lam)
    low, high = lam.min(), lam.max()
    weights = f"λ = {low:.2f}" if low == high else f"λ from {low:.2f} to {high:.2f}"
    return f"mixed at {seen.site}, {weights}"


def soft_label(label, classes=None):
    """Returns the two largest shares of a label, in words.

    Args:
        label: Floats `(classes,)`.
        classes: Names; `None` for numbers.

    Example:

    >>> soft_label([0.0, 0.25, 0.75], ["cat", "dog", "ship"])
    'ship: 75 %, dog: 25 %'
    """
    order = np.argsort(label)[::-1][:2]
    names = range(len(label)) if classes is None else classes
    shares = [f"{names[i]}: {100 * label[i]:.0f} %" for i in order if label[i] > 0.005]
    return ", ".join(shares)


def pixels(images):
    """Returns images in [0, 1] as uint8; what noise took out of it is cut off.

    Example:

    >>> pixels(np.array([-0.1, 0.5, 2.0])).tolist()
    [0, 128, 255]
    """
    return np.round(255 * np.clip(images, 0, 1)).astype("uint8")


def _line(axis, values, label, look):
    epochs = np.arange(1, len(values) + 1)
    there = np.isfinite(values)
    # A lone point has no line.
    look = look | {"marker": "." if there.sum() <= 20 else ""}
    axis.plot(epochs[there], values[there], label=label, **look)


def _widen(axis, label):
    """Keeps an axis from showing what hardly changes as if it changed much.

    Percent span 20 points at least, and losses half a nat; rates begin at 0.
    """
    low, high = axis.dataLim.y0, axis.dataLim.y1
    if not np.isfinite([low, high]).all():
        return
    if "%" in label:
        widen(axis)
    elif "rate" in label:
        axis.set_ylim(min(0, low), 1.1 * high if high > 0 else 1)
    elif high - low < _NATS:
        bottom = max(0, (low + high - _NATS) / 2)
        axis.set_ylim(bottom - 0.05 * _NATS, bottom + 1.05 * _NATS)


def _sites(axis, sites, names, active):
    labels, numbers = [*names], [*range(len(names))]
    if active < 1:
        labels, numbers = [*labels, "none"], [*numbers, -1]
    shares = [100 * np.mean(sites == number) for number in numbers]
    axis.bar(labels, shares, color=_COLORS[1], label="drawn")
    expected = 100 * active / len(names)
    axis.plot(names, [expected] * len(names), "k_", label="expected", markersize=18)
    axis.set_ylabel("share of the steps (%)")
    axis.set_xlabel("site")
    if len(labels) > 5:
        axis.tick_params(axis="x", labelrotation=45)


def _weights(axis, lam, laws):
    settings = {"bins": 25, "range": (0, 1), "density": True}
    heights, *_ = axis.hist(lam.ravel(), label="drawn", color=_COLORS[1], **settings)
    grid = np.linspace(0.002, 0.998, 250)
    kinds, counts = np.unique(laws, axis=0, return_counts=True)
    density = sum(
        count / len(laws) * scipy.stats.beta.pdf(grid, *law)
        for law, count in zip(kinds, counts)
    )
    name = "Beta({:g}, {:g})".format(*kinds[0]) if len(kinds) == 1 else "Beta laws"
    axis.plot(grid, density, color="black", label=f"{name}, density")
    # Where alpha is below 1 the density has poles at 0 and 1.
    axis.set_ylim(0, 1.15 * max(heights.max(), np.median(density)))
    axis.set_xlabel("λ, weight of the own image")
    axis.set_ylabel("density")
