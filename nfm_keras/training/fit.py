"""The steps of a run: from its newest checkpoint to its last epoch."""

import dataclasses
import datetime
import functools
import pathlib
import sys
import threading
import time
import warnings

import keras

from nfm_keras import data
from nfm_keras.backend import keras_private
from nfm_keras.records import history
from nfm_keras.training import averaging, checkpoints
from nfm_keras.training.build import (
    compile_model,
    is_scheduled,
    learning_rate,
    schedule,
)
from nfm_keras.training.callbacks import LearningRate, NoisyAccuracy
from nfm_keras.training.config import Config, resolve
from nfm_keras.training.distribution import engine as distribution
from nfm_keras.training.finite_loss import FiniteLoss, TrainingDiverged
from nfm_keras.training.inputs import batches, first_batch
from nfm_keras.training.tensorboard import TensorBoardLog

CHECKPOINTS = "checkpoints"

_MOST_ROLLBACKS = 5


@dataclasses.dataclass(frozen=True)
class Job:
    """All that `survive` needs.

    Attributes:
        config: The resolved `Config`.
        network: Functional model with its first weights.
        folder: The run's folder.
        engine: `distribution.Engine`.
        splits: `data.Splits`.
        steps: Steps in an epoch.
        stop: `threading.Event` that asks for an end.
        save_every, keep: As in `training.train`.
        tensorboard, watch, verbose: As in `training.train`.
    """

    config: Config
    network: keras.Model
    folder: pathlib.Path
    engine: distribution.Engine
    splits: data.Splits
    steps: int
    stop: threading.Event
    save_every: int | None = None
    keep: int = 2
    tensorboard: bool = False
    watch: str | None = None
    verbose: str | int = 0

    @property
    def checkpoints(self):
        """Folder of the checkpoints."""
        return self.folder / CHECKPOINTS

    @property
    def watched(self):
        """The `data.Split` that is looked at while training.

        The last epoch counts, as in the paper: what is measured of it is logged and
        decides nothing.
        """
        return self.splits.validation or self.splits.test


def survive(job):
    """Trains to the end, and goes back where a loss is not finite, if it may.

    Args:
        job: `Job`.

    Returns:
        `(model, checkpoint)`: the trained `NFMModel` and the `Checkpoint` that holds
        the history, and in `extra` when the run began.

    Raises:
        TrainingDiverged: If the loss is not finite any more.
        SystemExit: With 143, if `job.stop` was set.
    """
    found = checkpoints.newest(job.checkpoints)
    held = found[1] if found else {}
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    started, back = held.get("started", now), held.get("rollbacks", 0)
    while True:
        try:
            return _attempt(job, back, started)
        except TrainingDiverged as error:
            if job.config.on_nan != "rollback" or back == _MOST_ROLLBACKS:
                raise
            back += 1
            warnings.warn(
                f"{error} Going back to the last checkpoint, with the learning rate "
                f"times {0.5**back:g} (rollback {back} of {_MOST_ROLLBACKS}).",
                stacklevel=2,
            )


def _attempt(job, back, started):
    """Trains to the end from the newest checkpoint; returns model and checkpoint."""
    config = dataclasses.replace(
        job.config,
        learning_rate=job.config.learning_rate * 0.5**back,
        seed=job.config.seed + back,
    )
    if back:
        keras.utils.set_random_seed(config.seed)  # for a run without a checkpoint
    with job.engine.scope():
        network = resolve(job.config)[1] if back else job.network
        model = compile_model(config, network, job.steps)
    agreement = distribution.Agreement(job.engine, job.stop)
    logs = watchers(job, config)
    while True:
        held = job.config.to_json()
        job.engine.barrier()  # the chief has written what all read
        with job.engine.scope():
            state = _restore(model, job, held)
        if config.schedule == "constant":  # or it is the one of the checkpoint
            model.optimizer.learning_rate = learning_rate(config, job.steps)
        checkpoint = checkpoints.Checkpoint(
            job.checkpoints,
            state=state,
            config=held,
            steps=job.steps,
            extra={"rollbacks": back, "started": started},
            engine=job.engine,
            every=job.save_every,
            keep=job.keep,
            stop=agreement.stop,
        )
        epoch, step = (state["epoch"], state["step"]) if state else (0, 0)
        if epoch >= config.epochs:
            # As `fit` does at its end: the averages, where there are any, count.
            model.optimizer.finalize_variable_values(model.trainable_variables)
            return model, checkpoint
        # An epoch that was begun is a `fit` of its own. What that one does at its end
        # to the weights is undone by the checkpoint.
        end = epoch + 1 if step else config.epochs
        callbacks = [agreement, *_callbacks(job, checkpoint, logs)]
        _fit(model, job, callbacks, epoch, step, end)


