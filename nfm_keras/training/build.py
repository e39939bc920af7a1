"""From a config to a compiled model."""

import keras

from nfm_keras.mixing import schedule as mixing_schedule
from nfm_keras.mixing import schemes
from nfm_keras.mixing.draw import Mixing
from nfm_keras.mixing.model import NFMModel
from nfm_keras.mixing.techniques.losses import SmoothedCrossentropy
from nfm_keras.training import averaging, optimizers
from nfm_keras.training.config import Config, mixing_fields, technique_fields
from nfm_keras.training.distribution import engine as distribution


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
        scheduled=is_scheduled(config),
        skip_nonfinite=config.on_nan == "skip",
    )
    if config.swa_epochs and model.technique is not None:
        raise ValueError(
            "`swa_epochs` takes batch norm's statistics anew, which it cannot with "
            f"what the scheme {config.scheme!r} does to images; take `ema`. "
            f"Received: swa_epochs={config.swa_epochs}"
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
        learning_rate(config, steps),
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


def learning_rate(config, steps):
    """The learning rate of a config, or its schedule over steps.

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


def is_scheduled(config):
    """Whether alpha or the noise of a run changes from epoch to epoch."""
    names = "alpha_schedule", "noise_schedule", "off_epoch"
    return any(getattr(config, name) is not None for name in names)


def schedule(config):
    """The `MixingSchedule` of a config that `is_scheduled`."""
    return mixing_schedule.MixingSchedule(
        mixing_schedule.ramp(config.alpha_schedule or "constant", config.epochs),
        mixing_schedule.ramp(config.noise_schedule or "constant", config.epochs),
        config.off_epoch,
    )
