"""Files of weights: those that a run starts from, and the classifier it leaves."""

import dataclasses
import pathlib
import warnings

import keras
import numpy as np

from nfm_keras import records
from nfm_keras.mixing.model import NFMModel
from nfm_keras.mixing.sites import remove_sites
from nfm_keras.networks.blocks import with_keras_layers
from nfm_keras.registration import load_model
from nfm_keras.training.build import resolve
from nfm_keras.training.config import Config
from nfm_keras.types import StrPath


def initialise(network: keras.Model, path: StrPath) -> None:
    """Gives a network the weights of a file: those that a run starts from.

    Args:
        network: Functional model with its sites.
        path: A `.keras` file of a classifier or an `NFMModel`; a `.weights.h5` as
            `save_weights` of the classifier leaves it; or the `weights_float16.npz`
            beside a record.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another kind of file, not whole, or has other weights.

    Example:

    >>> from nfm_keras.networks import mlp
    >>> mlp((8, 8, 1), 10).save("first.keras")
    >>> initialise(mlp((8, 8, 1), 10), "first.keras")
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(f"No weights to start from at {path}.")
    if path.name.endswith(".weights.h5"):
        weights = _weights_of_h5(network, path)
    elif path.suffix == ".npz":
        with np.load(path) as file:
            weights = [file[name].astype("float32") for name in sorted(file)]
    elif path.suffix == ".keras":
        model = load_model(path, compile=False)
        weights = (model.model if isinstance(model, NFMModel) else model).get_weights()
    else:
        raise ValueError(
            "`init_from` must be a .keras, a .weights.h5 or a .npz file. "
            f"Received: {path}"
        )
    expected = [weight.shape for weight in network.weights]
    received = [weight.shape for weight in weights]
    if expected != received:
        raise ValueError(
            f"{path} has the weights of another network. "
            f"{_first_difference(network, expected, received)}"
        )
    network.set_weights(weights)


def first_weights(
    network: keras.Model, config: Config, checkpoints: pathlib.Path
) -> None:
    """Gives a network the weights that its run starts from, unless the run goes on.

    Args:
        network: Functional model with its sites.
        config: The run's `Config`.
        checkpoints: Folder of the run's checkpoints.
    """
    if config.init_from and not checkpoints.exists():
        initialise(network, config.init_from)


def save_classifier(config: Config, weights: list, path: StrPath) -> None:
    """Saves the plain network of a config, in float32, whole or not at all.

    Args:
        config: A resolved `Config`.
        weights: Arrays, as `get_weights` of its network gives them.
        path: The `.keras` file.
    """
    policy = keras.config.dtype_policy()
    try:
        _, network = resolve(dataclasses.replace(config, precision="float32"))
    finally:
        keras.config.set_dtype_policy(policy)
    network.set_weights(weights)
    with records.whole(path) as hidden:
        with_keras_layers(remove_sites(network)).save(hidden)


def _weights_of_h5(network, path):
    plain = with_keras_layers(remove_sites(network))
    try:
        with warnings.catch_warnings():
            # Keras only warns of a layer that the file does not have.
            warnings.simplefilter("error")
            plain.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        raise ValueError(
            f"{path} does not hold the weights of this network's classifier, as "
            "save_weights leaves them (a checkpoint holds more: take the run's "
            f"classifier.keras). Received: {_shortened(error)}"
        ) from None
    return plain.get_weights()


def _shortened(error):
    """The sentence of Keras' many that says what does not fit."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    told = lines[1:2] if lines and lines[0].startswith("A total of") else lines[:1]
    return (told or [type(error).__name__])[0][:200]


def _first_difference(network, expected, received):
    if len(expected) != len(received):
        return f"Expected: {len(expected)} arrays. Received: {len(received)}"
    at = next(i for i, pair in enumerate(zip(expected, received)) if len({*pair}) > 1)
    name = network.weights[at].path
    return f"Expected: {name} of shape {expected[at]}. Received: {received[at]}"
