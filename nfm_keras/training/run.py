"""A training run: from a config to a record and a classifier."""

import contextlib
import dataclasses
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import keras

from nfm_keras import records
from nfm_keras.data import from_config
from nfm_keras.records.environment import environment
from nfm_keras.training import checkpoints, distribution, early, resumption
from nfm_keras.training.build import compile_model, is_scheduled, resolve
from nfm_keras.training.callbacks import HistoryFile
from nfm_keras.training.checkpoints import Checkpoint
from nfm_keras.training.config import Config
from nfm_keras.training.distribution.agreement import catch_signals
from nfm_keras.training.fit import Job, log_callbacks, train_to_end
from nfm_keras.training.folder import (
    CLASSIFIER,
    CONFIG,
    check_folder,
    is_shorter,
    locked,
    set_aside,
)
from nfm_keras.training.inputs import batches, steps_per_epoch
from nfm_keras.training.weights import averaging, files
from nfm_keras.training.weights.best import best_callback, check_kept
from nfm_keras.types import StrPath

_WATCHED = "white_noise@0.1"
_STATISTICS_STEPS = 100


def train(
    config: Config,
    folder: StrPath,
    *,
    resume: bool = False,
    data_dir: StrPath | None = None,
    download: bool = False,
    command: str = "",
    verbose: int | str = "auto",
    tensorboard: bool = False,
    watch: str | None = None,
    save_best: str | None = None,
    save_every: int | None = None,
    keep: int = 2,
    strict: bool = False,
    cache: str = "none",
    cache_dir: StrPath | None = None,
    announce: Callable[[Config], None] | None = None,
) -> records.Record:
    """Trains one network and leaves `record.json` and `classifier.keras` in `folder`.

    A run that is killed goes on with `resume` and ends with the same weights, bit for
    bit on a CPU. SIGTERM and Ctrl-C save a checkpoint after the step, or the
    validation, at hand and end the process; a second Ctrl-C does not wait.
    A loss that is not finite ends the run (`Config.on_nan="stop"`), is undone and left
    out (`"skip"`), or sends the run back to its last checkpoint, from where it goes on
    with half the learning rate and other draws, five times at most (`"rollback"`).

    With `Config.distribution` several processes train one network, each by a call of
    its own with the same arguments and the same folder, which they have to share: see
    `distribution.start`. The first of them writes, and holds the folder. SIGTERM to one
    of them saves a checkpoint and ends them all; where one is killed the others end
    with an error, and all have to be started again with `resume`.

    Args:
        config: A `Config`.
        folder: The run's folder: `config.json` is written before the first step,
            a checkpoint and `history.csv` after each epoch, the record at the end. One
            process at a time may work in it.
        resume: Whether to go on from the newest whole checkpoint, if there is one; a
            run that is finished is returned as it is. One with fewer epochs than the
            config, and the same otherwise, is extended: what depends on the length,
            such as a step or cosine schedule, is that of the new length from there on.
        data_dir: As in `data.load`.
        download: As in `data.load`.
        command: What to type to repeat the run, for the record.
        verbose: As in `fit`.
        tensorboard: Whether to log to `folder/tensorboard`: history, sites and lambdas
            drawn in each epoch, and images as the network sees them, mixed.
        watch: A noise such as `"white_noise@0.1"`, under which the accuracy is measured
            at each validation, by the reference protocol; `None` for none, with
            `tensorboard` for that one.
        save_best: `"val_accuracy"`, `"val_loss"` or, for a `watch` of white noise,
            `"val_accuracy_white_noise@0.1"`: the best classifier by it is kept in
            `best.keras`, beside the last. For a config with `validation` only, on
            images that are not those of the test; the same whenever the run goes on.
        save_every: Steps from checkpoint to checkpoint within an epoch; `None` for
            one at its end only.
        keep: How many checkpoints to keep.
        strict: Whether a photograph that cannot be read ends the run; otherwise the
            next one takes its place, and the record names it.
        cache: Where photographs are kept once they were read: `"none"`, `"ram"` or
            `"disk"`, as in `data.Reading`.
        cache_dir: As there.
        announce: Function that is called with the config in which nothing is left
            open, before anything is read; in the first process alone.

    Returns:
        The `Record`, with the scores of an `evaluation.json` beside it.

    Raises:
        ValueError: If the config is wrong, the folder holds another config, no
            checkpoint is whole, or the newest is of other images, another `save_best`
            or the middle of an epoch under another backend.
        FileExistsError: If the folder holds a run and `resume` is false.
        BlockingIOError: If another process works in the folder.
        OSError: If the disk is full or the folder cannot be written to.
        RuntimeError: If another process of a distributed run is lost.
        TrainingDiverged: If the loss is not finite any more.
        RunStopped: A `SystemExit` with 143 after SIGTERM, 130 after Ctrl-C.
        KeyboardInterrupt: After a second Ctrl-C.

    Example:

    >>> config = Config(scheme="nfm", network="small_resnet", epochs=30)
    >>> record = train(config, "runs/nfm")  # doctest: +SKIP
    """
    folder = pathlib.Path(folder)
    policy = keras.config.dtype_policy()
    options: dict[str, Any] = {"save_every": save_every, "keep": keep}
    options |= {"tensorboard": tensorboard, "save_best": save_best}
    options["watch"] = watch or (_WATCHED if tensorboard else None)
    try:
        config = from_config.described(config, data_dir, download)
        engine, config, network = _begin(config, folder, resume)
        files.check_first_weights(config, folder)
        if announce and engine.is_chief:
            announce(config)
        if (folder / records.FILE).exists() and not is_shorter(folder, config):
            return check_kept(records.load(folder / records.FILE), save_best)
        _check_processes(engine, options)
        options["verbose"] = verbose if engine.is_chief else 0
        kept = {"strict": strict, "cache": cache, "cache_dir": cache_dir}
        outline, images = early.read(config, engine, data_dir, download, **kept)
        steps = steps_per_epoch(config, (outline or images()).train)
        with engine.scope():
            # Refuses what it does not take.
            model = compile_model(config, network, steps)
        if outline is not None:
            early.compile_step(model, config, outline.train)
        job = Job(config, network, folder, engine, images(), steps, model, **options)
        with _folder_to_itself(job, resume) as stop:
            return _train(dataclasses.replace(job, stop=stop), command)
    finally:
        keras.config.set_dtype_policy(policy)


