"""What an attack maximises: one loss an image, from its logits.

With z the logits, y the label and z_(1) >= z_(2) >= ... the logits in order:

* `ce`: cross-entropy;
* `margin`: max_{i != y} z_i - z_y, positive where the image is misclassified;
* `dlr`: the margin over z_(1) - z_(3);
* `targeted_dlr`: (z_t - z_y) over z_(1) - (z_(3) + z_(4)) / 2, for a target class t.

The difference-of-logits ratio does not change when all logits are shifted, or scaled by
a positive number, so a classifier cannot hide its gradient behind large logits, as it
can with the cross-entropy. Each takes `(logits, labels, targets)`; only the last of the
four reads the targets.

Reference: F. Croce and M. Hein, *Reliable evaluation of adversarial robustness with an
ensemble of diverse parameter-free attacks*, ICML 2020, equations (6) and (7).
"""

from keras import ops


def cross_entropy(logits, labels, targets=None):
    """Returns the cross-entropy of each image.

    Args:
        logits: `(batch, classes)` tensor.
        labels: `(batch,)` integers.
        targets: Not read.

    Returns:
        `(batch,)` tensor.
    """
    return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def margin(logits, labels, targets=None):
    """Returns how far the best other class is ahead of the label, in logits.

    Args: As `cross_entropy`.

    Example:

    >>> print(ops.convert_to_numpy(margin(ops.array([[1.0, 4.0, 2.0]]), [1])))
    [-2.]
    """
    is_label = ops.one_hot(labels, logits.shape[1], dtype="bool")
    others = ops.where(is_label, -float("inf"), logits)
    return ops.max(others, axis=1) - _pick(logits, labels)


def dlr(logits, labels, targets=None):
    """Returns the difference-of-logits ratio; with fewer than 3 classes the margin.

    Args: As `cross_entropy`.

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
    return _pick(logits, targets) - _pick(logits, labels)


def _pick(logits, classes):
    """Picks the logit of one class in each row."""
    return ops.sum(ops.multiply(logits, ops.one_hot(classes, logits.shape[1])), axis=1)


LOSSES = {
    "ce": cross_entropy,
    "dlr": dlr,
    "targeted_dlr": targeted_dlr,
}
"""The losses that APGD can be given, by name."""
