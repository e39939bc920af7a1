"""Figures of images: every corruption, and adversarial examples."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure  # not pyplot: no global state, no display
from numpy.typing import ArrayLike

from nfm_keras.figures.base import check_any, panel_grid, save, words
from nfm_keras.types import StrPath

COLUMNS = 8
"""The most images that `adversarial_examples` shows."""

_WRONG = "#D55E00"


def sample_sheet(
    samples: Mapping[str, Sequence[np.ndarray]],
    path: StrPath,
    *,
    original: np.ndarray,
    title: str | None = None,
    caption: str = "",
) -> Figure:
    """Shows one image under every corruption, a row each, next to the original.

    Args:
        samples: dict `{kind: images}`, five images of severity 1 to 5 each: uint8,
            `(height, width, 1 or 3)`.
        path, title, caption: as in `nfm_keras.figures.corruptions.corruption_bars`.
        original: the image without corruption, of the same shape.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: If there is no corruption, there are not five images, or an image
            is of another shape or type.

    Example:

    >>> image = np.zeros((32, 32, 3), "uint8")
    >>> samples = {"fog": [image] * 5}
    >>> figure = sample_sheet(samples, "sheet.png", original=image)
    """
    check_any(samples, "`samples` must hold at least one corruption", samples)
    rows = {kind: _samples(kind, samples[kind], original) for kind in samples}
    height, width = np.shape(original)[:2]
    cell, gap = np.clip(width / 50, 0.64, 1.34), 0.06  # inches; a share of the cell
    across, down = 1 + gap, height / width + gap
    size = cell * across * 6.1 + 1.3, cell * down * len(rows) + 1.2
    figure = Figure(size, dpi=150, layout="constrained")
    axis = figure.add_subplot()
    lefts = np.arange(6) * across + np.where(np.arange(6) > 0, 2 * gap, 0)
    tops = np.arange(len(rows)) * down
    for top, images in zip(tops, rows.values(), strict=True):
        for left, image in zip(lefts, images, strict=True):
            _show(axis, image, extent=(left, left + 1, top + height / width, top))
    axis.set_xlim(0, lefts[-1] + 1)
    axis.set_ylim(tops[-1] + height / width, 0)
    axis.set_xticks(lefts + 0.5, ["original", *map(str, range(1, 6))])
    axis.set_yticks(tops + height / width / 2, map(words, rows))
    axis.set_anchor("NW")  # else the layout cuts the names of the rows off
    axis.xaxis.tick_top()
    axis.xaxis.set_label_position("top")
    axis.set_xlabel("severity", fontsize=8)
    axis.tick_params(length=0, labelsize=8)
    axis.spines[:].set_visible(False)
    return save(figure, path, title, caption)


def adversarial_examples(
    images: ArrayLike,
    adversaries: ArrayLike,
    path: StrPath,
    *,
    labels: ArrayLike,
    predictions: ArrayLike,
    adversarial_predictions: ArrayLike,
    classes: Sequence[str],
    names: Sequence[str] | None = None,
    title: str | None = None,
    caption: str = "",
) -> Figure:
    """Shows images, what an attack made of them, and the difference magnified.

    Each difference is magnified so that its largest value just reaches black or white;
    grey is no difference. The first eight images are shown.

    Args:
        images, adversaries: `(n, height, width, 1 or 3)`, uint8 or float in [0,1].
        path, title: as in `nfm_keras.figures.corruptions.corruption_bars`.
        labels: `(n,)` integers, the true classes.
        predictions, adversarial_predictions: `(n,)` integers, what the classifier takes
            images and adversaries for; wrong ones are written in red.
        classes: list of str, the names of the classes.
        names: list of `n` str over the columns, or None.
        caption: str, small under the title: attack, epsilon, model.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: If there are no images, or arguments do not fit each other.

    Example:

    >>> image = np.full((1, 32, 32, 3), 0.5)
    >>> taken = {"labels": [0], "predictions": [0], "adversarial_predictions": [1]}
    >>> figure = adversarial_examples(
    ...     image, image + 8 / 255, "cat.png", **taken, classes=["cat", "dog"]
    ... )
    """
    own, changed = _unit(images), _unit(adversaries)
    _check_images(own, changed)
    total, number = len(own), min(len(own), COLUMNS)
    true, taken, fooled = (
        _classes(name, indices, total, len(classes))
        for name, indices in (
            ("labels", labels),
            ("predictions", predictions),
            ("adversarial_predictions", adversarial_predictions),
        )
    )
    heads = [""] * total if names is None else [f"{_short(name)}\n" for name in names]
    if len(heads) != total:
        raise ValueError(f"`names` must be {total} names. Received: {names!r}")
    height = 1.15 * own.shape[1] / own.shape[2] + 0.15
    figure, axes = panel_grid(3 * number, number, max(5 / number, 1.25), height)
    for column in range(number):
        first, second, third = axes[column::number]
        _show_pair(first, second, third, own[column], changed[column])
        head = heads[column] + _short(f"true {classes[true[column]]}")
        _label(first, f"{head}\n", classes, taken[column], true[column])
        _label(second, "", classes, fooled[column], true[column])
    rows = ("image", "adversarial", "difference")
    for axis, label in zip(axes[::number], rows, strict=True):
        axis.set_ylabel(label, fontsize=9)
    return save(figure, path, title, caption)


def _samples(kind, images, original):
    """The original and five images of the same shape."""
    images = [np.asarray(image) for image in (original, *images)]
    shape = images[0].shape
    same = all(image.shape == shape and image.dtype == np.uint8 for image in images)
    fits = len(shape) == 3 and shape[2] in (1, 3)
    if len(images) != 6 or not same or not fits:
        raise ValueError(
            "A row must be five uint8 images (height, width, 1 or 3) of the original's "
            f"shape. Received: {[(image.shape, str(image.dtype)) for image in images]} "
            f"for the original and {kind!r}"
        )
    return images


def _show(axis, image, **place):
    """A picture with its pixels as they are, uint8 or in [0,1]."""
    top = 255 if image.dtype == np.uint8 else 1
    picture = image[..., 0] if image.shape[-1] == 1 else image
    scale = {"cmap": "gray", "vmin": 0, "vmax": top}  # of grey pictures alone
    axis.imshow(picture, interpolation="nearest", **scale, **place)


def activations(
    images: Mapping[str, ArrayLike],
    path: StrPath,
    *,
    start: np.ndarray,
    heads: Sequence[str],
    values: Mapping[str, Sequence[float]],
    title: str | None = None,
    caption: str = "",
) -> Figure:
    """Shows images that activate units most, a row a network, beside where they began.

    Args:
        images: dict from network to `(n, height, width, 1 or 3)` floats in [0, 1].
        path, title, caption: as in `nfm_keras.figures.corruptions.corruption_bars`.
        start: float `(height, width, 1 or 3)`, the image that all began at.
        heads: `n` str, over the columns: the units.
        values: dict from network to `n` floats, written under its images.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: If there is no network, or not one image for each head.

    Example:

    >>> grey = np.full((1, 8, 8, 3), 0.5)
    >>> looks = {"start": grey[0], "heads": ["unit 3"], "values": {"mine": [1.5]}}
    >>> figure = activations({"mine": grey}, "units.png", **looks)
    """
    check_any(images, "`images` must hold at least one network", images)
    columns = len(heads) + 1
    figure = Figure((1.1 * columns + 0.6, 1.35 * len(images) + 0.9), dpi=120)
    figure.set_layout_engine("constrained")
    axes = figure.subplots(len(images), columns, squeeze=False)
    for row, (name, own) in zip(axes, images.items(), strict=True):
        own = np.asarray(own)
        if len(own) != len(heads) or len(values[name]) != len(heads):
            raise ValueError(
                f"{name} must have an image and a value for each of {len(heads)} "
                f"units. Received: {len(own)} and {len(values[name])}"
            )
        for axis, image in zip(row, [np.asarray(start), *own], strict=True):
            _show(axis, image)
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(textwrap.fill(name, 16), fontsize=8)
        for axis, value in zip(row[1:], values[name], strict=True):
            axis.set_xlabel(f"{value:.3g}", fontsize=7)
    for axis, head in zip(axes[0], ["start", *heads], strict=True):
        axis.set_title(head, fontsize=8)
    return save(figure, path, title, caption)


def _show_pair(first, second, third, image, adversary):
    """An image, its adversary and their difference magnified, in three panels."""
    difference, factor = _magnify(adversary - image)
    for axis, picture in (first, image), (second, adversary), (third, difference):
        _show(axis, picture)
        axis.set(xticks=[], yticks=[])
    third.set_title(f"x {factor:.1f}" if factor else "no difference", fontsize=7)


def _unit(images):
    """Images in [0,1] as floats."""
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images.astype("float32") / np.float32(255)
    return images.astype("float32", copy=False)


def _check_images(images, adversaries):
    shape = images.shape
    if not images.size:
        raise ValueError(
            f"`images` must be at least one image. Received: shape {shape}"
        )
    if adversaries.shape != shape or len(shape) != 4 or shape[3] not in (1, 3):
        raise ValueError(
            "`images` and `adversaries` must have one shape, (n, height, width, 1 or "
            f"3). Received: {shape} and {adversaries.shape}"
        )
    for name, values in (("images", images), ("adversaries", adversaries)):
        if not (values.min() >= 0 and values.max() <= 1):  # `not`: NaN is caught, too
            raise ValueError(
                f"`{name}` must be uint8 or lie in [0,1]. "
                f"Received: values from {values.min():g} to {values.max():g}"
            )


def _classes(name, indices, total, classes):
    """Indices of classes, one an image."""
    indices = np.asarray(indices)
    if indices.shape != (total,) or not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(
            f"`{name}` must have one class for each of the {total} images. "
            f"Received: shape {indices.shape}, dtype {indices.dtype}"
        )
    if indices.min() < 0 or indices.max() >= classes:
        raise ValueError(
            f"`{name}` must lie between 0 and {classes - 1}. "
            f"Received: from {indices.min()} to {indices.max()}"
        )
    return indices


def _magnify(difference):
    """The difference around grey, as large as [0,1] allows, and the factor of that."""
    largest = float(np.abs(difference).max())
    factor = 0.5 / largest if largest else 0.0
    return 0.5 + np.float32(factor) * difference, factor


def _label(axis, head, classes, prediction, label):
    text = head + _short(f"predicted {classes[prediction]}")
    color = "black" if prediction == label else _WRONG
    axis.set_title(text, fontsize=7, color=color)


def _short(text):
    return text if len(text) <= 22 else f"{text[:21]}…"
