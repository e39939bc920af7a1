"""One training of the paper's toy: a network on two noisy circles."""

import dataclasses
import math
import time
from typing import NamedTuple

import keras
import numpy as np
import scipy.special
from keras import ops

from nfm_keras import networks
from nfm_keras.data.images import image_generators
from nfm_keras.mixing import schemes
from nfm_keras.mixing.model import NFMModel
from nfm_keras.mixing.sites import find_sites

POINTS, TRAINING = 500, 300
FACTOR, NOISE = 0.05, 0.3
EXTENT, RESOLUTION = 2.2, 181
"""The square that surfaces cover is [-2.2, 2.2] x [-2.2, 2.2], 181 points a side."""

# The draws of `NFMModel` are a function of its step. Every seed has steps of its own,
# so that one compiled step serves all of them; int32 holds that many.
SEEDS, _STEPS = 2**11, 2**20


class Circles(NamedTuple):
    """Points in the plane with their labels: 0 the outer circle, 1 the inner one.

    Attributes:
        train_points: float32 `(300, 2)`.
        train_labels: int64 `(300,)`.
        test_points: float32 `(200, 2)`.
        test_labels: int64 `(200,)`.
    """

    train_points: np.ndarray
    train_labels: np.ndarray
    test_points: np.ndarray
    test_labels: np.ndarray


