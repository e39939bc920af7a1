"""An image set on the device, and an epoch of training as one program there.

For JAX alone: what `experiments.full_scale` trains with.
"""

import contextlib

import numpy as np
from keras import ops

from nfm_keras import data
from nfm_keras.backend import jax_devices, random
from nfm_keras.mixing.state import variables_of

STREAM = 1 << 30
"""Folded into the seed's key, as the draws of the mixing fold the numbers of the steps:
beyond any of them."""


def compile_epoch(model, split, config):
    """Compiles a whole epoch of training into one program on the device.

    Args:
        model: `NFMModel` from `training.compile_model`.
        split: Training `data.Split` on the host.
        config: `training.Config`.

    Returns:
        Function `run(epoch) -> logs`, a dict of floats, that trains the model on
        one epoch: in the order of a permutation, the smaller last batch included.
        Order, crops and mirror images are a pure function of
        `(config.seed, epoch, step)`.
    """
    images, labels, augment = _on_device(split, config)
    seed, size = np.int32(config.seed), config.batch_size
    whole, rest = divmod(len(labels), size)

    def step(state, images, labels, key, number, index):
        batch = augment(random.fold(key, number), images, index)
        logs, state = model.train_step(state, (batch, labels[index]))
        return tuple(map(list, state)), logs

    def epoch(state, seed, number, images, labels):
        key = random.fold(random.fold(random.key(seed), STREAM), number)
        order = random.permutation(random.fold(key, 0), len(labels))
        key = random.fold(key, 1)
        places = np.arange(whole), order[: whole * size].reshape(whole, size)
        with _seeded(model, seed):
            state, logs = ops.scan(
                lambda state, place: step(state, images, labels, key, *place),
                state,
                places,
            )
            if rest:
                last = order[whole * size :]
                return step(state, images, labels, key, whole, last)
        return state, {name: values[-1] for name, values in logs.items()}

    first = state_of(model), seed, np.int32(0), images, labels
    program = jax_devices.program(epoch, *first)

    def run(number):
        model.reset_metrics()
        state = state_of(model)
        state, logs = program(state, seed, np.int32(number), images, labels)
        _assign(model, state)
        return {name: float(value) for name, value in logs.items()}

    return run


def _on_device(split, config):
    """Returns padded images and labels on the device, and how a batch is gathered."""
    known = split.spec
    pad, flip = (known.pad, known.flip) if config.augment else (0, False)
    padded = np.pad(split.images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))

    def augment(key, images, index):
        return augmented(key, images, index, known.shape, pad, flip)

    images, labels = jax_devices.to_device((padded, split.labels.astype("int32")))
    return images, labels, augment


def augmented(key, images, index, shape, pad, flip):
    """Gathers a batch of random crops, half of them mirrored, on the device.

    Args:
        key: Of `nfm_keras.backend.random`.
        images: uint8 `(n, height + 2 * pad, width + 2 * pad, channels)`.
        index: int32 `(batch,)`, which of them.
        shape: `(height, width, channels)` of a crop.
        pad: Pixels by which an image was padded on each side.
        flip: Whether to mirror.

    Returns:
        uint8 `(batch, height, width, channels)`.
    """
    (height, width, _), size = shape, (len(index), 1)
    keys = [random.fold(key, i) for i in range(3)]
    dy, dx = (jax_devices.integers(k, size, 2 * pad + 1) for k in keys[:2])
    mirror = jax_devices.integers(keys[2], size, 1 + flip)
    ascending = np.arange(width)
    columns = dx + ops.where(mirror > 0, width - 1 - ascending, ascending)
    rows = dy + np.arange(height)
    return images[index[:, None, None], rows[:, :, None], columns[:, None, :]]


def state_of(model):
    """Returns the state that `NFMModel.train_step` takes on JAX.

    Args:
        model: `NFMModel` from `training.compile_model`.

    Returns:
        Tuple of four lists of arrays: weights, other variables, the optimiser's and
        the metrics'.
    """
    return tuple([v.value for v in variables] for variables in variables_of(model))


def limited(splits, limit):
    """Returns splits of the first images alone, without validation.

    Args:
        splits: `data.Splits`.
        limit: How many images of training and of test; `None` for all.
    """

    def first(split):
        return split._replace(images=split.images[:limit], labels=split.labels[:limit])

    return data.Splits(first(splits.train), None, first(splits.test))


def _assign(model, state):
    for variables, values in zip(variables_of(model), state):
        for variable, value in zip(variables, values):
            variable.assign(value)


@contextlib.contextmanager
def _seeded(model, seed):
    """Lets the model draw from a tensor: as a constant it would fix the program."""
    kept, model.seed = model.seed, seed
    try:
        yield
    finally:
        model.seed = kept
