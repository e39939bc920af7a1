"""A network of images in [0, 255] as one of images in [0, 1]."""

import inspect
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from nfm_keras.backend import keras_private
from nfm_keras.backend.inner import Trainer, classifier_of, image_shape

# Where a network's own scaling puts them: what takes [0, 1] makes images larger or
# leaves them, by standard deviations below 1/2; what takes [0, 255] divides by 50 or
# more, or subtracts a mean of about 120.
_LARGEST_SCALE = 0.1
_LARGEST_CENTRE = 2.0


def unit_range(model: Any, factor: float | None = None) -> Any:
    """Returns a classifier of images in [0, 1], which is what is attacked and exported.

    Such a one is returned as it is. A graph whose input is of integers, or whose first
    layers scale images as [0, 255] has to be, is returned as one that multiplies its
    float32 input by 255 and shares layers and weights. Of a network that expects
    [0, 255] and does not scale, nobody can know: give the factor.

    Args:
        model: Keras model, `NFMModel` (its classifier is meant), or any callable. One
            input or output in a dict or list is taken out of it.
        factor: float, what to multiply images by whatever the layers say; `None` to
            look at them.

    Returns:
        Keras model; `model` where nothing is to be done or to be seen.

    Raises:
        ValueError: For layers that take no floats, a factor for a model that is no
            graph of one input, or an `NFMModel` with a `preprocess` to another range.

    Example:

    >>> classifier = unit_range(model, factor=255)  # doctest: +SKIP
    """
    if isinstance(model, Trainer):
        _check_preprocess(model)
    model = classifier_of(model)
    graph = keras_private.graph_of(model)
    if graph is None or len(graph.inputs) != 1:
        if factor is None:
            return model
        raise ValueError(
            "Only a functional or built Sequential model of one input can be scaled. "
            f"Received: {type(model).__name__}"
        )
    nested = tree.is_nested(graph.input) or tree.is_nested(graph.output)
    if nested and len(graph.outputs) == 1:
        model = keras.Model(graph.inputs[0], graph.outputs[0], name=model.name)
        graph = model
    floats = keras.backend.is_float_dtype(graph.inputs[0].dtype)
    if factor is None:
        factor = 255.0 if expects_bytes(graph) else 1.0
    if factor == 1 and (floats or len(graph.inputs[0].shape) != 4):
        return model
    return _scaled(graph, model.name, factor)


def expects_bytes(model: Any) -> bool:
    """Returns whether a network shows that it is one of images in [0, 255].

    Its input is of integers, or the layers before the first with weights are for
    [0, 255]: they are run on images of one number, 0, 1 and 2, as far as what they do
    is a factor and an offset. What is no image `(height, width, channels)`, a table or
    the numbers of words, has whatever range it has.

    Args:
        model: Keras model; of one without a graph of one input nobody can tell.

    Example:

    >>> layers = keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 255)
    >>> expects_bytes(keras.Sequential([*layers, keras.layers.Flatten()]))
    True
    """
    graph = keras_private.graph_of(model)
    if graph is None or len(graph.inputs) != 1:
        return False
    shape = [side or 32 for side in graph.inputs[0].shape[1:]]
    if len(shape) != 3:
        return False
    if not keras.backend.is_float_dtype(graph.inputs[0].dtype):
        return True
    images = np.stack([np.full(shape, value, "float32") for value in range(3)])
    offset, scale = _scaling(graph, ops.convert_to_tensor(images), (0.0, 1.0))
    small = np.max(np.abs(scale)) < _LARGEST_SCALE
    return bool(small or np.max(np.abs(offset / scale)) > _LARGEST_CENTRE)


def other_range(preprocess: Any, shape: tuple) -> str:
    """Says which range a `preprocess` leads to, where that is not the images' own.

    It may leave images as they are, or scale those of [0, 255] to [0, 1], whatever else
    it does to them; it is tried on images of one grey.

    Args:
        preprocess: Layer or function of a batch of images; `None` for none.
        shape: Of an image.

    Returns:
        str such as `"-1 to 1"`; empty where the range is the images' own, or cannot be
        told.
    """
    shape = tuple(side or 32 for side in shape)
    if preprocess is None or len(shape) != 3:
        return ""
    greys = np.array([0, 51, 255], "float32")
    images = np.stack([np.full(shape, grey, "float32") for grey in greys])
    options = {"training": False} if isinstance(preprocess, keras.Layer) else {}
    try:
        found, unit = (
            ops.convert_to_numpy(preprocess(ops.convert_to_tensor(x), **options))
            for x in (images, images / 255)
        )
    except Exception:  # of whatever a foreign function does with images of ours
        return ""
    if len(found) != 3 or found.dtype.kind not in "fiu":
        return ""
    for made, own in ((found, greys), (found, greys / 255), (unit, greys / 255)):
        if all(np.allclose(m, o, atol=1e-2 * own[-1]) for m, o in zip(made, own)):
            return ""
    return f"{found.min():.3g} to {found.max():.3g} for images in [0, 255]"


