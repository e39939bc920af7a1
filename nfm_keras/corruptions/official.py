"""Corrupted images on disk: official sets, sets of one's own, and a cache.

`open_official` reads what others have made, in the layout in which they hand it out;
`write_official` writes the layout of CIFAR-10-C; `Cache` keeps what an evaluation has
made. Every file is written under a hidden name (`.*.tmp`) and renamed once it is
whole: a run that is killed leaves nothing that could be taken for a result.
"""

import contextlib
import functools
import hashlib
import io
import itertools
import json
import os
import pathlib
import uuid
import warnings

import numpy as np
from PIL import Image

from nfm_keras import records
from nfm_keras.corruptions import NAMES, SEVERITIES, VERSION, Corruption, frost_source
from nfm_keras.data import labels as metrics

ORIGIN = "corruptions.json"
"""The file beside a set of `write_official` that says what it was made with."""

_LABELS = "labels.npy"
_TFDS = "cifar10_corrupted"
_TFDS_NAMES = {"glass_blur": "frosted_glass_blur", "elastic_transform": "elastic"}
_CHUNK = 1000  # images corrupted at a time: 3 MB of CIFAR


def open_official(folder, wnids=None):
    """Open a folder of corrupted images where it is; nothing is copied or downloaded.

    Three layouts are told apart by what is in the folder:

    * CIFAR-10-C, CIFAR-100-C, and what `write_official` writes: `<kind>.npy`, uint8
      `(5 n, height, width, channels)` with severity s in rows `(s-1) n` to `s n`, and
      `labels.npy`, `(5 n,)`. Images are in the order of the test set.
    * A TensorFlow Datasets folder with `cifar10_corrupted` prepared in it, whole or in
      part. Images are in the order of TFDS, which is the same for every corruption
      but is not that of the test set.
    * ImageNet-C: `<kind>/<severity>/<wnid>/*.JPEG`, all of one size, which are not
      resized.

    Args:
        folder: path of the folder.
        wnids: list of str, of ImageNet-C only: the class names in the order of the
            classifier's outputs. By default the class folders present, sorted, which
            are ImageNet's classes 0 to 999 if all 1,000 are there.

    Returns:
        Object with

        * `kinds`: tuple of str, the corruptions it has, in the order of `NAMES`;
        * `images(kind, severity)`: uint8 `(n, height, width, channels)`: a memory map
          (CIFAR), an array (TFDS), or a sequence with `shape` and `dtype` that reads
          the files of a slice when it is taken (ImageNet-C);
        * `labels(kind, severity)`: int32 `(n,)`;
        * `batches(kind, severity, batch_size=250)`: iterator of (images, labels).

        They raise `FileNotFoundError` for what is not there and `ValueError` for what
        is not what the layout says.

    Raises:
        FileNotFoundError: no such folder, or no `labels.npy` in it.
        ValueError: none of the layouts, or labels that do not repeat five times.

    Example:

    >>> official = open_official("CIFAR-10-C")  # doctest: +SKIP
    >>> official.images("gaussian_noise", 3).shape  # doctest: +SKIP
    (10000, 32, 32, 3)

    Reference: D. Hendrycks and T. Dietterich, *Benchmarking neural network robustness
    to common corruptions and perturbations*, ICLR 2019.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"No folder of corrupted images. Received: {folder}")
    if _has_arrays(folder):
        return CifarC(folder)
    if folder.name == _TFDS or (folder / _TFDS).is_dir():
        return TfdsC(folder if folder.name == _TFDS else folder / _TFDS)
    if any((folder / kind).is_dir() for kind in NAMES):
        return ImageNetC(folder, wnids)
    raise ValueError(
        f"{folder} must hold <kind>.npy files and {_LABELS}, or {_TFDS} of TensorFlow "
        f"Datasets, or <kind>/<severity>/<wnid>/*.JPEG. Received: {_content(folder)}"
    )


class Official:
    """What `open_official` returns; one subclass a layout."""

    def batches(self, kind, severity, batch_size=250):
        """Yields (images, labels), the last of them perhaps smaller."""
        images, labels = self.images(kind, severity), self.labels(kind, severity)
        for first in range(0, len(images), batch_size):
            at = slice(first, first + batch_size)
            yield images[at], labels[at]


class CifarC(Official):
    """`<kind>.npy` and `labels.npy`."""

    def __init__(self, folder):
        self.folder = folder
        labels, path = _open_npy(folder / _LABELS), folder / _LABELS
        if labels.ndim != 1 or not len(labels) or len(labels) % len(SEVERITIES):
            raise ValueError(
                f"{path} must hold the labels of {len(SEVERITIES)} severities, shape "
                f"({len(SEVERITIES)} n,). Received: shape {labels.shape}"
            )
        parts = labels.reshape(len(SEVERITIES), -1)
        if (parts != parts[0]).any():
            raise ValueError(
                f"{path} must repeat the same labels for each severity. Received: "
                f"{np.count_nonzero((parts != parts[0]).any(axis=0))} of "
                f"{parts.shape[1]} images whose label changes"
            )
        self._labels = metrics.check_labels(parts[0], parts.shape[1])

    @property
    def kinds(self):
        return tuple(kind for kind in NAMES if (self.folder / _npy(kind)).is_file())

    def images(self, kind, severity):
        Corruption(kind, severity)
        images, n = _open_npy(self.folder / _npy(kind)), len(self._labels)
        rows = n * len(SEVERITIES)
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) != rows:
            raise ValueError(
                f"{self.folder / _npy(kind)} must hold uint8 images of shape ({rows}, "
                f"height, width, channels), one for each row of {_LABELS}. "
                f"Received: {images.dtype} of shape {images.shape}"
            )
        return images[(severity - 1) * n : severity * n]

    def labels(self, kind, severity):
        Corruption(kind, severity)
        return self._labels


class TfdsC(Official):
    """`cifar10_corrupted` of TensorFlow Datasets."""

    def __init__(self, folder):
        self.folder = folder

    @property
    def kinds(self):
        there = {path.name.rpartition("_")[0] for path in self.folder.iterdir()}
        return tuple(kind for kind in NAMES if _TFDS_NAMES.get(kind, kind) in there)

    def images(self, kind, severity):
        return self._read(kind, severity)["image"]

    def labels(self, kind, severity):
        labels = self._read(kind, severity)["label"]
        return metrics.check_labels(labels, len(labels))

    def _read(self, kind, severity):
        Corruption(kind, severity)
        return _read_tfds(self.folder / f"{_TFDS_NAMES.get(kind, kind)}_{severity}")


class ImageNetC(Official):
    """`<kind>/<severity>/<wnid>/*.JPEG`."""

    def __init__(self, folder, wnids=None):
        self.folder = folder
        if wnids is None:
            # Of all kinds and severities: ranks must not shift where one lacks a class.
            parts = itertools.chain(*map(os.scandir, folder.glob("*/[1-5]")))
            wnids = sorted({entry.name for entry in parts if entry.is_dir()})
        self.wnids = list(wnids)

    @property
    def kinds(self):
        return tuple(kind for kind in NAMES if (self.folder / kind).is_dir())

    def images(self, kind, severity):
        return _Jpegs(self._paths(kind, severity))

    def labels(self, kind, severity):
        names = [path.parent.name for path in self._paths(kind, severity)]
        ranks = {wnid: rank for rank, wnid in enumerate(self.wnids)}
        unknown = sorted(set(names) - ranks.keys())
        if unknown:
            raise ValueError(
                f"Every class folder must be one of the {len(ranks)} `wnids`. "
                f"Received: {', '.join(unknown[:5])}"
            )
        return np.array([ranks[name] for name in names], "int32")

    def _paths(self, kind, severity):
        Corruption(kind, severity)
        paths = sorted((self.folder / kind / str(severity)).glob("*/*.JPEG"))
        if not paths:
            raise FileNotFoundError(
                f"{self.folder} must hold {kind}/{severity}/<wnid>/*.JPEG. "
                f"Received: {_content(self.folder / kind)}"
            )
        return paths


class _Jpegs:
    """Files as images `(n, height, width, 3)`, read when they are asked for."""

    dtype = np.dtype("uint8")

    def __init__(self, paths):
        self._paths = paths
        self.shape = (len(paths), *_read_jpeg(paths[0]).shape)

    def __len__(self):
        return len(self._paths)

    def __getitem__(self, at):
        if isinstance(at, slice):
            return np.stack([self._read(path) for path in self._paths[at]])
        return self._read(self._paths[at])

    def _read(self, path):
        image = _read_jpeg(path)
        if image.shape != self.shape[1:]:
            raise ValueError(
                f"All images must have the shape {self.shape[1:]} of the first. "
                f"Received: {path} of shape {image.shape}"
            )
        return image


def write_official(
    folder, images, labels, *, kinds=NAMES, seed=0, constants="auto", frost_dir=None
):
    """Write corrupted images in the layout of CIFAR-10-C.

    Files that are there and whole are kept, so that the call resumes where an earlier
    one stopped. `corruptions.json` beside them says what they were made with.

    Args:
        folder: path; made if need be.
        images: `(n, height, width, channels)`, uint8 or float in [0,1].
        labels: `(n,)` integers.
        kinds: names of the corruptions, each written at all five severities.
        seed: int.
        constants: str. `"cifar"`, `"imagenet"` or `"auto"`, as in `Corruption`.
        frost_dir: path of the frost images, as in `Corruption`.

    Returns:
        The folder, opened as by `open_official`.

    Raises:
        ValueError: bad images, labels or settings; or the folder holds images that
            were made with others.
        OSError: naming the file that cannot be written; no part of it is left.

    Example:

    >>> official = write_official("my-c", images, labels)  # doctest: +SKIP
    >>> official.images("fog", 5).shape == images.shape  # doctest: +SKIP
    True
    """
    folder, images, seed = pathlib.Path(folder), np.asarray(images), int(seed)
    make = functools.partial(Corruption, constants=constants, frost_dir=frost_dir)
    for kind in kinds:
        make(kind, 1)(images[:1])  # all that is wrong shows before a file is written
    labels = metrics.check_labels(labels, len(images))
    origin = {
        "constants": constants,
        "frost": frost_fingerprint(frost_dir),
        "images": fingerprint(images, labels),
        "seed": seed,
        "shape": list(images.shape),
        "version": VERSION,
    }
    _claim(folder, origin)
    rows = np.tile(labels, len(SEVERITIES)).astype(np.min_scalar_type(labels.max()))
    _write_unless_whole(folder / _LABELS, rows.shape, rows.dtype, [rows])
    shape = (len(rows), *images.shape[1:])
    for kind in kinds:
        chunks = (
            _corrupt(make(kind, severity), images, np.arange(len(images)), seed)
            for severity in SEVERITIES
        )
        chunks = itertools.chain.from_iterable(chunks)
        _write_unless_whole(folder / _npy(kind), shape, np.dtype("uint8"), chunks)
    return open_official(folder)


class Cache:
    """A folder of corrupted images, each set made once.

    An entry is named by the SHA-256 of all that determines it: kind, severity, seed,
    constants, the frost images (for frost), `VERSION`, the indices, and the bytes,
    shape and dtype of the images. A JSON file beside it holds these and the checksum of
    the entry. An entry that does not fit its checksum is made again, with a warning.
    Processes may share the folder; two that make the same entry write the same bytes.
    Entries may be deleted at any time.

    Args:
        folder: path; made when the first entry is.

    Example:

    >>> from nfm_keras.corruptions import Corruption
    >>> cache = Cache("cache")  # doctest: +SKIP
    >>> cache.get(Corruption("fog", 3), images).shape  # doctest: +SKIP
    (10000, 32, 32, 3)
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def get(self, corruption, images, indices=None, seed=0, *, digest=None):
        """The corrupted images, made if they are not there.

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
            ValueError: bad images or indices.
            OSError: naming the file that cannot be written; no part of it is left.
        """
        images, seed = np.asarray(images), int(seed)
        indices = np.arange(len(images)) if indices is None else np.asarray(indices)
        if indices.shape != images.shape[:1]:
            raise ValueError(
                f"`indices` must be one for each of the {len(images)} images. "
                f"Received: shape {indices.shape}"
            )
        is_frost = corruption.kind == "frost"
        made_with = {
            "kind": corruption.kind,
            "severity": corruption.severity,
            "constants": corruption.constants,
            "frost": frost_fingerprint(corruption.frost_dir) if is_frost else "",
            "images": fingerprint(images) if digest is None else digest,
            "indices": _sha256(indices.astype("int64")),
            "seed": seed,
            "version": VERSION,
        }
        key = hashlib.sha256(json.dumps(made_with, sort_keys=True).encode()).hexdigest()
        path = self.folder / f"{corruption.id}-{key[:32]}.npy"
        expected = {"key": key, "shape": list(images.shape)}
        if not _is_whole(path, expected):
            chunks = _corrupt(corruption, images, indices, seed)
            _write_entry(path, expected, made_with, chunks)
        return _open_npy(path)