def _restore(model, job, held):
    state = checkpoints.restore(model, job.checkpoints, held)
    if state and len(model.metrics_variables) < len(state["metrics"]):
        # Makes the metrics' variables, which Keras does in the first step only.
        images, labels, _ = job.splits.train
        keras_private.build_state(model, (images[:2], labels[:2]))
    return state


def _fit(model, job, callbacks, epoch, step, end):
    config, watched = job.config, job.watched
    part = job.engine.part(config.batch_size)
    job.engine.fit(
        model,
        batches(config, job.splits.train, epoch, start_step=step, part=part),
        validation_data=(watched.images, watched.labels),
        validation_freq=[
            e
            for e in range(1, config.epochs + 1)
            if e % config.eval_every == 0 or e == config.epochs
        ],
        validation_batch_size=250,
        steps_per_epoch=job.steps - step,
        epochs=end,
        initial_epoch=epoch,
        shuffle=False,
        callbacks=callbacks,
        verbose=job.verbose,
    )


def watchers(job, config):
    """The callbacks that add to the logs of an epoch, or write what is no number.

    Args:
        job: `Job`.
        config: Its config, or that after a rollback.

    Raises:
        ImportError: If the package `tensorboard` is missing.
        ValueError: If `watch` is no noise, or cannot be measured here.
    """
    found, watched = [LearningRate()], job.watched
    if job.watch:
        std = watched.spec.std
        found.append(NoisyAccuracy(watched.images, watched.labels, job.watch, std=std))
    if job.tensorboard:
        train = job.splits.train
        found.append(
            TensorBoardLog(
                job.folder / "tensorboard",
                job.steps,
                config.batch_size,
                functools.partial(first_batch, config, train),
                train.spec.classes,
            )
        )
    return found


def _callbacks(job, checkpoint, logs):
    """In the order in which they see and change the logs of an epoch."""
    config = job.config
    found = [FiniteLoss(checkpoint.extra["rollbacks"])]
    if is_scheduled(config):
        found.append(schedule(config))
    if config.swa_epochs:
        found.append(averaging.WeightAveraging(config.epochs - config.swa_epochs))
    found += [*logs, checkpoint]
    if job.engine.is_chief:
        found.append(_HistoryFile(job.folder / history.FILE, checkpoint))
    if job.verbose:
        found.append(_TimeLeft(config.epochs))
    if config.ema:
        # For the validation only: a checkpoint holds weights and averages apart.
        found.append(keras.callbacks.SwapEMAWeights())
    return found


def write_history(path, checkpoint):
    """Writes history.csv with what a `Checkpoint` has logged."""
    seconds = {"seconds": checkpoint.epoch_seconds}
    history.write_history(path, checkpoint.history | seconds)


class _HistoryFile(keras.callbacks.Callback):
    """Writes the history after each epoch."""

    def __init__(self, path, checkpoint):
        super().__init__()
        self.path, self.checkpoint = path, checkpoint

    def on_epoch_end(self, epoch, logs=None):
        write_history(self.path, self.checkpoint)


class _TimeLeft(keras.callbacks.Callback):
    """Says after each epoch when the run will be over."""

    def __init__(self, epochs):
        super().__init__()
        self.epochs = epochs

    def on_train_begin(self, logs=None):
        self.begun, self.done = time.monotonic(), 0

    def on_epoch_end(self, epoch, logs=None):
        self.done += 1
        left = (self.epochs - epoch - 1) * (time.monotonic() - self.begun) / self.done
        minutes = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
        print(f"epoch {epoch + 1}/{self.epochs} done, {minutes} left", file=sys.stderr)
