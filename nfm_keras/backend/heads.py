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

# By name, in small letters and without "_": Keras, TensorFlow, JAX and PyTorch have
# functions, operations and layers of these.
_KINDS = {
    "softmax": "softmax",
    "softmaxv2": "softmax",
    "specialsoftmax": "softmax",
    "sigmoid": "sigmoid",
    "logistic": "sigmoid",
    "expit": "sigmoid",
    "specialexpit": "sigmoid",
    "hardsigmoid": "hard_sigmoid",
    "sparsesigmoid": "sparse_sigmoid",
    "sparsemax": "sparsemax",
    "linear": "linear",
    "identity": "linear",
}


def head(model):
    """Returns the activation that makes probabilities at the end of a Keras model.

    Args:
        model: Keras model or layer, or anything.

    Returns:
        `"softmax"`, `"sigmoid"`, `"hard_sigmoid"`, `"sparse_sigmoid"` or `"sparsemax"`,
        whichever library its function is from; an empty string for another activation,
        where there is none, and for what is no graph of layers.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((3,)), keras.layers.Dense(2, activation="softmax")]
    ... )
    >>> head(model)
    'softmax'
    """
    kind = _kind(_end(model))
    return "" if kind == "linear" else kind


def ends_in_logits(model):
    """Returns whether a Keras model shows that nothing comes after its logits.

    Args:
        model: Keras model or layer, or anything.

    Returns:
        True where the last layer of a graph has no activation, or is one that does
        nothing; False where that is another or cannot be seen.

    Example:

    >>> ends_in_logits(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
    True
    """
    last = source(model.outputs[0])[0] if getattr(model, "outputs", None) else model
    return "linear" in (_kind(last), _kind(_end(model)))


def _end(model):
    """The last layer or operation that does something; None if that is not seen."""
    if not isinstance(model, keras.Model):
        return model if isinstance(model, keras.Operation) else None
    outputs = getattr(model, "outputs", None) if has_graph(model) else None
    if isinstance(model, keras.Sequential):
        outputs = model.outputs if model.built else None
    if not outputs or len(outputs) != 1:
        return None
    layer, inputs = source(outputs[0])
    while inputs and (type(layer).__name__ in _THROUGH or _is_linear(layer)):
        layer, inputs = source(inputs[0])
    return _end(layer)


def _kind(part):
    """The name in `_KINDS` of a function or operation, or of a layer's activation."""
    names = getattr(part, "__name__", ""), type(part).__name__
    found = (_KINDS.get(str(name).replace("_", "").lower()) for name in names)
    activation = getattr(part, "activation", None)
    inner = "" if activation is None else _kind(activation)
    return inner or next(filter(None, found), "")


def _is_linear(layer):
    return isinstance(layer, keras.layers.Activation) and _kind(layer) == "linear"


def logits_of(probabilities, kind=""):
    """Returns logits whose softmax, or sigmoids, the probabilities are.

    Args:
        probabilities: `(batch, classes)` tensor.
        kind: What they are of, as `head` says it: all but a softmax are taken for
            sigmoids. Where that is not known, a row that sums to 1, within a hundredth,
            is taken for one of a softmax, any other for sigmoids.

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


def shares_of(logits, kind):
    """Returns logits whose softmax is what a classifier says of its classes.

    Of sigmoids that is each divided by their sum: a softmax of the log of the odds of
    0.7 and 0.3 is another, 0.84 and 0.16.

    Args:
        logits: `(n, classes)` array, as `logits_of` made it.
        kind: What the probabilities are of, as there.

    Returns:
        float64 `(n, classes)` array.

    Example:

    >>> odds = np.log([[0.7 / 0.3, 0.3 / 0.7]])
    >>> print(np.exp(shares_of(odds, "sigmoid")).round(2))
    [[0.7 0.3]]
    """
    logits = np.asarray(logits, "float64")
    return logits if kind in ("", "softmax") else -np.logaddexp(0, -logits)


def check_probabilities(logits):
    """Refuses what `logits_of` made of numbers that are no probabilities.

    Args:
        logits: `(batch, classes)` array.

    Raises:
        ValueError: If some are NaN.
    """
    if np.isnan(logits).any():
        raise ValueError(
            "`from_logits=False` is for a classifier that gives probabilities (such as "
            "votes, divided by how many vote), each in [0,1]. Received: others"
        )


def remedy(total):
    """Says how a classifier is scored whose outputs are shares of a number.

    Args:
        total: float, what they sum to.

    Example:

    >>> remedy(1.0), remedy(25.0)
    ('say from_logits=False', 'divide them by 25 and say from_logits=False')
    """
    divide = "" if abs(total - 1) < 1e-2 else f"divide them by {total:.4g} and "
    return f"{divide}say from_logits=False"
