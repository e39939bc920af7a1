"""Classes of images as text: which are true, and which a classifier gave."""

import base64
import zlib

import numpy as np
from numpy.typing import ArrayLike


def pack_classes(classes: ArrayLike) -> str:
    """Returns the numbers of classes as text: 32 bits each, compressed, in base64.

    Args:
        classes: `(n,)` integers of 0 and more.

    Example:

    >>> unpack_classes(pack_classes([7, 0, 300])).tolist()
    [7, 0, 300]
    """
    numbers = np.asarray(classes).astype("<u4")
    return base64.b64encode(zlib.compress(numbers.tobytes(), 9)).decode()


def unpack_classes(text: str) -> np.ndarray:
    """Returns what `pack_classes` was given, `(n,)` int64.

    Raises:
        ValueError: If it is no such text.
    """
    try:
        content = zlib.decompress(base64.b64decode(text, validate=True))
        return np.frombuffer(content, "<u4").astype("int64")
    except (ValueError, zlib.error) as error:
        raise ValueError(
            f"Classes must be the text that `pack_classes` makes. Received: "
            f"{text!r:.40} ({error})"
        ) from None
