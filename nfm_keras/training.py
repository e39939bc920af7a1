"""A training run: from a config to a record and a classifier."""

import dataclasses
import datetime
import pathlib
import shutil
import sys
import time
import warnings

import keras

from nfm_keras import (
    averaging,
    checkpoints,
    data,
    distribution,
    guard,
    mixing_schedule,
    optimizers,
    records,
    schemes,
)
from nfm_keras.config import Config, mixing_fields, resolve, technique_fields
from nfm_keras.environment import environment
from nfm_keras.interrupt import catch_sigterm
from nfm_keras.locks import locked
from nfm_keras.losses import SmoothedCrossentropy
from nfm_keras.mixing import Mixing
from nfm_keras.sites import remove_sites
from nfm_keras.trainer import NFMModel

CLASSIFIER = "classifier.keras"
CONFIG = "config.json"
CHECKPOINTS = "checkpoints"

_MOST_ROLLBACKS = 5
_STATISTICS_STEPS = 100


@dataclasses.dataclass(frozen=True)
class _Job:
    """What the parts of a run share."""

    config: Config
    network: keras.Model
    folder: pathlib.Path
    splits: data.Splits
    steps: int
    checkpointing: dict
    callbacks: tuple
    verbose: str | int

    @property
    def checkpoints(self):
        return self.folder / CHECKPOINTS


def train(
    config: Config,
    folder,
    *,
    resume=False,
    data_dir=None,
    download=False,
    command="",
    verbose="auto",
    tensorboard=False,
    save_every=None,
    keep=2,
) -> records.Record:
    """Trains one network and leaves `record.json` and `classifier.keras` in `folder`.

    A run that is killed goes on with `resume` and ends with the same weights, bit for
    bit on a CPU. SIGTERM saves a checkpoint after the step at hand and exits with 143.
    A loss that is not finite ends the run (`Config.on_nan="stop"`), is undone and left
    out (`"skip"`), or sends the run back to its last checkpoint, from where it goes on
    with half the learning rate and other draws, five times at most (`"rollback"`).

    Args:
        config: A `Config`.
        folder: The run's folder: `config.json` is written before the first step,
            a checkpoint after each epoch, the record at the end. One process at a
            time may work in it.
        resume: Go on from the newest whole checkpoint, if there is one; a run that is
            finished is returned as it is.
        data_dir: As in `data.load`.
        download: As in `data.load`.
        command: What to type to repeat the run, for the record.
        verbose: As in `fit`.
        tensorboard: Log to `folder/tensorboard`.
        save_every: Steps from checkpoint to checkpoint within an epoch; `None` for
            one at its end only.
        keep: How many checkpoints to keep.

    Returns:
        The `Record`, its scores still empty.

    Raises:
        ValueError: If the config is wrong, the folder holds another config, or no
            checkpoint is whole.
        FileExistsError: If the folder holds a run and `resume` is false.
        BlockingIOError: If another process works in the folder.
        OSError: If the disk is full or the folder cannot be written to.
        TrainingDiverged: If the loss is not finite any more.
        SystemExit: With 143, after SIGTERM.
    """
    folder = pathlib.Path(folder)
    policy = keras.config.dtype_policy()
    where = {"data_dir": data_dir, "download": download}
    saving = {"every": save_every, "keep": keep}
    try:
        config, network = _begin(config, folder, resume)
        if (folder / records.FILE).exists():
            return records.load(folder / records.FILE)
        splits = data.load(
            config.dataset, limit=config.limit, validation=config.validation, **where
        )
        steps = data.steps_per_epoch(splits.train, config.batch_size)
        board = _board(folder, tensorboard)
        job = _Job(config, network, folder, splits, steps, saving, board, verbose)
        compile_model(config, network, steps)  # refuses what it does not take
        with locked(folder), catch_sigterm() as stop:
            check_folder(folder, config, resume)  # nobody was here in the meantime
            saving["stop"] = stop
            return _train(job, command)
    finally:
        keras.config.set_dtype_policy(policy)


def _begin(config, folder, resume):
    keras.utils.set_random_seed(config.seed)
    config, network = resolve(config)
    check_folder(folder, config, resume)
    return config, network


def _train(job, command):
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    # Not sooner: a start that fails leaves the folder free.
    records.write_json(job.folder / CONFIG, job.config.to_json())
    model, checkpoint = _survive(job)
    _save_classifier(model, job)
    record = to_record(
        job.folder, job.config, job.network, checkpoint, started, command
    )
    records.save(record, job.folder / records.FILE)
    return record


