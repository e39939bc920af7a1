"""The toy's table and figures, made from its files and never from a model."""

import pathlib
import statistics

import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.colors import LinearSegmentedColormap

from nfm_keras.evaluation.statistics import mean_interval
from nfm_keras.experiments.tables.toy import TRAINING, Settings
from nfm_keras.experiments.toy import toy, training
from nfm_keras.figures.base import panel_grid, save
from nfm_keras.records.files import whole, write_text
from nfm_keras.table import Table

BASELINE = "none"
BEST = 90.8  # % of the test points: what knowledge of the two densities gives
# Okabe and Ito's blue and vermilion, told apart by colour-blind readers.
_COLORS = ("#0072B2", "#D55E00")
_POINTS = (
    ("training", {"marker": "o", "s": 9, "linewidths": 0.3, "edgecolors": "white"}),
    ("test", {"marker": "x", "s": 12, "linewidths": 0.8}),
)
_SHADES = LinearSegmentedColormap.from_list("classes", ["#7DB8DD", "white", "#F0A879"])


def write(folder, seed):
    """Writes the three tables, boundaries.png and, of several frames, boundaries.gif.

    Args:
        folder: Where `toy.train_all` wrote to.
        seed: int. The one whose boundaries are drawn, the first.

    Raises:
        FileNotFoundError, ValueError: If a file is missing or broken.
    """
    folder, record = pathlib.Path(folder), toy.load(folder)
    for name, text in tables(record).items():
        write_text(folder / name, text)
    # A kill may leave a surface without its run.
    names = [name for name in record.regularisers if record.run(name, seed)]
    surfaces = {name: toy.load_surfaces(folder, name, seed) for name in names}
    surfaces = {name: kept for name, kept in surfaces.items() if kept is not None}
    if not surfaces:
        raise FileNotFoundError(
            f"{folder} must hold surfaces of the seed to draw. Received: seed={seed}"
        )
    draw(record, surfaces, seed, folder / "boundaries.png")
    frames = {len(kept) for kept in surfaces.values()}
    if len(frames) == 1 < min(frames):
        animate(record, surfaces, seed, folder / "boundaries.gif")


def tables(record):
    """Returns the texts of table.md, table.csv and table.tex of a `Toy`, by name."""
    rows = summarise(record)
    table = Table.from_dicts(map(_cells, rows), "lr")
    about = (
        f"{_caption(record)}. Paper: Noisy Feature Mixup (Lim et al. 2021), Figure 2, "
        "one seed; it names neither epochs nor batch nor units."
    )
    seconds = sum(run.seconds for run in record.runs)
    versions, hardware = record.versions, record.hardware
    devices = ", ".join(hardware["accelerators"]) or hardware["cpu"]
    head = (
        "Accuracy in percent, mean ± sample deviation over seeds; differences are "
        f"paired by seed, with a t interval. {about}\n\nTraining took {seconds:.0f} s "
        f"on {hardware['cores']} cores, {devices}; Keras {versions['keras']} on "
        f"{versions['backend']}.\n\n"
    )
    return {
        "table.md": head + table.to_markdown(),
        "table.csv": Table.from_dicts(rows).to_csv(),
        "table.tex": table.to_latex(about),
    }


def _cells(row):
    def cell(form, *names):
        values = [row[name] for name in names]
        return None if None in values else form.format(*values)

    spread = cell("{:.1f} ± {:.1f}", "mean", "deviation")
    return {
        "regulariser": row["label"],
        "seeds": row["seeds"],
        "test accuracy": spread or cell("{:.1f}", "mean"),
        "paper": cell("{:.1f}", "paper"),
        f"minus {BASELINE}": cell("{:+.1f}", "difference"),
        "95 % interval": cell("[{:+.1f}, {:+.1f}]", "low", "high"),
        "training accuracy": cell("{:.1f}", "train_mean"),
        "collapsed": row["collapsed"],
    }


