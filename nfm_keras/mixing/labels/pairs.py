"""The two labels that a mixed sample has, its own and its partner's, and their shares.

Float targets are interpolated for a loss. Integer labels are not, nor are labels of
outputs with a mask, nor those that a metric sees: they stay two, one of which weighs
lam and the other 1 - lam.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops, tree

from nfm_keras.backend import keras_private
from nfm_keras.mixing.draw import Draw
from nfm_keras.mixing.interpolation import interpolate
from nfm_keras.mixing.labels.classes import are_classes
from nfm_keras.mixing.scope import current_scope
from nfm_keras.mixing.techniques.base import current_batch


class Pair(NamedTuple):
    """The labels of a batch of mixed samples.

    Attributes:
        own: Tensor `(batch, ...)`.
        partner: Tensor like `own`, the partners'.
        share: float32, the weight of `own`: a scalar, `(batch,)`, or of a pixel
            `(batch, height, width)`. `None` where `own` is all there is.
    """

    own: Any
    partner: Any = None
    share: Any = None

    def blend(self):
        """Returns the interpolated label, a tensor like `own`, which is of floats."""
        if self.share is None:
            return self.own
        return interpolate(self.own, self.partner, self.share)


class LabelMixing(NamedTuple):
    """How the labels of a training step are mixed.

    Attributes:
        draw: The `Draw` of the step.
        cut: Function of labels and outputs (or None), both `(batch, ...)`, that returns
            the `Pair` of labels that have a value a pixel, which go where the pixels
            went, and `None` of others. `None` where images are not cut.
    """

    draw: Draw
    cut: Callable | None = None

    def pair(self, labels, outputs=None) -> Pair:
        """Returns the labels of the samples and those of their partners.

        Args:
            labels: Array or tensor `(batch, ...)` of numbers.
            outputs: Those that they are labels of, `(batch, ...)`. Without them masks
                of three axes and another size than the images' count as sequences.

        Raises:
            ValueError: For labels that are no numbers, and masks that do not have the
                size of images that are cut.
        """
        check_numbers(labels)
        labels = ops.convert_to_tensor(labels)
        pair = None if self.cut is None else self.cut(labels, outputs)
        if pair is not None:
            return pair
        partner = ops.take(labels, self.draw.partner, axis=0)
        return Pair(labels, partner, self.draw.lam)

    def pair_for(self, loss, labels, outputs) -> Pair:
        """Returns the labels that a loss is to be taken of.

        Where outputs have a mask, floats stay two labels as well: each counts where its
        own sample is not padded.

        Args:
            loss: The `keras.losses.Loss`.
            labels: As in `pair`.
            outputs: Tensor `(batch, ...)`.
        """
        pair = self.pair(labels, outputs)
        masked = keras_private.mask_of(outputs) is not None
        if masked or not is_float(pair.own) or are_classes(loss, pair.own, outputs):
            return pair
        return Pair(pair.blend())

    def weights(self, weights):
        """Returns sample weights, interpolated like float labels.

        Args:
            weights: Array or tensor `(batch, ...)`, or `None`.
        """
        if weights is None:
            return None
        weights = ops.convert_to_tensor(weights)
        weights = weights if is_float(weights) else ops.cast(weights, "float32")
        return self.pair(weights).blend()


def label_mixing(mixing):
    """Returns what the training step in force does to labels.

    Args:
        mixing: The model's `Mixing`.

    Returns:
        A `LabelMixing`; `None` where labels stay as they are, as noise alone has it.
    """
    scope, batch = current_scope(), current_batch()
    if not mixing.mixes or (scope is None and batch is None):
        return None
    if batch is None:
        return LabelMixing(scope.draw)
    return LabelMixing(batch.draw, batch.cut)


def check_numbers(labels):
    """Refuses labels that cannot be mixed.

    Args:
        labels: Array or tensor.

    Raises:
        ValueError: For labels that are no numbers.
    """
    # keras.backend has no name for "a number", and no dtype for strings.
    dtype = str(getattr(labels, "dtype", type(labels).__name__))
    if not any(kind in dtype for kind in ("int", "float", "bool")):
        raise ValueError(
            "Labels must be numbers to be mixed: class numbers, one-hot vectors or "
            f"regression targets. Received: labels of dtype {dtype}"
        )


def is_float(tensor):
    """Returns whether a tensor or an array is of floating point numbers.

    Args:
        tensor: Tensor or array.
    """
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype))


def weights_by_output(sample_weight, outputs, names):
    """Returns sample weights in the structure of the outputs.

    Args:
        sample_weight: What `fit` was given: weights for all outputs, or a list or a
            dict of those of each. An output that a dict does not name has none.
        outputs: Structure of the model's outputs.
        names: Of the outputs, in their order, or None.

    Returns:
        `None`, or a structure like `outputs`, with `None` where there are no weights.

    Raises:
        ValueError: For weights of no output, or of another number of outputs.
    """
    if sample_weight is None or (_is_deep(outputs) and tree.is_nested(sample_weight)):
        return sample_weight
    if not tree.is_nested(sample_weight):
        return tree.map_structure(lambda _: sample_weight, outputs)
    names = list(outputs) if isinstance(outputs, dict) else names
    count = len(tree.flatten(outputs))
    if isinstance(sample_weight, dict):
        names = names or list(sample_weight)
        flat = [sample_weight.get(name) for name in names]
        wrong = not set(sample_weight) <= set(names) or len(names) != count
    else:
        flat, wrong = list(sample_weight), len(sample_weight) != count
    if wrong:
        given = tree.map_structure(lambda _: "...", sample_weight)
        raise ValueError(
            f"`sample_weight` must have weights for the outputs {names}, by name or in "
            f"that order. Received: {given}"
        )
    if isinstance(outputs, dict):
        return dict(zip(names, flat))
    return list(flat) if tree.is_nested(outputs) else flat[0]


def _is_deep(outputs):
    """Whether there are structures within the structure of the outputs."""
    values = outputs.values() if isinstance(outputs, dict) else outputs
    return tree.is_nested(outputs) and any(tree.is_nested(value) for value in values)
