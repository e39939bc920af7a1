"""Metrics of a mixed batch: between those on own labels and those on partners'."""

import keras
from keras import ops, tree

from nfm_keras.backend import keras_compiled, keras_private
from nfm_keras.mixing.interpolation import along
from nfm_keras.mixing.labels.loss import check_values, partners_mask
from nfm_keras.mixing.labels.pairs import Pair


def build_metrics(metrics, y, y_pred):
    """Makes the metrics of a model, such that they can count parts of a sample.

    Args:
        metrics: What `keras_compiled.compiled_metrics` returned; nothing is to do for
            None, nor without labels.
        y: As in `update_metrics`.
        y_pred: As there.
    """
    if metrics is None or y is None:
        return
    if metrics.built:
        return
    metrics.build(y, y_pred)
    for metric in metrics.metrics:
        keras_compiled.count_in_floats(metric)
    # Some, such as `F1Score`, make their variables in their first update: one that
    # changes nothing else.
    with keras.StatelessScope():
        metrics.update_state(y, y_pred)


def mixed_names(metrics, results):
    """Returns the results of a model's metrics, those on mixed labels named so.

    Args:
        metrics: As in `update_metrics`.
        results: Dict of names and values, of other metrics such as the loss, too.
    """
    mixed = set(metrics.result())
    return {
        f"mixed_{name}" if name in mixed else name: value
        for name, value in results.items()
    }


def in_order(metrics, logs):
    """Returns the values of logs in the order of a model's metrics, others at the end.

    Keras looks for the names without `mixed_`, and sorts what it does not find.

    Args:
        metrics: List, the model's `metrics`.
        logs: Dict of names, as `mixed_names` gives them, and values.
    """
    parts = [getattr(metric, "metrics", [metric]) for metric in metrics]
    names = [kind + m.name for part in parts for m in part for kind in ("mixed_", "")]
    order = {name: place for place, name in reversed(list(enumerate(names)))}
    return [logs[name] for name in sorted(logs, key=lambda n: order.get(n, len(names)))]


def update_metrics(metrics, mixing, y, y_pred, sample_weight):
    """Updates metrics with the mean over own and partner's label, weighted by lam.

    One lam a batch: what the metrics hold after the own labels and what they hold after
    the partners' are interpolated, whatever shape their values have and whether they
    take weights or not. One lam a sample: the samples have the weights lam and 1 - lam.

    Args:
        metrics: What `keras_compiled.compiled_metrics` returned; built.
        mixing: The step's `LabelMixing`.
        y: Structure of labels `(batch, ...)`, None where an output has none.
        y_pred: Structure of outputs `(batch, ...)`.
        sample_weight: As `weights_by_output` returns it; for `weighted_metrics` alone.

    Raises:
        ValueError: For labels that are no numbers; where a sample has a lam of its own,
            for a metric that has no values of samples.
    """
    pairs = [Pair(None) if t is None else mixing.pair(t) for t in tree.flatten(y)]
    parts = [tree.pack_sequence_as(y, [pair[i] for pair in pairs]) for i in range(3)]
    weights = tree.map_structure(lambda _: None, y_pred)
    given = weights
    if sample_weight is not None:
        given = tree.map_structure(mixing.weights, sample_weight)
    rows = [
        (metric, Pair(*row[:3]), *row[3:])
        for weighted, weight in ((False, weights), (True, given))
        for metric, *row in keras_compiled.flat_metrics(
            metrics, weighted, *parts, y_pred, weight
        )
    ]
    shares = [pair.share for _, pair, *_ in rows if pair.share is not None]
    if any(len(share.shape) for share in shares):
        for row in rows:
            _update_weighted(mixing.draw, *row)
        return
    before = _values(metrics)
    for metric, pair, output, weight in rows:
        metric.update_state(pair.own, output, _weights(metric, output, weight))
    if not shares:
        return
    first = _values(metrics)
    _assign(metrics, before)
    with partners_mask(tree.flatten(y_pred), mixing.draw):
        for metric, pair, output, weight in rows:
            labels = pair.own if pair.share is None else pair.partner
            metric.update_state(labels, output, _weights(metric, output, weight))
    second, lam = _values(metrics), mixing.draw.lam
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


def _update_weighted(draw, metric, pair, output, weight):
    """Updates a metric with samples, or pixels, that have a share each."""
    if pair.share is None:
        metric.update_state(pair.own, output, _weights(metric, output, weight))
        return
    values = keras_compiled.metric_values(metric, pair.own, output)
    if values is not None:
        check_values("metric", metric, values.shape, pair.share.shape)
    own, other = (
        _weights(metric, output, weight, share)
        for share in (pair.share, 1 - pair.share)
    )
    metric.update_state(pair.own, output, own)
    with partners_mask([output], draw):
        metric.update_state(pair.partner, output, other)


def _weights(metric, output, weight, share=None):
    """The weights of samples; in full, but for a mean, which reduces its values."""
    factors, rank = [t for t in (weight, share) if t is not None], len(output.shape)
    if not factors:
        return None
    if weight is not None:
        while len(weight.shape) > max(rank - 1, 1) and weight.shape[-1] == 1:
            weight = ops.squeeze(weight, -1)
        factors[0] = weight
    width = max(len(t.shape) for t in factors)
    factors = [along(t, width) for t in factors]
    weights = factors[0] if len(factors) == 1 else factors[0] * factors[1]
    masked = keras_private.mask_of(output) is not None
    if rank <= 2 or (isinstance(metric, keras.metrics.Mean) and not masked):
        return weights
    # Some metrics flatten their arguments, and Keras multiplies a mask into weights.
    return along(weights, rank - 1) * ops.ones(ops.shape(output)[:-1], weights.dtype)
