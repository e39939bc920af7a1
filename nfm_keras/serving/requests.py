"""What a client may hand over, and what of it is sent."""

import numpy as np

FLOAT = "serving_default"
UINT8 = "serving_uint8"
BYTES = "serving_bytes"

_LARGEST_FLOAT = 2.0
"""Of an image in [0, 1] that a resize has taken a little beyond; not of [0, 255]."""


def request_values(values, signature):
    """Returns a client's values as its request has them.

    Args:
        values: Images: an array `(batch, ...)`, or lists of arrays or of numbers that
            make one. Of any type whose numbers the signature's type holds: integers
            from 0 to 255 for `serving_uint8`, floats for the others. Or files: a list,
            tuple or array of bytes, or the bytes of one.
        signature: str, the name of a signature that `export` writes.

    Returns:
        List of bytes, or array of uint8 or float32.

    Raises:
        ValueError: If they are neither, such as paths or images of several sizes; if
            they do not go with the signature; or are numbers that its type cannot hold.

    Example:

    >>> request_values([[0.5, 1]], "serving_default")
    array([[0.5, 1. ]], dtype=float32)
    """
    files = _files(values)
    if (files is None) == (signature == BYTES):
        wanted = "files, as bytes" if signature == BYTES else "images, as numbers"
        raise ValueError(
            f"The signature {signature!r} takes {wanted}. Received: {_kind(values)}"
        )
    if files is not None:
        return files
    array = _array(values)
    return _uint8(array) if signature == UINT8 else _float32(array)


def _files(values):
    """A list of bytes; None of what is not files."""
    if isinstance(values, (bytes, bytearray, memoryview, np.bytes_)):
        return [bytes(values)]
    if isinstance(values, np.ndarray) and values.dtype.kind == "S":
        # It has lost the zeros at the end of every file.
        raise ValueError(
            "Files must be a list of bytes, or an array of dtype object. "
            f"Received: an array of dtype {values.dtype}"
        )
    if isinstance(values, np.ndarray):
        values = list(values) if values.dtype == object and values.ndim == 1 else ()
    if not isinstance(values, (list, tuple)) or not values:
        return None
    are_files = [isinstance(value, (bytes, bytearray, memoryview)) for value in values]
    if any(are_files) and not all(are_files):
        raise ValueError(
            "A request holds files or images, not both. "
            f"Received: {sorted({type(value).__name__ for value in values})}"
        )
    return [bytes(value) for value in values] if all(are_files) else None


def _array(values):
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise ValueError(
            "Images must make one array of numbers, all of one shape. "
            f"Received: {_kind(values)} ({error})"
        ) from None
    if array.dtype.kind not in "uifb" or not array.size:
        what = f"an array of dtype {array.dtype}" if array.size else "none"
        raise ValueError(
            "Images must be numbers, and one at least; files are bytes, which "
            f"`pathlib.Path(name).read_bytes()` gives. Received: {what}"
        )
    return array


def _uint8(array):
    whole = array.astype(np.uint8) if _within(array, 255) else array
    if not np.array_equal(whole, array) or whole.dtype != np.uint8:
        raise ValueError(
            f"The signature {UINT8!r} takes integers from 0 to 255. Received: "
            f"{array.dtype} from {array.min()} to {array.max()}"
        )
    return whole


def _float32(array):
    # A sum of colours, or a resize, may leave [0, 1] by a little.
    most = 1 if array.dtype.kind in "ui" else _LARGEST_FLOAT
    if not np.all(np.isfinite(array)) or array.max() > most or array.min() < 1 - most:
        raise ValueError(
            f"Images must be in [0, 1]; whole numbers up to 255 go to {UINT8!r}. "
            f"Received: {array.dtype} from {array.min()} to {array.max()}"
        )
    return array.astype(np.float32)


def _within(array, most):
    return bool(np.all((array >= 0) & (array <= most)))


def _kind(values):
    kind = type(values).__name__
    if isinstance(values, (list, tuple)) and values:
        return f"a {kind} of {type(values[0]).__name__}"
    return kind