def fingerprint(images, labels=None):
    """SHA-256 of a data set: values, shapes and dtypes.

    Args:
        images: array of any shape and numeric dtype.
        labels: `(n,)` integers, of any integer dtype, or None to leave them out.

    Returns:
        str of 64 hexadecimal digits.

    Example:

    >>> images = np.zeros((2, 8, 8, 3), "uint8")
    >>> fingerprint(images)[:8], fingerprint(images, [0, 1])[:8]
    ('2a71214d', '4027a011')
    """
    images = np.asarray(images)
    if labels is None:
        return _sha256(images)
    return _sha256(images, metrics.check_labels(labels, len(images)))


def _sha256(*arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).ravel())
    return digest.hexdigest()


def frost_fingerprint(frost_dir=None):
    """Label of the frost that is used, and the SHA-256 of its textures.

    Args:
        frost_dir: as for `Corruption`.

    Returns:
        List of two str.
    """
    label, textures = frost_source(frost_dir)
    return [label, _sha256(*map(np.asarray, textures))]


def _corrupt(corruption, images, indices, seed):
    for first in range(0, len(images), _CHUNK):
        at = slice(first, first + _CHUNK)
        yield corruption(images[at], indices[at], seed=seed)


def _claim(folder, origin):
    """One folder, one origin: files made with different settings are never mixed."""
    path = folder / ORIGIN
    received = records.read_json(path) if path.exists() else None
    if received is None and _has_arrays(folder):
        raise ValueError(
            f"{folder} must be new, or written by `write_official`. "
            f"Received: corrupted images without {ORIGIN}"
        )
    if received not in (None, origin):
        other = sorted(k for k in origin if origin[k] != dict(received).get(k))
        raise ValueError(
            f"{folder} holds images that were made with other settings. Expected: "
            f"{ {k: origin[k] for k in other} }. "
            f"Received: { {k: received.get(k) for k in other} }"
        )
    records.write_json(path, origin)


