"""Training steps whose loss is not finite: noticed, counted and, if asked for, undone.

What a run does about them is in `nfm_keras.training.finite_loss`.
"""

import keras
from keras import ops

from nfm_keras.backend import keras_compiled, replicas
from nfm_keras.mixing.state import position, variables_of


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
    run = _with_state if keras.backend.backend() == "jax" else _in_place
    return run(model, step, *args)


def _with_state(model, step, state, batch):
    """The step of JAX, which returns what the variables are to become."""
    logs, new = step(state, batch)
    changed = (*new[0], *new[2]) if model.skip_nonfinite else ()
    finite = _is_finite(logs, changed)
    if model.skip_nonfinite:
        counts, groups = _counts(model), variables_of(model)
        steps = keras_compiled.step_count(model.optimizer)
        of_steps = [v is steps for v in groups[2]].index(True)
        undone = _undone(model, state[2][of_steps], new[2][of_steps])
        new = tuple(
            [
                after
                if id(v) in counts
                else ops.where(finite, after, undone(v, before))
                for v, before, after in zip(*group)
            ]
            for group in zip(groups, state, new)
        )
        with keras.StatelessScope(list(zip(groups[3], new[3]))):
            logs = _current(model, logs)
    number = state[1][position(model, model.step)]
    others, place = list(new[1]), position(model, model.nonfinite)
    others[place] = _noted(others[place], finite, number)
    return logs, (new[0], others, *new[2:])


def _in_place(model, step, batch):
    """The step of TensorFlow and PyTorch, which changes the variables."""
    number = ops.convert_to_tensor(model.step) + 0
    kept = _copies(model) if model.skip_nonfinite else []
    steps = keras_compiled.step_count(model.optimizer)
    before = ops.convert_to_tensor(steps) + 0
    logs = step(batch)
    changed = (*model.trainable_variables, *model.optimizer.variables)
    finite = _is_finite(logs, changed if model.skip_nonfinite else ())
    finite = replicas.in_all(finite)
    undone = _undone(model, before, ops.convert_to_tensor(steps))
    for variable, old in kept:
        old = undone(variable, old)
        variable.assign(ops.where(finite, ops.convert_to_tensor(variable), old))
    nonfinite = ops.convert_to_tensor(model.nonfinite)
    model.nonfinite.assign(_noted(nonfinite, finite, number))
    return _current(model, logs) if kept else logs


def _copies(model):
    """The variables that a step may change, but for the counts, and their values."""
    variables = [
        *(*model.variables, *model.optimizer.variables),
        *model.metrics_variables,
    ]
    counts = _counts(model)
    # Copies: on PyTorch a variable is changed in place.
    return [
        (v, ops.copy(ops.convert_to_tensor(v)))
        for v in variables
        if id(v) not in counts
    ]


def _undone(model, before, after):
    """Returns a function of a variable and its old value: what undoing a step makes it.

    That is the old value. What gradients accumulate in is 0 where the step was to make
    an update of it: the next update would have the same gradients twice otherwise.

    Args:
        model: `NFMModel`.
        before: The optimiser's count of steps before the step.
        after: The same behind it; equal where the optimiser left the step out itself.
    """
    variables, steps = keras_compiled.accumulators(model.optimizer)
    accumulators = {id(variable) for variable in variables}
    if not accumulators:
        return lambda variable, old: old
    updated = ops.logical_and(ops.not_equal(before, after), ops.equal(after % steps, 0))

    def undone(variable, old):
        if id(variable) not in accumulators:
            return old
        return ops.where(updated, ops.zeros_like(old), old)

    return undone


def _counts(model):
    """What goes on counting: draws and schedules keep pace with the data."""
    steps = keras_compiled.step_count(model.optimizer)
    return {id(v) for v in (model.step, model.nonfinite, steps)}


def _is_finite(logs, changed):
    """Of the loss, and of weights and the optimiser's where they can be undone."""
    values = [logs["loss"]] if "loss" in logs else []
    values += [v for v in changed if keras.backend.is_float_dtype(str(v.dtype))]
    # Not of their sum, which overflows in float16.
    flags = [ops.all(ops.isfinite(ops.convert_to_tensor(value))) for value in values]
    return ops.all(ops.stack(flags)) if flags else ops.convert_to_tensor(True)


def _noted(nonfinite, finite, number):
    """`(how many, the first)` with this step."""
    how_many, first = nonfinite[0], nonfinite[1]
    number = ops.cast(number, first.dtype)
    counted = ops.stack([how_many + 1, ops.where(how_many > 0, first, number)])
    return ops.where(finite, nonfinite, counted)


def _current(model, logs):
    """The metrics as they are now, under the names of `logs`."""
    values = model.get_metrics_result().values()
    return dict(zip(logs, values)) if len(values) == len(logs) else logs
