"""Corrupted images kept on disk, each set made once, and what they are known by."""

import hashlib
import json
import math
import pathlib
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nfm_keras.corruptions import disk
from nfm_keras.corruptions.corruption import VERSION, Corruption
from nfm_keras.corruptions.frost import frost_source
from nfm_keras.data.labels import check_labels
from nfm_keras.records.files import read_json, whole, write_json
from nfm_keras.types import StrPath

# Images corrupted at a time: 3 MB of CIFAR, 33 MB of photographs.
_CHUNK, _MOST_VALUES = 1000, 2**25


class Cache:
    """A folder of corrupted images, each set made once.

    An entry is named by the SHA-256 of all that determines it: kind, severity, seed,
    constants, `jpeg`, the frost images (for frost), `VERSION`, the indices, and the
    bytes, shape and dtype of the images. A JSON file beside it holds these and the
    checksum of the entry. An entry that does not fit its checksum is made again, with a
    warning.
    Processes may share the folder; two that make the same entry write the same bytes.
    Entries may be deleted at any time.

    Args:
        folder: Path; made when the first entry is.

    Example:

    >>> from nfm_keras.corruptions import Corruption
    >>> cache, images = Cache("cache"), np.zeros((4, 32, 32, 3), "uint8")
    >>> cache.get(Corruption("fog", 3), images).shape
    (4, 32, 32, 3)
    """

    def __init__(self, folder: StrPath) -> None:
        self.folder = pathlib.Path(folder)

    def get(
        self,
        corruption: Corruption,
        images: Any,
        indices: ArrayLike | None = None,
        seed: int = 0,
        *,
        digest: str | None = None,
    ) -> np.ndarray:
        """Returns the corrupted images, made if they are not there.

        Args:
            corruption: `Corruption`.
            images: `(n, height, width, channels)`, uint8 or float in [0,1].
            indices: `(n,)` index of each image in its data set, by default 0, 1, 2 ...
            seed: int.
            digest: str that stands for the images, such as their `fingerprint`, for a
                caller that asks for many corruptions of the same ones: they are then
                not hashed again each time.

        Returns:
            uint8 memory map `(n, height, width, channels)`, read-only.

        Raises:
            ValueError: If images or indices are bad.
            OSError: Naming the file that cannot be written; no part of it is left.
        """
        # Photographs are read a part at a time.
        images = images if hasattr(images, "digests") else np.asarray(images)
        seed = int(seed)
        indices = np.arange(len(images)) if indices is None else np.asarray(indices)
        if indices.shape != images.shape[:1]:
            raise ValueError(
                f"`indices` must be one for each of the {len(images)} images. "
                f"Received: shape {indices.shape}"
            )
        made_with = _ingredients(corruption, indices, seed)
        made_with["images"] = fingerprint(images) if digest is None else digest
        key = hashlib.sha256(json.dumps(made_with, sort_keys=True).encode()).hexdigest()
        path = self.folder / f"{corruption.id}-{key[:32]}.npy"
        expected = {"key": key, "shape": list(images.shape)}
        if not _is_whole(path, expected):
            chunks = corrupted(corruption, images, indices, seed)
            with whole(path) as hidden:
                checksum = disk.write(hidden, images.shape, np.dtype("uint8"), chunks)
                # Before the entry has its name: a description without an entry is no
                # entry, while an entry without a description is damaged.
                description = expected | checksum | {"made_with": made_with}
                write_json(path.with_suffix(".json"), description)
        return disk.read(path)


def corrupted(corruption, images, indices, seed):
    """Corrupts many images, some at a time.

    Args:
        corruption: `Corruption`.
        images: `(n, height, width, channels)`, uint8 or float in [0,1].
        indices: `(n,)` index of each image in its data set.
        seed: int.

    Yields:
        uint8 arrays that, one after the other, are all images corrupted.
    """
    size = min(_CHUNK, max(1, _MOST_VALUES // math.prod(images.shape[1:])))
    for first in range(0, len(images), size):
        at = slice(first, first + size)
        yield corruption(images[at], indices[at], seed=seed)


def fingerprint(images, labels=None):
    """Returns the SHA-256 of a data set: values, shapes and dtypes.

    Args:
        images: Array of any shape and numeric dtype, or `nfm_keras.data.Photographs`.
        labels: `(n,)` integers, of any integer dtype, or None to leave them out.

    Returns:
        str of 64 hexadecimal digits.

    Example:

    >>> images = np.zeros((2, 8, 8, 3), "uint8")
    >>> fingerprint(images)[:8], fingerprint(images, [0, 1])[:8]
    ('2a71214d', '4027a011')
    """
    # Photographs have a SHA-256 each.
    images = np.asarray(getattr(images, "digests", images))
    if labels is None:
        return _sha256(images)
    return _sha256(images, check_labels(labels, len(images)))


def frost_fingerprint(frost_dir=None):
    """Returns the label of the frost that is used, and the SHA-256 of its textures.

    Args:
        frost_dir: As for `Corruption`.

    Returns:
        List of two str.
    """
    label, textures = frost_source(frost_dir)
    return [label, _sha256(*map(np.asarray, textures))]


def _ingredients(corruption, indices, seed):
    """Returns all that corrupted images are made with, but for the images."""
    is_frost = corruption.kind == "frost"
    return {
        "kind": corruption.kind,
        "severity": corruption.severity,
        "constants": corruption.constants,
        "jpeg": corruption.jpeg,
        "frost": frost_fingerprint(corruption.frost_dir) if is_frost else "",
        "indices": _sha256(indices.astype("int64")),
        "seed": seed,
        "version": VERSION,
    }


def _sha256(*arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).ravel())
    return digest.hexdigest()


def _is_whole(path, expected):
    if not path.exists():
        return False
    problem = _problem(path, expected)
    if problem:
        message = f"The cache entry {path} is damaged and made again. {problem}"
        warnings.warn(message, stacklevel=3)
    return not problem


def _problem(path, expected):
    """Says what is wrong with a cache entry; None without."""
    try:
        description = read_json(path.with_suffix(".json"))
        expected = expected | {name: description[name] for name in ("bytes", "sha256")}
        received = {name: description[name] for name in expected}
        received["bytes"] = path.stat().st_size
        with open(path, "rb") as file:
            received["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"Expected: a description of it. Received: {error!r}"
    wrong = [name for name in expected if expected[name] != received[name]]
    if not wrong:
        return None
    return (
        f"Expected: {', '.join(f'{name} {expected[name]}' for name in wrong)}. "
        f"Received: {', '.join(f'{name} {received[name]}' for name in wrong)}"
    )
