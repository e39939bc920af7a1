"""Where photographs lie: class folders, or the records of TensorFlow Datasets."""

import concurrent.futures
import contextlib
import functools
import hashlib
import os
import pathlib
from typing import Protocol

import numpy as np

from nfm_keras.data.photographs import tfrecords

SHARDS = 8
"""How many record files are read, and shuffled, together."""


class Unreadable(ValueError):
    """Of an image file that cannot be read, or is no image."""


class Files(Protocol):
    """Image files with labels, numbered through all of them.

    Attributes:
        lengths: int64 `(files,)`, how many images each file on disk holds.
        group: How many of them are read together in training.
        classes: Names of the classes, by label.
    """

    lengths: np.ndarray
    group: int
    classes: tuple[str, ...]

    def read(self, row: int) -> tuple[bytes, int]:
        """Returns the bytes of an image file, as it was encoded, and its label.

        Raises:
            Unreadable: If the system does not read it.
        """

    def name(self, row: int) -> str:
        """Returns the name of an image file, to tell of it."""

    def names_and_labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the names, bytes `(n,)`, and labels, int64 `(n,)`, of all images."""

    def identity(self) -> str:
        """Returns what a copy of the files is known by: places, names and labels."""


class FolderFiles:
    """Class folders of image files.

    Args:
        folder: Folder of the class folders.
        classes: Names of these, by label.
        names: bytes `(n,)`, names of the files, ordered by label.
        counts: Integers `(classes,)`, how many files each folder has.
    """

    def __init__(self, folder, classes, names, counts):
        self.folder, self.classes, self._names = pathlib.Path(folder), classes, names
        self._ends = np.cumsum(counts)
        self.group = len(names)  # one image a file: all of them may be shuffled

    @property
    def lengths(self):
        return np.ones(len(self._names), np.int64)

    def read(self, row):
        with _read_by_the_system(), open(self.folder / self.name(row), "rb") as file:
            return file.read(), self._label(row)

    def name(self, row):
        return os.path.join(
            self.classes[self._label(row)], os.fsdecode(self._names[row])
        )

    def names_and_labels(self):
        counts = np.diff(self._ends, prepend=0)
        return self._names, np.repeat(np.arange(len(counts)), counts)

    def identity(self):
        place = (str(self.folder.resolve()), *self.classes)
        return _digest(repr(place), self._names.tobytes(), self._ends.tobytes())

    def _label(self, row):
        return int(np.searchsorted(self._ends, row, side="right"))


class RecordFiles:
    """Shards of a set that TensorFlow Datasets has prepared, as TFRecord files.

    Args:
        shards: Paths of the shards.
        lengths: Integers, how many images each holds.
        classes: Names of the classes, by label.
        image, label: Names of the two features; a third, `file_name`, names an image
            where it is there.
    """

    group = SHARDS

    def __init__(self, shards, lengths, classes, image="image", label="label"):
        self.shards, self.classes = [*map(pathlib.Path, shards)], classes
        self.lengths = np.asarray(lengths, np.int64)
        self._ends = np.cumsum(self.lengths)
        self._image, self._label = image, label
        self._offsets = {}

    def read(self, row):
        with _read_by_the_system():
            shard, start, length = self._place(row)
            with open(shard, "rb", buffering=0) as file:
                data = os.pread(file.fileno(), length, start)
        spans = tfrecords.spans(lambda a, n: data[a : a + n], len(data))
        first, count = self._span(spans, self._image, shard)
        place, size = self._span(spans, self._label, shard)
        label = tfrecords.integer(data[place : place + size])
        if label < 0:
            raise ValueError(
                f"Every image of {shard} must have a label, 0 or more. "
                f"Received: {label}"
            )
        return data[first : first + count], label

    def name(self, row):
        number, first = self._shard_of(row)
        name, path = "", self.shards[number]
        with contextlib.suppress(OSError):  # of one that is to be told of
            _, start, length = self._place(row)
            with open(path, "rb", buffering=0) as file:
                name, _ = self._described(file.fileno(), start, length, path)
        return name or f"{path.name}[{row - first}]"

    def names_and_labels(self):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            parts = [*pool.map(self._shard, range(len(self.shards)))]
        names, labels = zip(*(pair for part in parts for pair in part))
        return np.array([os.fsencode(n) for n in names]), np.array(labels, np.int64)

    def identity(self):
        known = [(str(path.resolve()), path.stat().st_size) for path in self.shards]
        return _digest(repr((known, self.classes)), self.lengths.tobytes())

    def _shard(self, number):
        path, found = self.shards[number], []
        with open(path, "rb", buffering=0) as file:
            for place, (start, length) in enumerate(self._offsets_of(number).tolist()):
                name, label = self._described(file.fileno(), start, length, path)
                found.append((name or f"{number:05d}-{place:08d}", label))
        return found

    def _described(self, file, start, length, path):
        """Name, empty without, and label of a record; the image is not read."""

        def read(place, count):
            return os.pread(file, min(count, length - place), start + place)

        spans = tfrecords.spans(read, length)
        label = tfrecords.integer(read(*self._span(spans, self._label, path)))
        return os.fsdecode(read(*spans.get("file_name", (0, 0)))), label

    @staticmethod
    def _span(spans, name, path):
        if not spans.get(name, (0, 0))[1]:
            raise ValueError(
                f"Every record of {path} must have a value of {name!r}. "
                f"Received: {', '.join(spans)}"
            )
        return spans[name]

    def _shard_of(self, row):
        """The number of the shard that an image is in, and its first image."""
        number = int(np.searchsorted(self._ends, row, side="right"))
        return number, int(self._ends[number] - self.lengths[number])

    def _place(self, row):
        number, first = self._shard_of(row)
        start, length = self._offsets_of(number)[row - first].tolist()
        return self.shards[number], start, length

    def _offsets_of(self, number):
        # Two threads may both look; they find the same.
        if number not in self._offsets:
            found = tfrecords.offsets(self.shards[number], int(self.lengths[number]))
            self._offsets[number] = found
        return self._offsets[number]


class View:
    """Files under other labels.

    Args:
        files: `Files`.
        classes: Names of the new classes.
        labels: Integers, the new label of each old one; -1 for images left out, which
            the rows that are used do not name.
        cut: `nfm_keras.data.specs.Cut`, where classifiers of more classes are
            evaluated on these; `None`.
    """

    def __init__(self, files, classes, labels, cut=None):
        self._files, self.classes, self.cut = files, classes, cut
        self._labels = np.asarray(labels, np.int64)
        self.lengths, self.group, self.name = files.lengths, files.group, files.name

    def read(self, row):
        data, label = self._files.read(row)
        return data, int(self._labels[label])

    @functools.cached_property
    def _all(self):
        names, labels = self._files.names_and_labels()
        return names, np.where(labels < 0, -1, self._labels[labels])

    def names_and_labels(self):
        return self._all

    def identity(self):
        return _digest(self._files.identity(), self._labels.tobytes())


@contextlib.contextmanager
def _read_by_the_system():
    """A file that is gone, or forbidden, or on a broken disk, is an unreadable one."""
    try:
        yield
    except OSError as error:
        raise Unreadable(
            f"The file must be one that the system reads. Received: {error}"
        ) from None


def _digest(*parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()
