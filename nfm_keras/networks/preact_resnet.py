"""Pre-activated residual networks for small images."""

from typing import Any

import keras
from keras import layers

from nfm_keras.mixing.layer import NoisyFeatureMixup
from nfm_keras.networks.blocks import (
    channels,
    conv,
    image_input,
    logits,
    norm_relu,
    normalize,
)


def preact_resnet18(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    width: float = 1.0,
    **options: Any,
) -> keras.Model:
    """Builds PreActResNet-18 for 32x32 images, as the paper's tables used it.

    11.17 M parameters and 0.56 G multiply-adds at `width=1`; `width=2` is what
    the paper calls Wide ResNet-18, with 44.6 M. Sites: the normalised input and
    the outputs of stages 1 to 3.

    Args:
        input_shape: `(height, width, channels)`.
        num_classes: Number of logits.
        width: Multiplies the channels 64, 128, 256, 512.
        **options: See `preact_resnet`.

    Returns:
        `keras.Model` from [0, 1] images `(batch, *input_shape)` to logits.

    Raises:
        ValueError: For a bad `input_shape`, `width` or `identity_skip`.

    Example:

    >>> model = preact_resnet18((32, 32, 3), 10, width=0.25)

    Reference:
        [He et al., 2016](https://arxiv.org/abs/1603.05027).
    """
    stages = [(channels(width, base), 2) for base in (64, 128, 256, 512)]
    return preact_resnet(
        input_shape, num_classes, stages, name="preact_resnet18", **options
    )


def small_resnet(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    width: float = 1.0,
    **options: Any,
) -> keras.Model:
    """Builds a pre-activated network of three one-block stages.

    For images of 8x8 to 28x28 pixels; 77 thousand parameters at `width=1`. Sites: the
    normalised input and the outputs of stages 1 and 2.

    Args:
        input_shape: `(height, width, channels)`.
        num_classes: Number of logits.
        width: Multiplies the channels 16, 32, 64.
        **options: See `preact_resnet`.

    Returns:
        `keras.Model` from [0, 1] images `(batch, *input_shape)` to logits.

    Raises:
        ValueError: For a bad `input_shape`, `width` or `identity_skip`.

    Example:

    >>> model = small_resnet((8, 8, 1), 10)
    """
    stages = [(channels(width, base), 1) for base in (16, 32, 64)]
    return preact_resnet(
        input_shape, num_classes, stages, name="small_resnet", **options
    )


def preact_resnet(
    input_shape,
    num_classes,
    stages,
    mean=None,
    std=None,
    identity_skip="preact",
    final_norm=False,
    name="preact_resnet",
):
    """Builds a pre-activated residual network with sites.

    Args:
        input_shape: `(height, width, channels)`.
        num_classes: Number of logits.
        stages: `[(channels, blocks), ...]`; each stage after the first halves
            the image.
        mean: Per-channel mean of the [0, 1] images; `None` for no normalisation.
        std: Their standard deviation.
        identity_skip: What an identity skip carries: `"preact"`, relu(bn(x)), as
            in the authors' code, or `"input"`, x, as He et al. (2016) have it.
        final_norm: Batch norm and ReLU before the pooling, which the authors'
            code leaves out: there the features that are pooled, as those at the
            sites, are raw sums.
        name: Name of the model.

    Returns:
        `keras.Model` from [0, 1] images `(batch, *input_shape)` to logits.

    Raises:
        ValueError: For a bad `input_shape` or `identity_skip`.
    """
    if identity_skip not in ("preact", "input"):
        raise ValueError(
            f"`identity_skip` must be 'preact' or 'input'. Received: {identity_skip!r}"
        )
    images = image_input(input_shape)
    x = NoisyFeatureMixup(name="site_0")(normalize(images, mean, std))
    x = conv(x, stages[0][0], 3, name="stem")
    for stage, (filters, blocks) in enumerate(stages, start=1):
        for block in range(1, blocks + 1):
            strides = 2 if stage > 1 and block == 1 else 1
            label = f"stage{stage}_block{block}"
            x = _block(x, filters, strides, identity_skip, label)
        if stage < len(stages):
            x = NoisyFeatureMixup(name=f"site_{stage}")(x)
    if final_norm:
        x = norm_relu(x, "final")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, logits(x, num_classes), name=name)


def _block(x, filters, strides, identity_skip, name):
    preact = norm_relu(x, f"{name}_1")
    if strides > 1 or x.shape[-1] != filters:
        skip = conv(preact, filters, 1, strides, name=f"{name}_skip")
    else:
        skip = preact if identity_skip == "preact" else x
    y = conv(preact, filters, 3, strides, name=f"{name}_conv1")
    y = conv(norm_relu(y, f"{name}_2"), filters, 3, name=f"{name}_conv2")
    return layers.Add(name=f"{name}_out")([y, skip])
