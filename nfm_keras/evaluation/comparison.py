"""Two classifiers on the same perturbed images: is the difference more than chance?"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np
import scipy.special
import scipy.stats

from nfm_keras.evaluation.statistics import holm, mean_interval, wilson_interval
from nfm_keras.records.naming import named_scores


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One classifier against another, image by image.

    Args:
        label: str. Perturbation or group of perturbations.
        first, second: str. Names of the classifiers.
        n: int. Images both were scored on.
        difference: float. Accuracy of the second minus that of the first, in points.
        low, high: floats. Ends of its 95 % interval.
        p_value: float. Of no difference.
        adjusted: float. The same, adjusted for all comparisons made together (Holm).
    """

    label: str
    first: str
    second: str
    n: int
    difference: float
    low: float
    high: float
    p_value: float
    adjusted: float = math.nan


def compare(evaluations, groups, name=None):
    """Compares the first evaluation with the others, one by one.

    One perturbation is tested with McNemar's exact test. A group of several, which
    share their images, with the t test of the mean over images of the difference in the
    share of perturbations under which an image is classified correctly.

    Args:
        evaluations: list of `nfm_keras.records.evaluation.Evaluation`.
        groups: dict from label to names of perturbations. What one of the two lacks,
            or was scored with other settings, seeds or images, is left out.
        name: Function from a `Score` to its name; by default its id.

    Returns:
        List of `Comparison`.

    Raises:
        ValueError: If the evaluations are of different images.

    Example:

    >>> from nfm_keras.records import Evaluation, Score, pack
    >>> def scored(model, hits):
    ...     right = int(sum(hits))
    ...     numbers = "none", 100 * right / 4, 0, 100, 4, right, 0, 0.1, {}
    ...     score = Score("clean", 0.0, *numbers, hits=pack(np.array(hits, bool)))
    ...     return Evaluation(model, "mine", "", [], scores=(score,))
    >>> erm, nfm = scored("erm", [1, 0, 0, 0]), scored("nfm", [1, 1, 1, 0])
    >>> (comparison,) = compare([erm, nfm], {"clean": ["clean"]})
    >>> comparison.difference, comparison.p_value
    (50.0, 0.5)
    """
    name = name or (lambda score: score.perturbation)
    first, *others = evaluations
    comparisons, scores = [], named_scores(first, name)
    for other in others:
        if other.images != first.images:
            raise ValueError(
                "A paired comparison needs the same images and labels. "
                f"Received: {first.model} on {first.dataset} ({first.images[:12]}), "
                f"{other.model} on {other.dataset} ({other.images[:12]})"
            )
        theirs = named_scores(other, name)
        for label, names in groups.items():
            pairs = [_pair(scores.get(one), theirs.get(one)) for one in names]
            orders = {scores[one].in_order for one in names if one in scores}
            if pairs and all(pairs) and len(orders) == 1:
                models = first.model, other.model
                comparisons.append(_compare(label, *models, pairs))
    return _holm(comparisons)


def _pair(ours, theirs):
    """Hits of both on one perturbation, None where they cannot be paired."""
    if ours is None or theirs is None or ours.measurement != theirs.measurement:
        return None
    return ours.right, theirs.right


def _compare(label, first, second, pairs):
    firsts, seconds = zip(*pairs, strict=True)
    if len(pairs) == 1:
        test = paired(seconds[0], firsts[0])
    else:
        test = paired(np.mean(seconds, axis=0), np.mean(firsts, axis=0))
    return Comparison(label, first, second, len(firsts[0]), *test)


class Paired(NamedTuple):
    """A paired difference in percent points: the first minus the second.

    Attributes:
        difference, low, high: floats, with the ends of the 95 % interval.
        p_value: float. Of no difference.
    """

    difference: float
    low: float
    high: float
    p_value: float


def paired(first, second):
    """Returns by how much one classifier is better than another on the same images.

    McNemar's exact test of hits; of shares of several perturbations, the t test of the
    mean over images, or the sign test where all images differ alike.

    Args:
        first, second: `(n,)` bools, of each image whether it was right, or floats, the
            share of perturbations under which it was.

    Returns:
        `Paired`.

    Example:

    >>> paired(np.array([True, True, False]), np.array([True, False, False])).p_value
    1.0
    """
    if first.dtype == second.dtype == bool:
        test = mcnemar(first, second)
        return Paired(test.difference, test.low, test.high, test.p_value)
    gain = 100.0 * (np.asarray(first, float) - second)
    if np.ptp(gain) == 0:  # no spread for a t test: so many coins of one side
        p_value = float(sign_test(len(gain) if gain[0] else 0, 0))
    else:
        p_value = float(scipy.stats.ttest_1samp(gain, 0).pvalue)
    return Paired(*mean_interval(gain, -100.0, 100.0), p_value)


def _holm(comparisons):
    adjusted = holm([comparison.p_value for comparison in comparisons])
    return [
        dataclasses.replace(comparison, adjusted=value)
        for comparison, value in zip(comparisons, adjusted, strict=True)
    ]


