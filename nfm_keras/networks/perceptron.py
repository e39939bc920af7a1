"""Fully connected networks: the paper's toy, and tables."""

from collections.abc import Sequence

import keras
from keras import layers

from nfm_keras.checks import check_count, check_number
from nfm_keras.mixing.layer import NoisyFeatureMixup
from nfm_keras.networks.blocks import (
    channels,
    dropped,
    logits,
    normalize,
)


def mlp(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    width: float = 1.0,
    depth: int = 4,
    dropout: float = 0.0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> keras.Model:
    """Builds ReLU layers with a site at the input and after each but the last.

    Args:
        input_shape: Shape of a sample, such as `(2,)` for points in the plane;
            flattened where it has several axes.
        num_classes: Number of logits.
        width: Multiplies the 64 units of a layer.
        depth: Number of fully connected ReLU layers; the paper's toy has 4.
        dropout: Dropout rate after each ReLU layer, in [0, 1); the paper compares
            its toy with 0.2.
        mean: Per-feature (or per-channel) mean; `None` for no normalisation.
        std: The standard deviation.

    Returns:
        `keras.Model` from samples `(batch, *input_shape)` to logits.

    Raises:
        ValueError: For a bad `width`, `depth` or `dropout`.

    Example:

    >>> model = mlp((2,), 2)

    Reference:
        [Lim et al., 2021](https://arxiv.org/abs/2110.02180), appendix F.2.
    """
    check_count("depth", depth)
    check_number("dropout", dropout, least=0, below=1)
    inputs = keras.Input(input_shape, name="inputs")
    x = NoisyFeatureMixup(name="site_0")(normalize(inputs, mean, std))
    if len(input_shape) > 1:
        x = layers.Flatten(name="flatten")(x)
    for i in range(1, depth + 1):
        x = layers.Dense(channels(width, 64), activation="relu", name=f"dense_{i}")(x)
        x = dropped(x, dropout, f"dropout_{i}")
        if i < depth:
            x = NoisyFeatureMixup(name=f"site_{i}")(x)
    return keras.Model(inputs, logits(x, num_classes), name="mlp")
