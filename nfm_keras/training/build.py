"""From a config to a compiled model."""

import dataclasses

import keras

from nfm_keras import networks
from nfm_keras.backend.keras_private import build_state
from nfm_keras.data.from_config import described, spec_of
from nfm_keras.mixing import schemes
from nfm_keras.mixing.draw import Mixing
from nfm_keras.mixing.model import NFMModel
from nfm_keras.mixing.schedule import MixingSchedule, ramp
from nfm_keras.mixing.sites import find_sites, site_layers
from nfm_keras.mixing.techniques.losses import SmoothedCrossentropy
from nfm_keras.training import optimizers
from nfm_keras.training.config import Config
from nfm_keras.training.weights import averaging
from nfm_keras.training.weights.layers import freeze, rate_factors

NETWORK_OPTIONS = (
    *("identity_skip", "final_norm", "depth", "dropout"),
    *("attention_dropout", "stochastic_depth", "patch_size", "zero_init"),
)
"""Fields of a config that go to the builder of the network, where they are set."""


def resolve(config: Config) -> tuple[Config, keras.Model]:
    """Builds the network and fills in what the scheme and the network decide.

    Keras' dtype policy is that of the config from here on: `compile_model` needs it.

    Args:
        config: A `Config`.

    Returns:
        `(config, network)`: the config with every field of the mixing set, and the
        functional model with its sites.

    Raises:
        ValueError: For an unknown site or noise law, or what the scheme or the network
            cannot take.
    """
    keras.config.set_dtype_policy(config.precision)
    config = described(config)
    known, network = spec_of(config), _network(config)
    mixing = schemes.mixing(config.scheme, find_sites(network), **_mixing(config))
    site_layers(network, mixing.sites)  # refuses a name that is not a site's
    settings = mixing.get_config()
    if config.label_smoothing is None:
        settings["label_smoothing"] = schemes.lookup(config.scheme).label_smoothing
    technique = _technique(config)
    if technique is not None:
        technique.check(known.shape)
        settings |= technique.get_config()
    if config.schedule == "step" and config.rate_drops is None:
        settings["rate_drops"] = optimizers.rate_drops(config.epochs)
    return dataclasses.replace(config, **settings), network


def compile_model(config: Config, network: keras.Model, steps: int) -> NFMModel:
    """Returns the compiled `NFMModel` of a resolved config, with all its variables.

    Args:
        config: A resolved `Config`.
        network: Functional model with sites.
        steps: Steps in an epoch, for the schedule.

    Raises:
        ValueError: If `steps_per_execution` does not divide the steps of an epoch, the
            schedule is wrong, or the scheme cannot be averaged.
    """
    model = NFMModel(
        network,
        Mixing(**_mixing(config)),
        seed=config.seed,
        preprocess=keras.layers.Rescaling(
            1 / 255, dtype="float32", name="to_unit_range"
        ),
        technique=_technique(config),
        scheduled=is_scheduled(config),
        skip_nonfinite=config.on_nan == "skip",
    )
    if config.swa_epochs:
        model.averages = _averages(config, network)
    _check_steps(config, steps)
    model.compile(
        _optimizer(config, network, steps),
        _loss(config),
        metrics=["accuracy"],
        steps_per_execution=config.steps_per_execution,
        jit_compile="auto" if config.jit_compile is None else config.jit_compile,
    )
    # Otherwise TensorFlow traces the step twice: the first time makes variables.
    shape = spec_of(config).shape
    images, labels = (None, *shape), (None,)
    build_state(
        model,
        (keras.KerasTensor(images, "uint8"), keras.KerasTensor(labels, "int64")),
    )
    return model


def learning_rate(config, steps):
    """Returns the learning rate of a config, or its schedule.

    Args:
        config: A `Config`.
        steps: Steps in an epoch. Of these, not of updates, a schedule is a function:
            they are what Keras counts while gradients accumulate.
    """
    highest = optimizers.scaled_rate(
        config.learning_rate,
        config.batch_size,
        config.base_batch_size,
        config.optimizer,
    )
    return optimizers.schedule(
        config.schedule,
        highest,
        config.epochs,
        steps,
        config.warmup_epochs,
        config.rate_drops,
    )


def is_scheduled(config) -> bool:
    """Returns whether alpha or the noise of a run changes from epoch to epoch."""
    names = "alpha_schedule", "noise_schedule", "off_epoch"
    return any(getattr(config, name) is not None for name in names)


def mixing_schedule(config) -> MixingSchedule:
    """Returns the schedule of alpha and the noise of a config that `is_scheduled`."""
    return MixingSchedule(
        ramp(config.alpha_schedule or "constant", config.epochs),
        ramp(config.noise_schedule or "constant", config.epochs),
        config.off_epoch,
    )


def _network(config):
    known = spec_of(config)
    options = {name: getattr(config, name) for name in NETWORK_OPTIONS}
    network = networks.build(
        config.network,
        known.shape,
        known.num_classes,
        width=config.width,
        mean=known.mean,
        std=known.std,
        **{name: value for name, value in options.items() if value is not None},
    )
    if config.freeze:
        freeze(network, config.freeze)
    return network


def _mixing(config):
    """Returns the fields of a config that are `Mixing`'s."""
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(Mixing)}


def _technique(config):
    settings = {name: getattr(config, name) for name in schemes.technique_fields()}
    return schemes.technique(config.scheme, **settings)


def _averages(config, network):
    if _technique(config) is not None:
        raise ValueError(
            "`swa_epochs` takes batch norm's statistics anew, which it cannot with "
            f"what the scheme {config.scheme!r} does to images; take `ema`. "
            f"Received: swa_epochs={config.swa_epochs}"
        )
    return averaging.Averages(network)


def _check_steps(config, steps):
    if steps % config.steps_per_execution:
        # Keras would run a few steps of the next epoch in this one.
        raise ValueError(
            f"`steps_per_execution` must divide the {steps} steps of an epoch. "
            f"Received: {config.steps_per_execution}"
        )


def _optimizer(config, network, steps):
    accumulated = config.gradient_accumulation
    rates = None
    if config.layer_decay is not None:
        rates = rate_factors(network, config.layer_decay)
    return optimizers.build(
        config.optimizer,
        learning_rate(config, steps),
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        use_ema=config.ema,
        global_clipnorm=config.global_clipnorm,
        gradient_accumulation_steps=accumulated if accumulated > 1 else None,
        rate_factors=rates,
    )


def _loss(config):
    if config.label_smoothing:
        return SmoothedCrossentropy(config.label_smoothing)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
