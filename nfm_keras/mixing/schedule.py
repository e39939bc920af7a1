"""Schedules of alpha and of the noise over the epochs of a run."""

from collections.abc import Callable

import keras

from nfm_keras.checks import check_count, check_number, unknown
from nfm_keras.mixing.schemes import RAMPS


class MixingSchedule(keras.callbacks.Callback):
    """Scales alpha and the noise epoch by epoch, without compiling anything again.

    The factors are variables of the model: `NFMModel(..., scheduled=True)`. After `fit`
    they are 1 again.

    Args:
        alpha: Function of the epoch (from 0): what alpha and beta are multiplied with.
        noise: Function of the epoch: what both noises are multiplied with.
        off_epoch: From this epoch on (from 0) nothing is mixed, cut, attacked or
            perturbed; `None` for never.

    Raises:
        ValueError: If `off_epoch` is no integer or negative, or `alpha` or `noise` no
            function; at the start of training, if the model is not `scheduled`, or has
            no mixing or noise to scale; in an epoch, for a factor that is negative or
            no number.

    Example:

    >>> rise = MixingSchedule(noise=lambda epoch: (epoch + 1) / 200, off_epoch=180)
    """

    def __init__(
        self,
        alpha: Callable[[int], float] | None = None,
        noise: Callable[[int], float] | None = None,
        off_epoch: int | None = None,
    ) -> None:
        super().__init__()
        if off_epoch is not None:
            check_count("off_epoch", off_epoch, least=0)
        for name, function in (("alpha", alpha), ("noise", noise)):
            if function is not None and not callable(function):
                raise ValueError(
                    f"`{name}` must be a function of the epoch. Received: {function!r}"
                )
        self.alpha, self.noise = alpha or _one, noise or _one
        self.off_epoch = off_epoch

    def on_train_begin(self, logs: dict | None = None) -> None:
        if getattr(self.model, "levels", None) is None:
            raise ValueError(
                "A `MixingSchedule` needs an `NFMModel` made with scheduled=True. "
                f"Received: {self.model!r}"
            )
        mixing = self.model.mixing
        quiet = mixing.sigma_add == 0 and mixing.sigma_mult == 0
        for name, unused in (("alpha", mixing.alpha == 0), ("noise", quiet)):
            if unused and getattr(self, name) is not _one:
                raise ValueError(
                    f"A schedule of `{name}` has nothing to scale where {name} is 0. "
                    f"Received: {mixing}"
                )

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        on = self.off_epoch is None or epoch < self.off_epoch
        levels = self.alpha(epoch), self.noise(epoch)
        for name, level in zip(("alpha", "noise"), levels):
            check_number(f"{name}({epoch})", level, least=0)
        self.model.levels.assign([*levels, float(on)])

    def on_train_end(self, logs: dict | None = None) -> None:
        self.model.levels.assign([1.0, 1.0, 1.0])


def ramp(name, epochs):
    """Returns a factor as a function of the epoch.

    Args:
        name: `"constant"`: 1; `"rise"`: from 1 / epochs to 1; `"fall"`: the reverse.
        epochs: Length of the run.

    Returns:
        Function of the epoch, from 0: a float.

    Raises:
        ValueError: For another name.

    Example:

    >>> [ramp("rise", epochs=4)(epoch) for epoch in range(4)]
    [0.25, 0.5, 0.75, 1.0]
    """
    if name not in RAMPS:
        raise unknown("ramp", name, RAMPS)
    if name == "constant":
        return _one
    if name == "rise":
        return lambda epoch: min(1.0, (epoch + 1) / epochs)
    return lambda epoch: max(1, epochs - epoch) / epochs


def _one(epoch):
    return 1.0
