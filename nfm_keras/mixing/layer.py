"""A site: the layer at which a training step may mix and perturb."""

from typing import Any

import keras
from keras import ops, tree

from nfm_keras.backend import keras_private, random
from nfm_keras.mixing.scope import current_scope
from nfm_keras.types import Shapes, Tensors


@keras.saving.register_keras_serializable(package="nfm_keras")
class NoisyFeatureMixup(keras.layers.Layer):
    """A site: a place in a network where a training step may mix and perturb.

    The layer holds no weights. It returns its inputs, unless a draw in force
    (`NFMModel.train_step`, or `mixing_scope`) chooses it: then they go through
    `Mixing.apply`. At inference, in evaluation, in an exported model and in
    somebody else's training loop it does nothing.

    *Precision.* As any layer it gives floating point features back in its compute
    dtype; they are mixed in the dtype in which they come. Integers stay integers.

    *Masks.* A sample that is mixed shows what it or its partner shows: its mask, such
    as that of padded tokens, is the union of both. At any other site, and where
    nothing is mixed, it keeps its own.

    Args:
        name: The name of the site.
        allow_bypass: Whether the site may stand where some path goes around it,
            without a warning.

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

    def __init__(self, allow_bypass: bool = False, **kwargs: Any) -> None:
        # Features are mixed in the dtype in which they come.
        super().__init__(autocast=False, **kwargs)
        self.allow_bypass = allow_bypass
        self.supports_masking = True

    def call(self, inputs: Tensors) -> Tensors:
        scope = current_scope()
        index = None if scope is None else scope.index(self)
        if scope is None or index is None:
            return self._cast(inputs)
        if _is_mask(inputs):
            return scope.union(inputs, index)
        _check_float(inputs, self.name)
        mixing, draw = scope.mixing, scope.draw
        if scope.always:
            return self._cast(_apply_all(mixing, draw, inputs))
        # One conditional a site. A switch over whole networks, or arithmetic that
        # does nothing at the other sites, costs several times as much.
        return ops.cond(
            ops.equal(draw.site, index),
            lambda: self._cast(_apply_all(mixing, draw, inputs)),
            lambda: self._cast(inputs),
        )

    def compute_mask(self, inputs: Tensors, previous_mask: Tensors = None) -> Tensors:
        # Not by `tree`, in which None is no leaf everywhere.
        if isinstance(previous_mask, dict):
            items = previous_mask.items()
            return {name: self.compute_mask(None, mask) for name, mask in items}
        if isinstance(previous_mask, (list, tuple)):
            return [self.compute_mask(None, mask) for mask in previous_mask]
        # By a call, which stands in the graph of a functional model: the layers there
        # take masks from it. In a graph that is loaded it stands already.
        if previous_mask is None:
            return None
        if isinstance(previous_mask, keras.KerasTensor):
            known = keras_private.called_with(self, previous_mask)
            return self(previous_mask) if known is None else known
        return self(previous_mask)

    def compute_output_shape(self, input_shape: Shapes) -> Shapes:
        return input_shape

    def compute_output_spec(self, inputs: Tensors) -> Tensors:
        return tree.map_structure(
            lambda x: keras.KerasTensor(x.shape, self._dtype_of(x)), inputs
        )

    def get_config(self) -> dict:
        own = {"allow_bypass": True} if self.allow_bypass else {}
        return {**super().get_config(), **own}

    def _cast(self, inputs):
        return tree.map_structure(lambda x: ops.cast(x, self._dtype_of(x)), inputs)

    def _dtype_of(self, x):
        """The dtype of the output for an input."""
        dtype = keras.backend.standardize_dtype(x.dtype)
        return self.compute_dtype if keras.backend.is_float_dtype(dtype) else dtype


def _apply_all(mixing, draw, inputs):
    """Applies the draw to all tensors of a structure, with a noise for each."""
    if not tree.is_nested(inputs):
        return mixing.apply(inputs, draw)
    flat = [
        mixing.apply(x, draw._replace(key=random.fold(draw.key, 2 + i)))
        for i, x in enumerate(tree.flatten(inputs))
    ]
    return tree.pack_sequence_as(inputs, flat)


def _is_mask(inputs):
    if tree.is_nested(inputs):
        return False
    return keras.backend.standardize_dtype(inputs.dtype) == "bool"


def _check_float(inputs, name):
    for x in tree.flatten(inputs):
        if not keras.backend.is_float_dtype(x.dtype):
            raise ValueError(
                f"Site '{name}' must see floating point features; integers, such "
                "as token ids, cannot be mixed: put the site after the embedding. "
                f"Received: dtype={keras.backend.standardize_dtype(x.dtype)}"
            )
