"""Photographs as an array that is read when it is looked at."""

import concurrent.futures
import dataclasses
import functools
import hashlib
import os
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nfm_keras.checks import check_count, check_number
from nfm_keras.data.photographs.files import Files, Unreadable
from nfm_keras.data.photographs.transforms import centre_crop, decode
from nfm_keras.data.specs import DatasetSpec
from nfm_keras.types import StrPath

THREADS = min(32, os.cpu_count() or 1)
"""How many images are decoded at the same time."""

_AT_ONCE = 256  # images of a walk through all of them


class Reading(NamedTuple):
    """How files become images.

    Attributes:
        image_size: Side of the images, in pixels.
        eval_crop: Share of the shorter side that an evaluation shows, in (0, 1].
        antialias: Whether training crops are resized with antialiasing, as Pillow and
            every evaluation do. With TensorFlow that takes longer than decoding, for
            crops that shrink by a factor of 1.6 or so; so it is off by default, as in
            most training in TensorFlow. With Pillow, on the other backends, it is free.
        strict: Whether a file that cannot be read is an error.
        cache: Where files are kept once they were read: `"none"`, `"ram"` or `"disk"`
            (`nfm_keras.data.photographs.caching`).
        cache_dir: Folder of `"disk"`, given with that alone; `None` for one in the
            user's cache.
    """

    image_size: int = 224
    eval_crop: float = 0.875
    antialias: bool = False
    strict: bool = False
    cache: str = "none"
    cache_dir: StrPath | None = None

    def check(self) -> None:
        """Refuses values out of range, and a folder for a cache that takes none.

        Raises:
            ValueError: Naming the value.
        """
        check_count("image_size", self.image_size)
        check_number("eval_crop", self.eval_crop, above=0, most=1)
        if self.cache_dir is not None and self.cache != "disk":
            raise ValueError(
                "`cache_dir` is the folder of the cache on disk, cache='disk'. "
                f"Received: cache_dir={str(self.cache_dir)!r} with "
                f"cache={self.cache!r}"
            )


class Skipped:
    """The files that could not be read, by name.

    Args:
        strict: Whether the first of them is an error.

    Attributes:
        names: List of the names; one of before may be put into it.
        error: What a thread of a stream could not raise itself.
    """

    def __init__(self, strict: bool = False) -> None:
        self.strict, self.names = strict, list[str]()
        self._lock = threading.Lock()
        self.error: Exception | None = None

    def add(self, name: str, error: Exception | str, most: int = 0) -> None:
        """Notes a file, or refuses it.

        Args:
            name: Its name.
            error: Why it cannot be read.
            most: How many files there are; 0 where all of them may be broken.

        Raises:
            ValueError: If the rule is strict, or for the last file there is.
        """
        with self._lock:
            if name not in self.names:
                self.names.append(name)
            if len(self.names) == most:
                self.error = ValueError(
                    f"An image of the {most} must be readable. Received: none, such as "
                    f"{name}. {error}"
                )
                raise self.error
        if self.strict:
            self.error = ValueError(f"{name} cannot be read (strict). {error}")
            raise self.error