def _write_unless_whole(path, shape, dtype, chunks):
    if _is_there(path, shape, dtype):
        return
    with _replacing(path) as file:
        file.writelines(_npy_bytes(shape, dtype, chunks))


def _is_there(path, shape, dtype):
    if not path.exists():
        return False
    try:
        there = _open_npy(path)
        received = f"{there.dtype} of shape {there.shape}"
    except ValueError as error:
        received = str(error)
    expected = f"{dtype} of shape {shape}"
    if received != expected:
        warnings.warn(
            f"{path} is made again. Expected: {expected}. Received: {received}",
            stacklevel=4,
        )
    return received == expected


def _write_entry(path, expected, made_with, chunks):
    digest, count = hashlib.sha256(), 0
    with _replacing(path) as file:
        for part in _npy_bytes(tuple(expected["shape"]), np.dtype("uint8"), chunks):
            count += file.write(part)
            digest.update(part)
        checksum = {"bytes": count, "sha256": digest.hexdigest()}
        # Before the entry has its name: a description without an entry is no entry,
        # while an entry without a description is damaged.
        description = expected | checksum | {"made_with": made_with}
        records.write_json(path.with_suffix(".json"), description)


def _is_whole(path, expected):
    if not path.exists():
        return False
    problem = _problem(path, expected)
    if problem:
        message = f"The cache entry {path} is damaged and made again. {problem}"
        warnings.warn(message, stacklevel=3)
    return not problem


