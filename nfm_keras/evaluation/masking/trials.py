"""Counts of images against chance: exact tests, at one level for the whole report."""

from typing import NamedTuple

import scipy.stats

from nfm_keras.evaluation.masking.check import Finding
from nfm_keras.records.ids import format_severity

LEVEL = 0.05
"""Chance that the report calls a healthy classifier masked, over all its tests."""


class Trial(NamedTuple):
    """How many images showed at one radius what an honest classifier seldom shows."""

    epsilon: float
    counted: int
    n: int


def chance(count, n, share):
    """Returns the chance of so many images or more.

    Args:
        count: int.
        n: int, out of how many.
        share: float. With which probability an image counts, at most.

    Returns:
        float, the one-sided p value of the exact binomial test.

    Example:

    >>> round(chance(2, 32, 0.05), 3), round(chance(20, 32, 0.05), 15)
    (0.48, 0.0)
    """
    return float(scipy.stats.binom.sf(count - 1, n, share))


def judged(trials, share, tests, what):
    """Returns the finding of a check that counted images at several radii.

    Args:
        trials: list of `Trial`.
        share: float, as in `chance`.
        tests: int. How many checks of the report are tested: each gets an equal part of
            `LEVEL`, and each radius an equal part of that.
        what: str. What the images showed.

    Returns:
        `Finding`; its value is the share of images, in percent, at the radius that
        speaks most against the classifier.
    """
    trials = [trial for trial in trials if trial.n]
    if not trials:
        return Finding(None, None, "not run: no image is left to look at")
    p_values = [chance(trial.counted, trial.n, share) for trial in trials]
    p_value = min(1.0, min(p_values) * len(trials) * tests)
    worst = trials[p_values.index(min(p_values))]
    told = ", ".join(
        f"{trial.counted} of {trial.n} at {format_severity(trial.epsilon)}"
        for trial in trials
    )
    detail = f"{what}: {told}; p = {p_value:.2g}"
    return Finding(p_value >= LEVEL, 100.0 * worst.counted / worst.n, detail)
