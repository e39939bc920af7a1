"""Files of weights: those that a run starts from, and the classifier it leaves."""

import contextlib
import dataclasses
import pathlib
import sys
import warnings
import zipfile
import zlib

import h5py
import keras
import numpy as np

from nfm_keras import records
from nfm_keras.backend import keras_private
from nfm_keras.backend.inner import finalize, set_weights
from nfm_keras.mixing.sites import plain, remove_sites
from nfm_keras.networks.blocks import with_keras_layers
from nfm_keras.registration import load_model
from nfm_keras.training.build import resolve
from nfm_keras.training.checkpoints import there_are
from nfm_keras.training.config import Config
from nfm_keras.training.folder import CHECKPOINTS
from nfm_keras.training.weights import in_memory
from nfm_keras.types import StrPath


def initialise(network: keras.Model, path: StrPath) -> None:
    """Gives a network the weights of a file: those that a run starts from.

    Args:
        network: Functional model with its sites.
        path: A `.keras` file of a classifier, an `NFMModel` or a bare backbone; a
            `.weights.h5` as `save_weights` of the classifier leaves it; the
            `weights_float16.npz` beside a record; or a `.h5` of a backbone without its
            head, as `keras.applications` publishes them. Where it has no last layer,
            or one for other classes, the network's own stays new, and a line says so.

    The weights published for EfficientNet's b0 to b7 hold a standard deviation where
    Keras' layer takes a variance, and Keras scales images once more with them. Here
    the variance is put right, and the features are those that Keras computes.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another kind of file, not whole, or has other weights.

    Example:

    >>> from nfm_keras.networks import mlp
    >>> mlp((8, 8, 1), 10).save("first.keras")
    >>> initialise(mlp((8, 8, 1), 10), "first.keras")
    """
    path, network = pathlib.Path(path), plain(network)
    _check_file(path)
    if path.name.endswith(".weights.h5"):
        weights = _weights_of_h5(network, path)
    elif path.suffix == ".h5":
        weights = _weights_of_h5(_backbone(network, path), path)
    elif path.suffix == ".npz":
        weights = read_arrays(path)
    else:
        weights = plain(load_model(path, compile=False)).get_weights()
    variables, told = _fitting(network, weights, path)
    for variable, weight in zip(variables, weights):
        if tuple(variable.shape) == weight.shape:
            variable.assign(weight)
    _square_published_deviations(network)
    finalize(network)
    if told:
        print(f"The last layer keeps its first weights: {told}.", file=sys.stderr)


def read_arrays(path: StrPath) -> list[np.ndarray]:
    """Returns the weights of a `.npz` file in float32, in the order of their names.

    Raises:
        ValueError: If the file is no such file, or not whole.
    """
    try:
        # Opened here: NumPy leaves a file open that turns out to be no archive.
        with pathlib.Path(path).open("rb") as stream, np.load(stream) as file:
            return [file[name].astype("float32") for name in sorted(file)]
    except (ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} must be a whole .npz file of weights. Received: {error}"
        ) from None


def check_first_weights(config: Config, folder: pathlib.Path) -> None:
    """Refuses a file of first weights that is not there, before images are read.

    Args:
        config: The run's `Config`.
        folder: The run's folder. Where the run has begun the file is not needed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If its name is that of no kind of file that `initialise` takes.
    """
    begun = there_are(folder / CHECKPOINTS) or (folder / records.FILE).exists()
    if config.init_from and not begun:
        _check_file(pathlib.Path(config.init_from))


def first_weights(
    network: keras.Model, config: Config, checkpoints: pathlib.Path
) -> None:
    """Gives a network the weights that its run starts from, unless the run goes on.

    Args:
        network: Functional model with its sites.
        config: The run's `Config`.
        checkpoints: Folder of the run's checkpoints.
    """
    if config.init_from and not there_are(checkpoints):
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
    set_weights(network, weights)
    with records.whole(path) as hidden:
        in_memory.write(with_keras_layers(remove_sites(network)).save, hidden)


def _check_file(path):
    if not path.is_file():
        raise FileNotFoundError(f"No weights to start from at {path}.")
    if path.suffix not in (".keras", ".h5", ".npz"):
        raise ValueError(
            "`init_from` must be a .keras, a .weights.h5, a .h5 or a .npz file. "
            f"Received: {path}"
        )


