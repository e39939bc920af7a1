"""Accuracies and means of them with their intervals, all in percent."""

import numpy as np
import scipy.stats

from nfm_keras.data.labels import hits


def accuracy(logits, labels):
    """Returns the share of samples classified correctly, in percent.

    Args:
        logits: `(batch, classes)` floats.
        labels: `(batch,)` integers in `[0, classes)`.

    Raises:
        ValueError: As `hits`, or if the batch is empty.

    Example:

    >>> accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1])
    50.0
    """
    return 100.0 * float(np.mean(hits(logits, labels)))


def wilson_interval(correct, n, confidence=0.95):
    """Returns the Wilson score interval of an accuracy, in percent.

    It keeps its coverage near 0 and 100 %, where the usual interval of +-2 standard
    deviations collapses to a point.

    Args:
        correct: Number of samples classified correctly.
        n: Number of samples.
        confidence: Probability that the interval covers the true accuracy.

    Returns:
        `(low, high)` in percent.

    Raises:
        ValueError: If not `0 <= correct <= n`, `n` is 0, or not `0 < confidence < 1`.

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
    test = scipy.stats.binomtest(int(correct), int(n))
    low, high = test.proportion_ci(confidence, method="wilson")
    # The ends are exact at 0 and n; rounding puts them a hair outside.
    low = 0.0 if correct == 0 else 100.0 * float(low)
    return low, 100.0 if correct == n else 100.0 * float(high)


def mean_interval(values, least, most):
    """Returns the mean of numbers with its 95 % interval.

    By Student's law. Where all numbers are alike that law knows no spread: the interval
    is then what the other numbers could be, of a share that so many would miss with a
    chance of 2.5 % (Clopper and Pearson), were they at either end.

    Args:
        values: `(n,)` floats.
        least, most: Ends of what a value can be.

    Returns:
        `(mean, low, high)`, within `least` and `most`.

    Example:

    >>> mean, low, high = mean_interval([100.0, 100.0, 100.0], 0, 100)
    >>> mean, round(low, 1), high
    (100.0, 29.2, 100.0)
    """
    values = np.asarray(values, "float64")
    mean = float(values.mean())
    if np.ptp(values) == 0:
        unseen = 1 - 0.025 ** (1 / len(values))
        return mean, mean - unseen * (mean - least), mean + unseen * (most - mean)
    interval = scipy.stats.ttest_1samp(values, 0).confidence_interval()
    return mean, max(float(interval.low), least), min(float(interval.high), most)


def mean_accuracy(scores):
    """Returns the mean of several scores of the same images, with its interval.

    The scores share their images, so they are not independent: the interval is that of
    the mean over images of the share of perturbations under which an image is
    classified correctly.

    Args:
        scores: List of `Score` with the same number of images.

    Returns:
        `(mean, low, high)` in percent, 95 %.

    Raises:
        ValueError: If there are no scores, or they are of different numbers of images.
    """
    sizes = sorted({score.n for score in scores})
    if len(sizes) != 1:
        raise ValueError(
            "A mean needs at least one score, and all of the same images. "
            f"Received: scores of {sizes} images"
        )
    shares = 100.0 * np.mean([score.right for score in scores], axis=0)
    return mean_interval(shares, 0.0, 100.0)


def holm(p_values):
    """Returns p values adjusted by Holm's method: one false alarm among all of them.

    Args:
        p_values: list of float.

    Returns:
        List of float in the same order, none above 1.

    Example:

    >>> holm([0.01, 0.5, 0.02])
    [0.03, 0.5, 0.04]

    Reference: S. Holm, *A simple sequentially rejective multiple test procedure*,
    Scandinavian Journal of Statistics 6 (1979).
    """
    count, highest, adjusted = len(p_values), 0.0, [*p_values]
    for rank, i in enumerate(sorted(range(count), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (count - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted
