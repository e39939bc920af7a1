"""A classifier out as a SavedModel, laid out as TensorFlow Serving wants it.

TensorFlow backend only: SavedModel is its format. A `.keras` file written under
another backend loads under TensorFlow and is exported from there.
"""

import os
import pathlib
import re
import shutil

import keras
import numpy as np

from nfm_keras import records

# Ops that draw numbers. Not only those named Random: keras.random.truncated_normal,
# categorical and tf.random.Generator have others.
_RANDOM_OP = re.compile(
    "Random|Multinomial|TruncatedNormal|StatefulUniform|StatefulStandardNormal"
    "|Rng|DistortedBoundingBox|StatelessShuffle|CandidateSampler"
)


def export(classifier, path, *, version=None, record=None, classes=None):
    """Write a classifier as version folder `<path>/<version>/` of a SavedModel.

    The folder is written under a hidden name beside its place, loaded again, compared
    with the Keras model and only then renamed: a server that watches `path` never
    sees half a model, and a version that is there is never touched.

    Signatures, both with outputs `logits` and `probabilities`, float32
    `(batch, classes)`:

    * `serving_default`: `images`, float32 `(batch, height, width, channels)` in [0, 1].
    * `serving_uint8`: `images`, uint8 of the same shape, in [0, 255]. Only for models
      of images, that is with inputs of rank 4.

    Args:
        classifier: Keras model from images in [0, 1] to logits, built, without
            `NoisyFeatureMixup` layers.
        path: folder of the model, `savedmodels/<name>`; created if needed.
        version: int above 0. The next free one if None.
        record: `nfm_keras.records.Record` to write inside as `record.json`.
        classes: iterable of str, one name a logit, for `assets.extra/classes.txt`.

    Returns:
        `pathlib.Path` of the version folder.

    Raises:
        ValueError: if the model holds mixing layers or a random op, ends in a
            softmax, has several inputs or outputs, or if `classes` does not fit.
        FileExistsError: if `version` is there already.
        RuntimeError: under another backend, or if the SavedModel's outputs differ
            from the model's by more than rounding (1e-5 in float32).

    Example:

    >>> from nfm_keras import export  # doctest: +SKIP
    >>> export.export(classifier, "savedmodels/cifar10_nfm")  # doctest: +SKIP
    PosixPath('savedmodels/cifar10_nfm/1')
    """
    _check_backend()
    _check_model(classifier)
    classes = _checked_classes(classifier, classes)
    path = pathlib.Path(path)
    path.mkdir(parents=True, exist_ok=True)
    target = path / str(_version(path, version))
    # Not tempfile.mkdtemp: only the owner could read what it makes.
    temporary = path / f".{target.name}.{os.getpid()}.tmp"
    try:
        _write(classifier, temporary)
        _check_graph(temporary)
        _check_outputs(classifier, temporary)
        _add_notes(temporary, record, classes)
        _publish(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return target


def classify(path, images):
    """Classifies images with an exported model, as a client of a server would.

    Args:
        path: version folder that `export` returned.
        images: uint8 `(batch, height, width, channels)`.

    Returns:
        List of `(class name, probability)`, one an image; the class's number where
        no names were exported.

    Example:

    >>> classify("savedmodels/digits_nfm/1", images)  # doctest: +SKIP
    [('3', 0.97)]
    """
    import tensorflow as tf

    path = pathlib.Path(path)
    servable = tf.saved_model.load(str(path))
    outputs = servable.signatures["serving_uint8"](images=tf.constant(images))
    names = path / "assets.extra" / "classes.txt"
    names = names.read_text(encoding="utf-8").splitlines() if names.exists() else None
    best = outputs["probabilities"].numpy()
    labels = best.argmax(1)
    return [
        (names[k] if names else str(k), float(row[k])) for k, row in zip(labels, best)
    ]


def _check_backend():
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise RuntimeError(
            "A SavedModel is written by the TensorFlow backend. Save a .keras file "
            "and export it with KERAS_BACKEND=tensorflow. "
            f"Received: backend {backend!r}"
        )


def _check_model(classifier):
    # By class name too, so that a copy loaded under another module is caught.
    layers = list(classifier._flatten_layers(include_self=False))
    sites = [layer.name for layer in layers if _is_site(layer)]
    if sites:
        raise ValueError(
            "Export the classifier, not the model that was trained: mixing must not "
            "reach a server. `nfm_keras.remove_sites` takes the sites out. "
            f"Received: a model with NoisyFeatureMixup layers {sites}"
        )
    inputs, outputs = classifier.inputs, classifier.outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            "A classifier has one input and one output. "
            f"Received: {len(inputs)} input(s), {len(outputs)} output(s)"
        )
    last = outputs[0]._keras_history.operation
    activation = getattr(last, "activation", None)
    softmax = activation is keras.activations.softmax
    if softmax or isinstance(activation or last, keras.layers.Softmax):
        raise ValueError(
            "The classifier must end in logits, the softmax is added here. "
            f"Received: layer {last.name!r}, which is a softmax"
        )


