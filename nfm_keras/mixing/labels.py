"""How the labels and weights of a batch are mixed, for the loss and for the metrics.

Float targets are interpolated. Integer labels are not: a batch becomes one of twice the
size, the second half with the partners' labels, whose samples weigh lam and 1 - lam.
"""

import keras
from keras import ops, tree

from nfm_keras.backend import keras_private
from nfm_keras.mixing.draw import interpolate


def mix_labels(draw, y, y_pred, sample_weight, loss):
    """Mixes what a loss is taken of.

    Args:
        draw: `Draw` that mixes the labels.
        y: Structure of labels `(batch, ...)`.
        y_pred: Structure of outputs `(batch, ...)`.
        sample_weight: Structure of weights, or None.
        loss: What `compile` was given.

    Returns:
        `(y, y_pred, sample_weight)`, of the batch or of twice the batch.

    Raises:
        ValueError: For labels that are no numbers, weights of too many axes, or losses
            of class numbers that are means and sums.
    """
    _check_labels(y)
    if sample_weight is not None:
        sample_weight = _map(lambda w: _interpolated(w, draw), sample_weight)
    are_classes = _are_classes(y, y_pred)
    if not any(tree.flatten(are_classes)):
        return _map(lambda t: _interpolated(t, draw), y), y_pred, sample_weight

    def mixed(labels, is_class):
        labels = ops.convert_to_tensor(labels)
        if is_class:
            return _with_partner(labels, draw)
        return _twice(_interpolated(labels, draw))

    if isinstance(y, dict):
        y = {name: mixed(y[name], are_classes[name]) for name in y}
    else:
        y = tree.map_structure(mixed, y, are_classes)
    weights = _pair_weights(draw, y_pred, sample_weight, _pair_scale(loss))
    return y, _map(lambda t: _twice(t, draw), y_pred), weights


def update_metrics(model, draw, y, y_pred, sample_weight):
    """Updates a model's metrics with the mean over own and partner's label.

    In Keras `metrics` take no weights, and lam has to reach them too.

    Args:
        model: Compiled `keras.Model` with metrics.
        draw: As in `mix_labels`.
        y: As there.
        y_pred: As there.
        sample_weight: As there; for `weighted_metrics` alone.
    """
    metrics = keras_private.compiled_metrics(model)
    if not metrics.built:
        metrics.build(y, y_pred)
    if sample_weight is not None:
        sample_weight = _map(lambda w: _interpolated(w, draw), sample_weight)
    y = _map(lambda t: _with_partner(t, draw), y)
    twice = _map(lambda t: _twice(t, draw), y_pred)
    for weighted, given in ((False, None), (True, sample_weight)):
        weights = _pair_weights(draw, y_pred, given)
        rows = keras_private.flat_metrics(metrics, weighted, y, twice, weights)
        for metric, labels, output, weight in rows:
            metric.update_state(labels, output, weight)


def _check_labels(y):
    for labels in tree.flatten(y):
        # keras.backend has no name for "a number", and no dtype for strings.
        dtype = str(getattr(labels, "dtype", type(labels).__name__))
        if not any(kind in dtype for kind in ("int", "float", "bool")):
            raise ValueError(
                "Labels must be numbers to be mixed: class numbers, one-hot vectors or "
                f"regression targets. Received: labels of dtype {dtype}"
            )


def _map(function, structure):
    return tree.map_structure(
        lambda t: None if t is None else function(ops.convert_to_tensor(t)), structure
    )


def _are_classes(y, y_pred):
    """Whether labels are class numbers, in the structure of the labels."""
    if isinstance(y, dict) and isinstance(y_pred, dict):
        # By name: trees of PyTorch keep the order in which keys were inserted.
        return {name: _is_class(y[name], y_pred.get(name)) for name in y}
    outputs, count = tree.flatten(y_pred), len(tree.flatten(y))
    outputs = iter(outputs if len(outputs) == count else [None] * count)
    return tree.map_structure(lambda t: _is_class(t, next(outputs)), y)


def _is_class(labels, output):
    """Whether labels are class numbers; they may come as floats, too."""
    if not _is_float(labels):
        return True
    if output is None or output.shape[-1] in (None, 1):
        return False
    rank = len(labels.shape)
    return rank < len(output.shape) or (
        rank == len(output.shape) and labels.shape[-1] == 1
    )


def _is_float(tensor):
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype))


def _interpolated(tensor, draw):
    tensor = tensor if _is_float(tensor) else ops.cast(tensor, "float32")
    return interpolate(tensor, ops.take(tensor, draw.partner, axis=0), draw.lam)


def _with_partner(tensor, draw):
    return ops.concatenate([tensor, ops.take(tensor, draw.partner, axis=0)])


def _twice(tensor, draw=None):
    """A batch twice; with a draw, the second is for the partners' labels."""
    twice = ops.concatenate([tensor, tensor])
    mask = keras_private.mask_of(tensor)
    if mask is not None:  # of padded time steps, of which a partner has its own
        other = mask if draw is None else ops.take(mask, draw.partner, axis=0)
        keras_private.set_mask(twice, ops.concatenate([mask, other]))
    return twice


def _pair_scale(loss):
    """A mean over twice the batch halves the sum of the weights."""
    reductions = {
        getattr(single, "reduction", "mean") == "sum"
        for single in tree.flatten(loss)
        if single is not None
    }
    if len(reductions) > 1:
        raise ValueError(
            "With integer labels the losses must all be means or all be sums. "
            f"Received: loss={loss}"
        )
    return 1.0 if reductions == {True} else 2.0


def _pair_weights(draw, y_pred, sample_weight, scale=1.0):
    """lam and 1 - lam, as sample weights of twice the batch, for each output."""
    outputs = tree.flatten(y_pred)
    given = tree.flatten(sample_weight)
    given = given * len(outputs) if len(given) == 1 else given
    batch = ops.shape(outputs[0])[0]
    lam = ops.broadcast_to(draw.lam, (batch,))
    pair = scale * ops.concatenate([lam, 1 - lam])
    weights = [_weight(pair, out, w) for out, w in zip(outputs, given)]
    # In full: some metrics flatten their arguments, and Keras multiplies a mask into
    # the weights in place.
    weights = [
        w * ops.ones((2 * batch, *ops.shape(out)[1:-1]), w.dtype)
        for out, w in zip(outputs, weights)
    ]
    return tree.pack_sequence_as(y_pred, weights)


def _weight(pair, output, given):
    # Per-sample losses have the rank of the output less one; a weight of
    # another rank would be broadcast along the wrong axes.
    rank = max(len(output.shape) - 1, 1)
    weight = ops.reshape(pair, (-1,) + (1,) * (rank - 1))
    if given is None:
        return weight
    given = _twice(given)
    while len(given.shape) > rank and given.shape[-1] == 1:
        given = ops.squeeze(given, -1)
    if len(given.shape) > rank:
        raise ValueError(
            f"`sample_weight` must have at most {rank} axes for an output of shape "
            f"{output.shape}. Received: shape {given.shape}"
        )
    missing = rank - len(given.shape)
    if missing > 0:
        given = ops.reshape(given, (*ops.shape(given), *(1,) * missing))
    return weight * given
