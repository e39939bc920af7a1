"""One training of the paper's toy: a network on two noisy circles."""

import dataclasses
import time

import keras
import numpy as np
import scipy.special
from keras import ops

from nfm_keras import networks
from nfm_keras.data.images import image_generators
from nfm_keras.experiments.tables.toy import MOST_STEPS, TRAINING
from nfm_keras.mixing import schemes
from nfm_keras.mixing.model import NFMModel
from nfm_keras.mixing.sites import find_sites

POINTS, FACTOR, NOISE = 500, 0.05, 0.3
EXTENT, RESOLUTION = 2.2, 181  # of the square that surfaces cover, around the origin

# The draws of `NFMModel` are a function of its step. Every seed has steps of its own,
# so that one compiled step serves all of them; int32 holds that many.
SEEDS = 2**31 // MOST_STEPS


@dataclasses.dataclass(frozen=True)
class Run:
    """One training and how it ended."""

    regulariser: str
    seed: int  # of points, split, first weights, batches and draws
    accuracy: float  # on the 200 test points, in percent
    train_accuracy: float
    collapsed: bool  # whether all test points get the same class
    seconds: float  # of the training; the first of a row compiles its step


def circles(seed):
    """Draws 250 noisy points on each of two circles; returns 300 and the other 200.

    Each part is `(points, labels)`, float32 `(n, 2)` and 0 for the outer circle.
    """
    angles = np.linspace(0, 2 * np.pi, POINTS // 2, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    generators = image_generators(seed, "toy noise", range(POINTS))
    noise = [generator.normal(scale=NOISE, size=2) for generator in generators]
    points = np.concatenate([circle, FACTOR * circle]) + noise
    order = next(image_generators(seed, "toy split", [0])).permutation(POINTS)
    points, labels = points[order].astype("float32"), order // (POINTS // 2)
    return tuple(zip(*(np.split(part, [TRAINING]) for part in (points, labels))))


def compile_model(regulariser, settings):
    """Returns the compiled `NFMModel` of a `Regulariser`; `train` sets its weights."""
    scheme = schemes.lookup(regulariser.scheme)
    if scheme.technique is not None or scheme.label_smoothing is not None:
        raise ValueError(f"The toy only mixes or adds noise. Received: {regulariser}")
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


def train(model, name, seed, settings, ends):
    """Trains once, from the first weights that the seed says.

    Args:
        model: From `compile_model`; one serves all seeds, whatever it was before.
        name: str. Name of the regulariser, for the result.
        seed: int in [0, 2048).
        settings: The `Settings` that the model was compiled with.
        ends: The steps after which a surface is kept (`Settings.frames`).

    Returns:
        `(run, surfaces)`: a `Run`, and uint8 `(len(ends), 181, 181)`, the probability
        of the inner circle times 255 on a grid, rows from the lowest y to the highest.
    """
    begun, surfaces, size = time.monotonic(), [], settings.batch_size
    (points, labels), (test_points, test_labels) = circles(seed)
    generators = image_generators(seed, "toy order", range(settings.epochs))
    order = np.concatenate([g.permutation(TRAINING) for g in generators])
    _restart(model, seed, settings.learning_rate)
    for start, end in zip([0, *ends], ends):
        part = order[start * size : end * size]
        model.fit(points[part], labels[part], size, shuffle=False, verbose=0)
        surfaces.append(_surface(model.model))
    # A run that diverged is a result: not `statistics.accuracy`, which refuses NaN.
    learnt = _logits(model.model, points).argmax(1)
    predicted = _logits(model.model, test_points).argmax(1)
    right, train_right = predicted == test_labels, learnt == labels
    accuracies = 100 * float(np.mean(right)), 100 * float(np.mean(train_right))
    collapsed = len(set(predicted.tolist())) == 1
    run = Run(name, seed, *accuracies, collapsed, time.monotonic() - begun)
    return run, np.stack(surfaces)


def _restart(model, seed, learning_rate):
    """Sets all that training changes to what the seed says."""
    for layer, generator in _keyed(model, keras.layers.Dense, "toy weights", seed):
        # The law of PyTorch, in which the authors' code is written.
        bound = layer.kernel.shape[0] ** -0.5
        shapes = [tuple(variable.shape) for variable in layer.weights]
        layer.set_weights([generator.uniform(-bound, bound, s) for s in shapes])
    for layer, generator in _keyed(model, keras.layers.Dropout, "toy dropout", seed):
        layer.seed_generator.state.assign(generator.integers(2**31, size=2))
    for variable in model.optimizer.variables:
        variable.assign(np.zeros(tuple(variable.shape)))
    model.optimizer.learning_rate = learning_rate
    model.step.assign(seed * MOST_STEPS)


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
