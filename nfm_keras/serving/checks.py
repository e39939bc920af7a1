"""What must hold before a classifier is served: of model, graph and numbers."""

import pathlib
import re

import keras
import numpy as np

from nfm_keras.backend import keras_private
from nfm_keras.backend.heads import ends_in_logits, head
from nfm_keras.backend.unit_range import unit_range
from nfm_keras.serving import signatures

# Ops that draw numbers. Not all are named Random: keras.random.truncated_normal,
# categorical and tf.random.Generator have others.
_RANDOM_OP = re.compile(
    "Random|Multinomial|TruncatedNormal|StatefulUniform|StatefulStandardNormal"
    "|Rng|DistortedBoundingBox|StatelessShuffle|CandidateSampler"
)

# They call back into the Python process that traced them.
_PYTHON_OP = re.compile("^(Eager)?PyFunc(Stateless)?$")


def check_classifier(classifier):
    """Checks what can be seen of a Keras model before it is traced.

    Args:
        classifier: Keras model, built.

    Returns:
        Keras model from images in [0, 1], as `unit_range` makes one.

    Raises:
        RuntimeError: Under another backend than TensorFlow.
        ValueError: If it holds `NoisyFeatureMixup` layers, is no graph, has several
            inputs or outputs, or ends in probabilities other than of sigmoids.
    """
    _check_backend()
    _check_sites(classifier)
    if keras_private.graph_of(classifier) is None:
        raise ValueError(
            "To be exported a classifier must be a functional model, or a Sequential "
            "one with an Input: of one in code make `keras.Model(inputs, "
            "model(inputs))` with `inputs = keras.Input(...)`. "
            f"Received: {type(classifier).__name__}"
        )
    inputs, outputs = classifier.inputs, classifier.outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            "A classifier has one input and one output. "
            f"Received: {len(inputs)} input(s), {len(outputs)} output(s)"
        )
    if not keras.backend.is_float_dtype(inputs[0].dtype) and len(inputs[0].shape) != 4:
        raise ValueError(
            "What is exported takes images, or other floats. Export a network of "
            "integers that are no images by its own `export`. "
            f"Received: input {inputs[0].name!r} of {inputs[0].dtype}, shape "
            f"{inputs[0].shape}"
        )
    last, _ = keras_private.source(outputs[0])
    kind = head(classifier)
    classifier = unit_range(classifier)
    what = f"which is a {kind}" if kind else _probabilities(classifier)
    if what and kind != "sigmoid":
        raise ValueError(
            "The classifier must end in logits or sigmoids, a softmax is added here; "
            "a last `Activation('linear')` says that any other numbers are logits. "
            f"Received: layer {last.name!r}, {what}"
        )
    return classifier