def _survive(job):
    """Trains to the end, and goes back where a loss is not finite, if it may."""
    found = checkpoints.newest(job.checkpoints)
    back = found[1].get("rollbacks", 0) if found else 0
    while True:
        try:
            return _attempt(job, back)
        except guard.TrainingDiverged as error:
            if job.config.on_nan != "rollback" or back == _MOST_ROLLBACKS:
                raise
            back += 1
            warnings.warn(
                f"{error} Going back to the last checkpoint, with the learning rate "
                f"times {0.5**back:g} (rollback {back} of {_MOST_ROLLBACKS}).",
                stacklevel=2,
            )


def _attempt(job, back):
    """Trains to the end from the newest checkpoint; returns model and checkpoint."""
    network = resolve(job.config)[1] if back else job.network
    config = dataclasses.replace(
        job.config,
        learning_rate=job.config.learning_rate * 0.5**back,
        seed=job.config.seed + back,
    )
    model = compile_model(config, network, job.steps)
    while True:
        held = job.config.to_json()
        state = checkpoints.restore(model, job.checkpoints, held)
        if config.schedule == "constant":  # or it is the one of the checkpoint
            model.optimizer.learning_rate = _rate(config, job.steps)
        checkpoint = checkpoints.Checkpoint(
            job.checkpoints,
            state=state,
            config=held,
            steps=job.steps,
            extra={"rollbacks": back},
            **job.checkpointing,
        )
        epoch, step = (state["epoch"], state["step"]) if state else (0, 0)
        if epoch >= config.epochs:
            # As `fit` does at its end: the averages, where there are any, count.
            model.optimizer.finalize_variable_values(model.trainable_variables)
            return model, checkpoint
        if step and len(model.metrics_variables) < len(state["metrics"]):
            # Makes the metrics' variables, which Keras does in the first step only.
            images, labels, _ = job.splits.train
            model.test_on_batch(images[:2], labels[:2])
        # An epoch that was begun is a `fit` of its own. What that one does at its end
        # to the weights is undone by the checkpoint.
        end = epoch + 1 if step else config.epochs
        _fit(model, job, checkpoint, epoch, step, end)


def to_record(folder, config, network, checkpoint, started, command, scores=()):
    """Returns the `Record` of a run that is trained.

    Args:
        folder: The run's folder.
        config: The resolved `Config`.
        network: Functional model that was trained.
        checkpoint: The run's `checkpoints.Checkpoint`, with its history and seconds.
        started: ISO 8601 time.
        command: What to type to repeat the run.
        scores: Of its classifier.
    """
    versions, hardware = environment()
    return records.Record(
        name=folder.name,
        scheme=config.scheme,
        dataset=config.dataset,
        network=config.network,
        config=config.to_json(),
        sites=config.sites,
        parameters=network.count_params(),
        versions=versions,
        hardware=hardware,
        command=command,
        seconds=checkpoint.seconds,
        started=started,
        history=checkpoint.history,
        scores=tuple(scores),
    )


def compile_model(config: Config, network, steps) -> NFMModel:
    """Returns the compiled `NFMModel` of a resolved config.

    Args:
        config: A resolved `Config`.
        network: Functional model with sites.
        steps: Steps in an epoch, for the schedule.

    Raises:
        ValueError: If `steps_per_execution` does not divide the steps of an epoch, or
            the schedule is wrong.
    """
    rescale = keras.layers.Rescaling(1 / 255, dtype="float32", name="to_unit_range")
    model = NFMModel(
        network,
        Mixing(**mixing_fields(config)),
        seed=config.seed,
        preprocess=rescale,
        technique=schemes.technique(config.scheme, **technique_fields(config)),
        scheduled=_is_scheduled(config),
        skip_nonfinite=config.on_nan == "skip",
    )
    if config.swa_epochs:
        model.averages = averaging.Averages(network)
    if steps % config.steps_per_execution:
        # Keras would run a few steps of the next epoch in this one.
        raise ValueError(
            f"`steps_per_execution` must divide the {steps} steps of an epoch. "
            f"Received: {config.steps_per_execution}"
        )
    accumulate = config.gradient_accumulation
    optimizer = optimizers.build(
        config.optimizer,
        _rate(config, steps),
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        use_ema=config.ema,
        global_clipnorm=config.global_clipnorm,
        gradient_accumulation_steps=accumulate if accumulate > 1 else None,
    )
    model.compile(
        optimizer,
        _loss(config),
        metrics=["accuracy"],
        steps_per_execution=config.steps_per_execution,
        jit_compile="auto" if config.jit_compile is None else config.jit_compile,
    )
    return model


