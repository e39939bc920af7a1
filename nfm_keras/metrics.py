"""Accuracy, its confidence interval and the comparison of two classifiers.

All in percent, like every score.
"""

import dataclasses
import math
import numbers
import statistics

import numpy as np
import scipy.special


def hits(logits, labels):
    """Which samples are classified correctly.

    Args:
        logits: `(batch, classes)` floats.
        labels: `(batch,)` integers in `[0, classes)`.

    Returns:
        `(batch,)` bool array. Of several equal logits the first class counts.

    Raises:
        ValueError: the logits are not a matrix of finite numbers, or a label does not
            fit them.

    Example:

    >>> hits([[0.1, 0.9], [0.8, 0.2]], [1, 1]).tolist()
    [True, False]
    """
    labels = np.asarray(labels)
    logits = check_logits(logits, len(labels))
    check_labels(labels, len(logits), logits.shape[1])
    return logits.argmax(axis=1) == labels


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


def are_probabilities(logits):
    """Which rows look like the output of a softmax, in half precision too.

    Args:
        logits: `(batch, classes)` numbers.

    Returns:
        `(batch,)` bool array. A row of logits may pass by chance, several hardly.

    Example:

    >>> are_probabilities(np.array([[0.25, 0.75], [-1.0, 2.0]])).tolist()
    [True, False]
    """
    # Probabilities in bfloat16 are off by 1/256 of themselves, and so is their sum.
    sums = np.isclose(logits.sum(axis=-1), 1.0, rtol=0, atol=1e-2)
    return (logits >= 0).all(axis=-1) & sums


def check_logits(logits, n):
    """Logits as an array, or one error that says what is wrong with them.

    Args:
        logits: `(n, classes)` finite numbers.
        n: number of images.

    Raises:
        ValueError: wrong shape, NaN or infinite.

    Example:

    >>> check_logits([[0.1, 0.9]], 1)
    array([[0.1, 0.9]])
    """
    logits = np.asarray(logits)
    if logits.ndim != 2 or len(logits) != n:
        raise ValueError(
            f"The classifier must give logits of shape ({n}, classes) for {n} images. "
            f"Received: shape {logits.shape}"
        )
    bad = np.count_nonzero(~np.isfinite(logits).all(axis=1))
    if bad:
        # Comparing NaN would silently score as class 0.
        raise ValueError(
            "The classifier must give finite logits. Received: NaN or infinite logits "
            f"for {bad} of {n} images"
        )
    return logits


def check_count(name, value):
    """Refuse what is not an integer of at least 1.

    Args:
        name: str, of the argument.
        value: what was given.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {value!r}")


def check_labels(labels, n, num_classes=None):
    """Labels as an int32 array, or one error that says what is wrong with them.

    Args:
        labels: `(n,)` or `(n, 1)` integers in `[0, num_classes)`.
        n: number of images.
        num_classes: int, or None to leave the upper end unchecked.

    Raises:
        ValueError: wrong shape, type or range.

    Example:

    >>> check_labels([0, 2], 2, num_classes=3)
    array([0, 2], dtype=int32)
    """
    labels = np.asarray(labels)
    if labels.shape == (n, 1):  # as keras.datasets has them
        labels = labels[:, 0]
    if labels.shape != (n,):
        raise ValueError(
            f"`labels` must have one class for each of the {n} images: shape ({n},). "
            f"Received: shape {labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"`labels` must be integers, the index of the class. "
            f"Received: dtype {labels.dtype}"
        )
    low, high = (int(labels.min()), int(labels.max())) if n else (0, 0)
    if low < 0 or (num_classes is not None and high >= num_classes):
        top = "classes - 1" if num_classes is None else num_classes - 1
        raise ValueError(
            f"`labels` must lie between 0 and {top}. "
            f"Received: labels from {low} to {high}"
        )
    return labels.astype("int32")


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
