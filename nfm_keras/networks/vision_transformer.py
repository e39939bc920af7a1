"""Vision transformers for small images."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from nfm_keras.checks import check_count, check_number
from nfm_keras.mixing.layer import NoisyFeatureMixup
from nfm_keras.networks.blocks import (
    SavedDropout,
    add_branch,
    channels,
    image_input,
    normalize,
)

_HEADS = 4
_HEAD_SIZE = 64

# The authors' "truncated" normal is cut at 2, not at two deviations: not at all.
_NORMAL = {"class_name": "RandomNormal", "config": {"stddev": 0.02}}


def vit_lite7_4(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    width: float = 1.0,
    **options: Any,
) -> keras.Model:
    """Builds ViT-Lite-7/4 for 32x32 images: 7 blocks, patches of 4x4 pixels.

    3.72 M parameters and 0.24 G multiply-adds at `width=1`. See `vit_lite`.

    Args:
        input_shape: `(height, width, channels)`, multiples of 4 pixels.
        num_classes: Number of logits.
        width: Multiplies the dimension of 256 and the 512 hidden units.
        **options: `attention_dropout`, `stochastic_depth`, `mean` and `std` of
            `vit_lite`.

    Returns:
        `keras.Model` from [0, 1] images `(batch, *input_shape)` to logits.

    Raises:
        ValueError: For a bad argument, by its name.

    Example:

    >>> model = vit_lite7_4((32, 32, 3), 10)

    Reference:
        [Hassani et al., 2021](https://arxiv.org/abs/2104.05704).
    """
    return vit_lite(input_shape, num_classes, width, depth=7, patch_size=4, **options)


def vit_lite(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    width: float = 1.0,
    depth: int = 7,
    patch_size: int = 4,
    attention_dropout: float = 0.1,
    stochastic_depth: float = 0.1,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> keras.Model:
    """Builds a small vision transformer with a class token, and sites.

    As in the published code, and unlike other transformers, a block normalises
    the residual stream itself:

        x = norm1(x + attention(norm0(x)))
        x = x + mlp(x)

    Sites: the normalised input and the outputs of all blocks but the last. There
    all tokens, the class token too, are mixed with the same weight and partner.
    (Mixed tokens of two images are the tokens of the mixed image, so the input
    stands for the embedding too.)

    Args:
        input_shape: `(height, width, channels)`.
        num_classes: Number of logits.
        width: Multiplies the dimension of 256, in steps of the 4 heads, and the
            hidden units, twice as many.
        depth: Number of blocks.
        patch_size: Side of a patch, in pixels; divides height and width.
        attention_dropout: Dropout rate of the attention weights, in [0, 1).
        stochastic_depth: Rate at which the last block's branches are dropped, a
            sample at a time, in [0, 1); it grows linearly from 0 at the first.
        mean: Per-channel mean of the [0, 1] images; `None` for no normalisation.
        std: Their standard deviation.

    Returns:
        `keras.Model` from [0, 1] images `(batch, *input_shape)` to logits.

    Raises:
        ValueError: For a bad argument, by its name.

    Example:

    >>> vit_lite_6_8 = vit_lite((32, 32, 3), 10, depth=6, patch_size=8)

    Reference:
        [Hassani et al., 2021](https://arxiv.org/abs/2104.05704), section 3 and
        appendix A.
    """
    check_count("depth", depth)
    check_patches(input_shape, patch_size)
    check_number("attention_dropout", attention_dropout, least=0, below=1)
    check_number("stochastic_depth", stochastic_depth, least=0, below=1)
    images = image_input(input_shape)
    x = NoisyFeatureMixup(name="site_0")(normalize(images, mean, std))
    x = _tokens(x, _HEADS * channels(width, _HEAD_SIZE), patch_size)
    rates = np.linspace(0, stochastic_depth, depth).tolist()
    for block, rate in enumerate(rates, start=1):
        x = _block(x, attention_dropout, rate, f"block{block}")
        if block < depth:
            x = NoisyFeatureMixup(name=f"site_{block}")(x)
    return keras.Model(images, _class_logits(x, num_classes), name="vit_lite")


@keras.saving.register_keras_serializable(package="nfm_keras")
def gelu(x):
    """Returns x times the normal distribution function of x, by the error function.

    As `keras.activations.gelu(x, approximate=False)`, but for the operation Erfc in
    which TensorFlow writes that one, and which ONNX does not have.

    Args:
        x: Float tensor.
    """
    half, root = ops.cast(0.5, x.dtype), ops.cast(2**-0.5, x.dtype)
    return half * x * (1 + ops.erf(x * root))


@keras.saving.register_keras_serializable(package="nfm_keras")
class ClassTokenAndPositions(layers.Layer):
    """A learned token before the others, and learned positions added to all.

    Input shape:
        `(batch, tokens, features)`

    Output shape:
        `(batch, 1 + tokens, features)`
    """

    def build(self, input_shape):
        _, length, size = input_shape
        self.class_token = self.add_weight(
            shape=(1, 1, size), initializer="zeros", name="class_token"
        )
        self.positions = self.add_weight(
            shape=(1, 1 + length, size),
            initializer=keras.initializers.RandomNormal(stddev=0.2),
            name="positions",
        )

    def call(self, tokens):
        first = ops.repeat(
            ops.convert_to_tensor(self.class_token), ops.shape(tokens)[0], 0
        )
        return ops.concatenate([first, tokens], axis=1) + self.positions

    def compute_output_shape(self, input_shape):
        batch, length, size = input_shape
        return batch, length + 1, size


@keras.saving.register_keras_serializable(package="nfm_keras")
class SelfAttention(layers.Layer):
    """Attention of tokens to each other: no bias within the heads, one after.

    (`keras.layers.MultiHeadAttention` has both or neither.)

    Args:
        heads: Number of heads; divides the number of features.
        dropout: Dropout rate of the attention weights, in [0, 1).
        use_bias: Whether queries, keys and values have a bias after all.
        kernel_initializer: Of both kernels; by default a normal one.

    Input shape:
        `(batch, tokens, features)`

    Output shape:
        Same as the input.

    Reference:
        [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762), section 3.2.
    """

    def __init__(
        self,
        heads,
        dropout=0.0,
        use_bias=False,
        kernel_initializer=_NORMAL,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.heads, self.use_bias = heads, use_bias
        self.kernel_initializer = kernel_initializer
        self.dropout = SavedDropout(dropout, dtype=self.dtype_policy, name="dropout")

    def build(self, input_shape):
        size = input_shape[-1]
        law = self.kernel_initializer
        settings = {"kernel_initializer": law, "dtype": self.dtype_policy}
        self.qkv = layers.Dense(
            3 * size, use_bias=self.use_bias, name="qkv", **settings
        )
        self.projection = layers.Dense(size, name="projection", **settings)
        for dense in (self.qkv, self.projection):
            dense.build(input_shape)

    def call(self, tokens, training=None):
        _, length, size = tokens.shape
        split = (-1, length, 3, self.heads, size // self.heads)
        # (3, batch, heads, tokens, features of a head)
        qkv = ops.transpose(ops.reshape(self.qkv(tokens), split), (2, 0, 3, 1, 4))
        query, key, value = qkv[0] * (size // self.heads) ** -0.5, qkv[1], qkv[2]
        scores = ops.softmax(query @ ops.swapaxes(key, -1, -2), axis=-1)
        heads = self.dropout(scores, training=training) @ value
        joined = ops.reshape(ops.transpose(heads, (0, 2, 1, 3)), (-1, length, size))
        return self.projection(joined)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        own = {"heads": self.heads, "dropout": self.dropout.rate}
        own |= {"use_bias": self.use_bias}
        own |= {"kernel_initializer": self.kernel_initializer}
        return {**super().get_config(), **own}


def _tokens(x, size, patch_size):
    he_normal = {
        "class_name": "VarianceScaling",
        "config": {"scale": 2.0, "distribution": "untruncated_normal"},
    }
    x = layers.Conv2D(
        size, patch_size, patch_size, kernel_initializer=he_normal, name="patches"
    )(x)
    x = layers.Reshape((-1, size), name="tokens")(x)
    return ClassTokenAndPositions(name="positions")(x)


def _block(x, attention_dropout, drop_rate, name):
    y = SelfAttention(_HEADS, attention_dropout, name=f"{name}_attention")(
        _norm(x, f"{name}_norm0")
    )
    x = add_branch(x, y, drop_rate, f"{name}_sum1")
    # Not a slip: the published encoder normalises the residual stream here.
    x = _norm(x, f"{name}_norm1")
    y = _dense(x, 2 * x.shape[-1], f"{name}_dense1", activation=gelu)
    y = _dense(y, x.shape[-1], f"{name}_dense2")
    return add_branch(x, y, drop_rate, f"{name}_sum2")


def _class_logits(x, num_classes):
    x = _norm(x, "final_norm")
    x = layers.Cropping1D((0, x.shape[1] - 1), name="class_token")(x)
    x = layers.Flatten(name="flatten")(x)
    return _dense(x, num_classes, "logits", dtype="float32")


def _norm(x, name):
    return layers.LayerNormalization(epsilon=1e-5, name=name)(x)


def _dense(x, units, name, **options):
    return layers.Dense(units, kernel_initializer=_NORMAL, name=name, **options)(x)


def check_patches(input_shape, patch_size):
    """Refuses a patch that does not divide the image.

    Args:
        input_shape: `(height, width, channels)`.
        patch_size: Side of a patch, in pixels.

    Raises:
        ValueError: If it does not, or is no positive integer.
    """
    check_count("patch_size", patch_size)
    if any(side is None or side % patch_size for side in input_shape[:2]):
        raise ValueError(
            "`patch_size` must divide the height and width of the image. "
            f"Received: patch_size={patch_size}, input_shape={tuple(input_shape)}"
        )
