"""Training on several machines with TensorFlow."""

import contextlib
import functools
import json
import os

import keras
import numpy as np
from keras import ops, tree

from nfm_keras.backend import replicas
from nfm_keras.backend.keras_private import build_state
from nfm_keras.training.distribution.engine import Engine, lost

JOBS = ("chief", "worker")
"""Jobs of a cluster that train, in the order in which processes are counted."""


class MultiWorker(Engine):
    """`tf.distribute.MultiWorkerMirroredStrategy` under a loop of our own.

    Keras' `fit` does not run under that strategy. This loop takes the model's own
    training step to every replica and drives the same callbacks.

    Each process is given its place by the environment variable `TF_CONFIG`:

        {"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]},
         "task": {"type": "worker", "index": 0}}

    Raises:
        ValueError: If `TF_CONFIG` does not say this.
        RuntimeError: If TensorFlow has computed something before.
    """

    name = "multi_worker"
    backend = "tensorflow"

    def __init__(self):
        self.index, self.processes = place(os.environ.get("TF_CONFIG"))
        import tensorflow as tf

        self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
        self.replicas = self._strategy.num_replicas_in_sync

    def scope(self):
        return self._strategy.scope()

    def _any(self, flag):
        import tensorflow as tf

        with _ends_when_lost():
            return bool(self._share(tf.constant(float(flag)))[0] > 0)

    @functools.cached_property
    def _share(self):
        import tensorflow as tf

        run = self._strategy.run
        return tf.function(lambda flag: self._first(run(replicas.means, ([flag],))))

    def fit(
        self,
        model,
        batches,
        *,
        epochs,
        steps_per_epoch,
        initial_epoch=0,
        validation_data=None,
        validation_freq=1,
        validation_batch_size=32,
        callbacks=(),
        verbose="auto",
        shuffle=False,
    ):
        """Trains the model on all replicas: see `Engine.fit`.

        What is logged of a step are means over all replicas. Each process validates
        on its own part of the images.

        Args:
            model: The compiled model, built in `scope`.
            batches: `tf.data.Dataset` of this process' part of each batch.
            epochs: As in Keras' `fit`, and so are the others.
            steps_per_epoch: Steps in an epoch.
            initial_epoch: The epoch to begin with.
            validation_data: Pair of arrays, images and labels.
            validation_freq: Number of epochs, or those to validate after.
            validation_batch_size: Images in a batch of the validation.
            callbacks: List of `keras.callbacks.Callback`.
            verbose: As in Keras.
            shuffle: Without effect; batches are taken as they come.
        """
        listeners = _listeners(model, callbacks, verbose, epochs, steps_per_epoch)
        with self.scope():
            build_state(model, _symbols(batches))
        # The callbacks run outside of the scope: in it a variable, such as those that
        # Keras makes when it saves, has to be made by all processes together.
        with _ends_when_lost(), self.leaving_together():
            train = self._training(model, batches)
            validate = validation_data and self._validation(
                model, validation_data, validation_batch_size, listeners
            )
            logs, model.stop_training = {}, False
            listeners.on_train_begin()
            for epoch in range(initial_epoch, epochs):
                logs = _train_epoch(model, train, epoch, steps_per_epoch, listeners)
                if validate and _is_due(epoch, validation_freq):
                    logs |= validate()
                listeners.on_epoch_end(epoch, logs)
                if model.stop_training:
                    break
            model.optimizer.finalize_variable_values(model.trainable_variables)
            listeners.on_train_end(logs)
        return model.history

    def _training(self, model, batches):
        """Returns the function that takes the next step and returns its logs."""
        import tensorflow as tf

        local = self.replicas // self.processes

        def replica_step(batch):
            place = replicas.replica_id() - self.index * local
            own = tree.map_structure(lambda t: _rows(t, local)[place], batch)
            logs = model.train_step(own)
            return dict(zip(logs, tf.unstack(replicas.means(list(logs.values())))))

        @tf.function(reduce_retracing=True, autograph=False)
        def train(stream):
            batch = stream.get_next()
            return self._first(self._strategy.run(replica_step, (batch,)))

        return functools.partial(train, iter(batches))

    def _validation(self, model, arrays, size, listeners):
        """Returns the function that validates and returns the logs of it."""
        import tensorflow as tf

        own = [values[self.index :: self.processes] for values in arrays]

        @tf.function(reduce_retracing=True, autograph=False)
        def test(images, labels):
            self._strategy.run(model.test_step, ((images, labels),))

        def validate():
            listeners.on_test_begin()
            model.reset_metrics()
            for number, start in enumerate(range(0, len(own[0]), size)):
                listeners.on_test_batch_begin(number)
                test(*(np.asarray(v[start : start + size]) for v in own))
                listeners.on_test_batch_end(number)
            # Sums over all replicas, whatever their share of the images.
            logs = model.get_metrics_result()
            listeners.on_test_end(logs)
            return {f"val_{name}": value for name, value in logs.items()}

        return validate

    def _first(self, values):
        """Returns one replica's copy of values that are the same in all."""
        results = self._strategy.experimental_local_results
        return tree.map_structure(lambda v: results(v)[0], values)


def place(text):
    """Returns `(index, processes)` from the text of `TF_CONFIG`.

    Args:
        text: JSON, or `None` where the variable is not set.

    Raises:
        ValueError: If it names no cluster of chief and workers, or no task in it.

    Example:

    >>> place('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", '
    ...       '"index": 1}}')
    (1, 2)
    """
    try:
        config = json.loads(text or "")
        cluster, task = config["cluster"], config["task"]
        tasks = [(job, i) for job in JOBS for i in range(len(cluster.get(job, ())))]
        alien = cluster.keys() - set(JOBS)
        index = tasks.index((task["type"], int(task["index"])))
    except (ValueError, KeyError, TypeError, AttributeError):
        alien = True
    if alien:
        raise ValueError(
            "The distribution 'multi_worker' needs TF_CONFIG: JSON with `cluster`, the "
            f"addresses of {' and '.join(JOBS)}, and `task`, type and index of this "
            f"process. Received: {text!r}"
        )
    return index, len(tasks)


def _listeners(model, callbacks, verbose, epochs, steps):
    return keras.callbacks.CallbackList(
        [*callbacks],
        add_history=True,
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=steps,
    )


def _train_epoch(model, train, epoch, steps, listeners):
    """Takes the steps of an epoch and returns the logs of the last one."""
    logs = {}
    model.reset_metrics()
    listeners.on_epoch_begin(epoch)
    for number in range(steps):
        listeners.on_train_batch_begin(number)
        logs = train()
        listeners.on_train_batch_end(number, logs)
        if model.stop_training:
            break
    return dict(logs)


def _symbols(batches):
    return tree.map_structure(
        lambda spec: keras.KerasTensor(tuple(spec.shape), spec.dtype.name),
        batches.element_spec,
    )


def _rows(tensor, parts):
    """Returns a batch in equal parts, on a new first axis."""
    return ops.reshape(tensor, (parts, -1, *tensor.shape[1:]))


def _is_due(epoch, frequency):
    if isinstance(frequency, int):
        return (epoch + 1) % frequency == 0
    return epoch + 1 in frequency


@contextlib.contextmanager
def _ends_when_lost():
    import tensorflow as tf

    errors = tf.errors
    gone = (
        *(errors.UnavailableError, errors.AbortedError, errors.CancelledError),
        *(errors.DeadlineExceededError, errors.InternalError),
    )
    try:
        yield
    except gone as error:
        raise lost(error) from error
