"""Accuracy and its confidence interval, both in percent like every score."""

import math
import statistics

import numpy as np


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
    logits, labels = np.asarray(logits), np.asarray(labels)
    if logits.ndim != 2 or len(logits) != len(labels):
        raise ValueError(
            f"The classifier must give logits of shape ({len(labels)}, classes) for "
            f"{len(labels)} images. Received: shape {logits.shape}"
        )
    bad = np.count_nonzero(~np.isfinite(logits).all(axis=1))
    if bad:
        # Comparing NaN would silently score as class 0.
        raise ValueError(
            "The classifier must give finite logits. Received: NaN or infinite logits "
            f"for {bad} of {len(logits)} images"
        )
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
