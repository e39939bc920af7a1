"""Other people's networks by name: those of Keras, of keras-cv and of keras-hub."""

import importlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import layers, ops

from nfm_keras.backend import keras_private
from nfm_keras.checks import unknown
from nfm_keras.mixing.places import Places
from nfm_keras.mixing.sites import insert_sites
from nfm_keras.networks import name_table
from nfm_keras.networks.backbone_tables import APPLICATIONS, KERAS_CV, KERAS_HUB
from nfm_keras.networks.blocks import logits

# What a backbone expects, as `(scale, offset)` of images in [0, 1], by channel.
_RANGES: dict[str, tuple[Any, Any]] = {
    "unit": (1.0, 0.0),
    "bytes": (255.0, 0.0),  # it has layers of its own for what follows
    "symmetric": (2.0, -1.0),
    "imagenet": (
        [1 / 0.229, 1 / 0.224, 1 / 0.225],
        [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225],
    ),
    "caffe": (255.0, [-103.939, -116.779, -123.68]),  # of blue, green and red
}


class _Family(NamedTuple):
    package: str  # to import
    extra: str  # of ours, that installs it
    build: Callable[[str, tuple], tuple[keras.Model, str, list[str] | None]]


def backbone(
    name: str,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    width: float = 1.0,
    mean: Any = None,
    std: Any = None,
) -> keras.Model:
    """Builds a classifier from a backbone of another package, with sites.

    Its weights are random ones; those that its package publishes for ImageNet fit, and
    find images in the range that they were trained with (`--init_from`). A head
    follows: the mean over the image, and a dense layer to the logits.

    Sites stand at the input and at the last layer of each resolution that all features
    pass, but for the lowest resolution, which the head takes: at the levels that
    keras-cv and keras-hub call those of a pyramid.

    Args:
        name: One of `names()`.
        input_shape: `(height, width, channels)`, as small as the backbone takes.
        num_classes: Number of logits.
        width: Must be 1: what has widths has a name for each.
        mean, std: Not used; a backbone has its own normalisation.

    Returns:
        `keras.Model` from `(batch, *input_shape)` in [0, 1] to float32 logits. The
        backbone is its layer `"backbone"`.

    Raises:
        ValueError: For an unknown name, a package that is not installed, a width, or
            an image that the backbone cannot take.

    Example:

    >>> model = backbone("applications/mobilenet_v2", (32, 32, 3), 10)
    >>> model.get_layer("backbone").count_params()
    2257984
    """
    if name not in name_table.backbones():
        raise unknown("network", name, name_table.backbones())
    if width != 1:
        raise ValueError(f"{name!r} has no other width than 1. Received: {width!r}")
    family = _FAMILIES[name.partition("/")[0]]
    _check_installed(name, family)
    inner, pixels, places = _built(name, family, tuple(input_shape))
    inner = keras.Model(inner.inputs[0], inner.outputs[-1], name="backbone")
    if places is None:
        places = last_of_each_resolution(inner)
    images = keras.Input(input_shape, name="images")
    x = inner(_in_range(images, pixels))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(images, logits(x, num_classes), name=name.replace("/", "_"))
    return insert_sites(model, ["input", *(f"backbone/{place}" for place in places)])


def last_of_each_resolution(model: keras.Model) -> list[str]:
    """Returns good places for sites in a network of convolutions.

    Args:
        model: Functional model from images to features `(batch, height, width,
            channels)`.

    Returns:
        Names of layers: of those that every path from the input to the output passes,
        and that have weights before them, the last at each resolution but the lowest.
        Resolutions are powers of two of the image's.
    """
    side = model.input.shape[1]
    lowest = _level(side, model.output.shape[1])
    places, weights = {}, False
    passed = set(Places(model).passed_by_all())
    for layer in model.layers:
        weights |= bool(layer.trainable_variables)
        shape = tuple(getattr(layer.output, "shape", ()))
        padding = isinstance(layer, layers.ZeroPadding2D)
        if not (weights and layer.name in passed and len(shape) == 4) or padding:
            continue
        level = _level(side, shape[1])
        if level < lowest:
            places[level] = layer.name
    return [places[level] for level in sorted(places)]


def _level(side, smaller):
    return round(math.log2(side / smaller))


def _in_range(images, pixels):
    scale, offset = _RANGES[pixels]
    if pixels == "unit":
        return images
    if images.shape[-1] != 3 and not isinstance(offset, float):
        scale, offset = _RANGES["symmetric"]  # there are no statistics of its channels
    elif pixels == "caffe":
        images = ops.flip(images, axis=-1)
    layer = layers.Rescaling(scale, offset, dtype="float32", name="to_own_range")
    return layer(images)


def _check_installed(name, family):
    try:
        importlib.import_module(family.package)
    except ImportError as error:
        raise ValueError(
            f"{name!r} needs the package {family.package}: "
            f"pip install 'nfm-keras[{family.extra}]'. Received: {error}"
        ) from error


def _built(name, family, input_shape):
    if len(input_shape) != 3 or None in input_shape:
        raise ValueError(
            f"{name!r} must have images of a known (height, width, channels). "
            f"Received: {input_shape}"
        )
    try:
        # Or the names of its layers, and of its sites, would count what the process
        # has built before: "activation_96".
        with keras_private.names_from_start():
            return family.build(name.partition("/")[2], input_shape)
    except ValueError as error:
        raise ValueError(
            f"{name!r} must have images that it can take. Received: "
            f"{input_shape}, of which it says: {error}"
        ) from error


def _application(name, input_shape):
    builder, pixels = APPLICATIONS[name]
    model = getattr(keras.applications, builder)(
        include_top=False, weights=None, input_shape=input_shape
    )
    return model, pixels, None


def _keras_cv(name, input_shape):
    import keras_cv

    builder, settings = KERAS_CV[name]
    model = getattr(keras_cv.models, builder)(
        include_rescaling=False, input_shape=input_shape, **settings
    )
    levels = sorted(model.pyramid_level_inputs.items())
    return _without_lambdas(model), "unit", [place for _, place in levels[:-1]]


def _without_lambdas(model):
    """The same network without `Lambda` layers, which no file can safely hold.

    keras-cv 0.9.0 has them in CSPDarkNet alone, for SiLU.
    """

    def clone(layer):
        if isinstance(layer, keras.Sequential):
            return _without_lambdas(layer)
        if isinstance(layer, layers.Lambda):
            return layers.Activation("silu", name=layer.name)
        return layer

    return keras.models.clone_model(model, clone_function=clone)


def _keras_hub(name, input_shape):
    import keras_hub

    builder, settings = KERAS_HUB[name]
    model = getattr(keras_hub.models, builder)(image_shape=input_shape, **settings)
    levels = sorted(model.pyramid_outputs.items())
    made_by = [keras_private.source(tensor)[0].name for _, tensor in levels]
    return model, "unit", made_by[:-1]


_FAMILIES = {
    "applications": _Family("keras", "", _application),
    "keras_cv": _Family("keras_cv", "keras-cv", _keras_cv),
    "keras_hub": _Family("keras_hub", "keras-hub", _keras_hub),
}
