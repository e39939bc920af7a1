"""A training run: from a config to a record and a classifier."""

import dataclasses
import datetime
import pathlib
import shutil
import sys
import time

import keras

from nfm_keras import (
    augmentation,
    checkpoints,
    data,
    mixing_schedule,
    networks,
    optimizers,
    records,
    schemes,
)
from nfm_keras.environment import environment
from nfm_keras.losses import SmoothedCrossentropy
from nfm_keras.mixing import Mixing
from nfm_keras.sites import find_sites, remove_sites, site_layers
from nfm_keras.trainer import NFMModel

CLASSIFIER = "classifier.keras"
CONFIG = "config.json"
CHECKPOINTS = "checkpoints"
NETWORK_OPTIONS = (
    *("identity_skip", "final_norm", "depth", "dropout"),
    *("attention_dropout", "stochastic_depth", "patch_size"),
)
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that determines a run; a field is a flag of `apps.train`.

    The defaults are the paper's for CIFAR, at full width and length. Fields of
    the mixing, of the scheme's technique and `label_smoothing` that are `None` take the
    scheme's values, and stay `None` where it has none; those from `identity_skip` to
    `patch_size` take those of the network's builder. `policy` is one of
    `augmentation.POLICIES`, done after the crop and the flip of `augment`, or without
    them. On 2 cores an epoch of CIFAR-10 at `width=0.25` in `mixed_bfloat16` takes
    about 75 s.

    ViT-Lite has another published recipe:

        network="vit_lite7_4", optimizer="adamw", learning_rate=5e-4, weight_decay=3e-2,
        schedule="cosine", warmup_epochs=5, label_smoothing=0.1, policy="autoaugment"
    """

    scheme: str = "nfm"
    dataset: str = "digits"
    network: str = "preact_resnet18"
    width: float = 1.0
    epochs: int = 200
    batch_size: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    schedule: str = "step"
    warmup_epochs: int = 0
    alpha: float | None = None
    beta: float | None = None
    sigma_add: float | None = None
    sigma_mult: float | None = None
    noise: str | None = None
    sites: tuple[str, ...] | None = None
    per_sample: bool = False
    probability: float = 1.0
    sparsity: float | None = None
    label_smoothing: float | None = None
    grids: tuple[int, ...] | None = None
    clean_lam: float | None = None
    attack_probability: float | None = None
    attack_epsilon: float | None = None
    attack_norm: str | None = None
    attack_steps: int | None = None
    jsd_weight: float | None = None
    alpha_schedule: str | None = None
    noise_schedule: str | None = None
    off_epoch: int | None = None
    augment: bool = True
    policy: str | None = None
    precision: str = "float32"
    gradient_accumulation: int = 1
    ema: bool = False
    steps_per_execution: int = 1
    jit_compile: bool | None = None
    limit: int | None = None
    validation: int = 0
    eval_every: int = 1
    identity_skip: str | None = None
    final_norm: bool | None = None
    depth: int | None = None
    dropout: float | None = None
    attention_dropout: float | None = None
    stochastic_depth: float | None = None
    patch_size: int | None = None
    seed: int = 0

    def __post_init__(self):
        for name in (
            "epochs",
            "batch_size",
            "eval_every",
            "gradient_accumulation",
            "steps_per_execution",
        ):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be at least 1. Received: {getattr(self, name)}"
                )
        for name in ("learning_rate", "momentum", "weight_decay", "seed"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(
                    f"`{name}` must be finite and at least 0. "
                    f"Received: {getattr(self, name)}"
                )
        for name, known in (
            ("optimizer", optimizers.OPTIMIZERS),
            ("schedule", optimizers.SCHEDULES),
            ("precision", PRECISIONS),
            ("alpha_schedule", (None, *mixing_schedule.RAMPS)),
            ("noise_schedule", (None, *mixing_schedule.RAMPS)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"`{name}` must be one of {known}. "
                    f"Received: {getattr(self, name)!r}"
                )
        if self.off_epoch is not None and self.off_epoch < 0:
            raise ValueError(
                f"`off_epoch` must be at least 0. Received: {self.off_epoch}"
            )
        data.spec(self.dataset)
        if self.policy is not None:
            augmentation.lookup(self.policy)
        for name, kind in (("sites", str), ("grids", int)):
            if getattr(self, name) is not None:
                values = tuple(kind(value) for value in getattr(self, name))
                object.__setattr__(self, name, values)

    def to_json(self) -> dict:
        """Returns the fields as JSON values."""
        fields = dataclasses.asdict(self)
        lists = {name: fields[name] for name in ("sites", "grids")}
        return fields | {name: v and list(v) for name, v in lists.items()}


def resolve(config: Config) -> tuple[Config, keras.Model]:
    """Builds the network and fills in what the scheme and the network decide.

    Returns:
        `(config, network)`: the config with every field of the mixing set, and the
        functional model with its sites.

    Raises:
        ValueError: For an unknown scheme, network, site or noise law, or what the
            scheme cannot take.
    """
    known = data.spec(config.dataset)
    options = {name: getattr(config, name) for name in NETWORK_OPTIONS}
    keras.config.set_dtype_policy(config.precision)
    network = networks.build(
        config.network,
        known.shape,
        known.num_classes,
        width=config.width,
        mean=known.mean,
        std=known.std,
        **{name: value for name, value in options.items() if value is not None},
    )
    scheme = schemes.lookup(config.scheme)
    mixing = schemes.mixing(config.scheme, find_sites(network), **_mixing(config))
    site_layers(network, mixing.sites)  # refuses a name that is not a site's
    settings = mixing.get_config()
    if config.label_smoothing is None:
        settings["label_smoothing"] = scheme.label_smoothing
    technique = schemes.technique(config.scheme, **_technique(config))
    if technique is not None:
        technique.check(known.shape)
        settings |= technique.get_config()
    return dataclasses.replace(config, **settings), network


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
) -> records.Record:
    """Trains one network and leaves `record.json` and `classifier.keras` in `folder`.

    Args:
        config: A `Config`.
        folder: The run's folder: `config.json` is written before the first step,
            a checkpoint after each epoch, the record at the end.
        resume: Go on from the newest checkpoint, if there is one; a run that is
            finished is returned as it is.
        data_dir: As in `data.load`.
        download: As in `data.load`.
        command: What to type to repeat the run, for the record.
        verbose: As in `fit`.
        tensorboard: Log to `folder/tensorboard`.

    Returns:
        The `Record`, its scores still empty.

    Raises:
        ValueError: If the config is wrong, the folder holds another config, or a
            checkpoint is damaged.
        FileExistsError: If the folder holds a run and `resume` is false.
    """
    folder = pathlib.Path(folder)
    policy = keras.config.dtype_policy()
    try:
        return _train(
            config, folder, resume, data_dir, download, command, verbose, tensorboard
        )
    finally:
        keras.config.set_dtype_policy(policy)


def _train(config, folder, resume, data_dir, download, command, verbose, tensorboard):
    keras.utils.set_random_seed(config.seed)
    config, network = resolve(config)
    check_folder(folder, config, resume)
    if (folder / records.FILE).exists():
        return records.load(folder / records.FILE)
    splits = data.load(
        config.dataset, data_dir, download, config.limit, config.validation
    )
    steps = data.steps_per_epoch(splits.train, config.batch_size)
    model = compile_model(config, network, steps)
    state = checkpoints.restore(model, folder / CHECKPOINTS)
    # Not sooner: a start that fails leaves the folder free.
    records.write_json(folder / CONFIG, config.to_json())
    checkpoint = checkpoints.Checkpoint(folder / CHECKPOINTS, state=state)
    start = state["epoch"] if state else 0
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    _fit(
        model,
        config,
        splits,
        steps,
        start,
        checkpoint,
        verbose,
        _board(folder, tensorboard),
    )
    _save_classifier(model, config, folder)
    record = to_record(folder, config, network, checkpoint, started, command)
    records.save(record, folder / records.FILE)
    return record


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
    """
    rescale = keras.layers.Rescaling(1 / 255, dtype="float32", name="to_unit_range")
    model = NFMModel(
        network,
        Mixing(**_mixing(config)),
        seed=config.seed,
        preprocess=rescale,
        technique=schemes.technique(config.scheme, **_technique(config)),
        scheduled=_is_scheduled(config),
    )
    if steps % config.steps_per_execution:
        # Keras would run a few steps of the next epoch in this one.
        raise ValueError(
            f"`steps_per_execution` must divide the {steps} steps of an epoch. "
            f"Received: {config.steps_per_execution}"
        )
    # Steps, not updates: those are what Keras counts while it accumulates.
    rate = optimizers.schedule(
        config.schedule,
        config.learning_rate,
        config.epochs,
        steps,
        config.warmup_epochs,
    )
    accumulate = config.gradient_accumulation
    optimizer = optimizers.build(
        config.optimizer,
        rate,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        use_ema=config.ema,
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


def _mixing(config):
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(Mixing)}