class Photographs:
    """Images of one size: an array of uint8 that is decoded when it is looked at.

    It has `shape`, `dtype`, `ndim` and `len`; a slice or an array of indices gives
    another such object and reads nothing; `numpy.asarray` reads all files of it, in
    threads, as the evaluation does: the shorter side resized, the centre cut out.

    Args:
        files: `Files`.
        rows: Integers `(n,)`, which of these, in their order.
        reading: `Reading`.
        skipped: `Skipped` to note files in that cannot be read.

    Example:

    >>> import nfm_keras as nfm
    >>> test = nfm.data.load("folder:photos").test  # doctest: +SKIP
    >>> np.asarray(test.images[:8]).shape  # doctest: +SKIP
    (8, 224, 224, 3)
    """

    dtype = np.dtype("uint8")
    ndim = 4

    def __init__(
        self, files: Files, rows: ArrayLike, reading: Reading, skipped: Skipped
    ) -> None:
        self.files, self.rows = files, np.asarray(rows, np.int64)
        self.reading, self.skipped = reading, skipped
        self._digests: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        size = self.reading.image_size
        return len(self.rows), size, size, 3

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, (int, np.integer)):
            return np.asarray(self[[key]])[0]
        part = Photographs(self.files, self.rows[key], self.reading, self.skipped)
        if self._digests is not None:
            part._digests = self._digests[key]
        return part

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        images, kept = self.read()
        self._check_all(kept)
        return images if dtype is None else images.astype(dtype)

    def _check_all(self, kept):
        if not kept.all():
            raise ValueError(
                f"All of {len(kept)} images must be such as can be read. Received: "
                f"{self.files.name(self.rows[kept.argmin()])}, which cannot"
            )

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Reads the images.

        Returns:
            `(images, kept)`: uint8 `(m, size, size, 3)`, those that can be read, and
            bool `(n,)`, which they are. The others are noted in `skipped`.

        Raises:
            ValueError: For the first one that cannot, if the rule is strict.
        """
        kept, images = np.ones(len(self), bool), np.empty(self.shape, self.dtype)
        for place, image in enumerate(self.walk()):
            if isinstance(image, Unreadable):
                self.skipped.add(self.files.name(self.rows[place]), image)
                kept[place] = False
            else:
                images[place] = image
        return (images if kept.all() else images[kept]), kept

    def walk(self) -> Iterator[np.ndarray | Unreadable]:
        """Yields each image, uint8 `(size, size, 3)`, or the error of its file."""
        with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
            for first in range(0, len(self), _AT_ONCE):
                yield from pool.map(self._read, self.rows[first : first + _AT_ONCE])

    def _read(self, row):
        reading = self.reading
        try:
            image = decode(self.files.read(row)[0])
        except Unreadable as error:
            return error
        return centre_crop(image, reading.image_size, reading.eval_crop)

    @property
    def digests(self) -> np.ndarray:
        """SHA-256 of each image, uint8 `(n, 32)`: what the whole is recognised by."""
        if self._digests is None:
            part, kept = self.sound()
            self._check_all(kept)
            self._digests = part.digests
        return self._digests

    def sound(self) -> "tuple[Photographs, np.ndarray]":
        """Reads all files once and leaves out those that cannot be read.

        Returns:
            `(photographs, kept)`: those that can, and bool `(n,)`, which they are.

        Raises:
            ValueError: For the first one that cannot, if the rule is strict.
        """
        kept, digests = np.ones(len(self), bool), []
        for place, image in enumerate(self.walk()):
            if isinstance(image, Unreadable):
                self.skipped.add(self.files.name(self.rows[place]), image)
                kept[place] = False
            else:
                digests.append(_digest(image))
        part = self[kept]
        part._digests = np.stack(digests) if digests else np.empty((0, 32), "uint8")
        return part, kept


@dataclasses.dataclass(frozen=True)
class PhotographSplit:
    """Photographs with their labels: what a `Split` is for arrays.

    Attributes:
        images: `Photographs`.
        spec: `DatasetSpec`.
    """

    images: Photographs
    spec: DatasetSpec

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """int64 `(n,)`. Of TensorFlow Datasets they are read from all records."""
        return self.images.files.names_and_labels()[1][self.images.rows]

    def subset(self, index: Any) -> "PhotographSplit":
        """Returns the images of an index: a slice, integers or booleans."""
        return PhotographSplit(self.images[index], self.spec)

    def sound(self) -> "PhotographSplit":
        """Returns the images that can be read: see `Photographs.sound`."""
        images, kept = self.images.sound()
        if not kept.any():
            raise ValueError(
                f"An image of {self.spec.name} must be readable. "
                f"Received: none of {len(kept)}, {self.images.skipped.names[0]} ..."
            )
        return PhotographSplit(images, self.spec)


def _digest(image):
    return np.frombuffer(hashlib.sha256(np.ascontiguousarray(image)).digest(), "uint8")
