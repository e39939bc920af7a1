"""Training on several devices or machines with JAX."""

import contextlib
import os

import keras

from nfm_keras.backend import jax_devices
from nfm_keras.training.distribution.engine import Engine, lost

_LOST = (
    *("UNKNOWN:", "INTERNAL:", "UNAVAILABLE:", "ABORTED:", "DEADLINE_EXCEEDED:"),
    *("CANCELLED:", "FAILED_PRECONDITION:"),
)


class DataParallel(Engine):
    """`keras.distribution.DataParallel` on JAX, under the model's own `fit`.

    Where a process is lost, the others say so as soon as they need it. JAX then waits
    for its heartbeats, up to 100 seconds, before it lets go of the first process; it
    ends the others at once, where that one is lost, with a report of its own.
    """

    name = "data_parallel"
    backend = "jax"

    def __init__(self):
        if "KERAS_DISTRIBUTION_NUM_PROCESSES" in os.environ:
            keras.distribution.initialize()
        self._distribution = _Batches(auto_shard_dataset=False)
        self.replicas, self.processes, self.index = jax_devices.counts()

    def scope(self):
        return self._distribution.scope()

    @contextlib.contextmanager
    def alone(self):
        # To save a model Keras makes objects with variables, and under a distribution
        # all processes would have to make them together.
        held = keras.distribution.distribution()
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(held)

    def _any(self, flag):
        with self._ends_when_lost():
            return jax_devices.any_process(flag)

    def fit(self, model, batches, **options):
        with self._ends_when_lost(), self.scope():
            return super().fit(model, batches, **self._with_validation(**options))

    @contextlib.contextmanager
    def _ends_when_lost(self):
        try:
            yield
        except (RuntimeError, ValueError) as error:  # JAX has both
            if self.processes > 1 and str(error).startswith(_LOST):
                raise lost(error) from error
            raise

    def _with_validation(
        self, validation_data=None, validation_batch_size=32, callbacks=(), **options
    ):
        """Shares the validation images out where they divide, and else repeats them."""
        if validation_data is None:
            return {"callbacks": [*callbacks], **options}
        count, size = len(validation_data[0]), validation_batch_size
        if count % self.replicas == 0:
            part = self.part(count)
            validation_data = tuple(values[part] for values in validation_data)
            local = self.replicas // self.processes
            size = max(1, size // self.replicas) * local
        else:
            callbacks = [*callbacks, _Repeat(self._distribution)]
        return {
            "validation_data": validation_data,
            "validation_batch_size": size,
            "callbacks": [*callbacks],
            **options,
        }


class _Batches(keras.distribution.DataParallel):
    """Splits batches over the devices, or gives each device all of them."""

    repeats = False

    def get_data_layout(self, data_shape):
        if self.repeats:
            axes = [None] * len(data_shape)
            return keras.distribution.TensorLayout(axes, self.device_mesh)
        return super().get_data_layout(data_shape)


class _Repeat(keras.callbacks.Callback):
    """Gives each device whole batches while `fit` validates."""

    def __init__(self, distribution):
        super().__init__()
        self.distribution = distribution

    def on_test_begin(self, logs=None):
        self.distribution.repeats = True

    def on_test_end(self, logs=None):
        self.distribution.repeats = False
