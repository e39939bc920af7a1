"""Whether floats are class numbers: they are where a loss does not see fractions."""

import keras
import numpy as np
from keras import ops

from nfm_keras.backend.gradients import at_once

_KNOWN = (
    keras.losses.sparse_categorical_crossentropy,
    keras.losses.ctc,
    keras.losses.circle,
    # They take 0 for -1, but only where all labels of a batch are 0 and 1.
    keras.losses.hinge,
    keras.losses.squared_hinge,
)


def are_classes(loss, labels, outputs):
    """Returns whether float labels are class numbers, which have no mean.

    They are for Keras' losses of class numbers, and where a loss of one's own gives the
    same for labels of 0 and of 1/4, which is tried on two samples of the same shape. A
    loss that cannot be tried so has targets.

    Args:
        loss: `keras.losses.Loss`.
        labels: Float tensor `(batch, ...)`.
        outputs: Tensor `(batch, ...)`.

    Returns:
        bool.
    """
    function = getattr(loss, "fn", None)
    function = getattr(function, "func", function)  # of a functools.partial
    if function in _KNOWN:
        return True
    width, rank = outputs.shape[-1], len(outputs.shape)
    of_a_class = len(labels.shape) < rank or labels.shape[-1] == 1
    if not of_a_class or rank < 2 or width in (None, 1):
        return False
    name = getattr(function, "__name__", "")
    if name and getattr(keras.losses, name, None) is function:
        return False  # Keras' own others take targets
    shapes = (
        tuple(2 if n is None else n for n in t.shape[1:]) for t in (labels, outputs)
    )
    return _ignores_fractions(loss, *shapes)


def _ignores_fractions(loss, labels, outputs):
    """Whether a loss is the same for labels of 0 and of 1/4."""
    rng = np.random.default_rng(0)
    predicted = rng.uniform(0.2, 0.8, (2, *outputs)).astype("float32")
    predicted /= predicted.sum(-1, keepdims=True)
    found = []
    try:
        with at_once():
            for label in (0.0, 0.25):
                y = np.full((2, *labels), label, "float32")
                value = loss(ops.convert_to_tensor(y), ops.convert_to_tensor(predicted))
                found.append(ops.convert_to_numpy(value))
    except Exception:  # of whatever a foreign function does with samples of ours
        return False
    return bool(np.array_equal(*found))
