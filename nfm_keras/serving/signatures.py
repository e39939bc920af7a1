"""The signatures of an exported classifier: what a server may be asked, as graphs."""

from typing import Any, NamedTuple

import keras
import numpy as np

from nfm_keras.backend import keras_private
from nfm_keras.serving import decoding
from nfm_keras.serving.requests import BYTES, FLOAT, UINT8

FEATURES = "features"


class Signature(NamedTuple):
    """One way to ask a model.

    Attributes:
        name: str. What a request calls it.
        function: Function of the one input that returns a dict of named outputs; a
            graph can trace it.
        spec: `tf.TensorSpec` of the input, with its name.
        about: str. What it takes, for a reader.
    """

    name: str
    function: Any
    spec: Any
    about: str


def signatures(model, names, float16=False, sigmoid=False, eval_crop=None):
    """Lists the signatures of a model. TensorFlow backend.

    Each answers with `logits` and `probabilities`, float32 `(batch, classes)`, and
    `classes`, string `(batch,)`: the name of the most probable class.

    * `serving_default`: `images`, float32 `(batch, height, width, channels)` in [0, 1].
    * `serving_uint8`: `images`, uint8 of the same shape, in [0, 255].
    * `serving_bytes`: `image_bytes`, string `(batch,)`: JPEG or PNG files, see
      `nfm_keras.serving.decoding.decode`. Only where the network takes images of a
      fixed size with 1 or 3 channels; `serving_uint8` only where it takes images.
    * `features`: images as `serving_default` takes them to `features`, float32, the
      model's second output. Only for a model that `with_features` made.

    Any batch size will do but 0: an empty batch is an InvalidArgumentError.

    Args:
        model: Keras model from images in [0, 1] to logits, or to logits and features.
        names: Iterable of str, one a class.
        float16: Whether to store the weights in half precision; the graph casts them
            back to the type that they had, so only storage is saved and rounded.
        sigmoid: Whether probabilities are sigmoids of the logits, each for itself. One
            logit alone is then that of the second of two names.
        eval_crop: float. Share of the shorter side of a file that the network is shown;
            `None` for all of it. See `nfm_keras.serving.decoding.decode`.

    Returns:
        List of `Signature`. They share one graph of the network and one set of weights.

    Raises:
        ValueError: If a weight is too large for half precision.
    """
    import tensorflow as tf

    shape = (None, *model.input_shape[1:])
    images = tf.TensorSpec(shape, tf.float32, name="images")
    run = tf.function(_network(model, float16), [images], autograph=False)

    def serve(images):
        logits = run(images)[0]
        single = logits.shape[-1] == 1
        best = logits[:, 0] > 0 if single else tf.argmax(logits, -1)
        return {
            "logits": logits,
            "probabilities": (tf.nn.sigmoid if sigmoid else tf.nn.softmax)(logits),
            "classes": tf.gather(tf.constant(list(names)), tf.cast(best, tf.int32)),
        }

    offered = [Signature(FLOAT, serve, images, "images in [0, 1]")]
    if len(shape) == 4:
        offered.append(_uint8(serve, shape))
    if len(shape) == 4 and None not in shape[1:] and shape[-1] in (1, 3):
        offered.append(_bytes(serve, shape[1:], eval_crop))
    if len(model.outputs) == 2:
        about = "images in [0, 1], to what the last layer sees"
        offered.append(
            Signature(FEATURES, lambda x: {FEATURES: run(x)[1]}, images, about)
        )
    return offered


def with_features(classifier):
    """Returns the model with a second output: the input of its last `Dense` layer.

    Args:
        classifier: Keras model with one output. Between that and the `Dense` layer
            there may be layers of one input, such as an activation.

    Raises:
        ValueError: If the output is reached in another way.
    """
    tensor = classifier.outputs[0]
    while True:
        layer, inputs = keras_private.source(tensor)
        if isinstance(layer, keras.layers.Dense):
            (image,) = classifier.inputs  # a list would ask for lists
            return keras.Model(image, [*classifier.outputs, inputs[0]])
        if len(inputs) != 1:
            raise ValueError(
                "The features are the input of the last Dense layer, after which only "
                "layers of one input may come. "
                f"Received: {type(layer).__name__} {layer.name!r}"
            )
        (tensor,) = inputs


