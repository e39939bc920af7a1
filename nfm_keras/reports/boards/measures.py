"""What a leaderboard has columns of: one number each, with the images behind it."""

from typing import NamedTuple

import numpy as np

from nfm_keras.corruptions.constants import SEVERITIES, STANDARD
from nfm_keras.evaluation.comparison import mcnemar
from nfm_keras.evaluation.statistics import mean_interval, wilson_interval
from nfm_keras.records import ids
from nfm_keras.records.naming import labelled
from nfm_keras.reports.boards.corruption_errors import imagenet_errors
from nfm_keras.reports.cells import by_perturbation

LOWER_IS_BETTER = ("mCE", "mCE, no JPEG step", "calibration error")


class Measure(NamedTuple):
    """A number of one evaluation.

    Attributes:
        value, low, high: floats, in percent; the ends None where there are none.
        right: `(n,)` array, of each image whether it was right, or the share of
            perturbations under which it was; None where that is not known.
        doubtful: bool, whether an attack behind it was hindered.
        how: tuple, what was measured to get it: settings, seeds, revisions of the code.
    """

    value: float
    low: float | None = None
    high: float | None = None
    right: np.ndarray | None = None
    doubtful: bool = False
    how: tuple = ()


def measures(evaluation):
    """Returns the numbers of an evaluation by the names of their columns.

    Args:
        evaluation: `nfm_keras.records.Evaluation`.

    Returns:
        Dict from str to `Measure`, of what was measured. `worst case at 8/255`: images
        that are right as they are and under every l-infinity attack of that radius or a
        smaller one.
    """
    by_id = by_perturbation(evaluation)
    found = {}
    if "clean" in by_id:
        found["clean"] = _of_score(by_id["clean"])
    found |= _corruptions(evaluation, by_id)
    for score in evaluation:
        if ids.kind(score.perturbation) in ("autoattack", "autoattack_l2"):
            name = score.perturbation.replace("autoattack", "AutoAttack")
            found[labelled(name, _unusual(score))] = _of_score(score)
    found |= _worst_cases(evaluation, by_id)
    error = by_id["clean"].calibration.get("ece") if "clean" in by_id else None
    if error is not None:
        found["calibration error"] = Measure(100 * error)
    return found


def difference(measure, above, same):
    """Returns by how much a measure differs from that of the row above, paired.

    Args:
        measure, above: `Measure`s.
        same: bool, whether they are of the same images.

    Returns:
        `(difference, low, high)` in percent points on the images that both have; None
        where it is not known which were right, or they were not measured alike.
    """
    if not same or measure.how != above.how:
        return None
    if measure.right is None or above.right is None:
        return None
    n = min(len(measure.right), len(above.right))
    ours, theirs = measure.right[:n], above.right[:n]
    if ours.dtype == theirs.dtype == bool:
        test = mcnemar(ours, theirs)
        return test.difference, test.low, test.high
    return mean_interval(100.0 * (ours.astype(float) - theirs), -100.0, 100.0)


def _of_score(score):
    right = score.right if score.hits else None
    ends, doubtful = (score.low, score.high), bool(score.warnings)
    return Measure(score.value, *ends, right, doubtful, _how([score]))


def _unusual(score):
    """Settings of an AutoAttack that are not those that its name stands for."""
    told = score.settings.items()
    return {key: value for key, value in told if _AUTOATTACK.get(key, value) != value}


_AUTOATTACK = {"version": "standard", "steps": 100, "queries": 5000, "eot": 20}


def _how(scores):
    return tuple((score.key, score.seed, score.revision) for score in scores)


def _corruptions(evaluation, by_id):
    chosen = [by_id.get(f"{kind}@{s}") for kind in STANDARD for s in SEVERITIES]
    if None in chosen:
        return {}
    measure = Measure(float(np.mean([score.value for score in chosen])))
    one_order = len({score.in_order for score in chosen}) == 1
    if one_order and all(score.hits for score in chosen):
        n = min(score.n for score in chosen)
        shares = np.mean([score.right[:n] for score in chosen], axis=0)
        interval = mean_interval(100.0 * shares, 0.0, 100.0)
        measure = Measure(*interval, shares, how=_how(chosen))
    named = imagenet_errors(evaluation)
    error = next((one for one in named.items() if "mce" in one[0]), None)
    if error is None:
        return {"corruptions": measure}
    # Harder images are another column.
    name = "mCE, no JPEG step" if "JPEG" in error[0] else "mCE"
    return {"corruptions": measure, name: Measure(error[1])}


def _worst_cases(evaluation, by_id):
    attacks = [
        score
        for score in evaluation
        if ids.kind(score.perturbation) in ids.ATTACKS
        and not ids.kind(score.perturbation).endswith("_l2")
        and score.hits
    ]
    clean, found = by_id.get("clean"), {}
    if clean is None or not clean.hits:
        return {}
    for radius in sorted({score.severity for score in attacks}):
        within = [clean, *(score for score in attacks if score.severity <= radius)]
        n = min(score.n for score in within)
        right = np.all([score.right[:n] for score in within], axis=0)
        correct = int(right.sum())
        doubtful = any(score.warnings for score in within)
        name = f"worst case at {ids.format_severity(radius)}"
        ends = wilson_interval(correct, n)
        how = _how(sorted(within, key=lambda score: score.perturbation))
        found[name] = Measure(100 * correct / n, *ends, right, doubtful, how)
    return found
