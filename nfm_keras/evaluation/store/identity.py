"""What a classifier is recognised by: weights, structure and code, or a name."""

import hashlib
import json
import types
import warnings
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from nfm_keras.backend.classifier import arrays_of
from nfm_keras.backend.keras_private import nested_layers
from nfm_keras.evaluation.store.code import code_of

# What a configuration says beside what is computed: names that count up with every
# model that a process makes, how weights are drawn and trained.
_IDLE = {"build_config", "build_input_shape", "compile_config", "module", "name"}
_IDLE |= {"registered_name", "shared_object_id", "trainable"}
_TRAINED = "_initializer", "_regularizer", "_constraint"

_BROKEN = AttributeError, NotImplementedError, TypeError, ValueError


class Identity(NamedTuple):
    """What a classifier is recognised by.

    Attributes:
        weights: str. SHA-256 of its weights, empty where none are to be seen.
        structure: str. SHA-256 of its layers with their settings, of its graph or of
            its code; empty where nothing of that is to be seen.
        name: str that the user gives. It counts where nothing else is known.
    """

    weights: str = ""
    structure: str = ""
    name: str = ""

    @property
    def known(self) -> bool:
        """Whether there is anything to recognise it by."""
        return any(self)

    def differs(self, other: "Identity") -> str:
        """Returns in what it differs from another one; empty where it does not.

        Example:

        >>> Identity(weights="ab", name="mine").differs(Identity(weights="ab"))
        ''
        >>> Identity(name="mine").differs(Identity(name="yours"))
        'its name'
        """
        for part in ("weights", "structure"):
            if getattr(self, part) != getattr(other, part):
                return f"its {part}"
        nameless = not (self.weights or self.structure)
        return "its name" if nameless and self.name != other.name else ""


def identity_of(classifier: Any, name: str = "") -> Identity:
    """Returns what a classifier is recognised by.

    Args:
        classifier: Keras model or layer, module of TensorFlow or PyTorch, pytree of
            JAX, `nfm_keras.evaluation.classifiers.SavedModel`, or any function. Of the
            last there is nothing to see: what it refers to may be anything.
        name: str that the user gives.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> first, second = identity_of(model), identity_of(keras.models.clone_model(model))
    >>> first.differs(second), identity_of(lambda images: images).known
    ('its weights', False)
    """
    return Identity(_weights(classifier), _structure(classifier), name)


def fingerprint_of(part: Any) -> str:
    """Returns 12 hexadecimal digits that weights, structure and code decide.

    Args:
        part: As in `identity_of`. Of a function its own instructions count, with its
            defaults and numbers that it refers to, and not what it calls.
    """
    code = code_of(types.SimpleNamespace(part=part))
    text = json.dumps([_weights(part), _structure(part), code])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _weights(classifier):
    arrays, digest = arrays_of(classifier), hashlib.sha256()
    for array in map(ops.convert_to_numpy, arrays):
        if not isinstance(classifier, keras.Layer):  # whose structure has the shapes
            digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest() if arrays else ""


def _structure(classifier):
    if isinstance(classifier, keras.Layer):
        parts = nested_layers(classifier)
        text = [_configuration(classifier), *map(code_of, parts)]
    elif isinstance(getattr(classifier, "structure", None), str):
        text = [classifier.structure]
    elif callable(getattr(classifier, "named_modules", None)):
        parts = [module for _, module in classifier.named_modules()]
        text = [repr(classifier), *map(code_of, parts)]
    elif arrays_of(classifier):
        text = [
            code_of(x) for x in (classifier, *getattr(classifier, "submodules", ()))
        ]
    else:
        return ""
    return hashlib.sha256(json.dumps(text, sort_keys=True).encode()).hexdigest()


def _configuration(layer):
    """The layers with their settings and how they are joined, as JSON values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            config = keras.saving.serialize_keras_object(layer)
        except _BROKEN:  # of a class without a `get_config` that works
            inner = nested_layers(layer)[1:]
            return [type(layer).__name__, *map(_configuration, inner)]
    config = json.loads(json.dumps(config, default=lambda value: type(value).__name__))
    names = {name: f"layer {i}" for i, name in enumerate(dict.fromkeys(_names(config)))}
    return _plain(config, names)


def _names(value):
    """The names of layers, in the order in which they stand in a configuration."""
    inner = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        yield value["name"]
    for item in inner:
        if isinstance(item, (dict, list)):
            yield from _names(item)


def _plain(value, names):
    """A configuration without what is idle, its layers by numbers."""
    if isinstance(value, list):
        return [_plain(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "DTypePolicy":
        return value["config"]
    if value.get("class_name") == "__lambda__":
        return "a function"  # written with its place in a file: `code_of` has it
    kept = {
        key: _plain(item, names)
        for key, item in value.items()
        if item is not None and key not in _IDLE and not key.endswith(_TRAINED)
    }
    for key in ("keras_history", "input_layers", "output_layers"):
        if key in kept:
            kept[key] = _numbered(kept[key], names)
    return kept


def _numbered(value, names):
    if isinstance(value, list):
        return [_numbered(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value
