"""The vision transformer of photographs."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from nfm_keras.checks import check_number
from nfm_keras.mixing.layer import NoisyFeatureMixup
from nfm_keras.networks.blocks import add_branch, channels, image_input, normalize
from nfm_keras.networks.vision_transformer import SelfAttention, check_patches, gelu

DEPTH, HEADS, SIZE, PATCH = 12, 6, 384, 16
"""Blocks, heads, features and side of a patch of ViT-S/16."""

_GLOROT = "glorot_uniform"


def vit_s16(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    width: float = 1.0,
    stochastic_depth: float = 0.0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> keras.Model:
    """Builds ViT-S/16 for 224x224 images as a plain and good baseline.

    Pre-norm blocks, fixed sine and cosine positions in two dimensions, no class token:
    the mean over all tokens is classified by one dense layer.

        x = x + attention(norm(x))
        x = x + mlp(norm(x))

    22.0 M parameters and 4.3 G multiply-adds at `width=1` and 1000 classes. Sites: the
    normalised input and the outputs of a quarter, a half and three quarters of the
    blocks.

    Args:
        input_shape: `(height, width, channels)`, multiples of 16 pixels.
        num_classes: Number of logits.
        width: Multiplies the dimension of 384, in steps of 2 for each of the 6 heads,
            and the hidden units, four times as many.
        stochastic_depth: Rate at which the last block's branches are dropped, a sample
            at a time, in [0, 1); it grows linearly from 0 at the first.
        mean: Per-channel mean of the [0, 1] images; `None` for no normalisation.
        std: Their standard deviation.

    Returns:
        `keras.Model` from [0, 1] images `(batch, *input_shape)` to logits.

    Raises:
        ValueError: For a bad argument, by its name.

    Example:

    >>> model = vit_s16((224, 224, 3), 1000)

    Reference:
        [Beyer et al., 2022](https://arxiv.org/abs/2205.01580): "Better plain ViT
        baselines for ImageNet-1k".
    """
    check_patches(input_shape, PATCH)
    check_number("stochastic_depth", stochastic_depth, least=0, below=1)
    # Positions are sines and cosines of two coordinates: an even number a head.
    size = 2 * HEADS * channels(width, SIZE // HEADS // 2)
    images = image_input(input_shape)
    x = NoisyFeatureMixup(name="site_0")(normalize(images, mean, std))
    x = layers.Conv2D(size, PATCH, PATCH, kernel_initializer=_GLOROT, name="patches")(x)
    rows, columns = x.shape[1:3]
    x = layers.Reshape((-1, size), name="tokens")(x)
    x = AddedPositions(rows, columns, name="positions")(x)
    rates = np.linspace(0, stochastic_depth, DEPTH).tolist()
    for block, rate in enumerate(rates, start=1):
        x = _block(x, rate, f"block{block}")
        if block < DEPTH and not block % (DEPTH // 4):
            x = NoisyFeatureMixup(name=f"site_{block // (DEPTH // 4)}")(x)
    x = layers.GlobalAveragePooling1D(name="pool")(_norm(x, "final_norm"))
    x = layers.Dense(
        num_classes, kernel_initializer="zeros", dtype="float32", name="logits"
    )(x)
    return keras.Model(images, x, name="vit_s16")


def positions(rows: int, columns: int, size: int) -> np.ndarray:
    """Returns sines and cosines of where each token is, in both directions.

    Args:
        rows, columns: How many tokens there are below and beside each other.
        size: Features of a token, a multiple of 4: sines and cosines of the column,
            then of the row, at wavelengths from 2 pi to 20,000 pi.

    Returns:
        float32 `(rows * columns, size)`.

    Raises:
        ValueError: For another size.

    Example:

    >>> positions(2, 3, 8).shape
    (6, 8)
    """
    if size % 4:
        raise ValueError(
            f"The features of a token must be a multiple of 4. Received: {size}"
        )
    y, x = np.mgrid[:rows, :columns].reshape(2, -1, 1)
    quarter = size // 4
    omega = 10_000.0 ** -(np.arange(quarter) / max(1, quarter - 1))
    parts = [f(place * omega) for place in (x, y) for f in (np.sin, np.cos)]
    return np.concatenate(parts, axis=1).astype("float32")


@keras.saving.register_keras_serializable(package="nfm_keras")
class AddedPositions(layers.Layer):
    """Fixed positions added to tokens: see `positions`.

    Args:
        rows, columns: How many tokens there are below and beside each other.

    Input shape:
        `(batch, rows * columns, features)`

    Output shape:
        Same as the input.
    """

    def __init__(self, rows, columns, **kwargs):
        super().__init__(**kwargs)
        self.rows, self.columns = rows, columns

    def call(self, tokens):
        added = positions(self.rows, self.columns, tokens.shape[-1])
        return tokens + keras.ops.cast(added, tokens.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rows": self.rows, "columns": self.columns}


def _block(x, drop_rate, name):
    y = SelfAttention(
        HEADS, use_bias=True, kernel_initializer=_GLOROT, name=f"{name}_attention"
    )(_norm(x, f"{name}_norm1"))
    x = add_branch(x, y, drop_rate, f"{name}_sum1")
    y = _dense(_norm(x, f"{name}_norm2"), 4 * x.shape[-1], f"{name}_dense1", gelu)
    y = _dense(y, x.shape[-1], f"{name}_dense2")
    return add_branch(x, y, drop_rate, f"{name}_sum2")


def _norm(x, name):
    return layers.LayerNormalization(epsilon=1e-6, name=name)(x)


def _dense(x, units, name, activation=None):
    return layers.Dense(
        units,
        activation=activation,
        kernel_initializer=_GLOROT,
        bias_initializer=keras.initializers.RandomNormal(stddev=1e-6),
        name=name,
    )(x)
