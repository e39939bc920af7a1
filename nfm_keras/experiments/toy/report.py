"""The toy's table, and with its figures the whole report.

Everything is made from toy.json and the surfaces beside it, never from a model.
"""

import csv
import dataclasses
import io
import math
import pathlib
import statistics

import scipy.special

from nfm_keras.experiments.toy import toy
from nfm_keras.experiments.toy.plots import animate, caption, draw
from nfm_keras.table import escape

BASELINE = "none"
_HEAD = (
    *("regulariser", "seeds", "test accuracy", "paper", f"minus {BASELINE}"),
    *("95 % interval", "training accuracy", "collapsed"),
)


@dataclasses.dataclass(frozen=True)
class Row:
    """A regulariser over its seeds, accuracies in percent.

    Args:
        regulariser, label: str. Its name, and what it is called.
        seeds: int. How many.
        mean, deviation: float. Of the test accuracy; the sample deviation, None for one
            seed.
        paper: float. The paper's number, or None.
        pairs: int. Seeds that the baseline has, too.
        difference: float. Mean over these of its accuracy minus the baseline's.
        low, high: float. 95 % interval of the mean difference, by Student's t; None
            for less than two pairs.
        train_mean: float. Mean accuracy on the training points.
        collapsed: int. Seeds whose network gives all test points the same class.
    """

    regulariser: str
    label: str
    seeds: int
    mean: float
    deviation: float | None
    paper: float | None
    pairs: int
    difference: float | None
    low: float | None
    high: float | None
    train_mean: float
    collapsed: int


def summarise(record) -> list:
    """Returns a `Row` for each regulariser that was trained.

    Args:
        record: A `nfm_keras.experiments.toy.toy.Toy`.

    Raises:
        ValueError: If nothing was trained.
    """
    runs = {name: {} for name in record.regularisers}
    for run in record.runs:
        runs[run.regulariser][run.seed] = run
    rows = [
        _row(name, record.regularisers[name], found, runs.get(BASELINE, {}))
        for name, found in runs.items()
        if found
    ]
    if not rows:
        raise ValueError("A report needs at least one run. Received: none")
    return rows


def paired_interval(differences):
    """The mean of paired differences and its 95 % interval, by Student's t.

    Args:
        differences: floats.

    Returns:
        `(mean, low, high)`; None where there are too few: below 1 and 2.

    Example:

    >>> mean, low, high = paired_interval([1.0, 2.0, 3.0])
    >>> f"{mean:.2f} {low:.2f} {high:.2f}"
    '2.00 -0.48 4.48'
    """
    count = len(differences)
    if count == 0:
        return None, None, None
    mean = statistics.fmean(differences)
    if count == 1:
        return mean, None, None
    quantile = float(scipy.special.stdtrit(count - 1, 0.975))
    half = quantile * statistics.stdev(differences) / math.sqrt(count)
    return mean, mean - half, mean + half


def write(folder, seed=0):
    """Writes table.md, table.csv, table.tex, boundaries.png and boundaries.gif.

    The animation only where surfaces were kept on the way.

    Args:
        folder: Where `nfm_keras.experiments.toy.toy.run` wrote to.
        seed: The one whose boundaries are drawn.

    Raises:
        FileNotFoundError, ValueError: If a file is missing or broken.
    """
    folder = pathlib.Path(folder)
    record = toy.load(folder)
    rows = summarise(record)
    for name, text in (
        ("table.md", to_markdown(rows, record)),
        ("table.csv", to_csv(rows)),
        ("table.tex", to_tex(rows, record)),
    ):
        (folder / name).write_text(text, encoding="utf-8")
    surfaces = _surfaces(folder, rows, seed)
    draw(record, surfaces, seed, folder / "boundaries.png")
    lengths = {len(frames) for frames in surfaces.values()}
    if len(lengths) == 1 and lengths != {1}:
        animate(record, surfaces, seed, folder / "boundaries.gif")


