"""The last activation of a classifier, and logits from the probabilities behind it.

A softmax or sigmoids at the end hide the logits, and where they saturate their gradient
is 0. The logarithm undoes them, up to what is too small for float32.
"""

import keras
import numpy as np
from keras import ops

from nfm_keras.backend.keras_private import has_graph, source

TINY = float(np.finfo("float32").tiny)
FAR = -float(np.log(TINY)) - 1e-3
"""A logit so far from 0, made from a probability, is of one that rounds to 0 or 1."""

_THROUGH = {"Dropout", "Flatten", "Identity", "Reshape"}
_NAMES = {"Softmax": "softmax", "Sigmoid": "sigmoid"}


def head(model):
    """Returns the name of the activation that a Keras model or layer ends in.

    Args:
        model: Anything.

    Returns:
        `"softmax"`, `"sigmoid"`, or an empty string for another one, where there is
        none, and for what is no graph of layers.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((3,)), keras.layers.Dense(2, activation="softmax")]
    ... )
    >>> head(model)
    'softmax'
    """
    if not isinstance(model, keras.Model):
        return _activation(model)
    outputs = getattr(model, "outputs", None) if has_graph(model) else None
    if isinstance(model, keras.Sequential):
        outputs = model.outputs if model.built else None
    if not outputs or len(outputs) != 1:
        return ""
    layer, inputs = source(outputs[0])
    while inputs and (type(layer).__name__ in _THROUGH or _is_linear(layer)):
        layer, inputs = source(inputs[0])
    return head(layer)


def _activation(layer):
    activation = getattr(layer, "activation", None)
    known = {keras.activations.softmax: "softmax", keras.activations.sigmoid: "sigmoid"}
    names = (_NAMES.get(type(one).__name__, "") for one in (activation, layer))
    return known.get(activation, "") or next(filter(None, names), "")


def _is_linear(layer):
    is_activation = isinstance(layer, keras.layers.Activation)
    return is_activation and layer.activation is keras.activations.linear


def logits_of(probabilities, kind=""):
    """Returns logits whose softmax, or sigmoids, the probabilities are.

    Args:
        probabilities: `(batch, classes)` tensor.
        kind: What they are of, `"softmax"` or `"sigmoid"`. Where that is not known, a
            row that sums to 1, within a hundredth, is taken for one of a softmax, any
            other for sigmoids.

    Returns:
        float32 tensor `(batch, classes)`, not beyond `FAR` by more than a thousandth;
        NaN for what is no probability.

    Example:

    >>> logits = logits_of(ops.array([[0.5, 0.5], [0.5, 0.9]]))
    >>> print(ops.convert_to_numpy(logits).round(3))
    [[-0.693 -0.693]
     [ 0.     2.197]]
    """
    p = ops.cast(probabilities, "float32")
    logits = ops.log(ops.maximum(p, TINY))
    if kind != "softmax":
        log_rest = ops.log(ops.maximum(1 - p, TINY))
        if not kind:
            of_softmax = ops.abs(ops.sum(p, axis=-1, keepdims=True) - 1) < 1e-2
            log_rest = ops.where(of_softmax, 0.0, log_rest)
        logits = logits - log_rest
    return ops.where((p >= 0) & (p <= 1.01), logits, float("nan"))
