"""The steps of a run: from its newest checkpoint to its last epoch."""

import contextlib
import dataclasses
import functools
import pathlib
import warnings

import keras

from nfm_keras import data
from nfm_keras.mixing.model import NFMModel
from nfm_keras.records import history
from nfm_keras.training import checkpoints, resumption
from nfm_keras.training.build import (
    compile_model,
    is_scheduled,
    learning_rate,
    mixing_schedule,
    resolve,
)
from nfm_keras.training.callbacks import (
    HistoryFile,
    LearningRate,
    NoisyAccuracy,
    progress_callbacks,
    smoothness,
)
from nfm_keras.training.config import Config
from nfm_keras.training.distribution.agreement import Agreement, StopRequest
from nfm_keras.training.distribution.engine import Engine
from nfm_keras.training.finite_loss import FiniteLoss, TrainingDiverged
from nfm_keras.training.folder import CHECKPOINTS
from nfm_keras.training.inputs import batches, first_batch
from nfm_keras.training.tensorboard import TensorBoardLog
from nfm_keras.training.weights import averaging
from nfm_keras.training.weights.best import best_callback
from nfm_keras.training.weights.files import first_weights

_MOST_ROLLBACKS = 5
_VALIDATED = 250  # images at a time


@dataclasses.dataclass(frozen=True)
class Job:
    """A run that is ready to train: what to train, where, on what and how.

    Attributes:
        config: The resolved `Config`.
        network: Functional model with its first weights.
        folder: The run's folder.
        engine: `distribution.Engine`.
        splits: `data.Splits`.
        steps: Steps in an epoch.
        model: The network as a compiled `NFMModel`, not trained yet.
        stop: `StopRequest` that asks for an end once it is set.
        save_every, keep, tensorboard, watch, save_best, verbose: As in
            `training.train`.
    """

    config: Config
    network: keras.Model
    folder: pathlib.Path
    engine: Engine
    splits: data.Splits
    steps: int
    model: NFMModel
    stop: StopRequest | None = None
    save_every: int | None = None
    keep: int = 2
    tensorboard: bool = False
    watch: str | None = None
    save_best: str | None = None
    verbose: str | int = 0

    @property
    def checkpoints(self):
        """Folder of the checkpoints."""
        return self.folder / CHECKPOINTS

    @property
    def history_file(self):
        """Where the history is written to."""
        return self.folder / history.FILE

    @property
    def watched(self):
        """The `data.Split` that is looked at while training.

        The last epoch counts, as in the paper: what is measured of it is logged and
        decides nothing.
        """
        return self.splits.validation or self.splits.test

    @property
    def measured_on(self):
        """What those images are called: `"validation"` or `"test"`."""
        return "validation" if self.splits.validation else "test"


def train_to_end(job):
    """Trains from the newest checkpoint to the last epoch.

    Where the loss is not finite any more and the config says `"rollback"`, it goes back
    to the newest checkpoint and on from there, five times at most.

    Args:
        job: `Job`.

    Returns:
        `(model, checkpoint)`: the trained `NFMModel` and the `Checkpoint` that holds
        the history, and in `extra` when the run began.

    Raises:
        TrainingDiverged: If the loss is not finite any more.
        RunStopped: If `job.stop` was set.
    """
    kept = resumption.kept(job)
    rollbacks = kept["rollbacks"]
    while True:
        try:
            return _train(job, rollbacks, kept)
        except TrainingDiverged as error:
            if job.config.on_nan != "rollback" or rollbacks == _MOST_ROLLBACKS:
                raise
            rollbacks += 1
            warnings.warn(
                f"{error} Going back to the last checkpoint, with the rate times "
                f"{0.5**rollbacks:g} (rollback {rollbacks} of {_MOST_ROLLBACKS}).",
                stacklevel=2,
            )


def _train(job, rollbacks, kept):
    """Trains after so many rollbacks; returns model and checkpoint."""
    config, model = _compiled(job, rollbacks)
    agreement = Agreement(job.engine, job.stop)
    logs = log_callbacks(job, config)
    while True:
        state = _restore(model, job, config)
        checkpoint = checkpoints.Checkpoint(
            job.checkpoints,
            state=state,
            config=job.config.to_json(),
            steps=job.steps,
            extra={**kept, "rollbacks": rollbacks, **_skipped(job, state)},
            engine=job.engine,
            every=job.save_every,
            keep=job.keep,
            stop=agreement.stop,
        )
        for callback in logs:
            if hasattr(callback, "go_on"):
                callback.go_on(checkpoint.history)
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


