"""Wide residual networks of three groups, for small images."""

from collections.abc import Sequence

import keras
from keras import layers

from nfm_keras.checks import check_count, check_number
from nfm_keras.mixing.layer import NoisyFeatureMixup
from nfm_keras.networks.blocks import (
    channels,
    conv,
    dropped,
    image_input,
    logits,
    norm_relu,
    normalize,
)


def wide_resnet28_10(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    width: float = 1.0,
    dropout: float = 0.3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> keras.Model:
    """Builds WRN-28-10 for 32x32 images, as the authors of the method built it.

    36.5 M parameters at `width=1`. Sites: the normalised input and the outputs of
    groups 1 and 2. First weights follow PyTorch's default rules: the authors' code
    defines another law (Glorot's, with a gain of sqrt(2)) and never calls it. See
    `wide_resnet` for where it departs from its namesake.

    Args:
        input_shape: `(height, width, channels)`.
        num_classes: Number of logits.
        width: Multiplies the channels 160, 320, 640; the stem keeps its 16.
        dropout: Dropout rate within the blocks, in [0, 1).
        mean: Per-channel mean of the [0, 1] images; `None` for no normalisation.
        std: Their standard deviation.

    Returns:
        `keras.Model` from [0, 1] images `(batch, *input_shape)` to logits.

    Raises:
        ValueError: For a bad `input_shape`, `width` or `dropout`.

    Example:

    >>> model = wide_resnet28_10((32, 32, 3), 10, width=0.25)

    Reference:
        [Zagoruyko and Komodakis, 2016](https://arxiv.org/abs/1605.07146).
    """
    groups = [channels(width, base) for base in (160, 320, 640)]
    return _network(
        input_shape, num_classes, groups, 4, dropout, mean, std, "wide_resnet28_10"
    )


def wide_resnet(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    width: float = 1.0,
    depth: int = 28,
    dropout: float = 0.3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> keras.Model:
    """Builds WRN-depth-width: any depth 6n + 4, any widening factor.

    The blocks are those of the code that goes with Noisy Feature Mixup. Against
    Zagoruyko and Komodakis (2016) its convolutions have biases, the second one of
    a block has the stride, dropout comes right after the first, and a projection
    sees the block's raw input. Sites: the normalised input and the outputs of
    groups 1 and 2.

    Args:
        input_shape: `(height, width, channels)`.
        num_classes: Number of logits.
        width: The widening factor k, which need not be whole: multiplies the
            channels 16, 32, 64; the stem keeps its 16.
        depth: Number of convolutions on the longest path, and the dense layer:
            10, 16, 22, 28, 34, 40 ...
        dropout: Dropout rate within the blocks, in [0, 1).
        mean: Per-channel mean of the [0, 1] images; `None` for no normalisation.
        std: Their standard deviation.

    Returns:
        `keras.Model` from [0, 1] images `(batch, *input_shape)` to logits.

    Raises:
        ValueError: For a bad `input_shape`, `width`, `depth` or `dropout`.

    Example:

    >>> wrn_16_4 = wide_resnet((32, 32, 3), 10, width=4, depth=16)

    Reference:
        [Zagoruyko and Komodakis, 2016](https://arxiv.org/abs/1605.07146), table 1.
    """
    check_count("depth", depth, least=10)
    if depth % 6 != 4:
        raise ValueError(
            "`depth` must be 6n + 4 with n of at least 1, such as 10, 16, 22 or 28. "
            f"Received: depth={depth}"
        )
    groups = [channels(width, base) for base in (16, 32, 64)]
    return _network(
        input_shape, num_classes, groups, depth // 6, dropout, mean, std, "wide_resnet"
    )


def _network(input_shape, num_classes, groups, blocks, dropout, mean, std, name):
    check_number("dropout", dropout, least=0, below=1)
    images = image_input(input_shape)
    x = NoisyFeatureMixup(name="site_0")(normalize(images, mean, std))
    x = _conv(x, 16, 3, name="stem")
    for group, filters in enumerate(groups, start=1):
        for block in range(1, blocks + 1):
            strides = 2 if group > 1 and block == 1 else 1
            x = _block(x, filters, strides, dropout, f"group{group}_block{block}")
        if group < len(groups):
            x = NoisyFeatureMixup(name=f"site_{group}")(x)
    # The authors' last norm moves its statistics at PyTorch's `momentum=0.9`, which
    # is 0.1 in Keras' terms; all the others at the usual rate.
    x = norm_relu(x, "final", momentum=0.1)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, logits(x, num_classes, bias=True), name=name)


def _block(x, filters, strides, dropout, name):
    y = _conv(norm_relu(x, f"{name}_1"), filters, 3, name=f"{name}_conv1")
    y = dropped(y, dropout, f"{name}_dropout")
    y = _conv(norm_relu(y, f"{name}_2"), filters, 3, strides, name=f"{name}_conv2")
    if strides > 1 or x.shape[-1] != filters:
        x = _conv(x, filters, 1, strides, name=f"{name}_skip")
    return layers.Add(name=f"{name}_out")([y, x])


def _conv(x, filters, kernel, strides=1, name=None):
    return conv(x, filters, kernel, strides, name, bias=True)
