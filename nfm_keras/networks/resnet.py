"""Residual networks of bottleneck blocks, for large images."""

from typing import Any

import keras
from keras import layers

from nfm_keras.mixing.layer import NoisyFeatureMixup
from nfm_keras.networks.blocks import (
    BatchNormalization,
    channels,
    conv,
    image_input,
    logits,
    norm_relu,
    normalize,
)

_LEAST = 17  # so that a second pixel is left to be halved at last

# He's law over the outputs of a kernel: the one PyTorch's ResNets start from.
_INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_out", "distribution": "untruncated_normal"},
}


def resnet50(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    width: float = 1.0,
    **options: Any,
) -> keras.Model:
    """Builds ResNet-50 v1.5 for 224x224 images, as the paper's ImageNet table used it.

    The stride of a stage is in its 3x3 convolution. 25.6 M parameters and 4.1 G
    multiply-adds at `width=1` and 1000 classes. Sites: the normalised input and the
    outputs of stages 1 to 3.

    Args:
        input_shape: `(height, width, channels)`.
        num_classes: Number of logits.
        width: Multiplies the channels 64, 128, 256, 512 of the bottlenecks.
        **options: See `resnet`.

    Returns:
        `keras.Model` from [0, 1] images `(batch, *input_shape)` to logits.

    Raises:
        ValueError: For a bad `width` or `input_shape`, such as one of less than 17
            pixels a side.

    Example:

    >>> model = resnet50((224, 224, 3), 1000)

    Reference:
        [He et al., 2015](https://arxiv.org/abs/1512.03385), table 1.
    """
    _check_sides(input_shape)
    stages = _stages(width, (3, 4, 6, 3))
    return resnet(input_shape, num_classes, stages, name="resnet50", **options)


def resnet101(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    width: float = 1.0,
    **options: Any,
) -> keras.Model:
    """Builds ResNet-101: `resnet50` with 23 blocks in the third stage.

    44.5 M parameters at `width=1` and 1000 classes.

    Args:
        input_shape: As in `resnet50`.
        num_classes: As there.
        width: As there.
        **options: As there.

    Returns:
        `keras.Model` from [0, 1] images `(batch, *input_shape)` to logits.

    Raises:
        ValueError: For a bad `width` or `input_shape`, such as one of less than 17
            pixels a side.
    """
    _check_sides(input_shape)
    stages = _stages(width, (3, 4, 23, 3))
    return resnet(input_shape, num_classes, stages, name="resnet101", **options)


def resnet(
    input_shape,
    num_classes,
    stages,
    zero_init=False,
    mean=None,
    std=None,
    name="resnet",
):
    """Builds a residual network of bottleneck blocks with sites.

    The stride of a stage is in the 3x3 convolution of its first block (version
    1.5), not in the 1x1 before it as in He et al.

    Args:
        input_shape: `(height, width, channels)`.
        num_classes: Number of logits.
        stages: `[(channels, blocks), ...]`; the blocks of a stage put out four
            times its channels, and each stage after the first halves the image.
        zero_init: Whether the last batch norm of each block starts with a scale of
            0, so that the network starts as a shallow one
            ([Goyal et al., 2017](https://arxiv.org/abs/1706.02677), section 5.1).
        mean: Per-channel mean of the [0, 1] images; `None` for no normalisation.
        std: Their standard deviation.
        name: Name of the model.

    Returns:
        `keras.Model` from [0, 1] images `(batch, *input_shape)` to logits.

    Raises:
        ValueError: For a bad `input_shape`.
    """
    images = image_input(input_shape)
    x = NoisyFeatureMixup(name="site_0")(normalize(images, mean, std))
    x = norm_relu(_conv(x, stages[0][0], 7, 2, name="stem"), "stem")
    # After a ReLU, zeros around the image are what PyTorch's padding amounts to.
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    x = layers.MaxPooling2D(3, 2, name="stem_pool")(x)
    for stage, (filters, blocks) in enumerate(stages, start=1):
        for block in range(1, blocks + 1):
            strides = 2 if stage > 1 and block == 1 else 1
            x = _block(x, filters, strides, zero_init, f"stage{stage}_block{block}")
        if stage < len(stages):
            x = NoisyFeatureMixup(name=f"site_{stage}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, logits(x, num_classes), name=name)


def _stages(width, blocks):
    return [(channels(width, base), n) for base, n in zip((64, 128, 256, 512), blocks)]


def _check_sides(input_shape):
    sides = input_shape[:2] if len(input_shape) == 3 else ()
    if any(side is not None and side < _LEAST for side in sides):
        raise ValueError(
            f"A residual network of bottlenecks halves images five times: they must "
            f"have at least {_LEAST} pixels a side. "
            f"Received: input_shape={tuple(input_shape)}"
        )


def _block(x, filters, strides, zero_init, name):
    y = norm_relu(_conv(x, filters, 1, name=f"{name}_conv1"), f"{name}_1")
    y = norm_relu(_conv(y, filters, 3, strides, name=f"{name}_conv2"), f"{name}_2")
    y = _conv(y, 4 * filters, 1, name=f"{name}_conv3")
    first = "zeros" if zero_init else "ones"
    y = BatchNormalization(gamma_initializer=first, name=f"{name}_3_norm")(y)
    if strides > 1 or x.shape[-1] != 4 * filters:
        x = _conv(x, 4 * filters, 1, strides, name=f"{name}_skip")
        x = BatchNormalization(name=f"{name}_skip_norm")(x)
    x = layers.Add(name=f"{name}_sum")([y, x])
    return layers.ReLU(name=f"{name}_out")(x)


def _conv(x, filters, kernel, strides=1, name=None):
    return conv(x, filters, kernel, strides, name, _INITIALIZER)