def _compiled(job, rollbacks):
    """Returns config and model: after a rollback with a lower rate and other draws."""
    config = dataclasses.replace(
        job.config,
        learning_rate=job.config.learning_rate * 0.5**rollbacks,
        seed=job.config.seed + rollbacks,
    )
    if not rollbacks:
        return config, job.model
    keras.utils.set_random_seed(config.seed)  # for a run without a checkpoint
    with job.engine.scope():
        network = resolve(job.config)[1]
        first_weights(network, job.config, job.checkpoints)
        return config, compile_model(config, network, job.steps)


def _restore(model, job, config):
    """Loads the newest checkpoint, if there is one; returns what it says."""
    job.engine.barrier()  # the chief has written what all read
    with job.engine.scope():
        state = checkpoints.restore(model, job.checkpoints, job.config.to_json())
    if config.schedule == "constant":
        # The restored optimizer holds the checkpoint's rate; a rollback halves it.
        model.optimizer.learning_rate = learning_rate(config, job.steps)
    return state


def _skipped(job, state):
    """What the checkpoint keeps of files that cannot be read: a list that grows."""
    photographs = getattr(job.splits.train.images, "skipped", None)
    if photographs is None:
        return {}
    for name in (state or {}).get("skipped", ()):
        if name not in photographs.names:
            photographs.names.append(name)
    return {"skipped": photographs.names}


@contextlib.contextmanager
def _told_by_stream(job):
    """Raises what a stream of photographs has to say in its own words."""
    try:
        yield
    except Exception:
        photographs = getattr(job.splits.train.images, "skipped", None)
        if photographs is not None and photographs.error is not None:
            raise photographs.error from None
        raise


def _fit(model, job, callbacks, epoch, step, end):
    config = job.config
    part = job.engine.part(config.batch_size)
    stream = batches(config, job.splits.train, epoch, start_step=step, part=part)
    with _told_by_stream(job):
        _fit_on(model, job, stream, callbacks, epoch, step, end)


def _fit_on(model, job, stream, callbacks, epoch, step, end):
    config, watched = job.config, job.watched
    job.engine.fit(
        model,
        stream,
        validation_data=(watched.images, watched.labels),
        validation_freq=[
            number
            for number in range(1, config.epochs + 1)
            if number % config.eval_every == 0 or number == config.epochs
        ],
        validation_batch_size=_VALIDATED,
        steps_per_epoch=job.steps - step,
        epochs=end,
        initial_epoch=epoch,
        shuffle=False,
        callbacks=callbacks,
        verbose=job.verbose,
    )


def log_callbacks(job, config):
    """Returns the callbacks that add to the logs of an epoch, or show what they cannot.

    Args:
        job: `Job`.
        config: Its config, or that after a rollback.

    Returns:
        List of `keras.callbacks.Callback`.

    Raises:
        ImportError: If the package `tensorboard` is missing.
        ValueError: If `watch` is no noise, or cannot be measured here.
    """
    callbacks, watched = [LearningRate()], job.watched
    callbacks += smoothness(job.splits.train, config.smoothness_every)
    if job.watch:
        given = watched.images, watched.labels, job.watch
        callbacks.append(NoisyAccuracy(*given, std=watched.spec.std))
    if job.tensorboard:
        train = job.splits.train
        callbacks.append(
            TensorBoardLog(
                job.folder / "tensorboard",
                job.steps,
                config.batch_size,
                functools.partial(first_batch, config, train),
                train.spec.classes,
                job.measured_on,
                job.config.to_json(),
            )
        )
    return callbacks


def _callbacks(job, checkpoint, logs):
    """Returns callbacks in the order in which they see and change an epoch's logs."""
    config = job.config
    callbacks = [FiniteLoss(checkpoint.extra["rollbacks"])]
    if is_scheduled(config):
        callbacks.append(mixing_schedule(config))
    if config.swa_epochs:
        callbacks.append(averaging.WeightAveraging(config.epochs - config.swa_epochs))
    callbacks += [*logs, *best_callback(job, checkpoint.extra["best"]), checkpoint]
    if job.engine.is_chief:
        callbacks.append(HistoryFile(job.history_file, checkpoint, job.measured_on))
    if job.verbose:
        callbacks += progress_callbacks(config.epochs, job.steps, job.measured_on)
    if config.ema:
        # For the validation only: a checkpoint holds weights and averages apart.
        callbacks.append(keras.callbacks.SwapEMAWeights())
    return callbacks
