"""A site: the layer at which a training step may mix and perturb."""

from typing import Any

import keras
from keras import ops, tree

from nfm_keras.backend import random
from nfm_keras.mixing.scope import current_scope
from nfm_keras.types import Shapes, Tensors


@keras.saving.register_keras_serializable(package="nfm_keras")
class NoisyFeatureMixup(keras.layers.Layer):
    """A site: a place in a network where a training step may mix and perturb.

    The layer holds no weights and no settings. It returns its inputs, unless a
    draw in force (`NFMModel.train_step`, or `mixing_scope`) chooses it: then
    they go through `Mixing.apply`. At inference, in evaluation, in an exported
    model and in somebody else's training loop it does nothing.

    Args:
        name: The name of the site.

    Call arguments:
        inputs: Float tensor `(batch, ...)` of any rank, or a nested structure
            of such tensors, all of which are mixed by the same draw.

    Input shape:
        Arbitrary; the first axis is the batch.

    Output shape:
        Same as the input.

    Example:

    >>> inputs = keras.Input((32,))
    >>> x = NoisyFeatureMixup(name="site_0")(inputs)
    >>> x = keras.layers.Dense(64, activation="relu")(x)
    >>> x = NoisyFeatureMixup(name="site_1")(x)
    >>> model = keras.Model(inputs, keras.layers.Dense(10)(x))

    Reference:
        [Lim et al., 2021](https://arxiv.org/abs/2110.02180), section 3.
    """

    def __init__(self, **kwargs: Any) -> None:
        # Features are mixed in the dtype in which they come.
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True

    def call(self, inputs: Tensors) -> Tensors:
        scope = current_scope()
        if scope is None:
            return inputs
        mixing, draw, layers = scope
        index = next((i for i, layer in enumerate(layers) if layer is self), None)
        if index is None:
            return inputs
        _check_float(inputs, self.name)
        if len(layers) == 1 and mixing.probability == 1:
            return _apply_all(mixing, draw, inputs)
        # One conditional a site. A switch over whole networks, or arithmetic that
        # does nothing at the other sites, costs several times as much.
        return ops.cond(
            ops.equal(draw.site, index),
            lambda: _apply_all(mixing, draw, inputs),
            lambda: inputs,
        )

    def compute_output_shape(self, input_shape: Shapes) -> Shapes:
        return input_shape


def _apply_all(mixing, draw, inputs):
    """Applies the draw to all tensors of a structure, with a noise for each."""
    if not tree.is_nested(inputs):
        return mixing.apply(inputs, draw)
    flat = [
        mixing.apply(x, draw._replace(key=random.fold(draw.key, 2 + i)))
        for i, x in enumerate(tree.flatten(inputs))
    ]
    return tree.pack_sequence_as(inputs, flat)


def _check_float(inputs, name):
    for x in tree.flatten(inputs):
        if not keras.backend.is_float_dtype(x.dtype):
            raise ValueError(
                f"Site '{name}' must see floating point features; integers, such "
                "as token ids, cannot be mixed: put the site after the embedding. "
                f"Received: dtype={keras.backend.standardize_dtype(x.dtype)}"
            )