def example(name, images, eval_crop=None):
    """Returns what a client sends to a signature for some images.

    Args:
        name: Name of the signature.
        images: float32 `(batch, ...)` in [0, 1], multiples of 1/255 for equal answers.
        eval_crop: As in `signatures`. Files get a margin that is cut off again.

    Returns:
        Tensor: the images, as uint8, or as PNG files.
    """
    import tensorflow as tf

    images = tf.constant(images, tf.float32)
    if name not in (UINT8, BYTES):
        return images
    pixels = tf.cast(tf.round(images * 255.0), tf.uint8)
    if name == UINT8:
        return pixels
    if eval_crop is not None:
        size = pixels.shape[1]
        margin = round(size / eval_crop) - size
        before = round(margin / 2)
        sides = [before, margin - before]
        pixels = tf.pad(pixels, [[0, 0], sides, sides, [0, 0]])
    return tf.stack([tf.io.encode_png(image) for image in pixels])


def _uint8(serve, shape):
    import tensorflow as tf

    def serve_uint8(images):
        return serve(tf.cast(images, tf.float32) / 255.0)

    spec = tf.TensorSpec(shape, tf.uint8, name="images")
    return Signature(UINT8, serve_uint8, spec, "images in [0, 255]")


def _bytes(serve, shape, eval_crop):
    import tensorflow as tf

    # The suffix tells the server's REST interface that these strings are binary.
    spec = tf.TensorSpec((None,), tf.string, name="image_bytes")

    def decode(image_bytes):
        return decoding.decode(image_bytes, shape, eval_crop)

    # Traced here, once: what an export asks for is traced two times.
    images = tf.function(decode, [spec], autograph=False).get_concrete_function()

    def serve_bytes(image_bytes):
        return serve(images(image_bytes))

    about = "JPEG or PNG files"
    if eval_crop is not None:
        short = round(shape[0] / eval_crop)
        about += f", the shorter side resized to {short}, the centre cut out"
    return Signature(BYTES, serve_bytes, spec, about)


def _network(model, float16):
    import tensorflow as tf

    call = _half(model) if float16 else lambda x: model(x, training=False)

    def run(images):
        shape = tf.shape(images)
        # Some kernels refuse an empty batch, in words of their own.
        not_empty = tf.raw_ops.Assert(
            condition=shape[0] > 0,
            data=["A batch must hold an image. Received: images of shape", shape],
            summarize=4,
        )
        with tf.control_dependencies([not_empty]):
            images = tf.identity(images)
        # float32 out whatever the compute type: a client should not have to know.
        outputs = keras.tree.flatten(call(images))
        return [tf.cast(output, tf.float32) for output in outputs]

    return run


def _half(model):
    """Returns the model's call with weights that are stored in half precision."""
    import tensorflow as tf

    groups = model.trainable_variables, model.non_trainable_variables
    stored = [[_rounded(weight) for weight in group] for group in groups]

    def call(images):
        values = [
            [tf.cast(half, weight.dtype) for half, weight in zip(halves, group)]
            for halves, group in zip(stored, groups)
        ]
        return model.stateless_call(*values, images, training=False)[0]

    return call


def _rounded(weight):
    import tensorflow as tf

    value = keras.ops.convert_to_numpy(weight)
    if value.dtype != np.float32:
        return tf.Variable(value, trainable=weight.trainable)
    largest = np.max(np.abs(value), initial=0.0)
    if largest > np.finfo(np.float16).max:
        raise ValueError(
            "Half precision holds weights up to 65504. "
            f"Received: {weight.path} with {largest:.3g}"
        )
    return tf.Variable(value.astype(np.float16), trainable=weight.trainable)
