"""What the runs of an experiment will take on this machine."""

import time
from collections.abc import Iterable

import keras
import numpy as np

from nfm_keras import training
from nfm_keras.data import from_config
from nfm_keras.experiments.experiment import Run
from nfm_keras.mixing import schemes
from nfm_keras.training.config import Config

# Steps as long as erm's take so many times as long; benchmarks.step measures them.
_COST = {"puzzlemix": 2.0, "noisymix": 4.2}
_TIMED = 4  # steps of an epoch that is timed
_DECIDING = (
    *("dataset", "network", "width", "depth", "batch_size", "precision", "policy"),
    *("patch_size", "optimizer", "schedule", "learning_rate", "jit_compile"),
    *("image_size", "classes"),
)


def estimate(runs: Iterable[Run], images: int) -> list[float]:
    """Returns roughly how many seconds runs will take here, evaluation left out.

    erm's step is timed once for each network, width, batch size and precision; a
    scheme's is that times what `benchmarks.step` found.

    Args:
        runs: List of `nfm_keras.experiments.experiment.Run`.
        images: How many training images the data set has.

    Returns:
        List of float, seconds of each run.
    """
    policy = keras.config.dtype_policy()
    timed, seconds = {}, []
    for run in runs:
        config = run.config
        plain = Config(
            scheme="erm",
            **{name: getattr(config, name) for name in _DECIDING},
        )
        if plain not in timed:
            timed[plain] = _step_seconds(plain)
        steps = -(-min(config.limit or images, images) // config.batch_size)
        seconds.append(timed[plain] * _cost(config) * steps * config.epochs)
    keras.config.set_dtype_policy(policy)
    return seconds


def _cost(config):
    if config.scheme == "adversarial":
        attack = schemes.technique("adversarial", attack_steps=config.attack_steps)
        return 1 + attack.attack_steps
    return _COST.get(config.scheme, 1.0)


def _step_seconds(config):
    """Seconds of one training step, once it is compiled."""
    config, network = training.resolve(config)
    model = training.compile_model(config, network, steps=_TIMED)
    known = from_config.spec_of(config)
    count = _TIMED * config.batch_size
    images = np.zeros((count, *known.shape), "uint8")
    labels = np.arange(count) % known.num_classes
    clock = _Clock()
    model.fit(
        *(images, labels),
        batch_size=config.batch_size,
        epochs=3,
        verbose=0,
        callbacks=[clock],
    )
    return min(clock.seconds[1:]) / _TIMED  # the first epoch compiles


class _Clock(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.begun)
