"""Steps whose loss is not a finite number: noticed, undone, told."""

import keras
import numpy as np
from keras import ops

POLICIES = ("stop", "skip", "rollback")
"""What a run does about such a step: end, go on without it, or go back."""

_EVERY = 20


class TrainingDiverged(RuntimeError):
    """The loss or the weights of a training are not finite any more."""


def guarded(model, step, args):
    """Runs one training step of a model and notes whether its loss is finite.

    Where the model has `skip_nonfinite`, a step with a loss or weights that are not
    finite changes nothing but the counts of steps: weights, the averages of batch
    normalisation, optimiser and metrics are what they were.

    Args:
        model: `NFMModel`.
        step: Function of `args` that does the step.
        args: `(data,)`, on JAX `(state, data)`.

    Returns:
        What `step` returns.
    """
    run = _functional if keras.backend.backend() == "jax" else _stateful
    return run(model, step, *args)


def _functional(model, step, state, batch):
    logs, new = step(state, batch)
    held = (*new[0], *new[2]) if model.skip_nonfinite else ()
    finite = _is_finite(logs, held)
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    if model.skip_nonfinite:
        counts = _counts(model)
        new = tuple(
            [
                b if id(v) in counts else ops.where(finite, b, a)
                for v, a, b in zip(*group)
            ]
            for group in zip(groups, state, new)
        )
        with keras.StatelessScope(list(zip(groups[3], new[3]))):
            logs = _current(model, logs)
    places = [id(v) for v in groups[1]]
    fixed, place = list(new[1]), places.index(id(model.nonfinite))
    number = state[1][places.index(id(model.step))]
    fixed[place] = _noted(fixed[place], finite, number)
    return logs, (new[0], fixed, *new[2:])


def _stateful(model, step, batch):
    held, number = [], ops.convert_to_tensor(model.step) + 0
    if model.skip_nonfinite:
        variables = [
            *(*model.variables, *model.optimizer.variables),
            *model.metrics_variables,
        ]
        counts = _counts(model)
        # Copies: on PyTorch a variable is changed in place.
        held = [
            (v, ops.copy(ops.convert_to_tensor(v)))
            for v in variables
            if id(v) not in counts
        ]
    logs = step(batch)
    changed = (*model.trainable_variables, *model.optimizer.variables)
    finite = _everywhere(_is_finite(logs, changed if model.skip_nonfinite else ()))
    for variable, old in held:
        variable.assign(ops.where(finite, ops.convert_to_tensor(variable), old))
    model.nonfinite.assign(
        _noted(ops.convert_to_tensor(model.nonfinite), finite, number)
    )
    return _current(model, logs) if held else logs


def _counts(model):
    """What goes on counting: draws and schedules keep pace with the data."""
    # Not `iterations`, which is no variable while gradients accumulate.
    steps = _inner(model.optimizer)._iterations
    return {id(v) for v in (model.step, model.nonfinite, steps)}


def _inner(optimizer):
    """The optimiser that a LossScaleOptimizer wraps, or itself."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _is_finite(logs, changed):
    """Of the loss, and of weights and the optimiser's where they can be undone."""
    values = [logs["loss"]] if "loss" in logs else []
    values += [v for v in changed if keras.backend.is_float_dtype(str(v.dtype))]
    flags = [ops.isfinite(ops.sum(value)) for value in values]
    return ops.all(ops.stack(flags)) if flags else ops.convert_to_tensor(True)


def _everywhere(finite):
    """Whether it is so in all replicas of TensorFlow's strategies."""
    if keras.backend.backend() != "tensorflow":
        return finite
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return finite
    share = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(finite, "float32"))
    return share > context.num_replicas_in_sync - 0.5


def _noted(nonfinite, finite, number):
    """`(how many, the first)` with this step."""
    how_many, first = nonfinite[0], nonfinite[1]
    number = ops.cast(number, first.dtype)
    found = ops.stack([how_many + 1, ops.where(how_many > 0, first, number)])
    return ops.where(finite, nonfinite, found)


def _current(model, logs):
    """The metrics as they are now, under the names of `logs`."""
    values = model.get_metrics_result().values()
    return dict(zip(logs, values)) if len(values) == len(logs) else logs


