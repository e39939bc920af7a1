"""A training run: from a config to a record and a classifier."""

import contextlib
import dataclasses
import pathlib
import shutil

import keras

from nfm_keras import data, records
from nfm_keras.mixing.sites import remove_sites
from nfm_keras.records import history
from nfm_keras.records.environment import environment
from nfm_keras.training import averaging
from nfm_keras.training import inputs as run_inputs
from nfm_keras.training.build import compile_model
from nfm_keras.training.config import Config, resolve
from nfm_keras.training.distribution import engine as distribution
from nfm_keras.training.fit import (
    CHECKPOINTS,
    Job,
    survive,
    watchers,
    write_history,
)
from nfm_keras.training.folder import locked
from nfm_keras.training.interrupt import catch_sigterm

CLASSIFIER = "classifier.keras"
CONFIG = "config.json"

_WATCHED = "white_noise@0.1"
_STATISTICS_STEPS = 100


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
    watch=None,
    save_every=None,
    keep=2,
) -> records.Record:
    """Trains one network and leaves `record.json` and `classifier.keras` in `folder`.

    A run that is killed goes on with `resume` and ends with the same weights, bit for
    bit on a CPU. SIGTERM saves a checkpoint after the step, or the validation, at hand
    and exits with 143.
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
        resume: Go on from the newest whole checkpoint, if there is one; a run that is
            finished is returned as it is.
        data_dir: As in `data.load`.
        download: As in `data.load`.
        command: What to type to repeat the run, for the record.
        verbose: As in `fit`.
        tensorboard: Log to `folder/tensorboard`: the history, the sites and lambdas
            drawn in each epoch, and images as the network sees them, mixed.
        watch: A noise such as `"white_noise@0.1"`, under which the accuracy is measured
            at each validation, by the reference protocol; `None` for none, with
            `tensorboard` for that one.
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
        RuntimeError: If another process of a distributed run is lost.
        TrainingDiverged: If the loss is not finite any more.
        SystemExit: With 143, after SIGTERM.
    """
    folder = pathlib.Path(folder)
    policy = keras.config.dtype_policy()
    options = {"save_every": save_every, "keep": keep, "tensorboard": tensorboard}
    options["watch"] = watch or (_WATCHED if tensorboard else None)
    try:
        engine, config, network = _begin(config, folder, resume)
        if (folder / records.FILE).exists():
            return records.load(folder / records.FILE)
        if engine.processes > 1 and (tensorboard or watch):
            raise ValueError(
                "`tensorboard` and `watch` are for one process. "
                f"Received: {engine.processes} processes; history.csv has the logs"
            )
        splits = data.load(
            config.dataset, data_dir, download, config.limit, config.validation
        )
        steps = run_inputs.steps_per_epoch(config, splits.train)
        with engine.scope():
            compile_model(config, network, steps)  # refuses what it does not take
        options["verbose"] = verbose if engine.is_chief else 0
        keeping = locked(folder) if engine.is_chief else contextlib.nullcontext()
        with keeping, catch_sigterm() as stop:
            check_folder(folder, config, resume)  # nobody was here in the meantime
            engine.barrier()  # the others have looked, too, before the chief writes
            job = Job(config, network, folder, engine, splits, steps, stop, **options)
            return _train(job, command)
    finally:
        keras.config.set_dtype_policy(policy)


def _begin(config, folder, resume):
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


def _train(job, command):
    watchers(job, job.config)  # refuses what is missing or cannot be watched
    # Not sooner: a start that fails leaves the folder free.
    if job.engine.is_chief:
        records.write_json(job.folder / CONFIG, job.config.to_json())
    model, checkpoint = survive(job)
    if job.engine.is_chief:
        _save_classifier(model, job)
        write_history(job.folder / history.FILE, checkpoint)
        record = to_record(
            job.folder,
            job.config,
            job.network,
            checkpoint,
            checkpoint.extra["started"],
            command,
            replicas=job.engine.describe(),
        )
        records.save(record, job.folder / records.FILE)
    job.engine.barrier()
    return records.load(job.folder / records.FILE)


def to_record(
    folder, config, network, checkpoint, started, command, scores=(), replicas=None
):
    """Returns the `Record` of a run that is trained.

    Args:
        folder: The run's folder.
        config: The resolved `Config`.
        network: Functional model that was trained.
        checkpoint: The run's `checkpoints.Checkpoint`, with its history and seconds.
        started: ISO 8601 time.
        command: What to type to repeat the run.
        scores: Of its classifier.
        replicas: What `distribution.Engine.describe` says of its devices.
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
        hardware=hardware | (replicas or {}),
        command=command,
        seconds=checkpoint.seconds,
        started=started,
        history=checkpoint.history,
        scores=tuple(scores),
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
    expected, received = records.differing(held, wanted)
    if expected:
        raise ValueError(
            f"{folder} holds a run with another config. Expected {expected}. "
            f"Received: {received}"
        )
    if not resume:
        raise FileExistsError(
            f"{folder} already holds this run: pass --resume (resume=True) to go on "
            "with it, or name another folder."
        )


def _save_classifier(model, job):
    """Saves the plain network, in float32 whatever it was trained in."""
    if job.config.swa_epochs:
        model = _on_one_device(model, job)
        model.averages.apply_to(model.model)
        more = run_inputs.batches(job.config, job.splits.train, job.config.epochs)
        averaging.refresh_statistics(model, more, _STATISTICS_STEPS)
    _, network = resolve(dataclasses.replace(job.config, precision="float32"))
    network.set_weights(model.model.get_weights())
    hidden = job.folder / f".{CLASSIFIER}.tmp.keras"
    try:
        remove_sites(network).save(hidden)
        hidden.replace(job.folder / CLASSIFIER)
    finally:
        hidden.unlink(missing_ok=True)
        shutil.rmtree(hidden, ignore_errors=True)


def _on_one_device(model, job):
    """The model, or where several devices hold it a copy on one of them."""
    if job.engine.name is None:
        return model
    copy = compile_model(job.config, resolve(job.config)[1], job.steps)
    copy.set_weights(model.get_weights())
    return copy
