"""The toy's decision boundaries, and how they come to be.

Everything is made from toy.json and the surfaces beside it, never from a model.
"""

import dataclasses

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from PIL import Image

from nfm_keras.experiments.toy import training as toy_training
from nfm_keras.experiments.toy.training import (
    EXTENT,
    FACTOR,
    NOISE,
    POINTS,
    RESOLUTION,
    TRAINING,
)
from nfm_keras.figures.base import panel_grid, save

BEST = 90.8
"""Accuracy of the best classifier there is, in percent: it knows the two densities."""

# Okabe and Ito's blue and vermilion, told apart by colour-blind readers.
_COLORS = ("#0072B2", "#D55E00")
_SHADES = LinearSegmentedColormap.from_list("classes", ["#7DB8DD", "white", "#F0A879"])


def draw(record, surfaces, seed, path):
    """Draws the decision boundaries of one seed, a panel a regulariser.

    Args:
        record: The `nfm_keras.experiments.toy.toy.Toy`.
        surfaces: dict from name to what `nfm_keras.experiments.toy.toy.load_surfaces` read.
        seed: Theirs.
        path: PNG, PDF or SVG file to write.

    Returns:
        The `matplotlib.figure.Figure` written.
    """
    figure, images = _panels(record, surfaces, seed)
    side = np.linspace(-EXTENT, EXTENT, RESOLUTION)
    for axis, name in zip(figure.axes, surfaces):
        lines = {"levels": [127.5], "colors": "black", "linewidths": 1}
        axis.contour(side, side, surfaces[name][-1], **lines)
        run = record.find(name, seed)
        title = f"{record.regularisers[name]['label']} ({run.accuracy:.1f} %)"
        axis.set_title(title, fontsize=10)
    bar = figure.colorbar(images[0], ax=figure.axes, aspect=40, pad=0.01)
    bar.set_label("probability of the inner circle", fontsize=8)
    bar.set_ticks([0, 127.5, 255], labels=["0", "0.5", "1"], fontsize=8)
    title = f"Decision boundaries and test accuracy, seed {seed}"
    return save(figure, path, title, caption(record))


def animate(record, surfaces, seed, path):
    """Draws how the boundaries came to be, as an animated GIF.

    Args:
        record, surfaces, seed: As in `draw`; all of the same number of frames.
        path: GIF file to write.
    """
    figure, images = _panels(record, surfaces, seed)
    for axis, name in zip(figure.axes, surfaces):
        axis.set_title(record.regularisers[name]["label"], fontsize=10)
    figure.set_dpi(75)
    canvas = FigureCanvasAgg(figure)
    steps = _steps(record, frames=max(map(len, surfaces.values())))
    pictures = []
    for i, step in enumerate(steps):
        for image, shown in zip(images, surfaces.values()):
            image.set_data(shown[i])
        figure.suptitle(f"step {step} of {steps[-1]}", fontsize=10)
        canvas.draw()
        figure.set_layout_engine("none")  # laid out once: half of the time of a frame
        pictures.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]))
    pictures[0].save(
        path,
        save_all=True,
        append_images=pictures[1:],
        duration=[200] * (len(pictures) - 1) + [2000],
        loop=0,
    )


def caption(record) -> str:
    """Returns the protocol in words.

    Args:
        record: A `nfm_keras.experiments.toy.toy.Toy`.
    """
    settings = record.settings
    return (
        f"Circles of radii 1 and {FACTOR}, noise {NOISE}: "
        f"{TRAINING} training and {POINTS - TRAINING} test points. Four "
        f"ReLU layers of {round(64 * settings['width'])} units, Adam with learning "
        f"rate {settings['learning_rate']:g}, {settings['epochs']} epochs, batch "
        f"{settings['batch_size']}. A seed is one draw of points, split, first weights "
        f"and training. No classifier can expect more than {BEST} %"
    )


def _steps(record, frames):
    fields = dataclasses.fields(toy_training.Settings)
    settings = {field.name: record.settings[field.name] for field in fields}
    return toy_training.frame_steps(toy_training.Settings(**settings), frames)


def _panels(record, surfaces, seed):
    """A figure with shades and points in its panels, and the shades."""
    across = min(4, len(surfaces))
    side = max(2.7, 6 / across)  # of few panels, wide enough for the caption
    figure, axes = panel_grid(len(surfaces), across, side, side)
    shape = {"origin": "lower", "extent": (-EXTENT, EXTENT) * 2}
    scale = {"cmap": _SHADES, "vmin": 0, "vmax": 255, "interpolation": "bilinear"}
    images = []
    for axis, frames in zip(axes, surfaces.values()):
        images.append(axis.imshow(frames[-1], **shape, **scale))
        _scatter(axis, toy_training.circles(seed))
        axis.set(xticks=[-2, 0, 2], yticks=[-2, 0, 2])
        axis.tick_params(labelsize=7)
    handles = axes[0].get_legend_handles_labels()
    place = {"loc": "outside lower center", "ncols": 4}
    figure.legend(*handles, **place, fontsize=8, frameon=False)
    return figure, images


def _scatter(axis, held):
    training = {"marker": "o", "s": 9, "linewidths": 0.3, "edgecolors": "white"}
    test = {"marker": "x", "s": 12, "linewidths": 0.8}
    for name, points, labels, style in (
        ("training", held.train_points, held.train_labels, training),
        ("test", held.test_points, held.test_labels, test),
    ):
        for label, circle in enumerate(("outer", "inner")):
            x, y = points[labels == label].T
            text = f"{circle} circle, {name}"
            axis.scatter(x, y, c=_COLORS[label], label=text, **style)
