"""How well a classifier's confidence matches its accuracy.

Everything is computed in float64 from logits and integer labels. The confidence of an
image is the largest probability of its softmax. Probabilities, confidences and errors
are shares in [0,1]; only what is called accuracy in `summary` is in percent, as every
score is.

Reference: C. Guo et al., *On calibration of modern neural networks*, ICML 2017;
D. Hendrycks et al., *Deep anomaly detection with outlier exposure*, ICLR 2019 (the
root-mean-square calibration error).
"""

import dataclasses

import numpy as np
import scipy.special

from nfm_keras.checks import check_count
from nfm_keras.data.labels import check_labels, check_logits, hits
from nfm_keras.evaluation.statistics import accuracy


@dataclasses.dataclass(frozen=True)
class Reliability:
    """A reliability diagram: what was promised and what was kept, bin by bin.

    Args:
        edges: `(bins + 1,)` float64, 0, 1/bins ... 1. Bin i is (edges[i], edges[i+1]].
        counts: `(bins,)` int64. Images whose confidence lies in each bin.
        confidence: `(bins,)` float64. Mean confidence in each bin.
        accuracy: `(bins,)` float64. Share classified correctly in each bin.

    In an empty bin, which `counts` tells, confidence and accuracy are 0.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def nll(logits, labels):
    """Returns the negative log-likelihood of the labels, in nats, mean over images.

    Args:
        logits: `(n, classes)` finite numbers.
        labels: `(n,)` integers in `[0, classes)`.

    Returns:
        float.

    Raises:
        ValueError: no images, logits that are not a matrix of finite numbers, or
            labels that do not fit them.

    Example:

    >>> round(nll([[0.0, 0.0], [0.0, 1000.0]], [1, 1]), 4)  # log(2) / 2
    0.3466
    """
    logits, labels = _checked(logits, labels)
    log_probabilities = scipy.special.log_softmax(logits, axis=1)
    return float(-np.mean(log_probabilities[np.arange(len(labels)), labels]))


def brier(logits, labels):
    """Returns the Brier score: squared error of the probabilities, summed over classes.

    Args:
        logits, labels: as for `nll`.

    Returns:
        float in [0,2], the mean over images of sum_j (p_j - [j = label])^2.

    Raises:
        ValueError: As `nll`.

    Example:

    >>> brier([[0.0, 0.0], [0.0, 1000.0]], [1, 1])
    0.25

    Reference: G. Brier, *Verification of forecasts expressed in terms of probability*,
    Monthly Weather Review 78 (1950), equation 2.
    """
    logits, labels = _checked(logits, labels)
    errors = scipy.special.softmax(logits, axis=1)
    errors[np.arange(len(labels)), labels] -= 1
    return float(np.mean(np.sum(errors**2, axis=1)))


def expected_calibration_error(logits, labels, bins=15):
    """Returns the gap between confidence and accuracy, mean over bins of equal width.

        ECE = sum_b n_b / n * |accuracy_b - confidence_b|

    A bin is (low, high], as Guo et al. define it: a confidence of exactly k / bins
    belongs to the lower of its two bins. Histograms count it into the upper one, and
    the results differ where a classifier is often exactly that confident.

    Args:
        logits, labels: as for `nll`.
        bins: int.

    Returns:
        float in [0,1].

    Raises:
        ValueError: As `nll`, or if `bins` is not a positive integer.

    Example:

    >>> logits = np.log(np.full((5, 2), [0.2, 0.8]))
    >>> round(expected_calibration_error(logits, [1, 1, 1, 0, 0]), 6)  # |0.6 - 0.8|
    0.2

    Reference: C. Guo et al., *On calibration of modern neural networks*, ICML 2017,
    equation 3.
    """
    diagram = reliability(logits, labels, bins)
    gaps = np.abs(diagram.accuracy - diagram.confidence)
    return float(np.sum(diagram.counts * gaps) / np.sum(diagram.counts))


def rms_calibration_error(logits, labels, bin_size=100, hendrycks_compat=False):
    """Returns the root-mean-square gap over bins of equal mass.

    The gap is that between confidence and accuracy:

        RMS = sqrt(sum_b n_b / n * (accuracy_b - confidence_b)^2)

    The images are sorted by confidence and cut into bins of `bin_size`; what remains
    joins the last bin. Fewer than `bin_size` images are one bin. Images of the same
    confidence count alike, as the share of them that is right, so that the order of
    the images makes no difference.

    Args:
        logits, labels: as for `nll`.
        bin_size: int. Images a bin.
        hendrycks_compat: bool. Leave out the last bin, which holds the most confident
            images, as the published code does. Numbers printed in papers that used it
            are too low by that bin; n stays the number of all images.

    Returns:
        float in [0,1].

    Raises:
        ValueError: As `nll`; if `bin_size` is not a positive integer; or less than one
            full bin in compat mode, where the published code fails as well.

    Example:

    >>> logits = np.log(np.full((5, 2), [0.2, 0.8]))
    >>> round(rms_calibration_error(logits, [1, 1, 1, 0, 0]), 6)
    0.2

    Reference: D. Hendrycks et al., *Deep anomaly detection with outlier exposure*,
    ICLR 2019, and the code published with it, which AugMix used too.
    """
    confidences, hits = _confidences_and_hits(logits, labels)
    check_count("bin_size", bin_size)
    n = len(hits)
    if hendrycks_compat and n < bin_size:
        raise ValueError(
            f"`hendrycks_compat` needs at least one full bin of {bin_size} images. "
            f"Received: {n} images"
        )
    # Where images tie, which of them share a bin is chance: each counts as their mean.
    _, of, sizes = np.unique(confidences, return_inverse=True, return_counts=True)
    hits = (np.bincount(of, hits) / sizes)[of]
    order = np.argsort(confidences, kind="stable")
    starts = np.arange(max(n // bin_size, 1)) * bin_size
    counts = np.diff(starts, append=n)
    confidence = np.add.reduceat(confidences[order], starts) / counts
    accuracy = np.add.reduceat(hits[order], starts) / counts
    terms = counts / n * (accuracy - confidence) ** 2
    return float(np.sqrt(np.sum(terms[:-1] if hendrycks_compat else terms)))


def reliability(logits, labels, bins=15):
    """Returns a reliability diagram: confidence and accuracy in bins of equal width.

    Args:
        logits, labels: as for `nll`.
        bins: int. Bins (low, high], as in `expected_calibration_error`.

    Returns:
        A `Reliability`, without NaN.

    Raises:
        ValueError: As `nll`, or if `bins` is not a positive integer.

    Example:

    >>> diagram = reliability([[0.0, 0.0], [0.0, 1000.0]], [1, 1], bins=2)
    >>> diagram.counts.tolist(), diagram.accuracy.tolist()
    ([1, 1], [0.0, 1.0])
    """
    confidences, hits = _confidences_and_hits(logits, labels)
    check_count("bins", bins)
    # k / bins is the double nearest to the edge; linspace is one off for some k.
    edges = np.arange(bins + 1) / bins
    where = np.searchsorted(edges, confidences, side="left") - 1
    counts = np.bincount(where, minlength=bins)
    confidence = np.bincount(where, confidences, bins) / np.maximum(counts, 1)
    accuracy = np.bincount(where, hits, bins) / np.maximum(counts, 1)
    return Reliability(edges, counts, confidence, accuracy)


def summary(logits, labels):
    """Returns every figure of this module at its default settings.

    Args:
        logits, labels: as for `nll`.

    Returns:
        dict of floats: `nll` (nats), `brier` (in [0,2]), `ece`, `rms` and the mean
        `confidence` (in [0,1]), and `accuracy` (in percent).

    Raises:
        ValueError: As `nll`.

    Example:

    >>> figures = summary([[0.0, 0.0], [0.0, 1000.0]], [1, 1])
    >>> figures["confidence"], figures["accuracy"], figures["ece"]
    (0.75, 50.0, 0.25)
    """
    return {
        "nll": nll(logits, labels),
        "brier": brier(logits, labels),
        "ece": expected_calibration_error(logits, labels),
        "rms": rms_calibration_error(logits, labels),
        "confidence": float(np.mean(_confidences_and_hits(logits, labels)[0])),
        "accuracy": accuracy(logits, labels),
    }


def _confidences_and_hits(logits, labels):
    """Two float64 vectors: the largest probability, and 1 where the image is right."""
    logits, labels = _checked(logits, labels)
    confidences = scipy.special.softmax(logits, axis=1).max(axis=1)
    return confidences, hits(logits, labels).astype("float64")


def _checked(logits, labels):
    logits = check_logits(logits, len(labels)).astype("float64")
    if not logits.size:
        raise ValueError(
            f"Calibration needs at least one image. Received: shape {logits.shape}"
        )
    return logits, check_labels(labels, len(logits), logits.shape[1])
