"""Classifiers from disk, in whatever form they were kept, as Keras models."""

import pathlib
from typing import Any

import keras
import numpy as np
from keras import ops

from nfm_keras import records, registration
from nfm_keras.mixing.sites import remove_sites
from nfm_keras.serving import checks, half_weights
from nfm_keras.serving.requests import request_values
from nfm_keras.training.inputs import config_of
from nfm_keras.types import StrPath

_CLASSIFIER = "classifier.keras"
_SAVED_MODEL = "saved_model.pb"


def load_model(
    path: StrPath, *, folder: StrPath | None = None, **options: Any
) -> keras.Model:
    """Loads a classifier as a Keras model, whichever way it was kept.

    Args:
        path: One of

            * a `.keras` file, of this or an older version of nfm-keras;
            * the folder of a run, with `classifier.keras`, or with `record.json` and
              `weights_float16.npz`: the network is built as the record says, and its
              weights are those numbers in float32;
            * a SavedModel that `nfm-export` wrote, with `record.json` in it: its
              version folder, or the folder of all versions for the newest
              (TensorFlow backend). What it answers is compared with the SavedModel.
        folder: Path that `path` is a name in: `load_model("cifar10_nfm",
            folder="savedmodels")`.
        **options: As in `keras.saving.load_model`; for `.keras` files alone.

    Returns:
        The `keras.Model`: for a file what was saved, else a plain functional model from
        images in [0, 1] to logits.

    Raises:
        FileNotFoundError: If there is nothing, or none of these.
        ValueError: If a file is truncated or not one of Keras, has layers that nobody
            has imported, or the weights are not those of the network in the record.
        RuntimeError: For a SavedModel under another backend, or one whose answers are
            not those of the network in its record.

    Example:

    >>> from nfm_keras import networks
    >>> networks.mlp((8, 8, 1), 10).save("classifier.keras")
    >>> load_model("classifier.keras").output_shape
    (None, 10)
    """
    place = pathlib.Path(path if folder is None else pathlib.Path(folder, path))
    if not place.is_dir():
        return registration.load_model(place, **options)
    place = _newest(place)
    if (place / _CLASSIFIER).exists():
        return registration.load_model(place / _CLASSIFIER, **options)
    if (place / records.FILE).exists():
        if (place / half_weights.FILE).exists():
            return half_weights.load_classifier(place)
        if (place / _SAVED_MODEL).exists():
            return _of_saved_model(place)
    raise FileNotFoundError(
        f"No classifier at {place}. Expected a .keras file, or a folder with "
        f"{_CLASSIFIER}, or with {records.FILE} and either {half_weights.FILE} or "
        f"{_SAVED_MODEL}. Received: {_held(place)}"
    )


def version_folder(path):
    """Returns the folder of a SavedModel: of a folder of versions that of the newest.

    Args:
        path: Either of them.

    Returns:
        `pathlib.Path`.

    Raises:
        FileNotFoundError: If there is no SavedModel.
    """
    path = pathlib.Path(path)
    place = _newest(path) if path.is_dir() else path
    if (place / _SAVED_MODEL).exists():
        return place
    raise FileNotFoundError(
        f"No SavedModel at {place}. Expected a version folder that nfm-export wrote, "
        f"or the folder of its versions. Received: {_held(place)}"
    )


def answers(folder, values, signature):
    """Returns what a SavedModel answers, asked as a client asks a server.

    Args:
        folder: As `version_folder` returns it.
        values: As in `nfm_keras.serving.requests.request_values`.
        signature: Name of the signature.

    Returns:
        Dict of tensors.

    Raises:
        ValueError: If there is no such signature, or the values do not go with it.

    Example:

    >>> answers("savedmodels/digits/1", images, "serving_uint8")  # doctest: +SKIP
    """
    import tensorflow as tf

    servable = tf.saved_model.load(str(folder))
    if signature not in servable.signatures:
        raise ValueError(
            f"{folder} must have the signature `{signature}`. "
            f"Received: {sorted(servable.signatures)}"
        )
    values = tf.constant(request_values(values, signature))
    run = servable.signatures[signature]
    ((name, spec),) = run.structured_input_signature[1].items()
    if not spec.shape.is_compatible_with(values.shape):
        sizes = ", ".join(str(size or "any") for size in spec.shape[1:])
        raise ValueError(
            f"`{name}` must be of shape (batch, {sizes}). Received: {values.shape}"
        )
    return run(**{name: values})


def _held(place):
    """What is in a folder, for an error."""
    if not place.is_dir():
        return "a file" if place.exists() else "no such folder"
    names = sorted(one.name for one in place.iterdir())
    return f"{', '.join(names) or 'an empty folder':.200}"


def _newest(place):
    """The newest version in a folder of versions; another folder as it is."""
    versions = [int(one.name) for one in place.iterdir() if one.name.isdecimal()]
    held = records.FILE, _CLASSIFIER, _SAVED_MODEL
    holds = any((place / name).exists() for name in held)
    return place / str(max(versions)) if versions and not holds else place


def _of_saved_model(place):
    """The network of its record, with the variables of a SavedModel."""
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "A SavedModel is read by the TensorFlow backend; save the model that it "
            "gives as a .keras file for the others. "
            f"Received: backend {keras.backend.backend()!r}"
        )
    import tensorflow as tf

    config = records.load(place / records.FILE).config
    network = half_weights.build_network(config_of(config))
    servable = tf.saved_model.load(str(place))
    serve = servable.signatures["serving_default"]
    half = any(one.dtype == tf.float16 for one in serve.variables)
    _fill(network, serve.variables, place)
    classifier = remove_sites(network)
    _compare(classifier, serve, half, place)
    return classifier


def _fill(network, variables, place):
    """Puts variables where they belong: by their names or, without, by their order."""
    order = [*network.trainable_variables, *network.non_trainable_variables]
    named = {variable.name.partition(":")[0]: variable for variable in variables}
    known = all(weight.path in named for weight in order)
    found = [named[weight.path] for weight in order] if known else list(variables)
    shapes = [tuple(weight.shape) for weight in order]
    if [tuple(variable.shape) for variable in found] != shapes:
        raise ValueError(
            f"The weights in {place} must be those of the network in its record: "
            f"{len(order)} of them. Received: {len(found)}, or other shapes"
        )
    for weight, variable in zip(order, found, strict=True):
        weight.assign(variable.numpy().astype("float32"))


def _compare(classifier, serve, half, place):
    """Refuses a model that does not answer as the SavedModel does."""
    shape = (4, *classifier.input_shape[1:])
    images = np.random.default_rng(0).random(shape, "float32")
    (name,) = serve.structured_input_signature[1]
    given = serve(**{name: ops.convert_to_tensor(images)})["logits"].numpy()
    ours = ops.convert_to_numpy(classifier(images, training=False))
    allowed = checks.rounding(classifier, half) * max(1.0, float(np.abs(given).max()))
    if not np.allclose(ours, given, rtol=0, atol=allowed):
        raise RuntimeError(
            f"The network in the record of {place} must answer as its SavedModel does. "
            f"Received: outputs that differ by {np.abs(ours - given).max():.3g}"
        )
