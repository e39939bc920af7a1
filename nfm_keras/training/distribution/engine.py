"""What a run needs of its devices and processes, however many there are."""

import contextlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import keras

from nfm_keras.data.batching import in_order


class Engine:
    """One process on one device, and the base of the distributions.

    Every process of a run makes the same calls in the same order. All of them read
    the same checkpoints, so that the run's folder has to lie on a file system that
    they share; the chief alone writes there, and holds its lock.

    The batch size is that of all replicas together. It has to divide by their number,
    and the smaller last batch of an epoch is dropped.

    Attributes:
        name: The distribution; `None` for none.
        backend: The Keras backend that it is for; `None` for any.
        replicas: Number of devices that take part, over all processes.
        processes: Number of processes.
        index: Number of this process; that of the chief is 0.
    """

    name: str | None = None
    backend: str | None = None
    replicas = 1
    processes = 1
    index = 0

    @property
    def is_chief(self) -> bool:
        """Whether this process writes checkpoints, logs, the record and the model."""
        return self.index == 0

    def scope(self) -> AbstractContextManager:
        """Returns the context to build, compile and restore the model in."""
        return contextlib.nullcontext()

    def alone(self) -> AbstractContextManager:
        """Returns the context for what the chief does by itself while it trains."""
        return contextlib.nullcontext()

    def part(self, batch_size: int) -> slice:
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

    def any(self, flag: bool) -> bool:
        """Returns whether a flag is set in any process, once all have asked."""
        return bool(flag) if self.processes == 1 else self._any(flag)

    def _any(self, flag: bool) -> bool:
        raise NotImplementedError  # of several processes

    def barrier(self) -> None:
        """Returns when all processes have called it."""
        self.any(False)

    def fit(
        self, model: keras.Model, batches: Iterable, **options: Any
    ) -> keras.callbacks.History:
        """Trains a model as its own `fit` does, on all replicas.

        Args:
            model: The compiled model, built in `scope`.
            batches: This process' `part` of each global batch, in the same order in
                every process.
            **options: As in `fit`. `callbacks` are this process' own; one that may
                stop the training has to be in every process.

        Returns:
            `keras.callbacks.History`, the same in every process.

        Raises:
            RuntimeError: If another process is lost. No process can come back alone:
                what starts them has to end those that are left and to start all
                again, with `resume`.
        """
        if options.get("validation_data") is not None:
            images, labels = options["validation_data"]
            size = options.get("validation_batch_size", 32)
            options["validation_data"] = in_order(images, labels, size)
        with self.leaving_together():
            return model.fit(batches, **options)

    @contextlib.contextmanager
    def leaving_together(self) -> Iterator[None]:
        """Returns the context that a process leaves only when all of them do.

        A process that exits may take down another that still saves a checkpoint.
        """
        try:
            yield
        except SystemExit:
            self.barrier()
            raise

    def describe(self) -> dict:
        """Returns what a record says of it: JSON values, none for one device."""
        if self.name is None:
            return {}
        return {
            "distribution": self.name,
            "replicas": self.replicas,
            "processes": self.processes,
        }


def lost(error) -> RuntimeError:
    """Returns the error to raise in a process whose peers are gone.

    Args:
        error: What the library said, an exception.
    """
    reason = next(iter(str(error).strip().splitlines()), "")
    return RuntimeError(
        "Another process of this run is lost, or its network: end what is left of "
        "them and start all again with --resume (resume=True). Expected: all processes "
        f"at work. Received: {type(error).__name__}: {reason}"
    )