def to_markdown(rows, record) -> str:
    """Returns the table as Markdown with its caption.

    Args:
        rows: What `summarise` found.
        record: The `nfm_keras.experiments.toy.toy.Toy`.
    """
    lines = ["| " + " | ".join(cells) + " |" for cells in (_HEAD, *map(_cells, rows))]
    lines.insert(1, "|---|" + "---:|" * (len(_HEAD) - 1))
    notes = [
        "Accuracy in percent, mean ± sample deviation over seeds; differences are "
        f"paired by seed, with a t interval. {caption(record)}. {_PAPER}.",
        f"Training took {_spent(record)}.",
    ]
    return "\n\n".join([*notes, "\n".join(lines)]) + "\n"


def to_tex(rows, record) -> str:
    """Returns the table as LaTeX, a `tabular` under its caption as a comment.

    Args:
        rows: What `summarise` found.
        record: The `nfm_keras.experiments.toy.toy.Toy`.
    """
    body = [" & ".join(map(escape, cells)) + r" \\" for cells in map(_cells, rows)]
    head = " & ".join(map(escape, _HEAD)) + r" \\"
    return "\n".join(
        [
            f"% {caption(record)}. {_PAPER}",
            rf"\begin{{tabular}}{{l{'r' * (len(_HEAD) - 1)}}}",
            *(r"\hline", head, r"\hline", *body, r"\hline"),
            r"\end{tabular}",
            "",
        ]
    )


def to_csv(rows) -> str:
    """Returns the rows as CSV in full precision; what is not known is empty.

    Args:
        rows: What `summarise` found.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(field.name for field in dataclasses.fields(Row))
    writer.writerows(dataclasses.astuple(row) for row in rows)
    return stream.getvalue()


_PAPER = (
    "Paper: Noisy Feature Mixup (Lim et al. 2021), Figure 2, one seed; it names "
    "neither epochs nor batch nor units"
)


def _surfaces(folder, rows, seed):
    names = [row.regulariser for row in rows]
    kept = [n for n in names if toy.surface_path(folder, n, seed).exists()]
    if not kept:
        raise FileNotFoundError(
            f"{folder} must hold surfaces of the seed to draw. Received: seed={seed}"
        )
    return {name: toy.load_surfaces(folder, name, seed) for name in kept}


def _row(name, settings, runs, baseline):
    accuracies = [run.accuracy for run in runs.values()]
    paired = [] if name == BASELINE else sorted(runs.keys() & baseline)
    difference, low, high = paired_interval(
        [runs[seed].accuracy - baseline[seed].accuracy for seed in paired]
    )
    return Row(
        regulariser=name,
        label=settings["label"],
        seeds=len(runs),
        mean=statistics.fmean(accuracies),
        deviation=statistics.stdev(accuracies) if len(runs) > 1 else None,
        paper=settings["paper"],
        pairs=len(paired),
        difference=difference,
        low=low,
        high=high,
        train_mean=statistics.fmean(run.train_accuracy for run in runs.values()),
        collapsed=sum(run.collapsed for run in runs.values()),
    )


def _cells(row):
    spread = "" if row.deviation is None else f" ± {row.deviation:.1f}"
    return (
        row.label,
        str(row.seeds),
        f"{row.mean:.1f}{spread}",
        "" if row.paper is None else f"{row.paper:.1f}",
        "" if row.difference is None else f"{row.difference:+.1f}",
        "" if row.low is None else f"[{row.low:+.1f}, {row.high:+.1f}]",
        f"{row.train_mean:.1f}",
        str(row.collapsed),
    )


def _spent(record):
    seconds = sum(run.seconds for run in record.runs)
    versions, hardware = record.versions, record.hardware
    devices = ", ".join(hardware["accelerators"]) or hardware["cpu"]
    return (
        f"{seconds:.0f} s on {hardware['cores']} cores, {devices}; Keras "
        f"{versions['keras']} on {versions['backend']}"
    )
