"""Figures of aggregates: accuracy over severity, under corruptions, and training."""

import math
import statistics

from nfm_keras import figures
from nfm_keras.corruptions.constants import NAMES, PAPER, SEVERITIES, STANDARD
from nfm_keras.figures.corruptions import corruption_panels
from nfm_keras.figures.styles import scheme_styles
from nfm_keras.reports import captions
from nfm_keras.reports.aggregate import scores_by_id
from nfm_keras.reports.cells import (
    CORRUPTION_MEAN,
    corruption_mean,
    naming,
    of_protocol,
    panel,
)
from nfm_keras.reports.columns import order

_SHOWN = 3  # the severity of the single corruptions that the paper draws
_MEANS = {
    f"severity (mean of the paper's {len(PAPER)} corruptions)": PAPER,
    f"severity (mean of the {len(STANDARD)} standard corruptions)": STANDARD,
}


def curves(aggregates, path, *, title=None):
    """Draws accuracy over severity, one panel a family of perturbations.

    One line an aggregate, starting from the clean accuracy at severity 0; all of a
    panel are of the same images (`nfm_keras.reports.same_images`). The shade is one
    standard deviation over seeds to either side or, for one seed, the Wilson 95 %
    interval.

    Args:
        aggregates: list of `nfm_keras.reports.aggregate.Aggregate`.
        path: PNG, PDF or SVG file to write; its folder is created.
        title: str.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: If there is nothing to draw.

    Example:

    >>> curves(over_settings(runs, "pixel"), "curves.png")  # doctest: +SKIP
    """
    names = families(a.cells for a in aggregates)
    if not names:
        raise ValueError(
            "Robustness curves need scores under some perturbation. "
            f"Received: none in {[a.label for a in aggregates]}"
        )
    rows = {
        a.label: [of_protocol(run.scores, a.protocol) for run in a.records]
        for a in aggregates
    }
    runs = [run for a in aggregates for run in a.records]
    name = naming(score for run in runs for score in run.scores)
    panels = {family: panel(rows, family, name) for family in names}
    return figures.accuracy_curves(
        {family: found.lines for family, found in panels.items()},
        path,
        title=title,
        caption=f"{captions.of_aggregates(aggregates)} {_shade(aggregates)}",
        styles=styles(aggregates),
        protocol=aggregates[0].protocol,
        counts={family: found.n for family, found in panels.items()},
    )


def families(rows):
    """Returns the families of perturbations that have a curve.

    Args:
        rows: iterable of dicts of `nfm_keras.reports.cells.Cell`.

    Returns:
        List of str in the order of the columns, without `"clean"`. The corruptions have
        figures of their own. An attack that was run with several settings is as many
        families.
    """
    names = {cell.family for cells in rows for cell in cells.values()}
    names -= {"clean", CORRUPTION_MEAN, *NAMES}
    return sorted(names, key=lambda family: order(family, 0.0))


def histories(aggregates, path, *, title=None):
    """Draws training error, test or validation error and training loss over epochs.

    One line an aggregate, the mean over seeds; the shade is one standard deviation to
    either side. The training error of what mixes labels is on mixed batches, where no
    network gets far below half a mixture wrong: it has a panel of its own.

    Args:
        aggregates: list of `nfm_keras.reports.aggregate.Aggregate`, of any protocol.
        path: PNG, PDF or SVG file to write; its folder is created.
        title: str.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: If no record has a history.

    Reference: Lim et al., *Noisy Feature Mixup*, ICLR 2022, figure 13.
    """
    runs = [record for a in aggregates for record in a.records]
    # Where a run holds no image out, what it watches is the test set.
    sets = {"validation" if r.config.get("validation") else "test" for r in runs}
    panels = {
        "accuracy": "training error (%)",
        "mixed_accuracy": "training error (mixed batches, %)",
        "val_accuracy": f"{' or '.join(sorted(sets))} error (%)",
        "loss": "training loss (nats)",
    }
    lines = {
        label: {a.label: _history(a, key) for a in aggregates}
        for key, label in panels.items()
        if any(run.history.get(key) for run in runs)
    }
    if not lines:
        raise ValueError(
            "Training curves need a history. "
            f"Received: none in {[run.name for run in runs]}"
        )
    caption = captions.of_aggregates(aggregates, measured=False)
    looks = styles(aggregates)
    return figures.histories(lines, path, looks, title=title, caption=caption)