def check(model):
    """Refuses a model that is not fit to go on with.

    Args:
        model: Compiled model.

    Raises:
        TrainingDiverged: If a loss was not finite and the step was not undone, or
            naming the first weight that is not finite.
    """
    if hasattr(model, "nonfinite") and not model.skip_nonfinite:
        _check_losses(model)
    for variable in model.variables:
        value = keras.ops.convert_to_numpy(variable)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise TrainingDiverged(
                f"The weights of '{variable.path}' are not finite and are not saved. "
                f"Received: {np.sum(~np.isfinite(value))} of {value.size} values"
            )


class FiniteLoss(keras.callbacks.Callback):
    """Ends a training whose loss is not finite, and says where that began.

    It looks every 20 steps and at the end of an epoch, so that the device does not wait
    for the host at each; the step named is the first all the same. With
    `skip_nonfinite` the epoch's logs tell `skipped_steps`, how many there were so far,
    and a training ends after 20 or more steps, in whole epochs, that were all skipped.

    Args:
        rollbacks: How often the run went back before; the epoch's logs tell it.

    Raises:
        TrainingDiverged: Naming the step, its site, its lambda and the learning rate.

    Example:

    >>> model.fit(images, labels, callbacks=[FiniteLoss()])  # doctest: +SKIP
    """

    def __init__(self, rollbacks=0):
        super().__init__()
        self.rollbacks = rollbacks
        self._in_a_row = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._start, self._batch = _counted(self.model), 0
        self._first = int(ops.convert_to_numpy(self.model.step))

    # Not `on_train_batch_end`: with that, Keras waits for the logs of each step.
    def on_train_batch_begin(self, batch, logs=None):
        before, self._batch = self._batch, batch
        if batch // _EVERY > before // _EVERY and not self.model.skip_nonfinite:
            _check_losses(self.model)

    def on_epoch_end(self, epoch, logs=None):
        if self.rollbacks:
            logs["rollbacks"] = self.rollbacks
        if not self.model.skip_nonfinite:
            _check_losses(self.model)
            return
        count = _counted(self.model)
        steps = int(ops.convert_to_numpy(self.model.step)) - self._first
        skipped_all = count - self._start >= steps
        self._in_a_row = self._in_a_row + steps if skipped_all else 0
        if self._in_a_row >= _EVERY:
            raise TrainingDiverged(
                f"The last {self._in_a_row} steps were all skipped: their losses or "
                "gradients are not finite."
            )
        logs["skipped_steps"] = count


def _counted(model):
    return int(ops.convert_to_numpy(model.nonfinite)[0])


def _check_losses(model):
    if count := _counted(model):
        raise TrainingDiverged(_story(model, count))


def _story(model, count):
    step = int(ops.convert_to_numpy(model.nonfinite)[1])
    told = [f"learning rate {_rate(model.optimizer, step):g}", *_drawn(model, step)]
    return (
        f"The loss of step {step} is not finite ({', '.join(told)}). Checkpoints from "
        "before are kept. A lower learning_rate or a global_clipnorm may help; on_nan "
        "decides whether a run stops, skips or goes back. "
        f"Received: {count} step(s) with such a loss"
    )


def _rate(optimizer, step):
    optimizer = _inner(optimizer)
    rate = optimizer._learning_rate
    scheduled = isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
    rate = rate(step) if scheduled else optimizer.learning_rate
    return float(ops.convert_to_numpy(rate))


def _drawn(model, step):
    """Site and lambda of a step, which are a function of the seed and the step."""
    if model.mixing.is_identity:
        return []
    sites = [layer.name for layer in model.site_layers]
    levels = model.current_levels()
    draw = model.mixing.draw(model.seed, step, 1, max(1, len(sites)), 0, levels)
    site = int(ops.convert_to_numpy(draw.site))
    told = [f"site {sites[site]}"] if 0 <= site < len(sites) else []
    if not model.mixing.per_sample:
        told.append(f"lambda {float(ops.convert_to_numpy(draw.lam)):.4f}")
    return told