def _check_preprocess(model):
    """Refuses a network that was trained on another range than it is given."""
    if range_ := other_range(model.preprocess, image_shape(model.model)):
        raise ValueError(
            "A classifier takes images in [0, 1] or [0, 255]: put the `preprocess` "
            f"into it, as its first layer. Received: one that leads to {range_}"
        )


def _scaled(graph, name, factor):
    layer = keras.layers.Rescaling(factor, dtype="float32", name="from_unit_range")
    try:
        return _with_floats(graph, name, layer)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "A classifier must take floats in [0, 1], or integers from 0 to 255 in a "
            f"first layer that takes floats too. Received: {name!r}, {error}"
        ) from error


def _with_floats(graph, name, layer=None):
    """The graph from float32, multiplied by a layer."""
    (old,) = graph.inputs
    kept = {}  # id of a tensor -> what is taken instead; alive, or ids are not unique

    def clone(other):
        inner = keras_private.graph_of(other)
        if inner is None or len(inner.inputs) != 1:
            return other
        floats = keras.backend.is_float_dtype(inner.inputs[0].dtype)
        # A nested model would cut floats to its integers.
        return other if floats else _with_floats(inner, other.name)

    def call(other, *args, **kwargs):
        args, kwargs = tree.map_structure(lambda x: kept.get(id(x), x), (args, kwargs))
        return other(*args, **kwargs)

    images = keras_private.input_like(old, dtype="float32")
    if layer is not None:
        kept[id(images)] = layer(images)
    inputs = tree.pack_sequence_as(graph.input, [images])
    model = keras.models.clone_model(
        graph, input_tensors=inputs, clone_function=clone, call_function=call
    )
    model.name = name
    return model


def _scaling(graph, images, found):
    """`(offset, scale)` of a graph's first layers."""
    tensor = graph.inputs[0]
    while True:
        calls = [c for c in keras_private.graph_calls(graph) if _takes(c, tensor)]
        if len(calls) != 1:
            return found
        ((operation, taken, (output, *more)),) = calls
        inner = keras_private.graph_of(operation)
        if inner is not None and len(inner.inputs) == 1:
            return _scaling(inner, images, found)
        if more or len(taken) > 1 or not _may_scale(operation):
            return found
        images = _run(operation, images, tensor, output)
        if images is None:
            return found
        offset, scale = _line(images)
        if scale is None:
            return found
        found, tensor = (offset, scale), output


def _takes(call, tensor):
    return any(x is tensor for x in call[1])


def _may_scale(operation):
    norms = keras.layers.Normalization, keras.layers.BatchNormalization
    return isinstance(operation, norms) or not getattr(operation, "weights", [])


def _run(operation, images, tensor, output):
    """What an operation of a graph makes of images; None if it cannot be run so."""
    try:
        if isinstance(operation, keras.layers.BatchNormalization):
            return _normalised(operation, images)
        if "training" in inspect.signature(operation.call).parameters:
            return operation(images, training=False)
        return keras.Function(tensor, output)(images)
    except (TypeError, ValueError, NotImplementedError):
        return None


def _normalised(layer, images):
    """By the moving statistics alone: gamma and beta say nothing of the input."""
    shape = [1] * len(images.shape)
    shape[layer.axis] = -1
    mean, variance = (
        ops.reshape(ops.cast(value, "float32"), shape)
        for value in (layer.moving_mean, layer.moving_variance)
    )
    return (images - mean) / ops.sqrt(variance + layer.epsilon)


def _line(images):
    """`(offset, scale)` of numbers at 0, 1 and 2; `(None, None)` of no line."""
    at = ops.convert_to_numpy(ops.cast(images, "float32"))
    if len(at) != 3 or not np.all(np.isfinite(at)):
        return None, None
    offset, scale = at[0], at[1] - at[0]
    straight = np.allclose(at[2], offset + 2 * scale, rtol=1e-2, atol=1e-2)
    return (offset, scale) if straight and np.all(scale) else (None, None)
