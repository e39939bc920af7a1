"""Does one temperature mend a network's confidence? Fitted on held-out images.

Mixing makes networks underconfident. Dividing the logits by a temperature, fitted on
images that are not scored, changes no prediction.
"""

from typing import NamedTuple

import numpy as np
import scipy.optimize
from numpy.typing import ArrayLike

from nfm_keras.checks import check_number
from nfm_keras.data.labels import check_labels, check_logits
from nfm_keras.evaluation.calibration import expected_calibration_error, nll

_BOUNDS = 0.01, 100.0


class Calibrated(NamedTuple):
    """Calibration before and after one temperature, on images it was not fitted on.

    Attributes:
        temperature: Below 1 where the network was underconfident.
        accuracy: In percent; no temperature changes it.
        confidence_before, confidence_after: Mean confidence, in percent.
        ece_before, ece_after: Expected calibration error with its bias taken off, a
            share; it may be below 0 by chance.
        nll_before, nll_after: In nats.
    """

    temperature: float
    accuracy: float
    confidence_before: float
    confidence_after: float
    ece_before: float
    ece_after: float
    nll_before: float
    nll_after: float


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Returns the temperature that minimises the log-likelihood loss.

    Args:
        logits: `(n, classes)` of held-out images.
        labels: `(n,)` integers.

    Returns:
        float, from 0.01 to 100: at these ends where no optimum is between, as on images
        that are all classified correctly.

    Raises:
        ValueError: As `nfm_keras.evaluation.calibration.nll`.

    Example:

    >>> logits = np.log([[0.8, 0.2], [0.8, 0.2], [0.2, 0.8], [0.2, 0.8], [0.8, 0.2]])
    >>> round(fit_temperature(4 * logits, [0, 0, 1, 1, 1]), 2)  # 4 of 5 are right
    4.0

    Reference: C. Guo et al., *On calibration of modern neural networks*, ICML 2017.
    """
    logits, labels = _checked(logits, labels)

    def loss(log_temperature):
        return nll(logits / np.exp(log_temperature), labels)

    ends = tuple(float(end) for end in np.log(_BOUNDS))
    found = scipy.optimize.minimize_scalar(loss, bounds=ends, method="bounded")
    # Where the loss is flat, as on images that are all right, an end is as good.
    best = min((*ends, float(found.x)), key=loss)
    return float(np.exp(best))


def calibrate(
    held_out: tuple[ArrayLike, ArrayLike],
    scored: tuple[ArrayLike, ArrayLike],
    *,
    bins: int = 15,
) -> Calibrated:
    """Returns calibration before and after the temperature of other images.

    Args:
        held_out: `(logits, labels)` to fit the temperature on. Where all of them are
            classified correctly there is no best one, and it is 1.
        scored: `(logits, labels)` of other images, corrupted ones for example.
        bins: int, of the calibration error.

    Returns:
        `Calibrated`, of the images of `scored`.

    Raises:
        ValueError: As `fit_temperature`.

    Example:

    >>> logits = np.log([[0.8, 0.2], [0.8, 0.2], [0.2, 0.8], [0.2, 0.8], [0.8, 0.2]])
    >>> images = 4 * logits, [0, 0, 1, 1, 1]
    >>> found = calibrate(images, images)
    >>> round(found.temperature, 2), found.accuracy
    (4.0, 80.0)
    """
    temperature = fit_temperature(*held_out) if _has_errors(*held_out) else 1.0
    logits, labels = _checked(*scored)
    after = logits / temperature
    return Calibrated(
        temperature,
        100.0 * float(np.mean(logits.argmax(axis=1) == labels)),
        _confidence(logits),
        _confidence(after),
        debiased_error(logits, labels, bins=bins),
        debiased_error(after, labels, bins=bins),
        nll(logits, labels),
        nll(after, labels),
    )


def _checked(logits, labels):
    """Logits as float64 and labels as integers, of at least one image."""
    if not len(np.asarray(logits)):
        raise ValueError("A temperature needs logits of some images. Received: none")
    labels = check_labels(labels, len(np.asarray(logits)))
    return check_logits(logits, len(labels)).astype("float64"), labels


def _has_errors(logits, labels):
    logits, labels = _checked(logits, labels)
    return bool(np.any(logits.argmax(axis=1) != labels))


def debiased_error(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    bins: int = 15,
    draws: int = 200,
    seed: int = 0,
) -> float:
    """Returns the expected calibration error less what chance alone would give.

    A perfectly calibrated network has an error above 0 on finitely many images. What
    it would have is the mean over labels drawn from the network's own confidences.

    Args:
        logits, labels: As in `fit_temperature`.
        bins: int.
        draws: int, of labels.
        seed: int.

    Returns:
        float, a share; 0 in the mean for a calibrated network.

    Raises:
        ValueError: As `fit_temperature`, or for a count that is not positive.
    """
    check_number("draws", draws, least=1)
    logits = np.asarray(logits, "float64")
    own = expected_calibration_error(logits, labels, bins)
    top, confidence = logits.argmax(axis=1), _top(logits)
    rng = np.random.default_rng(seed)
    chance = []
    for _ in range(draws):
        right = rng.uniform(size=len(top)) < confidence
        drawn = np.where(right, top, (top + 1) % logits.shape[1])
        chance.append(expected_calibration_error(logits, drawn, bins))
    return float(own - np.mean(chance))


def _top(logits):
    return 1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)


def _confidence(logits):
    return 100.0 * float(np.mean(_top(logits)))
