"""Metrics of a mixed batch: between those on own labels and those on partners'."""

import keras
from keras import ops, tree

from nfm_keras.backend import keras_private
from nfm_keras.mixing.interpolation import along
from nfm_keras.mixing.labels.loss import check_values, partners_mask
from nfm_keras.mixing.labels.pairs import Pair


def build_metrics(metrics, y, y_pred):
    """Makes the metrics of a model, such that they can count parts of a sample.

    Args:
        metrics: What `keras_private.compiled_metrics` returned.
        y: As in `update_metrics`.
        y_pred: As there.
    """
    if not metrics.built:
        metrics.build(y, y_pred)
    for metric in metrics.metrics:
        keras_private.count_in_floats(metric)


def update_metrics(metrics, mixing, y, y_pred, sample_weight):
    """Updates metrics with the mean over own and partner's label, weighted by lam.

    One lam a batch: what the metrics hold after the own labels and what they hold after
    the partners' are interpolated, whatever shape their values have and whether they
    take weights or not. One lam a sample: the samples have the weights lam and 1 - lam.

    Args:
        metrics: What `keras_private.compiled_metrics` returned; built.
        mixing: The step's `LabelMixing`.
        y: Structure of labels `(batch, ...)`, None where an output has none.
        y_pred: Structure of outputs `(batch, ...)`.
        sample_weight: As `weights_by_output` returns it; for `weighted_metrics` alone.

    Raises:
        ValueError: For labels that are no numbers; where a sample has a lam of its own,
            for a metric that has no values of samples.
    """
    pairs = [Pair(None) if t is None else mixing.pair(t) for t in tree.flatten(y)]
    own, partner, share = (
        tree.pack_sequence_as(y, [pair[i] for pair in pairs]) for i in range(3)
    )
    if sample_weight is not None:
        sample_weight = tree.map_structure(mixing.weights, sample_weight)
    if any(len(pair.share.shape) for pair in pairs if pair.share is not None):
        none = tree.map_structure(lambda _: None, y_pred)
        for weighted, given in ((False, None), (True, sample_weight)):
            given = none if given is None else given
            rows = keras_private.flat_metrics(
                metrics, weighted, own, partner, share, y_pred, given
            )
            for metric, *row in rows:
                _update_weighted(metric, mixing.draw, Pair(*row[:3]), *row[3:])
        return
    lam, before = mixing.draw.lam, _values(metrics)
    metrics.update_state(own, y_pred, sample_weight)
    if all(pair.share is None for pair in pairs):
        return
    first = _values(metrics)
    _assign(metrics, before)
    partner = tree.pack_sequence_as(
        y, [pair.own if pair.share is None else pair.partner for pair in pairs]
    )
    with partners_mask(tree.flatten(y_pred), mixing.draw):
        metrics.update_state(partner, y_pred, sample_weight)
    second = _values(metrics)
    _assign(metrics, [_between(a, b, lam) for a, b in zip(first, second)])


def _values(metrics):
    """What metrics hold: copies, since PyTorch changes a variable in place."""
    return [ops.copy(ops.convert_to_tensor(v)) for v in metrics.variables]


def _assign(metrics, values):
    for variable, value in zip(metrics.variables, values, strict=True):
        variable.assign(value)


def _between(a, b, lam):
    """lam * a + (1 - lam) * b, exactly `b` where they are equal."""
    dtype = keras.backend.standardize_dtype(b.dtype)
    if dtype == "bool":
        return ops.where(lam > 0.5, a, b)
    is_float = keras.backend.is_float_dtype(dtype)
    if is_float:
        step = ops.cast(lam, dtype) * (a - b)
    else:
        step = ops.cast(ops.round(lam * ops.cast(a - b, "float32")), dtype)
    return ops.where(ops.equal(a, b), b, b + step)


def _update_weighted(metric, draw, pair, output, weight):
    """Updates a metric with samples, or pixels, that have a share each."""
    if pair.share is None:
        return metric.update_state(pair.own, output, sample_weight=weight)
    is_mean = isinstance(metric, keras.metrics.Mean)
    values = keras_private.metric_values(metric, pair.own, output)
    if values is not None:
        check_values("metric", metric, values.shape, pair.share.shape)
    own, other = (
        _weights(share, output, weight, is_mean)
        for share in (pair.share, 1 - pair.share)
    )
    metric.update_state(pair.own, output, own)
    with partners_mask([output], draw):
        metric.update_state(pair.partner, output, other)


def _weights(share, output, weight, is_mean):
    """The weights of samples; in full, but for a mean, which reduces its values."""
    rank = max(len(output.shape) - 1, 1)
    if weight is not None:
        while len(weight.shape) > rank and weight.shape[-1] == 1:
            weight = ops.squeeze(weight, -1)
        width = max(len(weight.shape), len(share.shape))
        share = along(share, width) * along(weight, width)
    if is_mean and keras_private.mask_of(output) is None:
        return share
    # Some metrics flatten their arguments, and Keras multiplies a mask into weights.
    return along(share, rank) * ops.ones(ops.shape(output)[:-1] or (1,), share.dtype)
