"""The tables of a comparison: a column a model."""

import numpy as np

from nfm_keras.corruptions.constants import NAMES, SEVERITIES
from nfm_keras.evaluation.statistics import wilson_interval
from nfm_keras.records import ids
from nfm_keras.reports import captions, suite_figures
from nfm_keras.reports.boards.corruption_errors import imagenet_errors
from nfm_keras.reports.cells import MEANS, corruption_mean
from nfm_keras.reports.columns import MISSING, headlines, order
from nfm_keras.reports.suite_figures import by_kind, certification
from nfm_keras.table import Table

_CALIBRATION = {
    "nll": "clean: negative log-likelihood (nats)",
    "brier": "clean: Brier score",
    "ece": "clean: expected calibration error, 15 bins",
    "rms": "clean: RMS calibration error, bins of 100",
}


def summary(evaluations):
    """Rows of figures, a column a model; accuracy with its 95 % interval."""
    rows = [
        (name, [_accuracy(e.score(name)) for e in evaluations])
        for name in _headlines(evaluations)
    ]
    for label, kinds in MEANS.items():
        rows.append((f"mean over {label}", [_mean(e, kinds) for e in evaluations]))
    errors = [imagenet_errors(e) for e in evaluations]
    for name in dict.fromkeys(name for values in errors for name in values):
        rows.append((name, [_number(values.get(name)) for values in errors]))
    clean = [e.score("clean") for e in evaluations]
    for name, label in _CALIBRATION.items():
        values = [score.calibration.get(name) if score else None for score in clean]
        rows.append((label, [_number(value, 4) for value in values]))
    rows += _certified_rows(evaluations)
    return by_model("accuracy in percent, unless said", evaluations, rows)


def by_model(head, evaluations, rows):
    """The table of `(label, a text or None for each model)`, without empty rows."""
    rows = [
        [label, *(cell or MISSING for cell in cells)]
        for label, cells in rows
        if any(cells)
    ]
    return Table([head, *(e.model for e in evaluations)], rows, "lr")


def _headlines(evaluations):
    names = {score.perturbation for e in evaluations for score in e}
    return headlines(sorted(names, key=lambda name: _order(*ids.split(name))))


def _order(kind, severity):
    return order(kind, severity or 0.0)


def _accuracy(score):
    if score is None:
        return None
    return f"{interval(score.value, score.low, score.high)} n={score.n}"


def _mean(evaluation, kinds):
    by_id = {score.perturbation: score for score in evaluation}
    mean = corruption_mean(by_id, kinds)
    sizes = [score.n for score in evaluation if ids.kind(score.perturbation) in kinds]
    return mean and f"{interval(*mean)} n={min(sizes)}"


def is_corruption(label):
    """Returns whether a label of `groups` is of corruptions."""
    return label.endswith(" (mean)") or label.startswith("mean over")


def interval(value, low, high):
    """Returns a number with its interval as text, `50.0 [9.5, 90.5]`."""
    return f"{value:.1f}" if low is None else f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _number(value, digits=1):
    return None if value is None else f"{value:.{digits}f}"


def _certified_rows(evaluations):
    rows = []
    for sigma in suite_figures.sigmas(evaluations):
        made = [certification(e, sigma) for e in evaluations]
        images = captions.joined(sorted({c["images"] for c in made if c}))
        for radius in (0.0, sigma / 2, sigma, 2 * sigma):
            label = f"certified at l2 radius {radius:g}, sigma {sigma:g}, n={images}"
            rows.append((label, [_certified(c, radius) for c in made]))
    return rows


def _certified(made, radius):
    if made is None:
        return None
    radii = np.asarray(made["radii"])
    held = int(np.sum((radii >= radius) & made["correct"]))
    return interval(100 * held / len(radii), *wilson_interval(held, len(radii)))


def by_corruption(evaluations):
    """Returns the mean accuracy under each corruption, a column a model."""
    rows = [
        (kind.replace("_", " "), [_mean(e, [kind]) for e in evaluations])
        for kind in all_kinds(evaluations)
    ]
    return by_model("mean over 5 severities", evaluations, rows)


def all_kinds(evaluations):
    """Returns the corruptions that any evaluation has scores of, in their order."""
    kinds = {kind for e in evaluations for kind in by_kind(e)}
    return [kind for kind in NAMES if kind in kinds]


def groups(evaluations):
    """What is compared: the summary's rows, each corruption, and their means."""
    found = {name: [name] for name in _headlines(evaluations)}
    for kind in all_kinds(evaluations):
        found[f"{kind} (mean)"] = [f"{kind}@{s}" for s in SEVERITIES]
    for label, kinds in MEANS.items():
        names = [f"{kind}@{s}" for kind in kinds for s in SEVERITIES]
        found[f"mean over {label}"] = names
    return found


def how_compared(compared):
    """Returns how to read `compared_table`."""
    return (
        f"Points by which a model differs from {compared[0].first} on the same images, "
        "with the 95 % interval; in brackets where Holm's adjustment over all "
        f"{len(compared)} comparisons leaves p at 0.05 or above. McNemar's exact test; "
        "for means, the t test over images."
    )


def compared_table(compared):
    """Returns the table of some `Comparison`s, a column a model."""
    labels = dict.fromkeys(c.label for c in compared)
    others = dict.fromkeys(c.second for c in compared)
    cells = {(c.label, c.second): _difference(c) for c in compared}
    rows = [[name, *(cells.get((name, o), MISSING) for o in others)] for name in labels]
    return Table(["", *others], rows, "lr")


def _difference(comparison):
    text = f"{comparison.difference:+.1f} "
    text += f"[{comparison.low:+.1f}, {comparison.high:+.1f}]"
    return text if comparison.adjusted < 0.05 else f"({text})"