def check_graph(folder):
    """Checks that a SavedModel is a graph alone: the same answer every time, anywhere.

    Args:
        folder: `pathlib.Path` of a SavedModel.

    Raises:
        ValueError: For an op that draws random numbers or calls Python, or an object
            that needs Keras to be loaded.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel()
    proto.ParseFromString((pathlib.Path(folder) / "saved_model.pb").read_bytes())
    operations = set(_ops(proto))
    _refuse("draw random numbers", filter(_RANDOM_OP.search, operations))
    _refuse("call Python", filter(_PYTHON_OP.search, operations))
    _refuse("need Keras", (name for name in _objects(proto) if "keras" in name))


def check_outputs(model, folder, float16=False, eval_crop=None):
    """Asks every signature of a SavedModel, and compares with the Keras model.

    Args:
        model: Keras model from images to logits, or to logits and features.
        folder: Folder of the SavedModel made from it.
        float16: Whether its weights were rounded to half precision.
        eval_crop: As in `nfm_keras.serving.signatures.signatures`.

    Returns:
        float, the largest difference of an output.

    Raises:
        RuntimeError: If an output differs by more than rounding explains: 1e-5 in
            float32, 2^-8 in float16, 2^-5 in bfloat16, times the largest output where
            that is above 1.
    """
    import tensorflow as tf

    images = example_images(model)
    # On the CPU: a GPU may choose another, less exact algorithm for either side.
    with tf.device("/CPU:0"):
        outputs = keras.tree.flatten(model(tf.constant(images), training=False))
        answers = _ask(folder, images, eval_crop)
    outputs = [tf.cast(output, tf.float32).numpy() for output in outputs]
    expected = dict(zip(("logits", signatures.FEATURES), outputs))
    allowed = rounding(model, float16)
    return max(
        compare(f"The SavedModel's {key} of {name}", answer[key], value, allowed)
        for name, answer in answers.items()
        for key, value in expected.items()
        if key in answer
    )


def example_images(model, batch=2):
    """Returns images of a fixed seed that a model takes, as 8-bit files hold them.

    Args:
        model: Keras model of one input. A side that is free is 32 long.
        batch: How many.

    Returns:
        float32 `(batch, ...)` in [0, 1].
    """
    shape = (batch, *(size or 32 for size in model.input_shape[1:]))
    pixels = np.random.default_rng(0).integers(0, 256, shape)
    return (pixels / 255).astype(np.float32)


def compare(what, received, expected, allowed, to="the model's"):
    """Returns the largest difference of two arrays.

    Args:
        what: str, for the error: `"The SavedModel's logits"`.
        received, expected: Arrays.
        allowed: float, times the largest expected value where that is above 1.
        to: str, for the error: whose the expected values are.

    Raises:
        RuntimeError: If they differ by more or in shape, or are not finite.

    Example:

    >>> compare("The logits", [1.0, 2.0], [1.0, 2.5], allowed=0.5)
    0.5
    """
    received, expected = np.asarray(received), np.asarray(expected)
    same = received.shape == expected.shape
    error = float(np.max(np.abs(received - expected))) if same else np.inf
    allowed *= max(1.0, float(np.max(np.abs(expected))))
    if not error <= allowed:  # written so that NaN fails
        raise RuntimeError(
            f"{what} must equal {to} to {allowed:.1e}. "
            f"Received: a difference of {error:.1e}"
        )
    return error


def rounding(model, float16=False):
    """Returns the difference that a model's types explain, relative to its outputs.

    In half precision it is larger than the rounding of one number: a compiled graph
    fuses and orders ops otherwise than eager mode.

    Args:
        model: Keras model.
        float16: Whether its weights were rounded to half precision.
    """
    types = {layer.compute_dtype for layer in keras_private.nested_layers(model)}
    if "bfloat16" in types:
        return 2**-5
    return 2**-8 if float16 or "float16" in types else 1e-5


def _probabilities(classifier):
    """What numbers say that a layer in code hides; an empty string for logits."""
    answer = classifier(example_images(classifier), training=False)
    answer = np.asarray(answer).astype("float32")
    allowed = rounding(classifier)
    within = (answer >= 0) & (answer <= 1 + allowed)
    if answer.ndim != 2 or not within.all() or not answer.any():
        return ""
    several = answer.shape[-1] > 1
    if several and np.allclose(answer.sum(-1), 1, rtol=0, atol=allowed):
        return "which is a softmax"
    return "" if ends_in_logits(classifier) else "whose outputs are all in [0, 1]"


def _check_backend():
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise RuntimeError(
            "A SavedModel is written by the TensorFlow backend. Save a .keras file "
            "and export it with KERAS_BACKEND=tensorflow. "
            f"Received: backend {backend!r}"
        )


def _check_sites(classifier):
    # By class name too, so that a copy loaded under another module is caught.
    # Those that a layer of someone's own holds cannot be taken out, and are silent.
    layers = _graph_layers(classifier)
    sites = [layer.name for layer in layers if _is_site(layer)]
    if sites:
        raise ValueError(
            "Export the classifier, not the model that was trained: mixing must not "
            "reach a server. `nfm_keras.remove_sites` takes the sites out. "
            f"Received: a model with NoisyFeatureMixup layers {sites}"
        )


def _graph_layers(model):
    for layer in getattr(model, "layers", ()):
        yield layer
        if isinstance(layer, keras.Model):
            yield from _graph_layers(layer)


def _is_site(layer):
    return any(kind.__name__ == "NoisyFeatureMixup" for kind in type(layer).__mro__)


def _refuse(act, names):
    names = sorted(names)
    if names:
        raise ValueError(
            f"A served model must not {act}. Received: a graph with {names}"
        )


def _ops(proto):
    for graph in proto.meta_graphs:
        yield from (node.op for node in graph.graph_def.node)
        # The layers are here: a TensorFlow 2 graph only calls functions.
        for function in graph.graph_def.library.function:
            yield from (node.op for node in function.node_def)


def _objects(proto):
    for graph in proto.meta_graphs:
        yield from (n.user_object.identifier for n in graph.object_graph_def.nodes)


def _ask(folder, images, eval_crop):
    import tensorflow as tf

    servable = tf.saved_model.load(str(folder))
    answers = {}
    for name, signature in servable.signatures.items():
        (key,) = signature.structured_input_signature[1]
        answers[name] = signature(**{key: signatures.example(name, images, eval_crop)})
    return answers
