"""The networks by name."""

import functools
import importlib
import inspect
import numbers
import types
from collections.abc import Callable, Mapping
from typing import Any

import keras

from nfm_keras.backend import heads, keras_private, unit_range
from nfm_keras.checks import check_count, is_number, unknown
from nfm_keras.imported import imported, is_imported
from nfm_keras.networks import backbones, name_table

NETWORKS: Mapping[str, Callable[..., keras.Model]] = types.MappingProxyType(
    {
        name: getattr(importlib.import_module(f"nfm_keras.networks.{module}"), name)
        for name, module in name_table.OWN.items()
    }
)
"""Name -> builder, of our own networks."""


def build(
    name: str,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    width: float = 1.0,
    **options: Any,
) -> keras.Model:
    """Builds a network by name.

    Args:
        name: One of `networks.names()`; or `"module:function"`, a function of your own
            that takes `(input_shape, num_classes)` and what it has arguments for of
            `width`, `mean`, `std` and the options, and returns such a model.
        input_shape: Shape of one sample, `(height, width, channels)` or `(features,)`.
        num_classes: Number of logits.
        width: Multiplies the channels: 1 is the published network, 2 its
            double-width twin; of `wide_resnet` it is the widening factor. Backbones
            of other packages have no other width than 1.
        **options: Passed to the builder.

    Returns:
        `keras.Model` from `(batch, *input_shape)` in [0, 1] to float32 logits.

    Raises:
        ValueError: For an unknown name, a shape without a known number of channels,
            classes or a width that are not positive, an option that the builder refuses
            or does not have, or Keras' channels set to come first.

    Example:

    >>> model = build("preact_resnet18", (32, 32, 3), 10, width=0.25)
    >>> model = build("applications/mobilenet_v2", (32, 32, 3), 10)
    """
    builder = _builder(name)
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "Networks take images with their channels last: "
            "keras.config.set_image_data_format('channels_last'). "
            f"Received: {keras.config.image_data_format()!r}"
        )
    check_count("num_classes", num_classes)
    try:
        return builder(_shape(input_shape), num_classes, width=width, **options)
    except TypeError as error:
        if "keyword argument" not in str(error):
            raise
        raise ValueError(
            f"Network '{name}' must have the options it is given. Received: {error}"
        ) from None


def _shape(input_shape):
    sides = input_shape if isinstance(input_shape, (tuple, list)) else ()
    known = [side for side in sides[:-1] if side is not None] + [*sides[-1:]]
    if not known or not all(is_number(s, numbers.Integral) and s > 0 for s in known):
        raise ValueError(
            "`input_shape` must be the shape of one sample, (height, width, channels) "
            "or (features,), of positive integers; sides of an image may be None. "
            f"Received: {input_shape!r}"
        )
    return tuple(input_shape)


def _builder(name):
    if name in NETWORKS:
        return NETWORKS[name]
    if name in name_table.backbones():
        return functools.partial(backbones.backbone, name)
    if is_imported(name):
        return functools.partial(_own, name)
    raise unknown("network", name, name_table.names())


def _own(name, input_shape, num_classes, **options):
    """The network of somebody's own function, which gets what it has arguments for."""
    function = imported("network", name)
    taken = inspect.signature(function).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in taken.values())
    if options.get("width", 1) != 1 and not (takes_all or "width" in taken):
        raise ValueError(
            f"{name!r} has no argument `width`. Received: width={options['width']}"
        )
    usual = "width", "mean", "std"
    options = {
        key: value
        for key, value in options.items()
        if takes_all or key in taken or key not in usual
    }
    model = function(input_shape, num_classes, **options)
    if not isinstance(model, keras.Model) or model.output_shape[1:] != (num_classes,):
        raise ValueError(
            f"{name!r} must return a keras.Model with {num_classes} logits. "
            f"Received: {getattr(model, 'output_shape', type(model).__name__)}"
        )
    nested = keras_private.nested_layers(model)
    held = [layer.name for layer in nested if isinstance(layer, keras.layers.Lambda)]
    if held:
        raise ValueError(
            f"{name!r} must return a network without Lambda layers, which no file can "
            f"hold: register a layer instead. Received: {', '.join(held)}"
        )
    kind = heads.head(model)
    if kind:
        raise ValueError(
            f"{name!r} must return logits, as from classifier_activation=None. "
            f"Received: a network that ends in a {kind}"
        )
    if unit_range.expects_bytes(model):
        raise ValueError(
            f"{name!r} must return a network of images in [0, 1]. Received: one of "
            "[0, 255], with a Rescaling or an integer input"
        )
    return model
