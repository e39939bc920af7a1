"""Classifiers from disk: a run, a Keras file or a SavedModel."""

import hashlib
import pathlib
import re
from typing import Any, NamedTuple

from nfm_keras import records
from nfm_keras.registration import load_model


class Loaded(NamedTuple):
    """A classifier and where it came from.

    Attributes:
        name: Name to show.
        classifier: Keras model or callable from [0, 1] images to logits.
        record: `Record` of the run it is the result of, or `None`.
        run: Folder of that run, or `None`.
    """

    name: str
    classifier: Any
    record: records.Record | None = None
    run: pathlib.Path | None = None


def named(text: str) -> tuple[str | None, str]:
    """Returns name and path of `NAME=PATH`; of a path alone the name is `None`.

    Args:
        text: str. What is there under its whole name is a path.

    Raises:
        ValueError: If the name is not one word.

    Example:

    >>> named("erm=runs/erm/classifier.keras")
    ('erm', 'runs/erm/classifier.keras')
    >>> named("mine.keras")
    (None, 'mine.keras')
    """
    name, equals, path = text.partition("=")
    if not equals or pathlib.Path(text).exists() or "/" in name:
        return None, text
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) or not path:
        raise ValueError(
            "A model must be PATH or NAME=PATH, with a name of letters, digits, _, - "
            f"and . alone. Received: {text}"
        )
    return name, path


def refuse_twins(names) -> None:
    """Refuses classifiers of one name, which would share a row, a column or a folder.

    Args:
        names: iterable of str.

    Raises:
        ValueError: If a name is there twice.

    Example:

    >>> refuse_twins(["erm", "nfm"])
    """
    names = list(names)
    if len(set(names)) < len(names):
        raise ValueError(
            "Every classifier needs a name of its own, as in --model=NAME=PATH. "
            f"Received: {names}"
        )


def common_dataset(loaded) -> str:
    """Returns the name of the data set that all runs were trained on.

    Args:
        loaded: iterable of `Loaded`; those without a record say nothing.

    Raises:
        ValueError: If there are several, or none.
    """
    names = sorted({one.record.dataset for one in loaded if one.record})
    if len(names) != 1:
        raise ValueError(f"The runs must share their data set. Received: {names}")
    return names[0]


def load(path, name: str | None = None) -> Loaded:
    """Loads a classifier, whichever of the three it is.

    Args:
        path: Folder of a run (`record.json`, `classifier.keras`), a `.keras` file, or
            the version folder of a SavedModel (TensorFlow backend).
        name: Name to show; by default that of the run, the file or the model.

    Raises:
        FileNotFoundError: There is nothing, or nothing of the three.
        ValueError: A broken record, or a SavedModel whose outputs are not logits.

    Example:

    >>> from nfm_keras import networks
    >>> networks.mlp((8, 8, 1), 10).save("mine.keras")
    >>> load("mine.keras").name
    'mine'
    """
    path = pathlib.Path(path)
    if (path / "saved_model.pb").exists():
        return Loaded(name or _saved_model_name(path), SavedModel(path))
    if path.is_file():
        return Loaded(name or path.stem, load_model(path, compile=False))
    file = path / "classifier.keras"
    if not file.exists():
        raise FileNotFoundError(
            f"No classifier at {path}. Expected a .keras file, a folder with "
            "saved_model.pb, or the folder of a run, with record.json and "
            f"classifier.keras. Received: {_kind(path)}"
        )
    record = records.load(path / records.FILE)
    model = load_model(file, compile=False)
    return Loaded(name or record.name, model, record, path)


class SavedModel:
    """The logits of a SavedModel's `serving_default`, as a callable.

    Args:
        path: Version folder. The signature has one image input in [0, 1] and an output
            named `logits`, or one output only.

    Raises:
        RuntimeError: Under another backend than TensorFlow.
        ValueError: No such signature, or outputs that could be anything.

    Attributes:
        structure: str. SHA-256 of its graph, the file `saved_model.pb`.
        variables: list of the variables that the signature reads.
    """

    def __init__(self, path):
        import keras  # so that a path that is not there is told at once

        if keras.backend.backend() != "tensorflow":
            raise RuntimeError(
                "A SavedModel is read by the TensorFlow backend. "
                f"Received: backend {keras.backend.backend()!r}"
            )
        import tensorflow as tf

        file = (pathlib.Path(path) / "saved_model.pb").read_bytes()
        self.structure = hashlib.sha256(file).hexdigest()
        # Kept: its variables go when it goes.
        self.servable = tf.saved_model.load(str(path))
        signatures = self.servable.signatures
        if "serving_default" not in signatures:
            raise ValueError(
                f"{path} must have a signature `serving_default`. "
                f"Received: {sorted(signatures)}"
            )
        self.signature = signatures["serving_default"]
        self.variables = list(self.signature.variables)
        self.input, self.output = self._names(path)
        spec = self.signature.structured_input_signature[1][self.input]
        shape = spec.shape
        if not spec.dtype.is_floating:
            raise ValueError(
                f"The input of {path} must be float images in [0, 1], which attacks "
                f"change little by little. Received: {spec.dtype.name}"
            )
        self.input_shape = tuple(shape) if shape.rank else None

    def _names(self, path):
        inputs = list(self.signature.structured_input_signature[1])
        outputs = sorted(self.signature.structured_outputs)
        output = outputs[0] if len(outputs) == 1 else "logits"
        if len(inputs) != 1 or output not in outputs:
            raise ValueError(
                f"The signature of {path} must have one input, and one output or one "
                f"named `logits`. Received: inputs {inputs}, outputs {outputs}"
            )
        return inputs[0], output

    def __call__(self, images):
        return self.signature(**{self.input: images})[self.output]


def _saved_model_name(path):
    resolved = path.resolve()
    # A version folder says nothing alone.
    if resolved.name.isdecimal():
        return f"{resolved.parent.name}/{resolved.name}"
    return resolved.name


def _kind(path):
    return "a folder without them" if path.is_dir() else "nothing there"