def _is_site(layer):
    return any(kind.__name__ == "NoisyFeatureMixup" for kind in type(layer).__mro__)


def _checked_classes(classifier, classes):
    if classes is None:
        return None
    classes, expected = [str(name) for name in classes], classifier.output_shape[-1]
    if len(classes) != expected:
        raise ValueError(
            f"`classes` must hold {expected} names, one a logit. "
            f"Received: {len(classes)}"
        )
    return classes


def _version(path, version):
    taken = [int(entry.name) for entry in path.iterdir() if entry.name.isdecimal()]
    if version is None:
        return max(taken, default=0) + 1
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError(f"`version` must be an int above 0. Received: {version!r}")
    if version in taken:
        raise FileExistsError(
            f"{path / str(version)} exists; a version is never changed"
        )
    return version


def _write(classifier, folder):
    import tensorflow as tf

    def serve(images):
        # float32 out whatever the compute type: a client should not have to know.
        logits = tf.cast(classifier(images, training=False), tf.float32)
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    def serve_uint8(images):
        return serve(tf.cast(images, tf.float32) / 255.0)

    shape = (None, *classifier.input_shape[1:])
    endpoints = {"serving_default": (serve, tf.float32)}
    if len(shape) == 4:
        endpoints["serving_uint8"] = (serve_uint8, tf.uint8)
    # No archive.track(classifier): add_endpoint finds the variables itself, and those
    # tracked as well are stored twice.
    archive = keras.export.ExportArchive()
    for name, (function, dtype) in endpoints.items():
        images = tf.TensorSpec(shape, dtype, name="images")
        archive.add_endpoint(name, function, input_signature=[images])
    archive.write_out(str(folder), verbose=False)


def _check_graph(folder):
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel()
    proto.ParseFromString((folder / "saved_model.pb").read_bytes())
    found = {op for op in _ops(proto) if _RANDOM_OP.search(op)}
    if found:
        raise ValueError(
            "A served model must not draw random numbers. "
            f"Received: a graph with the ops {sorted(found)}"
        )


def _ops(proto):
    for graph in proto.meta_graphs:
        yield from (node.op for node in graph.graph_def.node)
        # The layers are here: a TensorFlow 2 graph only calls functions.
        for function in graph.graph_def.library.function:
            yield from (node.op for node in function.node_def)


def _check_outputs(classifier, folder):
    import tensorflow as tf

    images = np.random.default_rng(0).uniform(size=_sample_shape(classifier))
    images = tf.constant(images, tf.float32)
    # On the CPU: a GPU may choose another, less exact algorithm for either side.
    with tf.device("/CPU:0"):
        expected = tf.cast(classifier(images, training=False), tf.float32).numpy()
        servable = tf.saved_model.load(str(folder))
        served = servable.signatures["serving_default"](images=images)
    error = float(np.max(np.abs(served["logits"].numpy() - expected)))
    allowed = _rounding(classifier) * max(1.0, float(np.max(np.abs(expected))))
    if not error <= allowed:  # written so that NaN fails
        raise RuntimeError(
            f"The SavedModel's logits must equal the model's to {allowed:.1e}. "
            f"Received: a difference of {error:.1e}"
        )


def _sample_shape(classifier):
    # A free size (None) may be any size; 32 is large enough for the usual networks.
    return (2, *(size or 32 for size in classifier.input_shape[1:]))


def _rounding(classifier):
    # Half precision: a compiled graph fuses and orders ops otherwise than eager mode.
    layers = classifier._flatten_layers()
    types = {layer.compute_dtype for layer in layers}
    if "bfloat16" in types:
        return 2**-5
    return 2**-8 if "float16" in types else 1e-5


def _add_notes(folder, record, classes):
    if record is not None:
        records.save(record, folder / records.FILE)
    if classes is not None:
        extra = folder / "assets.extra"  # where TensorFlow Serving looks for extras
        extra.mkdir()
        text = "".join(f"{name}\n" for name in classes)
        (extra / "classes.txt").write_text(text, encoding="utf-8")


def _publish(temporary, target):
    try:
        # os.rename refuses a target that holds a model, so of two exports that
        # chose the same version one fails and neither is lost.
        os.rename(temporary, target)
    except OSError as error:
        if target.exists():
            message = f"{target} appeared meanwhile; a version is never changed"
            raise FileExistsError(message) from None
        raise OSError(error.errno, f"Cannot write {target}: {error.strerror}") from None
