"""Requests that TensorFlow Serving plays to a new version before clients reach it."""

import warnings

import numpy as np

FILE = "tf_serving_warmup_requests"
"""Its name inside `assets.extra`, which the server prescribes."""


def write(folder, model, requests):
    """Writes the warm-up file: a TFRecord of `PredictionLog`, one a signature.

    Without `tensorflow-serving-api`, which has the message's definition, a warning says
    so and nothing is written: the server then merely answers its first request slowly.

    Args:
        folder: `pathlib.Path` of `assets.extra`.
        model: str. Name of the model.
        requests: Dict from a signature's name to `(input name, tensor)`.

    Returns:
        `pathlib.Path` of the file; `None` where it is not written.

    Example:

    >>> write(extra, "digits", {"serving_default": ("images", x)})  # doctest: +SKIP
    PosixPath('savedmodels/digits/1/assets.extra/tf_serving_warmup_requests')
    """
    import tensorflow as tf

    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError:
        warnings.warn(
            "The SavedModel has no warm-up requests: they need "
            "`pip install tensorflow-serving-api`",
            stacklevel=2,
        )
        return None
    path = folder / FILE
    with tf.io.TFRecordWriter(str(path)) as file:
        for signature, (name, value) in requests.items():
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name = model
            request.model_spec.signature_name = signature
            request.inputs[name].CopyFrom(tf.make_tensor_proto(np.asarray(value)))
            file.write(log.SerializeToString())
    return path
