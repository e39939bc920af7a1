"""Which way a classifier's loss grows: true at every scale of its logits.

In float32 the gradient of cross-entropy, softmax minus one, rounds to 0 at the label
once that leads by about 17 logits, and then points anywhere. The log of the odds
against the label does not, and cross-entropy is a rising function of it:

    d = log((1 - p_y) / p_y) = log sum_{i != y} exp(z_i) - z_y,  -log p_y = softplus(d)

so that both grow in the same direction and order images the same.
"""

from keras import ops

USABLE, NOT_FINITE = 1, 2
"""What `checked` says of a gradient: an entry can be followed; some are not finite."""


def log_odds(logits, labels):
    """Returns the log of the odds against the label of each image.

    Args:
        logits: `(batch, classes)` tensor, two classes or more.
        labels: `(batch,)` integers.

    Returns:
        `(batch,)` tensor: the cross-entropy is its `softplus`.

    Example:

    >>> logits = ops.array([[0.0, 0.0, 0.0], [50.0, 20.0, -9.0]])
    >>> print(ops.convert_to_numpy(log_odds(logits, [0, 0])).round(4))
    [  0.6931 -30.    ]
    """
    is_label = ops.one_hot(labels, logits.shape[1], dtype="bool")
    others = ops.where(is_label, -float("inf"), logits)
    return ops.logsumexp(others, axis=1) - picked(logits, labels)


def picked(logits, classes):
    """Returns the logit of one class in each row, `(batch,)`."""
    is_picked = ops.one_hot(classes, logits.shape[1], dtype="float32")
    return ops.sum(ops.multiply(logits, is_picked), axis=1)


def checked(gradient):
    """Returns a gradient without entries that are not finite, and what it is good for.

    Args:
        gradient: `(batch, ...)` tensor.

    Returns:
        `(gradient, health)`: NaN and infinite entries are 0; `health` is an int32
        tensor `(batch,)`, the sum of `USABLE`, where an entry is neither 0 nor that,
        and `NOT_FINITE`, where some were.

    Example:

    >>> found, health = checked(ops.array([[float("nan"), -2.0], [0.0, 0.0]]))
    >>> print(ops.convert_to_numpy(found), ops.convert_to_numpy(health))
    [[ 0. -2.]
     [ 0.  0.]] [3 0]
    """
    axes = tuple(range(1, len(gradient.shape)))
    finite = ops.isfinite(gradient)
    gradient = ops.where(finite, gradient, 0.0)
    usable = ops.any(gradient != 0, axis=axes)
    spoilt = ops.logical_not(ops.all(finite, axis=axes))
    health = USABLE * ops.cast(usable, "int32") + NOT_FINITE * ops.cast(spoilt, "int32")
    return gradient, health


def steepest(gradient, norm):
    """Returns the direction of unit norm along which a linear function grows most.

    Args:
        gradient: `(batch, ...)` tensor.
        norm: str. Its sign for `"linf"`, the gradient over its length for `"l2"`; 0
            where the gradient is.

    Example:

    >>> print(ops.convert_to_numpy(steepest(ops.array([[3e-30, -4e-30]]), "l2")))
    [[ 0.6 -0.8]]
    """
    if norm == "linf":
        return ops.sign(gradient)
    axes = tuple(range(1, len(gradient.shape)))
    # The squares of small entries would be 0, those of large ones infinite.
    largest = ops.max(ops.abs(gradient), axis=axes, keepdims=True)
    scaled = gradient / ops.where(largest > 0, largest, 1.0)
    length = ops.sqrt(ops.sum(ops.square(scaled), axis=axes, keepdims=True))
    return scaled / ops.maximum(length, 1.0)