def _technique(config):
    return {name: getattr(config, name) for name in schemes.technique_fields()}


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
    held = records.read_json(path)
    wanted = config.to_json()
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


def _fit(model, config, splits, steps, start, checkpoint, verbose, callbacks):
    if start >= config.epochs:
        # As `fit` does at its end: the averages, where there are any, count.
        model.optimizer.finalize_variable_values(model.trainable_variables)
        return
    # The last epoch counts, as in the paper: what is measured here during the
    # training is logged and decides nothing.
    watched = splits.validation or splits.test
    callbacks = [*callbacks, checkpoint]
    if _is_scheduled(config):
        callbacks.append(_schedule(config))
    if verbose:
        callbacks.append(_TimeLeft(config.epochs))
    if config.ema:
        # For the validation only: a checkpoint holds weights and averages apart.
        callbacks.append(keras.callbacks.SwapEMAWeights())
    model.fit(
        data.batches(
            splits.train,
            config.batch_size,
            config.seed,
            config.augment,
            start,
            policy=config.policy,
        ),
        validation_data=(watched.images, watched.labels),
        validation_freq=[
            e
            for e in range(1, config.epochs + 1)
            if e % config.eval_every == 0 or e == config.epochs
        ],
        validation_batch_size=250,
        steps_per_epoch=steps,
        epochs=config.epochs,
        initial_epoch=start,
        shuffle=False,
        callbacks=callbacks,
        verbose=verbose,
    )


def _save_classifier(model, config, folder):
    """Saves the plain network, in float32 whatever it was trained in."""
    _, network = resolve(dataclasses.replace(config, precision="float32"))
    network.set_weights(model.model.get_weights())
    hidden = folder / f".{CLASSIFIER}.tmp.keras"
    try:
        remove_sites(network).save(hidden)
        hidden.replace(folder / CLASSIFIER)
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
