"""Two classifiers on the same perturbed images: is the difference more than chance?"""

import dataclasses
import math
import statistics

import numpy as np
import scipy.special

from nfm_keras.data.labels import hits
from nfm_keras.records import evaluation as results


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


def compare(evaluations, groups):
    """Compare the first evaluation with each of the others.

    One perturbation is tested with McNemar's exact test. A group of several, whose rows
    share their images, with the z test of the mean over images of the difference in the
    share of rows that an image survives.

    Args:
        evaluations: list of `nfm_keras.records.evaluation.Evaluation`.
        groups: dict from label to ids of perturbations. What one of the two lacks, or
            was scored with other settings, seeds or images, is left out.

    Returns:
        List of `Comparison`.

    Raises:
        ValueError: the evaluations are of different images.

    Example:

    >>> compare([erm, nfm], {"clean": ["clean"]})  # doctest: +SKIP
    """
    first, *others = evaluations
    found = []
    for other in others:
        if other.images != first.images:
            raise ValueError(
                "A paired comparison needs the same images and labels. "
                f"Received: {first.model} on {first.dataset} ({first.images[:12]}), "
                f"{other.model} on {other.dataset} ({other.images[:12]})"
            )
        for label, ids in groups.items():
            pairs = [_pair(first, other, name) for name in ids]
            if pairs and all(pairs):
                found.append(_compare(label, first.model, other.model, pairs))
    return _holm(found)


def _pair(first, other, name):
    """Hits of both on one perturbation, None where they cannot be paired."""
    both = first.result(name), other.result(name)
    if None in both:
        return None
    ours, theirs = (results.measurement(result.score) for result in both)
    return tuple(result.right for result in both) if ours == theirs else None


def _compare(label, first, second, pairs):
    n = len(pairs[0][0])
    if len(pairs) == 1:
        test = mcnemar(*pairs[0][::-1])
        values = test.difference, test.low, test.high, test.p_value
        return Comparison(label, first, second, n, *values)
    gain = 100.0 * np.mean([b.astype(float) - a for a, b in pairs], axis=0)
    mean, error = gain.mean(), gain.std(ddof=1) / math.sqrt(n) if n > 1 else math.inf
    z = abs(mean) / error if error else math.inf * abs(mean) if mean else 0.0
    p_value = 2 * statistics.NormalDist().cdf(-z)
    ends = mean - 1.96 * error, mean + 1.96 * error
    return Comparison(label, first, second, n, *map(float, (mean, *ends)), p_value)


def _holm(found):
    """Holm's step-down adjustment: the chance of one false alarm among all."""
    order = sorted(range(len(found)), key=lambda i: found[i].p_value)
    adjusted, highest = list(found), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(found) - rank) * found[i].p_value))
        adjusted[i] = dataclasses.replace(found[i], adjusted=highest)
    return adjusted


def accuracy(logits, labels):
    """Share of samples classified correctly, in percent.

    Args:
        logits: `(batch, classes)` floats.
        labels: `(batch,)` integers in `[0, classes)`.

    Raises:
        ValueError: as `hits`, or the batch is empty.

    Example:

    >>> accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1])
    50.0
    """
    return 100.0 * float(np.mean(hits(logits, labels)))


def wilson_interval(correct, n, confidence=0.95):
    """Wilson score interval of an accuracy, in percent.

    It keeps its coverage near 0 and 100 %, where the usual interval of +-2 standard
    deviations collapses to a point.

    Args:
        correct: number of samples classified correctly.
        n: number of samples.
        confidence: probability that the interval covers the true accuracy.

    Returns:
        `(low, high)` in percent.

    Raises:
        ValueError: not `0 <= correct <= n`, `n` is 0, or not `0 < confidence < 1`.

    Example:

    >>> low, high = wilson_interval(90, 100)
    >>> f"{low:.2f} {high:.2f}"
    '82.56 94.48'

    Reference: E. B. Wilson, *Probable inference, the law of succession, and statistical
    inference*, JASA 22 (1927).
    """
    if not (n > 0 and 0 <= correct <= n):
        raise ValueError(
            "A confidence interval needs 0 <= correct <= n and n > 0. "
            f"Received: correct={correct}, n={n}"
        )
    if not 0 < confidence < 1:
        raise ValueError(
            f"`confidence` must lie between 0 and 1. Received: {confidence!r}"
        )
    z = statistics.NormalDist().inv_cdf(0.5 + confidence / 2)
    share = correct / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 100.0 / (1 + z * z / n)
    # The ends are exact at 0 and n; rounding would put them a hair outside.
    low = 0.0 if correct == 0 else (centre - half) * scale
    high = 100.0 if correct == n else (centre + half) * scale
    return low, high


@dataclasses.dataclass(frozen=True)
class PairedComparison:
    """Two classifiers, or two conditions, on the same images.

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
    """McNemar's exact test, and an interval for the difference of two accuracies.

    Two classifiers on the same images differ by less than their two Wilson intervals
    suggest: what counts are the images that only one of them gets right. If neither is
    the better one, each of those is the toss of a fair coin, and the p value is that of
    the two-sided binomial test. The interval is Newcombe's method 10: the two Wilson
    intervals joined. Unlike Wald's it does not collapse where the two always agree.

    Args:
        first_hits, second_hits: `(n,)` bools, as `hits` gives them, in the same order.

    Returns:
        A `PairedComparison`. Where no image tells the two apart, its p value is 1.

    Raises:
        ValueError: not two vectors of bools of the same length, at least 1.

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
    return PairedComparison(
        n=len(first),
        only_first=only_first,
        only_second=only_second,
        difference=100.0 * (only_first - only_second) / len(first),
        low=low,
        high=high,
        p_value=float(sign_test(only_first, only_second)),
    )


def sign_test(wins, losses):
    """Two-sided p value that so many wins and losses are those of a fair coin.

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
