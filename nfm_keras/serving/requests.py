"""What a client may hand over, what of it is sent, and what comes back."""

import base64
import contextlib
import json

import numpy as np

FLOAT = "serving_default"
UINT8 = "serving_uint8"
BYTES = "serving_bytes"

_LARGEST_FLOAT = 2.0
"""Of an image in [0, 1] that a resize has taken a little beyond; not of [0, 255]."""


class ServingError(RuntimeError):
    """What a server refused, in its own words.

    Attributes:
        code: That of the protocol: HTTP's status (int), the name of gRPC's (str), or
            `None` where there was no answer.
    """

    def __init__(self, code: int | str | None, message: str) -> None:
        super().__init__(f"The server answered {code}: {message}" if code else message)
        self.code = code


def request_values(values, signature):
    """Returns a client's values as its request has them.

    Args:
        values: Images: an array `(batch, height, width, channels)`, or lists of arrays
            or of numbers that make one. Of any type whose numbers the signature's type
            holds: integers from 0 to 255 for `serving_uint8`, floats in [0, 1] for the
            others. Tables and signals: finite numbers `(batch, ...)` of another rank.
            Or files: a list, tuple or array of bytes, or the bytes of one.
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


def request_body(values, signature, rows=False):
    """Writes the JSON body of a REST `predict` request for a signature of one input.

    Args:
        values: As in `request_values`. Bytes travel as base64 under the key `b64`.
        signature: str, its name.
        rows: Whether to write rows (`instances`) instead of columns (`inputs`). The
            server answers in the same format.

    Returns:
        bytes.

    Raises:
        ValueError: As `request_values`.

    Reference:
        TensorFlow Serving, RESTful API: "Predict API" and "Encoding binary values".

    Example:

    >>> request_body([b"abc"], "serving_bytes", rows=True)
    b'{"signature_name": "serving_bytes", "instances": [{"b64": "YWJj"}]}'
    """
    values = request_values(values, signature)
    if isinstance(values, list):
        values = [{"b64": base64.b64encode(file).decode()} for file in values]
    else:
        values = values.tolist()
    key = "instances" if rows else "inputs"
    return json.dumps({"signature_name": signature, key: values}).encode()


def read_reply(reply, names):
    """Reads the answer to a `predict` request, of either format.

    Args:
        reply: Dict, the JSON object.
        names: Names of the signature's outputs. A server leaves out the name of an
            only output.

    Returns:
        Dict of arrays, float32 or str.

    Raises:
        ServingError: If it is no such answer.

    Example:

    >>> read_reply({"predictions": [{"a": 1, "b": "x"}]}, ["a", "b"])["a"]
    array([1.], dtype=float32)
    """
    with expecting("outputs", reply):
        columns = columns_of(reply)
        if not isinstance(columns, dict):
            columns = {names[0]: columns}
        arrays = {key: array_of(value) for key, value in columns.items()}
        if not arrays or any(value.ndim == 0 for value in arrays.values()):
            raise ValueError("no outputs, or none of a batch")
        return arrays


@contextlib.contextmanager
def expecting(what, reply):
    """Makes one error of those that reading an answer of another form ends in.

    Args:
        what: str, what the answer should have held.
        reply: The answer.

    Raises:
        ServingError: Where the block finds no such thing.

    Example:

    >>> with expecting("a version", {"error": "busy"}) as _:
    ...     {"error": "busy"}["version"]  # doctest: +SKIP
    ServingError: The server must answer with a version. Received: {'error': 'busy'}
    """
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError):
        raise ServingError(
            None, f"The server must answer with {what}. Received: {reply!r:.200}"
        ) from None


def columns_of(reply):
    """Returns what a reply to `predict` holds, of either format.

    Args:
        reply: Dict, the JSON object.

    Returns:
        Dict from an output's name to its values; those alone of an only output, whose
        name a server leaves out.

    Raises:
        LookupError, TypeError: If it is no such reply.
    """
    if "outputs" in reply:
        return reply["outputs"]
    rows = reply["predictions"]
    if not isinstance(rows[0], dict):
        return rows
    return {key: [row[key] for row in rows] for key in rows[0]}


def array_of(values):
    """Returns values that a server sent as an array `(batch, ...)`, float32 or str.

    Args:
        values: Lists of numbers or str, or array of bytes, as gRPC has all strings.
    """
    values = np.asarray(values)
    if values.dtype.kind == "O":
        return np.array([value.decode() for value in values.tolist()])
    return values if values.dtype.kind == "U" else values.astype(np.float32)


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
    received = f"Received: {array.dtype} from {array.min()} to {array.max()}"
    if not np.all(np.isfinite(array)):
        raise ValueError(f"Values must be finite. {received}")
    # A sum of colours, or a resize, may leave [0, 1] by a little.
    most = 1 if array.dtype.kind in "ui" else _LARGEST_FLOAT
    is_images = array.ndim == 4  # rows of tables and signals have units of their own
    if is_images and (array.max() > most or array.min() < 1 - most):
        raise ValueError(
            f"Images must be in [0, 1]; whole numbers up to 255 go to {UINT8!r}. "
            f"{received}"
        )
    return array.astype(np.float32)


def _within(array, most):
    return bool(np.all((array >= 0) & (array <= most)))


def _kind(values):
    kind = type(values).__name__
    if isinstance(values, (list, tuple)) and values:
        return f"a {kind} of {type(values[0]).__name__}"
    return kind