def corruptions(aggregates, path, *, title=None):
    """Draws accuracy under corruptions: by severity, and each one at severity 3.

    By severity, it is the mean over the six corruptions that the paper draws and,
    beside it, over the 15 of the benchmark, where all of them have a score. Shades and
    whiskers are one standard deviation over seeds to either side or, for one seed, the
    95 % interval over images.

    Args:
        aggregates: list of `nfm_keras.reports.aggregate.Aggregate`.
        path: PNG, PDF or SVG file to write; its folder is created.
        title: str.

    Returns:
        The `matplotlib.figure.Figure` written, None where there is nothing to draw.

    Reference: Lim et al., *Noisy Feature Mixup*, ICLR 2022, figure 6.
    """
    lines = {
        label: {a.label: _by_severity(a, kinds) for a in aggregates}
        for label, kinds in _MEANS.items()
    }
    lines = {label: by_row for label, by_row in lines.items() if any(by_row.values())}
    others = [kind for kind in NAMES if kind not in PAPER]
    bars = [bar for kinds in (PAPER, others) if (bar := _bars(aggregates, kinds))]
    if not lines and not bars:
        return None
    caption = captions.of_aggregates(aggregates, kinds=NAMES)
    looks = styles(aggregates)
    caption = f"{caption} {_shade(aggregates)}"
    return corruption_panels(
        lines, bars, path, looks, severity=_SHOWN, title=title, caption=caption
    )


def styles(aggregates):
    """Returns colour, marker and dashes of each label, the same in every figure.

    By scheme, its variants told apart by their dashes.

    Args:
        aggregates: list of `nfm_keras.reports.aggregate.Aggregate`.
    """
    schemes = [a.scheme for a in aggregates]
    looks = scheme_styles(schemes)
    return {a.label: look for a, look in zip(aggregates, looks, strict=True)}


def _history(aggregate, key):
    """(epoch, mean, low, high) of each epoch in which all runs have a number.

    NaN is an epoch that was not evaluated, or a run that diverged: no point there.
    An accuracy is drawn as the error in percent.
    """
    curve = []
    series = zip(*(run.history.get(key, ()) for run in aggregate.records), strict=False)
    for epoch, values in enumerate(series, start=1):
        if all(map(math.isfinite, values)):
            if key.endswith("accuracy"):
                values = [100 * (1 - value) for value in values]
            curve.append((epoch, *_spread(values)))
    return curve


def _spread(values):
    """(mean, low, high), one standard deviation to either side."""
    mean = statistics.fmean(values)
    deviation = statistics.stdev(values) if len(values) > 1 else 0
    return mean, mean - deviation, mean + deviation


def _by_severity(aggregate, kinds, severities=SEVERITIES):
    """(severity, mean, low, high) of the mean over kinds, where all have a score.

    The ends are those of the interval over images where there is one seed, if known.
    """
    runs = [scores_by_id(run, aggregate.protocol) for run in aggregate.records]
    curve = []
    for severity in severities:
        means = [corruption_mean(scores, kinds, [severity]) for scores in runs]
        means = [mean for mean in means if mean]
        if len(means) == 1:
            ((mean, *ends),) = means
            curve.append((severity, mean, *([mean, mean] if None in ends else ends)))
        elif means:
            curve.append((severity, *_spread([mean for mean, *_ in means])))
    return curve


def _bars(aggregates, kinds):
    """Label -> kind -> (mean, low, high) at one severity, of what was measured."""
    rows = {a.label: {kind: _bar(a, kind) for kind in kinds} for a in aggregates}
    measured = [kind for kind in kinds if any(row[kind] for row in rows.values())]
    bars = {
        label: {kind: row[kind] for kind in measured} for label, row in rows.items()
    }
    return bars if measured else None


def _bar(aggregate, kind):
    for _, *bar in _by_severity(aggregate, [kind], [_SHOWN]):
        return tuple(bar)
    return None


def _shade(aggregates):
    kinds = {cell.deviation is None for a in aggregates for cell in a.cells.values()}
    words = {
        False: "one standard deviation over trainings",
        True: "the 95 % interval over images of a single training",
    }
    told = ", or ".join(words[kind] for kind in sorted(kinds))
    return f"Shades and whiskers are {told}."
