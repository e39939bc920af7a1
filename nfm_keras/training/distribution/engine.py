"""Training on several devices or machines: what a run needs of them, by one name."""

import contextlib
import functools
import math
import threading

import keras

BACKENDS = {
    "mirrored": "tensorflow",
    "multi_worker": "tensorflow",
    "data_parallel": "jax",
}
"""Name of a distribution -> the Keras backend that it is for."""

DISTRIBUTIONS = tuple(BACKENDS)


class Engine:
    """One process on one device, and the base of the distributions.

    Every process of a run makes the same calls in the same order. All of them read
    the same checkpoints, so that the run's folder has to lie on a file system that
    they share; the chief alone writes there, and holds its lock.

    The batch size is that of all replicas together. It has to divide by their number,
    and the smaller last batch of an epoch is dropped.

    Attributes:
        name: The distribution; `None` for none.
        replicas: Number of devices that take part, over all processes.
        processes: Number of processes.
        index: Number of this process; that of the chief is 0.
    """

    name = None
    replicas = 1
    processes = 1
    index = 0

    @property
    def is_chief(self) -> bool:
        """Whether this process writes checkpoints, logs, the record and the model."""
        return self.index == 0

    def scope(self):
        """Returns the context to build, compile and restore the model in."""
        return contextlib.nullcontext()

    def alone(self):
        """Returns the context for what the chief does by itself while it trains."""
        return contextlib.nullcontext()

    def part(self, batch_size) -> slice:
        """Returns which rows of a global batch are this process' own.

        Processes take contiguous parts, in the order of their numbers.

        Args:
            batch_size: Rows of the global batch.

        Raises:
            ValueError: If the replicas cannot share them equally.
        """
        if batch_size % self.replicas:
            raise ValueError(
                f"`batch_size`, over all replicas, must be divisible by the "
                f"{self.replicas} of them. Received: {batch_size}"
            )
        size = batch_size // self.processes
        return slice(self.index * size, (self.index + 1) * size)

    def any(self, flag) -> bool:
        """Returns whether a flag is set in any process, once all have asked."""
        return bool(flag) if self.processes == 1 else self._any(flag)

    def barrier(self):
        """Returns when all processes have called it."""
        self.any(False)

    def fit(self, model, batches, **options):
        """Trains the model as its own `fit` does, on all replicas.

        Args:
            model: The compiled model, built in `scope`.
            batches: This process' `part` of each global batch, in the same order in
                every process.
            **options: As in `fit`. `callbacks` are this process' own; one that may
                stop the training has to be in every process.

        Returns:
            `keras.callbacks.History`, the same in every process.

        Raises:
            RuntimeError: If another process is lost. None can come back alone: what
                starts them has to end those that are left and to start all again,
                with `resume`.
        """
        with self.leaving_together():
            return model.fit(batches, **options)

    @contextlib.contextmanager
    def leaving_together(self):
        """Lets no process exit while another still saves what it leaves behind."""
        try:
            yield
        except SystemExit:
            self.barrier()
            raise

    def describe(self) -> dict:
        """Returns what a record says about it: JSON values."""
        if self.name is None:
            return {}
        return {
            "distribution": self.name,
            "replicas": self.replicas,
            "processes": self.processes,
        }


@functools.cache
def start(name=None) -> Engine:
    """Starts a distribution, once a process and before anything is computed in it.

    Args:
        name: One of `DISTRIBUTIONS`, or `None` for one device.

            `"mirrored"`: this process, all its GPUs; on a machine without, its logical
            CPUs (TensorFlow). Each replica mixes its own part of the batch.

            `"multi_worker"`: the processes that the environment variable `TF_CONFIG`
            names, with all their GPUs (TensorFlow). Each replica mixes its own part.

            `"data_parallel"`: all devices of this process and, where the variables
            `KERAS_DISTRIBUTION_JOB_ADDRESSES` (`host:port` of the first process),
            `KERAS_DISTRIBUTION_NUM_PROCESSES` and `KERAS_DISTRIBUTION_PROCESS_ID` are
            set, of the others (JAX). The batch is one: samples find their partners in
            all of it, and statistics are those of all of it. It computes what one
            device computes, however many there are.

    Returns:
        An `Engine`. Asked for the same name again, the same one.

    Raises:
        ValueError: For an unknown name, another backend, or without the environment
            that it takes.
        RuntimeError: If something has been computed already, or the other processes
            do not answer.

    Example:

    >>> engine = start("mirrored")  # doctest: +SKIP
    >>> with engine.scope():  # doctest: +SKIP
    ...     model = compile_model()
    >>> engine.fit(model, batches, epochs=1, steps_per_epoch=100)  # doctest: +SKIP

    Reference:
        [Goyal et al., 2017](https://arxiv.org/abs/1706.02677), for what large batches
        ask of the learning rate: `scaled_rate`.
    """
    _check_backend(name)
    if name is None:
        return Engine()
    if name == "mirrored":
        return Mirrored()
    if name == "data_parallel":
        from nfm_keras.training.distribution.data_parallel import DataParallel

        return DataParallel()
    from nfm_keras.training.distribution.multi_worker import MultiWorker

    return MultiWorker()


