"""Points between two batches, of features, labels or weights alike."""

from keras import ops

from nfm_keras.types import Tensor


def interpolate(a: Tensor, b: Tensor, lam: Tensor) -> Tensor:
    """Returns M_lam(a, b) = lam * a + (1 - lam) * b, for features and labels alike.

    Args:
        a: Float tensor `(batch, ...)`.
        b: Tensor of the same shape and dtype.
        lam: float32 scalar, or a tensor of the first axes of `a`, such as `(batch,)`.

    Returns:
        Tensor like `a`; lam is cast to its dtype.
    """
    lam = along(constant(lam, a.dtype), len(a.shape))
    # Not b + lam * (a - b), which is one product less: at lam = 1 that does not
    # give back `a` in floating point.
    return lam * a + (1 - lam) * b


def partners(values: Tensor, partner: Tensor) -> Tensor:
    """Returns, for each sample of a batch, the one that it is mixed with.

    Args:
        values: Tensor `(batch, ...)`.
        partner: int32 `(batch,)`, as in a `Draw`.

    Returns:
        Tensor like `values`.

    Raises:
        ValueError: For a batch that is not of as many samples as were drawn for, as
            far as their shapes say.

    Example:

    >>> ops.convert_to_numpy(partners(ops.array([1.0, 2.0]), ops.array([1, 0])))
    array([2., 1.], dtype=float32)
    """
    size, drawn = values.shape[0], partner.shape[0]
    if None not in (size, drawn) and size != drawn:
        raise ValueError(
            f"A draw for {drawn} samples must meet a batch of {drawn}. Received: {size}"
        )
    return ops.take(values, partner, axis=0)


def constant(value: Tensor, dtype: str) -> Tensor:
    """Returns what was drawn as a constant of the gradient.

    Args:
        value: Number or tensor.
        dtype: str, of the result.
    """
    # Unless told so, TensorFlow builds a gradient for everything that a conditional
    # reads.
    return ops.stop_gradient(ops.cast(value, dtype))


def along(value: Tensor, rank: int) -> Tensor:
    """Returns a tensor in a shape that goes with features by their first axes.

    Args:
        value: Scalar, `(batch,)`, or tensor of more of the features' first axes.
        rank: Of the features.

    Returns:
        The scalar as it is, or a tensor of `rank` axes, those added of length 1.
    """
    missing = rank - len(value.shape)
    if len(value.shape) == 0 or missing <= 0:
        return value
    return ops.reshape(value, (-1, *ops.shape(value)[1:], *(1,) * missing))