def _problem(path, expected):
    """What is wrong with a cache entry, or None."""
    try:
        description = records.read_json(path.with_suffix(".json"))
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


@contextlib.contextmanager
def _replacing(path):
    """A file to write, which takes the place of `path` once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(hidden, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(hidden, path)
    except OSError as error:
        reason = error.strerror or str(error)
        # Given an errno, OSError makes the right subclass (PermissionError ...).
        raise OSError(error.errno, f"Cannot write {path}: {reason}") from error
    finally:
        hidden.unlink(missing_ok=True)


def _npy_bytes(shape, dtype, chunks):
    # Not a memory map to write to: on a full disk that is a SIGBUS and no OSError.
    header = io.BytesIO()
    layout = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, layout)
    yield header.getvalue()
    for chunk in chunks:
        yield np.ascontiguousarray(chunk).ravel().view("uint8")


def _open_npy(path):
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent} must hold {path.name}. Received: {_content(path.parent)}"
        )
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"{path} must be a whole .npy file. "
            f"Received: {path.stat().st_size} bytes ({error})"
        ) from None


@functools.lru_cache(maxsize=1)  # images and labels of a pair are asked for in turn
def _read_tfds(folder):
    found = sorted(path.parent for path in folder.glob("*/dataset_info.json"))
    if not found:
        raise FileNotFoundError(
            f"{folder} must be prepared by TensorFlow Datasets; nothing is downloaded "
            f"here. Received: {_content(folder)}"
        )
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise FileNotFoundError(
            f"{folder} is read with TensorFlow Datasets, which is not installed: "
            'pip install "nfm-keras[tensorflow]"'
        ) from None

    # From the folder and not by name, which might download.
    test = tfds.builder_from_directory(found[-1]).as_dataset(
        split="test", batch_size=-1
    )
    return tfds.as_numpy(test)


def _read_jpeg(path):
    try:
        return np.asarray(Image.open(path).convert("RGB"))
    except OSError as error:
        raise ValueError(f"{path} must be a whole image. Received: {error}") from None


def _has_arrays(folder):
    return any((folder / name).exists() for name in (_LABELS, *map(_npy, NAMES)))


def _npy(kind):
    return f"{kind}.npy"


def _content(folder):
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return f"{len(names)} names ({', '.join(names[:5])})" if names else "nothing"
