"""The tables of a comparison: a column a model."""

import numpy as np

from nfm_keras.corruptions.constants import NAMES, SEVERITIES
from nfm_keras.evaluation.statistics import wilson_interval
from nfm_keras.records.naming import named_scores, naming
from nfm_keras.reports import captions, suite_figures
from nfm_keras.reports.boards.corruption_errors import imagenet_errors
from nfm_keras.reports.cells import (
    MEANS,
    by_perturbation,
    corruption_mean,
    corruption_scores,
)
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
    by_name = name_of(evaluations)
    scores = [named_scores(evaluation, by_name) for evaluation in evaluations]
    rows = [
        (name, [_accuracy(named.get(name)) for named in scores])
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


def name_of(evaluations):
    """Returns a function from a `Score` to the name of its row, as `naming` says."""
    named = naming(score for e in evaluations for score in e)
    return lambda score: named(score)[1]


def _headlines(evaluations):
    scores = [score for e in evaluations for score in e]
    shown, named = {*headlines([s.perturbation for s in scores])}, naming(scores)
    places = {
        name: order(family, score.severity)
        for score in scores
        if score.perturbation in shown
        for family, name in [named(score)]
    }
    return sorted(places, key=places.__getitem__)


def _accuracy(score):
    if score is None:
        return None
    return f"{interval(score.value, score.low, score.high)} n={score.n}"


def _mean(evaluation, kinds):
    by_id = by_perturbation(evaluation)
    mean = corruption_mean(by_id, kinds)
    sizes = [score.n for score in corruption_scores(by_id, kinds)]
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
        laws = [c and (c["n"], c["alpha"]) for c in made]
        differ = len({law for law in laws if law}) > 1
        for radius in (0.0, sigma / 2, sigma, 2 * sigma):
            label = f"certified at l2 radius {radius:g}, sigma {sigma:g}"
            rows.append((label, [_certified(c, radius, differ) for c in made]))
    return rows


def _certified(made, radius, told):
    """The share with a radius so large; if `told`, with how it was found."""
    if made is None:
        return None
    radii = np.asarray(made["radii"])
    held = int(np.sum((radii >= radius) & made["correct"]))
    ends = wilson_interval(held, len(radii))
    law = f" ({made['n']:,} copies, alpha {made['alpha']:g})" if told else ""
    return f"{interval(100 * held / len(radii), *ends)} n={len(radii)}{law}"


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
    """What is compared: the summary's rows, each corruption, and their means.

    By the names that `name_of` gives.
    """
    found = {name: [name] for name in _headlines(evaluations)}
    for kind in all_kinds(evaluations):
        found[f"{kind} (mean)"] = [f"{kind}@{s}" for s in SEVERITIES]
    for label, kinds in MEANS.items():
        names = [f"{kind}@{s}" for kind in kinds for s in SEVERITIES]
        found[f"mean over {label}"] = names
    return found


def unpaired(evaluations):
    """Returns what two models have in a row and was not measured alike, in words.

    Args:
        evaluations: list of `nfm_keras.records.Evaluation`, the first of which the
            others are compared with.

    Returns:
        list of str, a sentence for each other model that has such rows.
    """
    by_name, told = name_of(evaluations), []
    ours, *others = [named_scores(evaluation, by_name) for evaluation in evaluations]
    for evaluation, theirs in zip(evaluations[1:], others, strict=True):
        reasons = {}
        for name in _headlines(evaluations):
            if name in ours and name in theirs:
                differ = _differences(ours[name], theirs[name])
                reasons.setdefault(differ, []).append(f"`{name}`")
        reasons.pop("", None)
        for differ, names in reasons.items():
            text = (
                f"**{evaluation.model}** is not compared under {captions.listed(names)}"
            )
            told.append(f"{text}: of {differ} than **{evaluations[0].model}**.")
    return told


def _differences(ours, theirs):
    """In what two scores of one name are not the same measurement, in words."""
    what = {
        "other settings": ours.key != theirs.key,
        "another number of images": ours.n != theirs.n,
        "other seeds": ours.seed != theirs.seed,
        "another version of the code": ours.revision != theirs.revision,
    }
    return captions.listed([text for text, differs in what.items() if differs])


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