def _begin(config, folder, resume):
    """Refuses what cannot be begun; returns the engine, resolved config and network."""
    distribution.check(
        config.distribution,
        steps_per_execution=config.steps_per_execution,
        gradient_accumulation=config.gradient_accumulation,
        jit_compile=config.jit_compile,
        precision=config.precision,
    )
    keras.utils.set_random_seed(config.seed)
    engine = distribution.start(config.distribution)
    engine.part(config.batch_size)  # refuses one that the replicas cannot share
    with engine.scope():
        config, network = resolve(config)
    check_folder(folder, config, resume)
    return engine, config, network


def _check_processes(engine, options):
    if engine.processes > 1 and options["watch"]:
        raise ValueError(
            "`tensorboard` and `watch` are for one process. "
            f"Received: {engine.processes} processes; history.csv has the logs"
        )


@contextlib.contextmanager
def _folder_to_itself(job, resume):
    """Keeps others out of the run's folder; yields the event that signals set."""
    is_chief = job.engine.is_chief
    lock = locked(job.folder) if is_chief else contextlib.nullcontext()
    with lock, catch_signals() as stop:
        check_folder(job.folder, job.config, resume)  # again, now that it is locked
        job.engine.barrier()  # all have looked before the chief writes
        yield stop


def _train(job, command):
    log_callbacks(job, job.config)  # refuses what is missing or cannot be watched
    best_callback(job, {})
    resumption.check(job)
    with job.engine.scope():
        files.first_weights(job.network, job.config, job.checkpoints)
    # Not sooner: a start that fails leaves the folder free.
    if job.engine.is_chief:
        if is_shorter(job.folder, job.config):
            _extend(job)
        records.write_json(job.folder / CONFIG, job.config.to_json())
    model, checkpoint = train_to_end(job)
    if job.engine.is_chief:
        _save_classifier(model, job)
        HistoryFile(job.history_file, checkpoint, job.measured_on).write()
        record = to_record(
            job.folder,
            job.config,
            job.network,
            checkpoint,
            checkpoint.extra["started"],
            command,
            replicas=job.engine.describe(),
        )
        if job.measured_on != records.watched(job.config.to_json()):
            record = dataclasses.replace(record, measured_on=job.measured_on)
        records.save(record, job.folder / records.FILE)
    job.engine.barrier()
    return records.load(job.folder / records.FILE)


def _extend(job):
    """Makes room for the longer run, and says what becomes of its schedule."""
    if not checkpoints.there_are(job.checkpoints):
        raise FileNotFoundError(
            f"{job.folder} has no checkpoint to go on from, and cannot be extended. "
            "Name another folder, or start from its weights with --init_from."
        )
    kept = set_aside(job.folder)
    config = job.config
    schedule = config.schedule != "constant" or is_scheduled(config)
    told = [
        f"{job.folder} is extended to {config.epochs} epochs",
        "its schedules are those of the new length from here on" if schedule else "",
        kept,
    ]
    print("; ".join(filter(None, told)), file=sys.stderr)


def to_record(
    folder: pathlib.Path,
    config: Config,
    network: keras.Model,
    checkpoint: Checkpoint,
    started: str,
    command: str,
    replicas: dict | None = None,
) -> records.Record:
    """Returns the `Record` of a run that is trained; it has no scores yet.

    Args:
        folder: The run's folder.
        config: The resolved `Config`.
        network: Functional model that was trained.
        checkpoint: The run's `checkpoints.Checkpoint`, with its history and seconds.
        started: ISO 8601 time.
        command: What to type to repeat the run.
        replicas: What `distribution.Engine.describe` says of its devices.
    """
    versions, hardware = environment()
    return records.Record(
        name=folder.name,
        scheme=config.scheme,
        dataset=config.dataset,
        network=config.network,
        config=config.to_json(),
        sites=config.sites or (),
        parameters=network.count_params(),
        versions=versions,
        hardware=hardware | (replicas or {}),
        command=command,
        seconds=checkpoint.seconds,
        started=started,
        history=checkpoint.history,
        skipped=tuple(sorted(checkpoint.extra.get("skipped", ()))),
        extended=tuple(checkpoint.extra.get("extended", ())),
        best=checkpoint.extra.get("best", {}),
    )


def _save_classifier(model, job):
    """Saves the plain network, in float32 whatever it was trained in."""
    if job.config.swa_epochs:
        model = _on_one_device(model, job)
        model.averages.apply_to(model.model)
        more = batches(job.config, job.splits.train, job.config.epochs)
        averaging.refresh_statistics(model, more, _STATISTICS_STEPS)
    path = job.folder / CLASSIFIER
    files.save_classifier(job.config, model.model.get_weights(), path)


def _on_one_device(model, job):
    """Returns the model, or where several devices hold it a copy on one of them."""
    if job.engine.name is None:
        return model
    copy = compile_model(job.config, resolve(job.config)[1], job.steps)
    copy.set_weights(model.get_weights())
    return copy
