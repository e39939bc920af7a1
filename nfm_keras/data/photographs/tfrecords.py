"""TFRecord files read without TensorFlow: where records lie, and what is in one.

A record is `length (uint64) | checksum | data | checksum`, its data a serialised
`tf.train.Example`: a dict of names to lists of bytes, floats or integers. Both formats
are fixed and small; reading them here is what lets every backend read a folder of
TensorFlow Datasets.
"""

import os
import struct
from collections.abc import Callable

import numpy as np

_HEAD = 12  # bytes before the data of a record
_TAIL = 4
_PEEK = 256  # bytes that hold the beginning of an entry, its name and sizes


def offsets(path, count: int) -> np.ndarray:
    """Returns where the data of each record of a file begins and how long it is.

    Reads the lengths alone, not what is between.

    Args:
        path: The file.
        count: How many records it holds.

    Returns:
        int64 `(count, 2)`: offset and length in bytes.

    Raises:
        ValueError: If the file is cut short or holds another number.
    """
    found, place = [], 0
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        while place + _HEAD <= size:
            (length,) = struct.unpack("<Q", os.pread(file.fileno(), 8, place))
            found.append((place + _HEAD, length))
            place += _HEAD + length + _TAIL
    if place != size or len(found) != count:
        raise ValueError(
            f"{path} must hold {count} whole records; copy or prepare it again. "
            f"Received: {len(found)} in {size} bytes, which end at byte {place}"
        )
    return np.array(found, np.int64).reshape(-1, 2)


def spans(read: Callable[[int, int], bytes], size: int) -> dict[str, tuple[int, int]]:
    """Returns where in an `Example` the value of each name lies.

    Args:
        read: Function `(start, count) -> bytes` of the example.
        size: Its length in bytes.

    Returns:
        Dict of name to `(start, count)`: the first value of a list of bytes, or the
        packed integers of a list of them; `(0, 0)` for an empty list.

    Raises:
        ValueError: If it is no example.
    """
    try:
        return _spans(read, size)
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(
            f"The record must be a tf.train.Example. Received: {error}"
        ) from None


def _spans(read, size):
    found = {}
    head = read(0, _PEEK)
    _, place = _varint(head, 0)
    _, place = _varint(head, place)
    while place < size:
        head = read(place, _PEEK)
        _, at = _varint(head, 0)
        length, at = _varint(head, at)
        after = place + at + length
        _, at = _varint(head, at)
        chars, at = _varint(head, at)
        name, at = head[at : at + chars].decode(), at + chars
        # Of the feature: its kind, the list's length, and of the first value.
        numbers = []
        while len(numbers) < 6 and place + at < after:
            number, at = _varint(head, at)
            numbers.append(number)
        found[name] = (place + at, numbers[5]) if len(numbers) == 6 else (0, 0)
        place = after
    return found


def integer(data: bytes) -> int:
    """Returns the first of packed integers.

    Example:

    >>> integer(bytes([0x96, 0x01]))
    150
    """
    value, _ = _varint(data, 0)
    return value - (1 << 64) if value >> 63 else value


def _varint(data, place):
    """Seven bits a byte, the least first, until one without the eighth bit."""
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
