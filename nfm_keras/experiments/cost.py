"""What the runs of an experiment will take on this machine."""

import dataclasses
import time
from collections.abc import Iterable, Sequence

import keras
import numpy as np

from nfm_keras import training
from nfm_keras.data import from_config
from nfm_keras.data.photographs.photographs import Reading
from nfm_keras.experiments.experiment import Run
from nfm_keras.mixing import schemes
from nfm_keras.records.processor import device_files
from nfm_keras.training.config import Config

# Steps as long as erm's take so many times as long; benchmarks.step measures them.
_COST = {"puzzlemix": 2.0, "noisymix": 4.2}
_TIMED = 4  # steps of an epoch that is timed
_LARGE, _FEW = 64 * 64, 2
"""On a CPU, of images with more pixels a step of so few is timed: one of 256 images of
224x224 pixels would take minutes, and 20 GiB."""

_IMAGENET = 1_281_167, 1000  # images to train on, classes

# Images a second in training, and who published that.
_PUBLISHED = {
    "resnet50": (
        (2_375, "an A100 (NVIDIA's TensorFlow ResNet-50, mixed precision)"),
        (6_900, "an H100 (MLPerf 3.0, ResNet-50 on eight of them)"),
    )
}
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

    Raises:
        FileNotFoundError: For photographs that are not there, but ImageNet's.
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


def known_size(dataset: str) -> int | None:
    """Returns how many training images a set has that need not be there; else None."""
    return _IMAGENET[0] if dataset == "imagenet2012" else None


def basis(runs: Sequence[Run]) -> str:
    """Returns in words what `estimate` estimates from.

    Example:

    >>> basis([])
    'nothing: there is no run to do'
    """
    if not runs:
        return "nothing: there is no run to do"
    config = _with_classes(runs[0].config)
    batch, _ = _timed(config, from_config.spec_of(config).shape)
    made = f"a step of plain training on {batch} images, timed on this machine"
    times = config.batch_size / batch
    return made if times == 1 else f"{made}, times {times:g}"


def elsewhere(runs: Sequence[Run], images: int) -> list[str]:
    """Returns lines that say what runs would take at throughputs others published.

    Args:
        runs: List of `Run`.
        images: How many training images the data set has.

    Returns:
        List of str, empty for a network or size of image without a published one.
    """
    if not runs:
        return []
    config = _with_classes(runs[0].config)
    shape = from_config.spec_of(config).shape
    if config.network not in _PUBLISHED or shape[0] != 224 or config.width != 1:
        return []
    total = sum(
        run.config.epochs * min(run.config.limit or images, images) * _cost(run.config)
        for run in runs
    )
    return [
        f"About {total / rate / 3600:,.1f} hours on {device}: an estimate, "
        f"{total / 1e6:,.0f} million images at the {rate:,} a second published for "
        "plain training. Nothing was measured there."
        for rate, device in _PUBLISHED[config.network]
    ]


def _with_classes(config):
    """A config that says which classes it has: of ImageNet, that need not be there."""
    if config.dataset == "imagenet2012" and config.classes is None:
        names = tuple(f"class_{i}" for i in range(_IMAGENET[1]))
        side = config.image_size or Reading().image_size
        return dataclasses.replace(config, classes=names, image_size=side)
    return from_config.described(config)


def _timed(config, shape):
    """The batch whose step is timed, and how many steps of it make an epoch."""
    if shape[0] * shape[1] > _LARGE and not device_files():
        return min(config.batch_size, _FEW), 1
    return config.batch_size, _TIMED


def _step_seconds(config):
    """Seconds of one training step, once it is compiled."""
    config = _with_classes(config)
    known = from_config.spec_of(config)
    batch, steps = _timed(config, known.shape)
    config, network = training.resolve(config)
    model = training.compile_model(config, network, steps=steps)
    count = steps * batch
    images = np.zeros((count, *known.shape), "uint8")
    labels = np.arange(count) % known.num_classes
    clock = _Clock()
    model.fit(
        *(images, labels),
        batch_size=batch,
        epochs=3,
        verbose=0,
        callbacks=[clock],
    )
    # The first epoch compiles.
    return min(clock.seconds[1:]) / steps * config.batch_size / batch


class _Clock(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.begun)
