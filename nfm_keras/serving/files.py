"""A classifier as one ONNX or LiteRT file, for runtimes that are not TensorFlow's."""

import importlib.util
import pathlib
import re
import warnings

import keras
import numpy as np

from nfm_keras import records
from nfm_keras.backend import keras_private
from nfm_keras.checks import unknown
from nfm_keras.serving import checks, heads
from nfm_keras.types import StrPath

SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
"""Format -> suffix of its files."""

_NEEDS = {"onnx": ("onnx", "tf2onnx"), "litert": ("tensorflow",)}


def export_file(classifier: keras.Model, path: StrPath, format: str) -> pathlib.Path:
    """Writes a classifier as a file, run once and compared before it appears.

    One input, float32 images in [0, 1] with any batch size, and one output, the logits.
    Keras converts (`Model.export`); ONNX is run by `onnx`'s own evaluator for the
    comparison, LiteRT by the interpreter inside TensorFlow.

    Args:
        classifier: As in `export`, in float32.
        path: File to write, without its suffix; it must not exist yet.
        format: `"onnx"` (needs the packages `onnx` and `tf2onnx`) or `"litert"`.

    Returns:
        `pathlib.Path` of the file, `path` with `.onnx` or `.tflite`.

    Raises:
        ValueError: If the model is none to export or computes in half precision, or the
            format is unknown.
        FileExistsError: If the file exists.
        RuntimeError: If a package is missing, under another backend than TensorFlow, if
            the converter does not know an operator, which is named, or if the file's
            outputs differ from the model's by more than rounding.

    Example:

    >>> from nfm_keras import networks, remove_sites
    >>> classifier = remove_sites(networks.mlp((8, 8, 1), 10))
    >>> export_file(classifier, "models/digits", "litert")
    PosixPath('models/digits.tflite')
    """
    classifier = checks.check_classifier(classifier)
    _check_packages(format)
    _check_precision(classifier)
    classifier = heads.head_of(classifier, checks.example_images(classifier)).model
    target = pathlib.Path(f"{path}{SUFFIXES[format]}")
    if target.exists():
        raise FileExistsError(f"{target} exists; a model is never overwritten")
    images = checks.example_images(classifier)
    # Before the conversion: to ONNX, Keras converts only what was called.
    expected = np.asarray(classifier(images, training=False))
    with records.whole(target, replace=False) as file:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tf2onnx on NumPy 2, LiteRT's new address
            try:
                classifier.export(str(file), format=format, verbose=False)
                logits = _RUN[format](file, images)
            except Exception as error:  # of three libraries, which have no own class
                raise RuntimeError(_failure(format, file, error)) from error
        allowed = checks.rounding(classifier)
        checks.compare(f"The logits of {target.name}", logits, expected, allowed)
    return target


def _check_packages(format):
    if format not in SUFFIXES:
        raise unknown("format", format, SUFFIXES)
    missing = [name for name in _NEEDS[format] if not importlib.util.find_spec(name)]
    if missing:
        raise RuntimeError(
            f"The format {format} needs packages that are not installed: "
            f"`pip install {' '.join(missing)}`"
        )


def _check_precision(classifier):
    layers = keras_private.nested_layers(classifier)
    halves = {x.dtype_policy.name for x in layers if "float16" in x.compute_dtype}
    if halves:
        raise ValueError(
            "A classifier must compute in float32 to be written as a file. "
            f"Received: {', '.join(sorted(halves))}"
        )


def _failure(format, file, error):
    """What to say of a conversion that failed: the operators that are not known."""
    names = _unknown_onnx(file) if format == "onnx" else []
    names += re.findall(r"\bFlex([A-Z]\w+)|\btf\.([A-Z]\w+)|Op type: (\w+)", str(error))
    names = sorted({"".join(name) for name in names})
    what = f"the operators {names}" if names else f"{type(error).__name__}: {error}"
    return (
        f"The model cannot be written as {format}: its layers must come down to "
        f"operators that the format has. Received: {what}"
    )


def _unknown_onnx(file):
    """Operators of a file that ONNX does not define; tf2onnx leaves them in."""
    import onnx

    if not pathlib.Path(file).exists():
        return []
    graph = onnx.load(str(file)).graph
    return [n.op_type for n in graph.node if not onnx.defs.has(n.op_type, n.domain)]


def _run_onnx(file, images):
    from onnx.reference import ReferenceEvaluator

    session = ReferenceEvaluator(str(file))
    (logits,) = session.run(None, {session.input_names[0]: images})
    return logits


def _run_litert(file, images):
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(file))
    (taken,), (given,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )
    interpreter.resize_tensor_input(taken["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(taken["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(given["index"])


_RUN = {"onnx": _run_onnx, "litert": _run_litert}