@dataclasses.dataclass(frozen=True)
class McNemar:
    """McNemar's test of two classifiers, or of two attacks, on the same images.

    Args:
        n: int. Number of images.
        only_first: int. Images that the first alone gets right.
        only_second: int. Images that the second alone gets right.
        difference: float. Accuracy of the first minus that of the second, in percent
            points.
        low, high: float. 95 % interval of the difference, in percent points.
        p_value: float. Of McNemar's exact test that neither is the better one.
    """

    n: int
    only_first: int
    only_second: int
    difference: float
    low: float
    high: float
    p_value: float


def mcnemar(first_hits, second_hits):
    """Returns McNemar's exact test, and an interval for the difference of accuracies.

    Two classifiers on the same images differ by less than their two Wilson intervals
    suggest: what counts are the images that only one of them gets right. If neither is
    the better one, each of those is the toss of a fair coin, and the p value is that of
    the two-sided binomial test. The interval is Newcombe's method 10: the two Wilson
    intervals joined. Unlike Wald's it does not collapse where the two always agree.

    Args:
        first_hits, second_hits: `(n,)` bools, as `hits` gives them, in the same order.

    Returns:
        A `McNemar`. Where no image tells the two apart, its p value is 1.

    Raises:
        ValueError: If they are not two vectors of bools of the same length, at least 1.

    Example:

    >>> first = [True] * 32 + [False] * 18
    >>> second = [True] * 20 + [False] * 12 + [True] * 2 + [False] * 16
    >>> comparison = mcnemar(first, second)
    >>> comparison.only_first, comparison.only_second, round(comparison.p_value, 4)
    (12, 2, 0.0129)
    >>> f"{comparison.low:.2f} {comparison.difference:.2f} {comparison.high:.2f}"
    '5.62 20.00 32.92'

    Reference: Q. McNemar, *Note on the sampling error of the difference between
    correlated proportions or percentages*, Psychometrika 12 (1947); R. Newcombe,
    *Improved confidence intervals for the difference between binomial proportions based
    on paired data*, Statistics in Medicine 17 (1998), method 10.
    """
    first, second = _hit_vectors(first_hits, second_hits)
    both, neither = int(np.sum(first & second)), int(np.sum(~first & ~second))
    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(~first & second))
    low, high = _newcombe_interval(both, only_first, only_second, neither)
    return McNemar(
        n=len(first),
        only_first=only_first,
        only_second=only_second,
        difference=100.0 * (only_first - only_second) / len(first),
        low=low,
        high=high,
        p_value=float(sign_test(only_first, only_second)),
    )


def sign_test(wins, losses):
    """Returns the two-sided p value of wins and losses being those of a fair coin.

    Args:
        wins, losses: ints, or integer arrays of the same shape.

    Returns:
        float64 p value, or an array of them; 1 where there is neither win nor loss.

    Example:

    >>> print(sign_test(0, 6))
    0.03125
    """
    fewer, total = np.minimum(wins, losses), np.add(wins, losses)
    # Half and half is the one binomial law with equal tails, so twice one tail is the
    # two-sided test; at a tie both tails hold the middle, hence the minimum.
    return np.minimum(1.0, 2 * scipy.special.bdtr(fewer, total, 0.5))


def _hit_vectors(first, second):
    first, second = np.asarray(first), np.asarray(second)
    for name, vector in (("first_hits", first), ("second_hits", second)):
        if vector.dtype != bool or vector.ndim != 1 or not vector.size:
            raise ValueError(
                f"`{name}` must be a vector of at least one bool. "
                f"Received: shape {vector.shape}, dtype {vector.dtype}"
            )
    if len(first) != len(second):
        raise ValueError(
            "Both must be hits of the same images, in the same order. "
            f"Received: {len(first)} and {len(second)} images"
        )
    return first, second


# By hand: SciPy has no interval for the difference of two paired shares.
def _newcombe_interval(both, only_first, only_second, neither):
    """95 % interval of the paired difference, in percent points."""
    n = both + only_first + only_second + neither
    first, second = both + only_first, both + only_second
    low_first, high_first = wilson_interval(first, n)
    low_second, high_second = wilson_interval(second, n)
    first, second = 100.0 * first / n, 100.0 * second / n
    phi = _corrected_phi(both, only_first, only_second, neither)

    def joined(one, other):
        return math.sqrt(one * one - 2 * phi * one * other + other * other)

    low = first - second - joined(first - low_first, high_second - second)
    high = first - second + joined(high_first - first, second - low_second)
    return low, high


def _corrected_phi(both, only_first, only_second, neither):
    """Correlation of the two hits, shrunk towards 0 where it is positive."""
    n = both + only_first + only_second + neither
    first, second = both + only_first, both + only_second
    scale = math.sqrt(first * (n - first) * second * (n - second))
    product = both * neither - only_first * only_second
    if product > 0:
        product = max(product - n / 2, 0)
    return product / scale if scale else 0.0
