"""Optimisers and learning rates, by name."""

import math

import keras
from keras import ops

from nfm_keras.backend.keras_compiled import trained_variables
from nfm_keras.checks import check_count, unknown
from nfm_keras.training.config import OPTIMIZERS, SCHEDULES


@keras.saving.register_keras_serializable(package="nfm_keras")
class SGD(keras.optimizers.SGD):
    """SGD with weight decay as an L2 term of the gradient, PyTorch's way.

    `keras.optimizers.SGD(weight_decay=)` shrinks the weights beside the gradient
    step; with momentum that is another method than the one that the published
    numbers were made with, which adds `l2 * weight` to the gradient of every
    parameter, batch norm's included. As with any term of a loss, a clipping of the
    gradient sees the sum.

    Args:
        l2: Factor of the L2 term.
        **kwargs: As in `keras.optimizers.SGD`.

    Example:

    >>> optimizer = SGD(learning_rate=0.1, momentum=0.9, l2=5e-4)
    """

    def __init__(self, learning_rate=0.01, l2=0.0, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.l2 = l2

    def apply(self, grads, trainable_variables=None):
        variables = trainable_variables or trained_variables(self)
        if self.l2:
            grads = [
                g
                if g is None
                else g + ops.cast(self.l2 * ops.cast(v, g.dtype), g.dtype)
                for g, v in zip(grads, variables)
            ]
        return super().apply(grads, trainable_variables)

    def get_config(self):
        return {**super().get_config(), "l2": self.l2}


class _LayerRates:
    """Of an optimiser: rates of their own for some variables.

    An update is linear in the rate, decoupled weight decay too, so that a part of the
    rate is a part of the update.

    Args:
        rate_factors: dict, `id` of a variable -> what its rate is multiplied by.
    """

    def __init__(self, *args, rate_factors, **kwargs):
        super().__init__(*args, **kwargs)
        self._rate_factors = rate_factors

    def apply(self, grads, trainable_variables=None):
        variables = trainable_variables or trained_variables(self)
        slowed = [v for v in variables if self._rate_factors.get(id(v), 1.0) != 1.0]
        before = [ops.copy(v) for v in slowed]
        result = super().apply(grads, trainable_variables)
        for variable, old in zip(slowed, before):
            factor = ops.cast(self._rate_factors[id(variable)], variable.dtype)
            variable.assign(old + factor * (variable - old))
        return result


class LayerRatesSGD(_LayerRates, SGD):
    pass


class LayerRatesAdam(_LayerRates, keras.optimizers.Adam):
    pass


class LayerRatesAdamW(_LayerRates, keras.optimizers.AdamW):
    pass


def rate_drops(epochs):
    """Returns the epochs, counted from 0, that begin with a tenth of the rate before.

    Args:
        epochs: int, length of the run.

    Returns:
        Tuple of three floats: the first epochs after 50, 75 and 90 % of the run and
        one more, as in the authors' code, which compares the number with those of 200.

    Example:

    >>> rate_drops(200)
    (101.0, 151.0, 181.0)
    """
    return tuple(float(epochs * part // 100 + 1) for part in (50, 75, 90))


def schedule(name, learning_rate, epochs, steps_per_epoch, warmup_epochs=0, drops=None):
    """Returns a learning rate or a schedule of it over steps.

    Args:
        name: `"step"`, the paper's: a tenth from each of the epochs `drops` on;
            `"cosine"`, to 0 after `warmup_epochs`
            of linear warm-up; `"constant"`.
        learning_rate: The highest rate.
        epochs: Length of the run.
        steps_per_epoch: Steps in an epoch.
        warmup_epochs: For `"cosine"`.
        drops: For `"step"`: epochs, counted from 0, in rising order, parts of one too;
            `None` for those of `rate_drops`.

    Raises:
        ValueError: For an unknown name, drops or warm-up with another schedule, drops
            out of order, or warm-up that is negative or longer than the run.
    """
    if name not in SCHEDULES:
        raise unknown("schedule", name, SCHEDULES)
    if warmup_epochs and name != "cosine":
        raise ValueError(
            "Warm-up is part of the 'cosine' schedule. "
            f"Received: schedule={name!r}, warmup_epochs={warmup_epochs}"
        )
    if drops is not None and (name != "step" or list(drops) != sorted(drops)):
        raise ValueError(
            "`rate_drops` must be rising epochs of the 'step' schedule. "
            f"Received: schedule={name!r}, rate_drops={tuple(drops)}"
        )
    if not 0 <= warmup_epochs <= epochs:
        raise ValueError(
            f"`warmup_epochs` must lie between 0 and the {epochs} epochs. "
            f"Received: {warmup_epochs}"
        )
    steps = epochs * steps_per_epoch
    if name == "constant":
        return learning_rate
    if name == "cosine":
        warmup = int(warmup_epochs * steps_per_epoch)
        return keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else learning_rate,
            max(1, steps - warmup),
            warmup_target=learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    drops = rate_drops(epochs) if drops is None else drops
    # In Keras a boundary is the last step of the higher rate.
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [round(epoch * steps_per_epoch) - 1 for epoch in drops],
        [learning_rate * 0.1**i for i in range(len(drops) + 1)],
    )


def build(
    name,
    learning_rate,
    *,
    momentum=0.9,
    nesterov=False,
    weight_decay=0.0,
    rate_factors=None,
    **kw,
):
    """Returns an optimiser by name.

    Args:
        name: `"sgd"` (`weight_decay` as an L2 term), `"adam"` (no weight decay) or
            `"adamw"` (decoupled).
        learning_rate: Rate or schedule.
        momentum: For `"sgd"`.
        nesterov: For `"sgd"`.
        weight_decay: Factor.
        rate_factors: dict, `id` of a variable -> what its rate is multiplied by, its
            weight decay with it; those that are not in it have the rate itself.
        **kw: Passed on: `use_ema`, `global_clipnorm`, ...

    Raises:
        ValueError: For an unknown name.
    """
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    if name == "sgd":
        kw |= {"momentum": momentum, "nesterov": nesterov, "l2": weight_decay}
    if name == "adamw":
        kw |= {"weight_decay": weight_decay}
    plain, with_rates = _KINDS[name]
    if rate_factors:
        return with_rates(learning_rate, rate_factors=rate_factors, **kw)
    return plain(learning_rate, **kw)


_KINDS = {
    "sgd": (SGD, LayerRatesSGD),
    "adam": (keras.optimizers.Adam, LayerRatesAdam),
    "adamw": (keras.optimizers.AdamW, LayerRatesAdamW),
}


def scaled_rate(learning_rate, batch_size, base_batch_size=None, optimizer="sgd"):
    """Returns the learning rate for another batch size than the one it was chosen for.

    Args:
        learning_rate: Rate for `base_batch_size`.
        batch_size: Samples in a batch, over all replicas.
        base_batch_size: Samples in a batch that the rate is for; `None` leaves it as
            it is.
        optimizer: `"sgd"`, where it grows in proportion, or another, where it grows
            with the square root: Adam and AdamW divide by the root of the gradient's
            variance, and that falls in proportion.

    Raises:
        ValueError: If `base_batch_size` is less than 1.

    Example:

    >>> scaled_rate(0.1, batch_size=512, base_batch_size=128)
    0.4
    >>> scaled_rate(0.1, batch_size=512, base_batch_size=128, optimizer="adam")
    0.2

    Reference:
        [Goyal et al., 2017](https://arxiv.org/abs/1706.02677), section 2.1, for SGD;
        [Malladi et al., 2022](https://arxiv.org/abs/2205.10287), section 4, for Adam.
    """
    if base_batch_size is None:
        return learning_rate
    check_count("base_batch_size", base_batch_size)
    factor = batch_size / base_batch_size
    return learning_rate * (factor if optimizer == "sgd" else math.sqrt(factor))
