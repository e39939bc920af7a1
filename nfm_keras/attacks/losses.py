"""What an attack maximises: one loss an image, from its logits.

With z the logits, y the label and z_(1) >= z_(2) >= ... the logits in order:

* `ce`: the log of the odds against the label, log sum_{i != y} exp(z_i) - z_y. The
  cross-entropy is its softplus, so that both grow in the same direction and order
  points the same, but this one's gradient does not vanish as the label leads;
* `margin`: max_{i != y} z_i - z_y, positive where the image is misclassified;
* `dlr`: the margin over z_(1) - z_(3);
* `targeted_dlr`: (z_t - z_y) over z_(1) - (z_(3) + z_(4)) / 2, for a target class t.

The difference-of-logits ratio does not change when all logits are shifted, or scaled by
a positive number. Each takes `(logits, labels, targets)`; only the last of the
four reads the targets.

Reference: F. Croce and M. Hein, *Reliable evaluation of adversarial robustness with an
ensemble of diverse parameter-free attacks*, ICML 2020, equations (6) and (7).
"""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from nfm_keras.attacks.balls import per_image
from nfm_keras.backend import ascent, gradients
from nfm_keras.backend.ascent import picked


def log_odds(logits, labels, targets=None):
    """Returns the log of the odds against the label of each image.

    Args:
        logits: `(batch, classes)` tensor.
        labels: `(batch,)` integers.
        targets: Not read.

    Returns:
        `(batch,)` tensor.
    """
    return ascent.log_odds(logits, labels)


def margin(logits, labels, targets=None):
    """Returns how far the best other class is ahead of the label, in logits.

    Args: As `log_odds`.

    Example:

    >>> print(ops.convert_to_numpy(margin(ops.array([[1.0, 4.0, 2.0]]), [1])))
    [-2.]
    """
    is_label = ops.one_hot(labels, logits.shape[1], dtype="bool")
    others = ops.where(is_label, -float("inf"), logits)
    return ops.max(others, axis=1) - picked(logits, labels)


def dlr(logits, labels, targets=None):
    """Returns the difference-of-logits ratio; with fewer than 3 classes the margin.

    Args: As `log_odds`.

    Example:

    >>> print(ops.convert_to_numpy(dlr(ops.array([[1.0, 4.0, 2.0]]), [1])))
    [-0.6666667]
    """
    if logits.shape[1] < 3:
        return margin(logits, labels)
    top = ops.top_k(logits, 3)[0]
    return margin(logits, labels) / (top[:, 0] - top[:, 2] + 1e-12)


def targeted_dlr(logits, labels, targets):
    """Returns the targeted ratio of this kind; with fewer than 4 classes z_t - z_y.

    Args:
        logits: `(batch, classes)` tensor.
        labels: `(batch,)` integers.
        targets: `(batch,)` integers, the class to be reached.

    Returns:
        `(batch,)` tensor.

    Example:

    >>> logits = ops.array([[5.0, 4.0, 2.0, 1.0]])
    >>> print(ops.convert_to_numpy(targeted_dlr(logits, [0], [2])))
    [-0.85714287]
    """
    difference = target_margin(logits, labels, targets)
    if logits.shape[1] < 4:
        return difference
    top = ops.top_k(logits, 4)[0]
    return difference / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


def target_margin(logits, labels, targets):
    """Returns z_t - z_y; arguments as for `targeted_dlr`."""
    return picked(logits, targets) - picked(logits, labels)


class Found(NamedTuple):
    """What one pass forwards and back through a classifier found, an image each.

    Attributes:
        values: `(batch,)` losses.
        gradient: `(batch, ...)`, of the losses at the points; finite.
        logits: `(batch, classes)`.
        health: `(batch,)`, what `nfm_keras.backend.ascent.checked` says of it.
    """

    values: Any
    gradient: Any
    logits: Any
    health: Any


def ascend(classifier, points, labels, targets=None, *, loss=log_odds):
    """Returns loss, gradient and logits of a classifier at some points, as `Found`.

    Args:
        classifier: `PlainClassifier`.
        points: `(batch, ...)` tensor.
        labels, targets: `(batch,)` integers.
        loss: Function `(logits, labels, targets)` to `(batch,)`.
    """

    def values(points):
        logits = classifier(points)
        # One loss a sample, and their sum differentiated: with the mean, the gradient
        # would shrink with the batch and underflow in half precision.
        return loss(logits, labels, targets), logits

    values, logits, gradient = gradients.value_and_grad(values)(points)
    gradient, health = ascent.checked(gradient)
    return Found(values, gradient, logits, health)


def averaged(passes, loss):
    """Returns the mean over the passes of a random classifier.

    Args:
        passes: Iterable of `Found`, at the same points.
        loss: str, one of `LOSSES`.

    Returns:
        `Found`, its logits the log of the mean probability. For `"ce"` the values are
        the log of the mean cross-entropy, and the gradient is that of the mean up to a
        positive factor an image: neither rounds to 0, as the mean itself would where
        the label leads.
    """
    logits, health, total = [], [], None
    for found in passes:
        logits.append(ops.convert_to_numpy(found.logits))
        health.append(ops.convert_to_numpy(found.health))
        term = found.values, found.gradient
        if loss == "ce":
            log_slope = ops.log_sigmoid(found.values)
            term = _log_softplus(found.values), found.gradient, log_slope
        add = _added_logs if loss == "ce" else _added
        total = term if total is None else add(total, term)
    values, n = total[0], len(logits)
    values = values - np.float32(np.log(n)) if loss == "ce" else values / n
    health = np.bitwise_or.reduce(health)
    return Found(values, total[1], log_mean(logits), health)


def _added(total, term):
    return tuple(a + b for a, b in zip(total, term, strict=True))


def _added_logs(total, term):
    """Adds values by their logs, and gradients by the logs of their weights."""
    values = ops.logaddexp(total[0], term[0])
    most = ops.maximum(total[2], term[2])
    weights = (per_image(ops.exp(x[2] - most), x[1]) for x in (total, term))
    gradient = sum(w * x[1] for w, x in zip(weights, (total, term), strict=True))
    return values, gradient, most


def _log_softplus(values):
    # softplus(d) is exp(d) there, up to rounding.
    return ops.where(
        values < -15, values, ops.log(ops.softplus(ops.maximum(values, -15.0)))
    )


def log_mean(passes):
    """Returns the log of the mean probability over passes, `(batch, classes)`."""
    mean = sum(ops.softmax(logits) for logits in passes) / len(passes)
    return ops.convert_to_numpy(ops.log(mean + 1e-30))  # finite, or it is refused


LOSSES = {
    "ce": log_odds,
    "dlr": dlr,
    "targeted_dlr": targeted_dlr,
}
"""The losses that APGD can be given, by name."""