def _weights_of_h5(network, path):
    copy = with_keras_layers(network)
    try:
        _load(copy, path)
        return copy.get_weights()
    except (ValueError, OSError, KeyError, UserWarning) as error:
        for classes in _counts_of_classes(_last_layer(copy), path):
            other = _with_classes(copy, _last_layer(copy), classes)
            with contextlib.suppress(ValueError, OSError, KeyError, UserWarning):
                _load(other, path)
                return other.get_weights()
        raise ValueError(
            f"{path} does not hold the weights of this network's classifier, as "
            "save_weights leaves them (a checkpoint holds more: take the run's "
            f"classifier.keras). Received: {_shortened(error)}"
        ) from None


def _load(network, path):
    with warnings.catch_warnings():
        # Keras only warns of a layer that the file does not have.
        warnings.simplefilter("error")
        network.load_weights(path)


def _counts_of_classes(head, path):
    """How many classes a last layer in a file may have, after the shapes in it."""
    if not isinstance(head, keras.layers.Dense):
        return []
    shapes = set()
    with contextlib.suppress(OSError), h5py.File(path) as file:
        file.visititems(lambda _, item: shapes.add(getattr(item, "shape", ())))
    inputs, own = head.kernel.shape
    counts = {shape[1] for shape in shapes if len(shape) == 2 and shape[0] == inputs}
    return sorted(counts - {own})


def _with_classes(model, head, classes):
    """A copy of a model, with new weights, whose last layer has other classes."""

    def clone(layer):
        if keras_private.graph_of(layer) is not None:
            return _with_classes(layer, head, classes)
        if isinstance(layer, keras.Model):  # of a class of its own, which has no graph
            return layer
        units = {"units": classes} if layer is head else {}
        return type(layer).from_config(layer.get_config() | units)

    return keras.models.clone_model(model, clone_function=clone)


def _last_layer(network):
    """The last layer of a graph that has weights, in a nested model where it is one."""
    last = [layer for layer in network.layers if layer.weights][-1]
    return last if keras_private.graph_of(last) is None else _last_layer(last)


def _square_published_deviations(network):
    """Has EfficientNet divide by the deviations that were published as variances."""
    inner = keras_private.nested_layers(network)
    scales = [
        layer.scale for layer in inner if isinstance(layer, keras.layers.Rescaling)
    ]
    if any(np.shape(scale) == (3,) for scale in scales):
        return  # the graph has the layer that Keras puts it right with
    for layer in inner:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            variance = keras.ops.convert_to_numpy(layer.adapt_variance)
            if variance.shape == (3,) and np.allclose(variance, _DEVIATIONS):
                layer.adapt_variance.assign(np.square(_DEVIATIONS))


_DEVIATIONS = (0.229, 0.224, 0.225)
"""Of ImageNet's channels. Images in [0, 1] have variances of 0.25 at most."""


def _shortened(error):
    """The sentence of Keras' many that says what does not fit."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    told = lines[1:2] if lines and lines[0].startswith("A total of") else lines[:1]
    return (told or [type(error).__name__])[0][:200]


def _backbone(network, path):
    try:
        return remove_sites(network.get_layer("backbone"))
    except ValueError:
        raise ValueError(
            "A .h5 file without its head goes into a backbone, as "
            f"--network=applications/... has one. Received: {path}, for {network.name}"
        ) from None


def _fitting(network, weights, path):
    """Variables that weights are for, and why the last layer's are not among them."""
    received = [weight.shape for weight in weights]
    expected = [tuple(variable.shape) for variable in network.weights]
    if expected == received:
        return network.weights, ""
    head = {id(variable) for variable in _last_layer(network).weights}
    in_head = [id(variable) in head for variable in network.weights]
    if len(expected) == len(received) and all(
        wanted == given or (new and wanted[:-1] == given[:-1])
        for wanted, given, new in zip(expected, received, in_head)
    ):
        return network.weights, f"{path} has {received[-1][-1]} classes"
    rest = [v for v in network.weights if id(v) not in head]
    for variables in (rest, *(layer.weights for layer in network.layers)):
        if [tuple(variable.shape) for variable in variables] == received:
            return variables, f"{path} has none"
    raise ValueError(
        f"{path} has the weights of another network. "
        f"{_first_difference(network, expected, received)}"
    )


def _first_difference(network, expected, received):
    if len(expected) != len(received):
        return f"Expected: {len(expected)} arrays. Received: {len(received)}"
    at = next(i for i, pair in enumerate(zip(expected, received)) if len({*pair}) > 1)
    name = network.weights[at].path
    return f"Expected: {name} of shape {expected[at]}. Received: {received[at]}"
