"""Cell: the accuracy under one perturbation, over the seeds of a setting.

And `Panel`: the curves of several settings, on the same images. Attacks are run on
fewer images than the rest. A curve that begins at the accuracy of all of them and goes
on with that of the attacked would mix two sets, so every score of a panel is cut to the
images that all of them share: the first ones.
"""

import dataclasses
import statistics
from typing import NamedTuple

from nfm_keras.corruptions.constants import NAMES, PAPER, SEVERITIES, STANDARD
from nfm_keras.evaluation.statistics import mean_accuracy, wilson_interval
from nfm_keras.records import ids
from nfm_keras.records.ids import NO_PROTOCOL
from nfm_keras.records.naming import naming

CORRUPTION_MEAN = "common_corruptions"
"""Column of the mean over the 15 corruptions at all severities."""

MEANS = {
    "15 common corruptions": STANDARD,
    "19 corruptions": NAMES,
    "the paper's 6": PAPER,
}
"""Means over corruptions and their five severities, by what they are called."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """Accuracy of one aggregate under one perturbation, in percent.

    Args:
        mean: float.
        deviation: float. Sample standard deviation over seeds, None for one seed.
        low, high: float. One deviation from the mean or, for one seed, the ends of the
            95 % interval; None where there is none.
        severity: float.
        seeds: int.
        family: str. The perturbation without its severity, but with the settings that
            tell it from others.
        n: int. Images, those of the seed with the fewest.
    """

    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    severity: float
    seeds: int
    family: str
    n: int = 0


def of_protocol(scores, protocol):
    """Returns the scores of a protocol, and those that no protocol touches."""
    return [score for score in scores if score.protocol in (protocol, NO_PROTOCOL)]


def measured_alike(runs):
    """Returns what of the scores of some runs may be compared with one another.

    Args:
        runs: list of lists of `Score`, a run each.

    Returns:
        List of dicts from the id of a perturbation to its accuracy: of one protocol,
        `reference` before `pixel`, and of attacks that have the same settings in all.
    """
    protocols = [{score.protocol for score in scores} for scores in runs if scores]
    common = set.intersection(*protocols) - {NO_PROTOCOL} if protocols else ()
    runs = [of_protocol(scores, max(common, default=None)) for scores in runs]
    name = naming((score for scores in runs for score in scores), protocols=False)
    return [
        {s.perturbation: s.value for s in scores if name(s)[1] == s.perturbation}
        for scores in runs
    ]


def cells(runs, name):
    """Returns the accuracies of some runs over their seeds.

    Args:
        runs: iterable of lists of `Score`, a run each. Of a score that was measured
            twice, the later one counts.
        name: What `naming` returned.

    Returns:
        Dict from the name of a column to `Cell`.
    """
    measured = {}
    for scores in runs:
        for key, score in {name(score): score for score in scores}.items():
            measured.setdefault(key, []).append(score)
    return {
        column: over_seeds(
            [score.value for score in scores],
            ends=(scores[0].low, scores[0].high),
            severity=scores[0].severity,
            family=family,
            n=min(score.n for score in scores),
        )
        for (family, column), scores in measured.items()
    }


def over_seeds(values, ends=(None, None), severity=0.0, family=CORRUPTION_MEAN, n=0):
    """Returns the `Cell` of one accuracy a seed.

    Args:
        values: list of float, in percent.
        ends: those of the interval if there is one seed.
        severity, family, n: As in `Cell`.

    Example:

    >>> cell = over_seeds([80.0, 82.0])
    >>> cell.mean, round(cell.deviation, 2)
    (81.0, 1.41)
    """
    mean, deviation = statistics.fmean(values), None
    if len(values) > 1:
        deviation = statistics.stdev(values)
        ends = mean - deviation, mean + deviation
    return Cell(mean, deviation, *ends, severity, len(values), family, n)


class Panel(NamedTuple):
    """A curve for each row, under one family of perturbations.

    Attributes:
        lines: dict from row to a list of `(severity, mean, low, high)`, by severity,
            the clean accuracy at severity 0; empty where it was not measured.
        n: int, how many images they are of; of several data sets a dict from their
            names.
    """

    lines: dict[str, list[tuple]]
    n: int | dict[str, int]


def panel(rows, family, name, sets=None):
    """Returns the curves of one family of perturbations.

    Args:
        rows: dict from label to runs over seeds, a list of `Score` each.
        family: str.
        name: What `naming` returned.
        sets: dict from label to the name of its data set; those of one have the same
            images.

    Returns:
        `Panel`. A score that cannot be cut, since it does not say which images were
        right, is no point; nor is a clean accuracy of fewer images.
    """

    def curve(run):
        by_severity = {s.severity: s for s in run if s.perturbation == "clean"}
        return by_severity | {s.severity: s for s in run if name(s)[0] == family}

    rows = {
        label: [curve(run) for run in runs if any(name(s)[0] == family for s in run)]
        for label, runs in rows.items()
    }
    counts, of = {}, sets or {}
    for label, runs in rows.items():
        scores = [s for run in runs for s in run.values() if name(s)[0] == family]
        counts.setdefault(of.get(label), set()).update(score.n for score in scores)
    n = {dataset: min(found) for dataset, found in counts.items() if found}
    lines = {
        label: _line(runs, n[of.get(label)]) if runs else []
        for label, runs in rows.items()
    }
    return Panel(lines, n if len(n) > 1 else next(iter(n.values())))


def by_perturbation(scores):
    """Returns the scores of one classifier by the ids of their perturbations.

    Of corruptions there are those that were measured alike: with one source, constants,
    seed, revision and number of images. Where a file holds several such sets, that is
    the one with the most perturbations, and of these the one on the most images. Of
    another score measured twice it is the later one.

    Args:
        scores: iterable of `Score`.

    Returns:
        Dict from str to `Score`.
    """
    others, sets = {}, {}
    for score in scores:
        how = None
        if ids.kind(score.perturbation) in NAMES:
            how = tuple(score.settings.get(key) for key in _OF_CORRUPTIONS)
            how = (*how, score.seed, score.revision, score.n)
        of = others if how is None else sets.setdefault(how, {})
        of[score.perturbation] = score
    largest = max(sets, key=lambda how: (len(sets[how]), how[-1]), default=None)
    return others | sets.get(largest, {})


_OF_CORRUPTIONS = "source", "version", "constants", "jpeg", "order"
"""Settings that all corruptions of a set share."""


def corruption_scores(scores, kinds, severities=SEVERITIES):
    """Returns the `Score`s that `corruption_mean` is of; none where one is missing."""
    chosen = [scores.get(f"{kind}@{s}") for kind in kinds for s in severities]
    return [] if None in chosen else chosen


def corruption_mean(scores, kinds, severities=SEVERITIES):
    """Returns the mean accuracy over corruptions with its 95 % interval.

    Args:
        scores: dict from the id of a perturbation to `Score`, of one classifier.
        kinds: iterable of str, the corruptions.
        severities: iterable of int.

    Returns:
        `(mean, low, high)` in percent; None where a score is missing. The ends are None
        where it is not known which images were right, or where these are not the same.
    """
    chosen = corruption_scores(scores, kinds, severities)
    if not chosen:
        return None
    alike = len({(score.n, score.in_order) for score in chosen}) == 1
    if alike and all(score.hits for score in chosen):
        return mean_accuracy(chosen)
    return statistics.fmean(score.value for score in chosen), None, None


def _line(runs, n):
    points = []
    for severity in sorted({severity for run in runs for severity in run}):
        scores = [_cut(run[severity], n) for run in runs if severity in run]
        # A mean that lacks a run would be of other runs than its neighbours.
        if len(scores) == len(runs) and all(scores):
            cell = over_seeds([value for value, *_ in scores], ends=scores[0][1:])
            points.append((severity, cell.mean, cell.low, cell.high))
    return points


def _cut(score, n):
    """(value, low, high) of the first n images; None where that is not known."""
    if score.n == n:
        return score.value, score.low, score.high
    if score.n < n or not (score.hits and score.in_order):
        return None
    correct = int(score.right[:n].sum())
    return 100 * correct / n, *wilson_interval(correct, n)
