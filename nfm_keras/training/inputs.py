"""What a run is trained on, from its config: its batches, its draws, its model."""

import dataclasses
from typing import NamedTuple

import keras
import numpy as np

from nfm_keras import data
from nfm_keras.backend.inner import set_weights
from nfm_keras.mixing import schemes
from nfm_keras.mixing.seen import MixedImages, mixed_images, step_draws
from nfm_keras.mixing.sites import find_sites, plain
from nfm_keras.training.build import compile_model, mixing_schedule, resolve
from nfm_keras.training.config import USUAL, Config

EPOCHS = 4
"""How many epochs `seen_batches` shows."""

DRAWN = 4096
"""The most steps that `run_draws` draws."""


class SeenBatch(NamedTuple):
    """The first batch of an epoch.

    Attributes:
        epoch: Its number, from 1.
        mixed: `MixedImages`, every image as if mixed at the input.
        is_deeper: Whether the network mixes it at a deeper site.
    """

    epoch: int
    mixed: MixedImages
    is_deeper: bool


def config_of(fields) -> Config:
    """Returns the config that a record holds.

    Args:
        fields: Dict, the `config` of the record.

    Raises:
        ValueError: If it is not a config of this version.

    Example:

    >>> config_of(Config(network="mlp").to_json()) == Config(network="mlp")
    True
    """
    unknown = fields.keys() - {field.name for field in dataclasses.fields(Config)}
    if unknown:
        raise ValueError(
            f"A config must have the fields of `Config`. Received: {sorted(unknown)}"
        )
    return Config(**fields)


def rebuild(fields):
    """Builds the model of a run as it is before its first step.

    Args:
        fields: Dict, the `config` of its record.

    Returns:
        `(config, model)`: the resolved `Config` and the compiled `NFMModel`.

    Raises:
        ValueError: If it is not a config of this version.

    Example:

    >>> config, model = rebuild(Config(network="mlp").to_json())
    """
    policy = keras.config.dtype_policy()
    try:
        config, network = resolve(config_of(fields))
    finally:
        keras.config.set_dtype_policy(policy)
    # Any number of steps will do: only the learning rate, not asked for, depends on it.
    model = compile_model(config, network, steps=config.steps_per_execution)
    return config, model


def defaults(config, model) -> Config:
    """Returns the config of the same scheme, set and network with nothing else chosen.

    Args:
        config, model: From `rebuild`.

    Returns:
        A resolved `Config`.
    """
    settings = schemes.mixing(config.scheme, find_sites(model)).get_config()
    settings["label_smoothing"] = schemes.lookup(config.scheme).label_smoothing
    technique = schemes.technique(config.scheme)
    if technique is not None:
        settings |= technique.get_config()
    same = {name: getattr(config, name) for name in ("scheme", "dataset", "network")}
    return Config(**USUAL.get(config.dataset, {}) | same | settings)


def load_weights(model, path):
    """Gives a model the weights of a run's classifier.

    Args:
        model: From `rebuild`.
        path: The run's `classifier.keras`.
    """
    classifier = keras.saving.load_model(path, compile=False)
    set_weights(plain(model), plain(classifier).get_weights())


def batches(config, split, epoch, **place):
    """Returns the batches of a run from an epoch on, as `data.batches` does.

    Args:
        config: `Config`.
        split: Training `nfm_keras.data.Split`.
        epoch: Integer, from 0.
        **place: `start_step` and `part`, as there.
    """
    return data.batches(
        split,
        config.batch_size,
        config.seed,
        config.augment,
        epoch,
        drop_last=_drops_last(config),
        policy=config.policy,
        **place,
    )


def steps_per_epoch(config, split) -> int:
    """Returns how many steps an epoch of a run has: as many as `batches` gives."""
    return data.steps_per_epoch(split, config.batch_size, _drops_last(config))


def _drops_last(config):
    """Replicas share only whole batches."""
    return config.distribution is not None


def first_batch(config, split, epoch):
    """Returns the first batch of an epoch, augmented, as `fit` gets it.

    Args:
        config: `Config`.
        split: Training `nfm_keras.data.Split`.
        epoch: Integer, from 0.

    Returns:
        `(images, labels)`, NumPy arrays: uint8 and integers.
    """
    return tuple(map(np.asarray, next(iter(batches(config, split, epoch)))))


def seen_batches(config, model, split, epochs):
    """Returns the first batches of a few epochs as the network sees them.

    The epochs are spread evenly over the run.

    Args:
        config, model: From `rebuild`. A technique that asks the network gets the
            weights that the model has.
        split: Training `nfm_keras.data.Split`.
        epochs: How many epochs the run has.

    Returns:
        List of `SeenBatch`.
    """
    steps = steps_per_epoch(config, split)
    seen = []
    for epoch in np.unique(np.linspace(0, epochs - 1, EPOCHS).astype(int)).tolist():
        _set_levels(config, model, epoch)
        batch = *first_batch(config, split, epoch), epoch * steps
        plain = mixed_images(model, *batch)
        mixed = mixed_images(model, *batch, at_input=True)
        deeper = not np.array_equal(plain.images, mixed.images)
        seen.append(SeenBatch(epoch + 1, mixed, deeper))
    return seen


def run_draws(config, model, steps, epochs):
    """Returns sites and lam of steps spread evenly over a run, with the law of lam.

    Args:
        config, model: From `rebuild`.
        steps: Steps in an epoch.
        epochs: How many epochs the run has.

    Returns:
        `(sites, lam, laws)`: numbers of sites `(n,)`, lam `(n,)` or `(n, batch)`, and
        alpha and beta of lam `(n, 2)`, (0, 0) where nothing is mixed.
    """
    total = steps * epochs
    chosen = np.unique(np.linspace(0, total - 1, min(total, DRAWN)).astype(int))
    levels = np.ones((epochs, 3))
    if model.levels is not None:
        levels = np.stack([_set_levels(config, model, e) for e in range(epochs)])
    levels = levels[chosen // steps]
    scheduled = () if model.levels is None else (levels,)
    sites, lam = step_draws(model, config.batch_size)(chosen, *scheduled)
    beta = config.alpha if config.beta is None else config.beta
    return sites, lam, levels[:, :1] * [config.alpha, beta]


def _set_levels(config, model, epoch):
    """Puts the levels of an epoch into the model, if it is `scheduled`."""
    if model.levels is None:
        return None
    schedule = mixing_schedule(config)
    schedule.set_model(model)
    schedule.on_epoch_begin(epoch)
    return keras.ops.convert_to_numpy(model.levels)