class Mirrored(Engine):
    """`tf.distribute.MirroredStrategy`, under the model's own `fit`."""

    name = "mirrored"

    def __init__(self):
        import tensorflow as tf

        logical = tf.config.list_logical_devices
        devices = logical("GPU") or logical("CPU")
        self._strategy = tf.distribute.MirroredStrategy([d.name for d in devices])
        self.replicas = self._strategy.num_replicas_in_sync

    def scope(self):
        return self._strategy.scope()


class Agreement(keras.callbacks.Callback):
    """Tells all processes at the same step that one of them has to stop.

    Put it before the callbacks that look at `stop`.

    Args:
        engine: The run's `Engine`.
        asked: `threading.Event` that is set in the process that has to stop.

    Attributes:
        stop: `threading.Event`, set in all processes within 20 steps of that; where
            there is one process only, at the next.
    """

    def __init__(self, engine, asked):
        super().__init__()
        self.engine, self.asked, self.stop = engine, asked, threading.Event()
        # An answer waits for all devices.
        self.every = 1 if engine.processes == 1 else 20

    def on_epoch_begin(self, epoch, logs=None):
        self._batch = 0

    # Not `on_train_batch_end`: with that, Keras waits for the logs of each step.
    def on_train_batch_begin(self, batch, logs=None):
        before, self._batch = self._batch, batch
        if batch // self.every > before // self.every:
            self._ask()

    def on_epoch_end(self, epoch, logs=None):
        self._ask()

    def _ask(self):
        if self.engine.any(self.asked.is_set()):
            self.stop.set()


def check(
    name,
    *,
    steps_per_execution=1,
    gradient_accumulation=1,
    jit_compile=None,
    precision="float32",
):
    """Refuses what does not work on several replicas, before anything starts.

    TensorFlow's strategies run no loop of steps, no accumulation of gradients and no
    XLA. Under them an overflow of float16 is noticed in the first replica only; take
    mixed_bfloat16. On JAX all of that works.

    Args:
        name: One of `DISTRIBUTIONS`, or `None`.
        steps_per_execution: As in `training.Config`.
        gradient_accumulation: As there.
        jit_compile: As there.
        precision: As there.

    Raises:
        ValueError: For an unknown name, another backend, or a setting that it cannot
            be combined with.
    """
    _check_backend(name)
    if name is None or BACKENDS[name] == "jax":
        return
    for setting, value, refused in (
        ("steps_per_execution", steps_per_execution, steps_per_execution > 1),
        ("gradient_accumulation", gradient_accumulation, gradient_accumulation > 1),
        ("jit_compile", jit_compile, jit_compile),
        # Keras looks for an overflow in the first replica's gradients only.
        ("precision", precision, precision == "mixed_float16"),
    ):
        if refused:
            raise ValueError(
                f"The distribution {name!r} cannot be combined with this {setting}. "
                f"Received: {value}"
            )


def scaled_rate(learning_rate, batch_size, base_batch_size=None, optimizer="sgd"):
    """Returns the learning rate for another batch size than the one it was chosen for.

    Args:
        learning_rate: Rate for `base_batch_size`.
        batch_size: Samples in a batch, over all replicas.
        base_batch_size: Samples in a batch that the rate is for; `None` leaves it as
            it is.
        optimizer: `"sgd"`, where it grows in proportion, or another, where it grows
            with the square root: Adam and AdamW divide by the root of the gradient's
            variance, and that falls in proportion.

    Raises:
        ValueError: If `base_batch_size` is less than 1.

    Example:

    >>> scaled_rate(0.1, batch_size=512, base_batch_size=128)
    0.4
    >>> scaled_rate(0.1, batch_size=512, base_batch_size=128, optimizer="adam")
    0.2

    Reference:
        [Goyal et al., 2017](https://arxiv.org/abs/1706.02677), section 2.1, for SGD;
        [Malladi et al., 2022](https://arxiv.org/abs/2205.10287), section 4, for Adam.
    """
    if base_batch_size is None:
        return learning_rate
    if base_batch_size < 1:
        raise ValueError(
            f"`base_batch_size` must be at least 1. Received: {base_batch_size}"
        )
    factor = batch_size / base_batch_size
    return learning_rate * (factor if optimizer == "sgd" else math.sqrt(factor))


def lost(error):
    """The error of a process whose peers are gone."""
    reason = next(iter(str(error).strip().splitlines()), "")
    return RuntimeError(
        "Another process of this run is lost, or its network: end what is left of "
        "them and start all again with --resume (resume=True). Expected: all processes "
        f"at work. Received: {type(error).__name__}: {reason}"
    )


def _check_backend(name):
    if name is None:
        return
    if name not in BACKENDS:
        raise ValueError(
            f"`distribution` must be one of {DISTRIBUTIONS}. Received: {name!r}"
        )
    backend = keras.backend.backend()
    if backend != BACKENDS[name]:
        raise ValueError(
            f"The distribution {name!r} needs KERAS_BACKEND={BACKENDS[name]}. "
            f"Received: KERAS_BACKEND={backend}"
        )