def circles(seed) -> Circles:
    """Draws the data: 250 points on each of two circles, with noise.

    The radii are 1 and 0.05, the points evenly spaced, the noise Gaussian with
    standard deviation 0.3 in each coordinate, the split into 300 and 200 random.

    Args:
        seed: Integer.

    Example:

    >>> circles(0).test_points.shape
    (200, 2)

    Reference:
        [Lim et al., 2021](https://arxiv.org/abs/2110.02180), appendix F.2.
    """
    angles = np.linspace(0, 2 * np.pi, POINTS // 2, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    generators = image_generators(seed, "toy noise", range(POINTS))
    noise = [generator.normal(scale=NOISE, size=2) for generator in generators]
    points = np.concatenate([circle, FACTOR * circle]) + noise
    labels = np.repeat([0, 1], POINTS // 2)
    order = next(image_generators(seed, "toy split", [0])).permutation(POINTS)
    points, labels = points[order].astype("float32"), labels[order]
    return Circles(
        points[:TRAINING], labels[:TRAINING], points[TRAINING:], labels[TRAINING:]
    )


@dataclasses.dataclass(frozen=True)
class Regulariser:
    """What a row of the toy trains with.

    Args:
        label: What the table and the figure call it.
        scheme: One of `nfm_keras.mixing.schemes.SCHEMES` that only mixes or adds noise.
        dropout: Dropout rate after each ReLU layer.
        weight_decay: Factor of the weights that is added to their gradients, the
            biases' among them (PyTorch's Adam; not AdamW).
        paper: The accuracy that the paper prints, in percent.

    Raises:
        ValueError: For a scheme that does more than mix or add noise.
    """

    label: str
    scheme: str = "erm"
    dropout: float = 0.0
    weight_decay: float = 0.0
    paper: float | None = None

    def __post_init__(self):
        row = schemes.lookup(self.scheme)
        if row.technique is not None or row.label_smoothing is not None:
            raise ValueError(
                "`scheme` must be one that only mixes or adds noise. "
                f"Received: {self.scheme!r}"
            )


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all regularisers share; a field is a flag of `apps.toy`.

    The paper names the learning rate. Epochs, batch and the 64 units a layer are
    ours: long enough for the network without a regulariser to learn the noise.

    Args:
        epochs: Passes over the 300 training points.
        batch_size: Points a step, a divisor of 300.
        learning_rate: Of Adam.
        width: Multiplies the 64 units of a layer.

    Raises:
        ValueError: For a number out of its range, or 2**20 steps or more.
    """

    epochs: int = 500
    batch_size: int = 300
    learning_rate: float = 0.1
    width: float = 1.0

    def __post_init__(self):
        if self.batch_size < 1 or TRAINING % self.batch_size:
            raise ValueError(
                f"`batch_size` must divide the {TRAINING} points of the training. "
                f"Received: {self.batch_size}"
            )
        if not 0 < self.steps < _STEPS:
            raise ValueError(
                f"`epochs` must be at least 1 and make less than {_STEPS} steps. "
                f"Received: epochs={self.epochs}, batch_size={self.batch_size}"
            )
        for name in ("learning_rate", "width"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(
                    f"`{name}` must be positive. Received: {getattr(self, name)}"
                )

    @property
    def steps(self) -> int:
        """Steps of a training."""
        return self.epochs * TRAINING // self.batch_size


@dataclasses.dataclass(frozen=True)
class Run:
    """One training and how it ended.

    Args:
        regulariser: str. Name of the row.
        seed: int. Of points, split, first weights, batches and draws.
        accuracy, train_accuracy: float. On the 200 and the 300 points, in percent.
        collapsed: bool. All test points get the same class.
        seconds: float. Of the training; the first of a row compiles its step.
    """

    regulariser: str
    seed: int
    accuracy: float
    train_accuracy: float
    collapsed: bool
    seconds: float


def compile_model(regulariser, settings) -> NFMModel:
    """Returns the compiled model of a regulariser; `train` sets its weights.

    Args:
        regulariser: A `Regulariser`.
        settings: A `Settings`.
    """
    network = networks.build(
        "mlp", (2,), 2, width=settings.width, dropout=regulariser.dropout
    )
    if regulariser.weight_decay:
        for variable in network.trainable_variables:
            # Keras' own `weight_decay` of Adam is decoupled, AdamW's.
            variable.regularizer = keras.regularizers.L2(regulariser.weight_decay / 2)
    model = NFMModel(network, schemes.mixing(regulariser.scheme, find_sites(network)))
    model.compile(
        keras.optimizers.Adam(settings.learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        # On TensorFlow a step takes less time than its call; PyTorch has to have 1.
        steps_per_execution=50 if keras.backend.backend() == "tensorflow" else 1,
    )
    model.optimizer.build(model.trainable_variables)
    return model


def frame_steps(settings, frames) -> list:
    """Returns the steps after which a surface is kept: many early, the last always.

    Args:
        settings: A `Settings`.
        frames: How many; fewer come back where two would fall on one step.

    Raises:
        ValueError: If `frames` is negative.

    Example:

    >>> frame_steps(Settings(epochs=1000), 4)
    [1, 10, 100, 1000]
    """
    if frames < 0:
        raise ValueError(f"`frames` must be at least 0. Received: {frames}")
    if frames < 2:
        return [settings.steps]
    steps = np.geomspace(1, settings.steps, frames)
    return np.unique(np.round(steps).astype(int)).tolist()


def train(model, name, seed, settings, ends):
    """Trains once, from the first weights that the seed says.

    What the model was before does not matter, so that one serves all seeds.

    Args:
        model: From `compile_model`.
        name: Name of the regulariser, for the result.
        seed: Integer in [0, 2048).
        settings: The `Settings` that the model was compiled with.
        ends: The steps after which a surface is kept (`frame_steps`).

    Returns:
        `(run, surfaces)`: a `Run`, and uint8 `(len(ends), 181, 181)`, the probability
        of the inner circle times 255 on a grid, rows from the lowest y to the highest.
    """
    begun, surfaces = time.monotonic(), []
    held, order = circles(seed), _order(seed, settings)
    _restart(model, seed, settings.learning_rate)
    for start, end in zip([0, *ends], ends):
        part = order[start * settings.batch_size : end * settings.batch_size]
        model.fit(
            held.train_points[part],
            held.train_labels[part],
            batch_size=settings.batch_size,
            shuffle=False,
            verbose=0,
        )
        surfaces.append(_surface(model.model))
    test, train = (
        _logits(model.model, points).argmax(1)
        for points in (held.test_points, held.train_points)
    )
    run = Run(
        regulariser=name,
        seed=seed,
        accuracy=_accuracy(test, held.test_labels),
        train_accuracy=_accuracy(train, held.train_labels),
        collapsed=len(set(test.tolist())) == 1,
        seconds=time.monotonic() - begun,
    )
    return run, np.stack(surfaces)


def _accuracy(predicted, labels):
    # Not `metrics.accuracy`, which refuses NaN: a run that diverged is a result here.
    return 100 * float(np.mean(predicted == labels))


def _order(seed, settings):
    """The points in the order of all epochs."""
    generators = image_generators(seed, "toy order", range(settings.epochs))
    return np.concatenate([g.permutation(TRAINING) for g in generators])


def _restart(model, seed, learning_rate):
    """Sets all that training changes to what the seed says.

    The law of the weights is PyTorch's, in which the authors' code is written.
    """
    for layer, generator in _keyed(model, keras.layers.Dense, "toy weights", seed):
        bound = layer.kernel.shape[0] ** -0.5
        layer.set_weights(
            [generator.uniform(-bound, bound, tuple(w.shape)) for w in layer.weights]
        )
    for layer, generator in _keyed(model, keras.layers.Dropout, "toy dropout", seed):
        layer.seed_generator.state.assign(generator.integers(2**31, size=2))
    for variable in model.optimizer.variables:
        variable.assign(np.zeros(tuple(variable.shape)))
    model.optimizer.learning_rate = learning_rate
    model.step.assign(seed * _STEPS)


def _keyed(model, kind, stream, seed):
    layers = [layer for layer in model.model.layers if isinstance(layer, kind)]
    return zip(layers, image_generators(seed, stream, range(len(layers))), strict=True)


def _logits(network, points):
    return ops.convert_to_numpy(network(points, training=False))


def _surface(network):
    side = np.linspace(-EXTENT, EXTENT, RESOLUTION, dtype="float32")
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    logits = _logits(network, grid).astype("float64")
    # NaN is class 0, as for the accuracy.
    inner = np.nan_to_num(scipy.special.expit(logits[:, 1] - logits[:, 0]))
    return np.round(255 * inner).astype("uint8").reshape(RESOLUTION, RESOLUTION)