def _rate(config, steps):
    """Learning rate, or its schedule over steps.

    Steps, not updates: those are what Keras counts while it accumulates.
    """
    highest = distribution.scaled_rate(
        config.learning_rate,
        config.batch_size,
        config.base_batch_size,
        config.optimizer,
    )
    return optimizers.schedule(
        config.schedule, highest, config.epochs, steps, config.warmup_epochs
    )


def _loss(config):
    if config.label_smoothing:
        return SmoothedCrossentropy(config.label_smoothing)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _is_scheduled(config):
    names = "alpha_schedule", "noise_schedule", "off_epoch"
    return any(getattr(config, name) is not None for name in names)


def _schedule(config):
    return mixing_schedule.MixingSchedule(
        mixing_schedule.ramp(config.alpha_schedule or "constant", config.epochs),
        mixing_schedule.ramp(config.noise_schedule or "constant", config.epochs),
        config.off_epoch,
    )


def check_folder(folder, config, resume):
    """Refuses a folder that holds another run, or this one without `resume`.

    Raises:
        ValueError: If it holds another run, or parts of one.
        FileExistsError: If it holds this one and `resume` is false.
    """
    path = folder / CONFIG
    if not path.exists():
        alien = [
            n for n in (records.FILE, CLASSIFIER, CHECKPOINTS) if (folder / n).exists()
        ]
        if alien:
            raise ValueError(
                f"{folder} holds parts of a run without its {CONFIG}; name another "
                f"folder. Received: {', '.join(alien)}"
            )
        return
    # A field that is newer than the folder was what it is by default now.
    held, wanted = Config().to_json() | records.read_json(path), config.to_json()
    differ = {k for k in held.keys() | wanted.keys() if held.get(k) != wanted.get(k)}
    if differ:
        raise ValueError(
            f"{folder} holds a run with another config. Expected "
            f"{ {k: held.get(k) for k in sorted(differ)} }. "
            f"Received: { {k: wanted.get(k) for k in sorted(differ)} }"
        )
    if not resume:
        raise FileExistsError(
            f"{folder} already holds this run: pass --resume (resume=True) to go on "
            "with it, or name another folder."
        )


def _board(folder, wanted):
    return [keras.callbacks.TensorBoard(folder / "tensorboard")] if wanted else []


def _fit(model, job, checkpoint, epoch, step, end):
    config, splits = job.config, job.splits
    # The last epoch counts, as in the paper: what is measured here during the
    # training is logged and decides nothing.
    watched = splits.validation or splits.test
    model.fit(
        _batches(job, epoch, start_step=step),
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
        callbacks=_callbacks(job, checkpoint),
        verbose=job.verbose,
    )


def _batches(job, epoch, **place):
    config = job.config
    return data.batches(
        job.splits.train,
        config.batch_size,
        config.seed,
        config.augment,
        epoch,
        policy=config.policy,
        **place,
    )


def _callbacks(job, checkpoint):
    config = job.config
    callbacks = [guard.FiniteLoss(checkpoint.extra["rollbacks"])]
    if config.swa_epochs:
        callbacks.append(averaging.WeightAveraging(config.epochs - config.swa_epochs))
    callbacks += [*job.callbacks, checkpoint]
    if _is_scheduled(config):
        callbacks.append(_schedule(config))
    if job.verbose:
        callbacks.append(_TimeLeft(config.epochs))
    if config.ema:
        # For the validation only: a checkpoint holds weights and averages apart.
        callbacks.append(keras.callbacks.SwapEMAWeights())
    return callbacks


def _save_classifier(model, job):
    """Saves the plain network, in float32 whatever it was trained in."""
    if job.config.swa_epochs:
        model.averages.apply_to(model.model)
        batches = _batches(job, job.config.epochs)
        averaging.refresh_statistics(model, batches, _STATISTICS_STEPS)
    _, network = resolve(dataclasses.replace(job.config, precision="float32"))
    network.set_weights(model.model.get_weights())
    hidden = job.folder / f".{CLASSIFIER}.tmp.keras"
    try:
        remove_sites(network).save(hidden)
        hidden.replace(job.folder / CLASSIFIER)
    finally:
        hidden.unlink(missing_ok=True)
        shutil.rmtree(hidden, ignore_errors=True)


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
