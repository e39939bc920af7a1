"""The private names of Keras' losses, metrics and optimisers, and of what is trained.

As in `keras_private`: no release promises to keep them, and each has a test.
"""

import functools

import keras
from keras import ops


def additional_loss(model, loss):
    """Returns a term to add to a model's loss, of the type that Keras adds.

    Args:
        model: `keras.Model`.
        loss: Tensor of any shape, which is summed.
    """
    return model._aggregate_additional_loss(loss)


def accumulators(optimizer):
    """Returns the variables in which an optimiser accumulates gradients.

    Args:
        optimizer: `keras.Optimizer`, built, one that scales the loss as well.

    Returns:
        `(variables, steps)`: a list, and how many batches make an update; none and 1 of
        an optimiser that accumulates nothing.
    """
    optimizer = _unwrapped(optimizer)
    steps = optimizer.gradient_accumulation_steps or 1
    return (list(optimizer._accumulated_gradients) if steps > 1 else []), steps


def keep_trainable(made, model):
    """Has a model made of the layers of another be trainable where that one is.

    Keras calls it trainable, and to thaw it would do nothing then. The layers, which
    are those of the other, keep what they are: `made.trainable = ...` would set them.

    Args:
        made: `keras.Model`, which is changed.
        model: The other.

    Returns:
        `made`.
    """
    made._trainable = model.trainable
    return made


def compiled_metrics(model):
    """Returns the object that holds the `metrics` and `weighted_metrics` of `compile`.

    Args:
        model: Compiled `keras.Model`.

    Returns:
        The object, which has `built`, `build(y, y_pred)` and `result()`; None where
        `compile` was given no metrics.
    """
    return model._compile_metrics


def flat_metrics(metrics, weighted, *structures):
    """Returns the single metrics of a model, each with what it is to be updated with.

    Args:
        metrics: What `compiled_metrics` returned; built.
        weighted: bool. Those of `weighted_metrics`, else those of `metrics`.
        *structures: Of the shape of the model's outputs: labels, outputs, weights.

    Returns:
        List of `(metric, *values)`, a value of each structure.
    """
    flat = metrics._flat_weighted_metrics if weighted else metrics._flat_metrics
    rows = zip(flat, *(metrics._flatten_y(values) for values in structures))
    return [
        (metric, *values)
        for of_output, *values in rows
        if of_output is not None
        for metric in of_output.metrics
    ]


def metric_values(metric, labels, outputs):
    """Returns what a metric takes the mean of.

    Args:
        metric: `keras.Metric`.
        labels: Tensor `(batch, ...)`.
        outputs: Tensor `(batch, ...)`.

    Returns:
        Tensor of any shape; None of a metric that is no mean of a function.
    """
    if not isinstance(metric, keras.metrics.MeanMetricWrapper):
        return None
    cast = (ops.cast(values, metric.dtype) for values in (labels, outputs))
    return metric._fn(*cast, **metric._fn_kwargs)


def count_in_floats(metric):
    """Lets a metric that counts pixels in integers count parts of them.

    Args:
        metric: `keras.Metric`. One of Keras' intersections over unions counts in
            float32 afterwards, which it must not have begun to; of others nothing
            changes.
    """
    counts = getattr(metric, "total_cm", None)
    if not isinstance(metric, keras.metrics.IoU) or "int" not in counts.dtype:
        return
    metric._dtype_policy = keras.DTypePolicy("float32")
    metric._dtype = "float32"
    metric._variables.remove(counts)
    metric.total_cm = metric.add_variable(
        shape=counts.shape, initializer="zeros", dtype="float32", name=counts.name
    )


def wrap_losses(model, wrap):
    """Puts a function around every single loss of a compiled model, once.

    Args:
        model: Compiled `keras.Model`.
        wrap: Function `(loss, labels, outputs, sample_weight)` that is called in the
            place of each `keras.losses.Loss`, the first of its arguments.
    """
    losses = model._compile_loss
    if losses is None or "build" in vars(losses):
        return
    build = losses.build

    def wrapped():
        losses._flat_losses = [
            one._replace(loss=functools.partial(wrap, one.loss))
            for one in losses._flat_losses
        ]

    def build_wrapped(y_true, y_pred):
        build(y_true, y_pred)
        wrapped()

    losses.build = build_wrapped
    if losses.built:
        wrapped()


def step_count(optimizer):
    """Returns the variable that counts the steps of an optimiser.

    `optimizer.iterations` are updates: fewer, and no variable, while gradients
    accumulate.

    Args:
        optimizer: `keras.Optimizer`, one that scales the loss as well.
    """
    return _unwrapped(optimizer)._iterations


def learning_rate_at(optimizer, step):
    """Returns the learning rate of a step.

    `optimizer.learning_rate` is, under a schedule, that of the next step.

    Args:
        optimizer: `keras.Optimizer`, one that scales the loss as well.
        step: Integer or scalar tensor, counted from 0.

    Returns:
        float.
    """
    optimizer = _unwrapped(optimizer)
    rate = optimizer._learning_rate
    scheduled = isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
    rate = rate(step) if scheduled else optimizer.learning_rate
    return float(ops.convert_to_numpy(rate))


def trained_variables(optimizer):
    """Returns the variables that an optimiser was built for.

    Args:
        optimizer: Built `keras.Optimizer`.
    """
    return optimizer._trainable_variables


def _unwrapped(optimizer):
    """The optimiser that a LossScaleOptimizer wraps, or itself."""
    return getattr(optimizer, "inner_optimizer", optimizer)
