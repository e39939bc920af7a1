"""What a run does about a loss or weights that are not finite: it says so and ends."""

import keras
import numpy as np
from keras import ops

from nfm_keras.backend import keras_compiled

_EVERY = 20


class TrainingDiverged(RuntimeError):
    """A training whose loss or weights are not finite any more."""


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

    >>> from nfm_keras import NFMModel, networks
    >>> model = NFMModel(networks.mlp((2,), 2, depth=1))
    >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
    >>> points, classes = np.eye(2), np.array([0, 1])
    >>> history = model.fit(points, classes, callbacks=[FiniteLoss()], verbose=0)
    """

    def __init__(self, rollbacks: int = 0) -> None:
        super().__init__()
        self.rollbacks = rollbacks
        self._in_a_row = 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._counted, self._batch = _count(self.model), 0
        self._first = _number(self.model.step)

    # Not `on_train_batch_end`: with that, Keras waits for the logs of each step.
    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        before, self._batch = self._batch, batch
        if batch // _EVERY > before // _EVERY and not self.model.skip_nonfinite:
            _check_losses(self.model)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = {} if logs is None else logs
        if self.rollbacks:
            logs["rollbacks"] = self.rollbacks
        if not self.model.skip_nonfinite:
            _check_losses(self.model)
            return
        count, steps = _count(self.model), _number(self.model.step) - self._first
        skipped_all = count - self._counted >= steps
        self._in_a_row = self._in_a_row + steps if skipped_all else 0
        if self._in_a_row >= _EVERY:
            raise TrainingDiverged(
                f"The last {self._in_a_row} steps were all skipped: their losses or "
                "gradients are not finite."
            )
        logs["skipped_steps"] = count


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
        value = ops.convert_to_numpy(variable)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise TrainingDiverged(
                f"The weights of '{variable.path}' are not finite and are not saved. "
                f"Received: {np.sum(~np.isfinite(value))} of {value.size} values"
            )


def _check_losses(model):
    if count := _count(model):
        raise TrainingDiverged(_story(model, count))


def _count(model):
    """Returns how many steps had a loss that is not finite."""
    return int(ops.convert_to_numpy(model.nonfinite)[0])


def _number(variable):
    return int(ops.convert_to_numpy(variable))


def _story(model, count):
    """Returns what is known of the first such step."""
    step = int(ops.convert_to_numpy(model.nonfinite)[1])
    rate = keras_compiled.learning_rate_at(model.optimizer, step)
    told = [f"learning rate {rate:g}", *_drawn(model, step)]
    return (
        f"The loss of step {step} is not finite ({', '.join(told)}). Checkpoints from "
        "before are kept. A lower learning_rate or a global_clipnorm may help; on_nan "
        "decides whether a run stops, skips or goes back. "
        f"Received: {count} step(s) with such a loss"
    )


def _drawn(model, step):
    """Returns site and lambda of a step: a function of the seed and the step."""
    if model.mixing.is_identity:
        return []
    draw = model.draw_at(step, batch_size=1)
    sites = [layer.name for layer in model.site_layers]
    site = int(ops.convert_to_numpy(draw.site))
    told = [f"site {sites[site]}"] if 0 <= site < len(sites) else []
    if not model.mixing.per_sample:
        told.append(f"lambda {float(ops.convert_to_numpy(draw.lam)):.4f}")
    return told
