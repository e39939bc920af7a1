"""Classifiers kept as their weights in half precision: half the size of a network.

Whoever has the record of a run and this file can measure again what the record says.
"""

import dataclasses
import pathlib

import keras
import numpy as np

from nfm_keras import records, training
from nfm_keras.backend.inner import set_weights
from nfm_keras.mixing.sites import plain, remove_sites
from nfm_keras.records.files import whole
from nfm_keras.training.folder import HALF_WEIGHTS
from nfm_keras.training.inputs import config_of
from nfm_keras.training.weights.files import read_arrays

FILE = HALF_WEIGHTS


def save_weights(network, path):
    """Writes the weights of a network, kernels in float16, whole or not at all.

    What has one axis, biases and all of a batch norm, stays float32: it is small, and a
    variance may be beyond float16. So does a kernel with a weight above 65504.

    Args:
        network: `keras.Model`.
        path: The `.npz` file.
    """
    halves = map(_half, plain(network).get_weights())
    with whole(path) as hidden:
        np.savez(hidden, **{f"{i:04d}": array for i, array in enumerate(halves)})


def load_weights(network, path):
    """Puts back into a network what `save_weights` wrote.

    Raises:
        ValueError: If the weights are those of another network, or the file is not
            whole.
    """
    set_weights(plain(network), read_arrays(path))


def _half(array):
    """An array in float16, or as it is where it is small or has no place there."""
    most = np.finfo("float16").max
    if array.ndim < 2 or np.abs(array).max(initial=0) > most:
        return array
    return array.astype("float16")


def build_network(config) -> keras.Model:
    """Returns the network of a config with its sites, in float32.

    Args:
        config: `training.Config`.
    """
    policy = keras.config.dtype_policy()
    try:
        float32 = dataclasses.replace(config, precision="float32")
        return training.resolve(float32)[1]
    finally:
        keras.config.set_dtype_policy(policy)


def build_classifier(config, path) -> keras.Model:
    """Returns the plain classifier of a config with the weights of a file, in float32.

    Args:
        config: `training.Config`.
        path: What `save_weights` wrote.
    """
    network = build_network(config)
    load_weights(network, path)
    return remove_sites(network)


def load_classifier(folder) -> keras.Model:
    """Loads the classifier of a run that is done, in float32.

    Args:
        folder: Folder of the run, with `record.json` and `weights_float16.npz`.

    Returns:
        Plain functional model from [0, 1] images to logits: what was scored.

    Raises:
        ValueError: If the record's config is not one of this version.

    Example:

    >>> network = load_classifier("results/full_table1/nfm/seed_0")  # doctest: +SKIP
    >>> network.save("classifier.keras")  # doctest: +SKIP
    """
    folder = pathlib.Path(folder)
    config = records.load(folder / records.FILE).config
    return build_classifier(config_of(config), folder / FILE)