def summarise(record):
    """Returns a dict for each regulariser of a `Toy`: the columns of table.csv.

    Accuracies are in percent, `low` and `high` the 95 % interval, by Student's t, of
    the mean `difference` from the baseline in `pairs` of one seed; or None.
    """
    rows = []
    for name, settings in record.regularisers.items():
        runs = [run for run in record.runs if run.regulariser == name]
        if not runs:
            continue
        others = [record.run(BASELINE, run.seed) for run in runs if name != BASELINE]
        gains = [a.accuracy - b.accuracy for a, b in zip(runs, others) if b]
        known = mean_interval(gains, -100.0, 100.0) if len(gains) > 1 else gains
        difference, low, high = (*known, None, None, None)[:3]
        accuracies = [run.accuracy for run in runs]
        row = {
            "regulariser": name,
            "label": settings["label"],
            "seeds": len(runs),
            "mean": statistics.fmean(accuracies),
            "deviation": statistics.stdev(accuracies) if len(runs) > 1 else None,
            "paper": settings["paper"],
            "pairs": len(gains),
            "difference": difference,
            "low": low,
            "high": high,
            "train_mean": statistics.fmean(run.train_accuracy for run in runs),
            "collapsed": sum(run.collapsed for run in runs),
        }
        rows.append(row)
    return rows


def draw(record, surfaces, seed, path):
    """Draws the decision boundaries of one seed, a panel a regulariser."""
    figure, images = _panels(record, surfaces, seed)
    side = np.linspace(-training.EXTENT, training.EXTENT, training.RESOLUTION)
    for axis, (name, kept) in zip(figure.axes, surfaces.items()):
        axis.contour(side, side, kept[-1] / 255, [0.5], colors="black", linewidths=1)
        accuracy = record.run(name, seed).accuracy
        axis.title.set_text(f"{axis.get_title()} ({accuracy:.1f} %)")
    style = {"label": "probability of the inner circle", "aspect": 40, "pad": 0.01}
    figure.colorbar(images[0], ax=figure.axes, ticks=[0, 0.5, 1], **style)
    title = f"Decision boundaries and test accuracy, seed {seed}"
    return save(figure, path, title, _caption(record))


def animate(record, surfaces, seed, path):
    """Draws how the boundaries came to be, as an animated GIF."""
    figure, images = _panels(record, surfaces, seed)
    count = len(next(iter(surfaces.values())))
    lengths = record.settings["epochs"], record.settings["batch_size"]
    steps = Settings(*lengths).frames(count)

    def show(frame):
        for image, kept in zip(images, surfaces.values()):
            image.set_data(kept[frame] / 255)
        figure.suptitle(f"step {steps[frame]} of {steps[-1]}", fontsize=10)

    show(0)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once: half of the time of a frame
    order = *range(count), *[count - 1] * 9  # the last one stays on
    with whole(path) as hidden:
        FuncAnimation(figure, show, order).save(hidden, "pillow", fps=5, dpi=75)


def _caption(record):
    settings = record.settings
    return (
        f"Circles of radii 1 and {training.FACTOR}, noise {training.NOISE}: "
        f"{TRAINING} training and {training.POINTS - TRAINING} test points. Four "
        f"ReLU layers of {round(64 * settings['width'])} units, Adam with learning "
        f"rate {settings['learning_rate']:g}, {settings['epochs']} epochs, batch "
        f"{settings['batch_size']}. A seed is one draw of points, split, first weights "
        f"and training. No classifier can expect more than {BEST} %"
    )


def _panels(record, surfaces, seed):
    """Returns a figure with shades and points in its panels, and the shades."""
    across = min(4, len(surfaces))
    side = max(2.7, 6 / across)  # of few panels, wide enough for the caption
    figure, axes = panel_grid(len(surfaces), across, side, side)
    place = {"extent": (-training.EXTENT, training.EXTENT) * 2, "origin": "lower"}
    scale = {"cmap": _SHADES, "vmin": 0, "vmax": 1, "interpolation": "bilinear"}
    images = []
    for axis, (name, kept) in zip(axes, surfaces.items()):
        images.append(axis.imshow(kept[-1] / 255, **place, **scale))
        for (points, labels), (part, style) in zip(training.circles(seed), _POINTS):
            for label, circle in enumerate(("outer", "inner")):
                text, color = f"{circle} circle, {part}", _COLORS[label]
                axis.scatter(*points[labels == label].T, c=color, label=text, **style)
        axis.set_title(record.regularisers[name]["label"], fontsize=10)
        axis.set(xticks=[-2, 0, 2], yticks=[-2, 0, 2])
        axis.tick_params(labelsize=7)
    place = {"loc": "outside lower center", "ncols": 4, "fontsize": 8}
    figure.legend(*axes[0].get_legend_handles_labels(), **place, frameon=False)
    return figure, images
