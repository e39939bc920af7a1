"""The loss of a mixed batch: lam of the own labels', 1 - lam of the partners'."""

import contextlib

import keras
from keras import ops, tree

from nfm_keras.backend import keras_private
from nfm_keras.mixing.interpolation import along


def output_loss(loss, mixing, labels, outputs, weight=None):
    """Returns the loss of one output of a model, on mixed labels where they are mixed.

    Args:
        loss: `keras.losses.Loss`, whose values may have any shape: a scalar, one a
            sample, one an element.
        mixing: The step's `LabelMixing`; None where labels stay as they are.
        labels: Tensor `(batch, ...)`.
        outputs: Tensor `(batch, ...)`.
        weight: Sample weights `(batch, ...)`, of any rank that the values have, or
            None.

    Returns:
        What `loss` returns, a scalar unless its reduction is none: of the interpolated
        labels for floats, else `lam * loss(own) + (1 - lam) * loss(partner)`.

    Raises:
        ValueError: For labels that are no numbers, weights of too many axes, and a
            loss without values for samples that have a lam each.
    """
    if mixing is None:
        return _term(loss, None, labels, outputs, weight)
    pair, weight = mixing.pair_for(loss, labels, outputs), mixing.weights(weight)
    own = _term(loss, pair.share, pair.own, outputs, weight)
    if pair.share is None:
        return own
    with partners_mask([outputs], mixing.draw):
        return own + _term(loss, 1 - pair.share, pair.partner, outputs, weight)


@contextlib.contextmanager
def partners_mask(outputs, draw):
    """Returns the context in which outputs have the masks of their partners.

    A padded time step does not count: that of a sample's own label by its own mask, and
    that of its partner's by the partner's.

    Args:
        outputs: List of tensors `(batch, ...)`.
        draw: The step's `Draw`.
    """
    masks = [(t, keras_private.mask_of(t)) for t in outputs]
    masks = [(t, mask) for t, mask in masks if mask is not None]
    for tensor, mask in masks:
        keras_private.set_mask(tensor, ops.take(mask, draw.partner, axis=0))
    try:
        yield
    finally:
        for tensor, mask in masks:
            keras_private.set_mask(tensor, mask)


def check_reductions(losses):
    """Refuses losses without a reduction where Keras cannot train by them.

    Args:
        losses: What `compile` was given.

    Raises:
        ValueError: For a reduction of none on JAX and PyTorch, whose gradients are of
            one number.
    """
    if keras.backend.backend() == "tensorflow":
        return
    for loss in tree.flatten(losses):
        if isinstance(loss, keras.Loss) and loss.reduction in (None, "none"):
            raise ValueError(
                "A loss must be one number to be trained by on this backend: set "
                "reduction='sum', whose step is that of no reduction on TensorFlow. "
                f"Received: {loss.name!r} with reduction={loss.reduction!r}"
            )


class _Reduction(keras.losses.Loss):
    """The reduction of a loss, whose values stand in the place of labels."""

    def __init__(self, loss):
        super().__init__(loss.name, loss.reduction, loss.dtype)

    def call(self, y_true, y_pred):
        return y_true


def _term(loss, share, labels, outputs, weight):
    """The loss on one of the two labels, times its share of each sample."""
    single = share is None or len(share.shape) == 0
    reduces_itself = type(loss).__call__ is not keras.losses.Loss.__call__
    if single and (weight is None or reduces_itself or tree.is_nested(outputs)):
        value = loss(labels, outputs, weight)
        return value if share is None else ops.cast(share, value.dtype) * value
    if reduces_itself:
        raise ValueError(
            f"Where lam is drawn for each sample, the loss {loss.name!r} must leave "
            "the reduction to Keras: give it a `call` instead of a `__call__`. "
            f"Received: a {type(loss).__name__}"
        )
    labels, predicted = (
        ops.convert_to_tensor(t, loss.dtype) for t in (labels, outputs)
    )
    alike = share is not None and len(labels.shape) == len(share.shape)
    if alike and predicted.shape[len(share.shape) :] == (1,):
        labels = labels[..., None]  # Keras would drop that axis, and take a mean
    values = loss.call(labels, predicted)
    mask = keras_private.mask_of(values)
    if share is not None:
        check_values("loss", loss, values.shape, share.shape)
        values = along(ops.cast(share, values.dtype), len(values.shape)) * values
    if mask is not None:
        keras_private.set_mask(values, mask)
    return _Reduction(loss)(values, outputs, in_full(weight, values))


def check_values(kind, what, shape, share):
    """Refuses values that shares of the samples, or of their pixels, do not fit.

    Args:
        kind: `"loss"` or `"metric"`.
        what: The loss or the metric, which the error names.
        shape: Of its values.
        share: Shape of the shares.

    Raises:
        ValueError: If the values do not begin with the axes of the shares.
    """
    sizes = zip(shape, share)
    if len(shape) < len(share) or any(a != b for a, b in sizes if a and b):
        wanted = "sample" if len(share) == 1 else "pixel of the image"
        name = getattr(what, "name", what)
        raise ValueError(
            f"Where lam is drawn for each {wanted}, the {kind} {name!r} must have one "
            "value for each: return the values before their mean, take one lam a batch "
            "(per_sample=False, or another technique), or, for a loss, labels of "
            f"floats. Received: values of shape {tuple(shape)}"
        )


def in_full(weight, values):
    """Returns sample weights of the shape of the values, by their first axes.

    Args:
        weight: Tensor `(batch, ...)`, or None.
        values: Of a loss, `(batch, ...)` or a scalar.

    Raises:
        ValueError: For weights of more axes than the values have.
    """
    if weight is None:
        return None
    weight, rank = ops.cast(weight, values.dtype), max(len(values.shape), 1)
    while len(weight.shape) > rank and weight.shape[-1] == 1:
        weight = ops.squeeze(weight, -1)
    if len(weight.shape) > rank:
        raise ValueError(
            f"`sample_weight` must have at most {rank} axes for a loss with values of "
            f"shape {tuple(values.shape)}. Received: shape {tuple(weight.shape)}"
        )
    if not values.shape:
        return weight
    # In full: a mean by the sum of weights counts them, and Keras multiplies a mask
    # into them in place.
    return along(weight, rank) * ops.ones_like(values)
