"""Corrupted images in the layouts in which they are handed out, read and written.

`open_official` reads what others have made, `write_official` writes the layout of
CIFAR-10-C.
"""

import functools
import itertools
import pathlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from nfm_keras.corruptions import disk
from nfm_keras.corruptions.cache import corrupted, fingerprint, frost_fingerprint
from nfm_keras.corruptions.constants import NAMES, SEVERITIES
from nfm_keras.corruptions.corruption import VERSION, Corruption
from nfm_keras.data.labels import check_labels
from nfm_keras.records.files import read_json, write_json
from nfm_keras.records.schema import refuse_difference
from nfm_keras.types import StrPath

ORIGIN = "corruptions.json"
"""The file beside a set of `write_official` that says what it was made with."""

_LABELS = "labels.npy"
_TFDS = "cifar10_corrupted"
_TFDS_NAMES = {"glass_blur": "frosted_glass_blur", "elastic_transform": "elastic"}


def open_official(
    folder: StrPath, wnids: Sequence[str] | None = None
) -> "CifarC | TfdsC | ImageNetC":
    """Opens a folder of corrupted images where it is; nothing is copied or downloaded.

    Three layouts are told apart by what is in the folder:

    * CIFAR-10-C, CIFAR-100-C, and what `write_official` writes: `<kind>.npy`, uint8
      `(5 n, height, width, channels)` with severity s in rows `(s-1) n` to `s n`, and
      `labels.npy`, `(5 n,)`. Images are in the order of the test set.
    * A TensorFlow Datasets folder with `cifar10_corrupted` prepared in it, whole or in
      part. Images are in the order of TFDS, which is the same for every corruption
      but is not that of the test set.
    * ImageNet-C: `<kind>/<severity>/<wnid>/*.JPEG`, all of one size, which are not
      resized. A class folder is named `n` and eight digits; hidden folders and those
      that programs leave behind (`__MACOSX`, `@eaDir`) are passed over. Images are in
      the order of photographs to test on: each beginning has all classes alike.

    Args:
        folder: Path of the folder.
        wnids: List of str, of ImageNet-C only: the class folders in the order of the
            classifier's outputs, whatever they are called. By default those present,
            sorted, which are ImageNet's classes 0 to 999 if all 1,000 are there.

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
        FileNotFoundError: If there is no such folder, or no `labels.npy` in it.
        ValueError: If it has none of the layouts, or labels that do not repeat five
            times.

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
        f"Datasets, or <kind>/<severity>/<wnid>/*.JPEG. "
        f"Received: {disk.listing(folder)}"
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
        labels, path = disk.read(folder / _LABELS), folder / _LABELS
        if labels.ndim != 1 or not len(labels) or len(labels) % len(SEVERITIES):
            raise ValueError(
                f"{path} must hold the labels of {len(SEVERITIES)} severities, shape "
                f"({len(SEVERITIES)} n,). Received: shape {labels.shape}"
            )
        parts = labels.reshape(len(SEVERITIES), -1)
        changing = (parts != parts[0]).any(axis=0)
        if changing.any():
            raise ValueError(
                f"{path} must repeat the same labels for each severity. Received: "
                f"{changing.sum()} of {len(changing)} images whose label changes"
            )
        self._labels = check_labels(parts[0], len(changing))

    @property
    def kinds(self):
        return tuple(kind for kind in NAMES if (self.folder / f"{kind}.npy").is_file())

    def images(self, kind, severity):
        Corruption(kind, severity)
        path, n = self.folder / f"{kind}.npy", len(self._labels)
        images, rows = disk.read(path), n * len(SEVERITIES)
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) != rows:
            raise ValueError(
                f"{path} must hold uint8 images of shape ({rows}, "
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
        return check_labels(labels, len(labels))

    def _read(self, kind, severity):
        Corruption(kind, severity)
        return disk.read_tfds(self.folder / f"{_TFDS_NAMES.get(kind, kind)}_{severity}")


class ImageNetC(Official):
    """`<kind>/<severity>/<wnid>/*.JPEG`."""

    def __init__(self, folder, wnids=None):
        self.folder = folder
        # Of all kinds and severities: ranks must not shift where one lacks a class.
        self.wnids = list(wnids or disk.wnids(folder.glob("*/[1-5]/*/")))

    @property
    def kinds(self):
        return tuple(kind for kind in NAMES if (self.folder / kind).is_dir())

    def images(self, kind, severity):
        return disk.Jpegs(self._files(kind, severity)[0])

    def labels(self, kind, severity):
        return self._files(kind, severity)[1]

    def _files(self, kind, severity):
        Corruption(kind, severity)
        return disk.class_files(self.folder / kind / str(severity), self.wnids)


def write_official(
    folder: StrPath,
    images: ArrayLike,
    labels: ArrayLike,
    *,
    kinds: Sequence[str] = NAMES,
    seed: int = 0,
    constants: str = "auto",
    frost_dir: StrPath | None = None,
    jpeg: bool | None = None,
) -> "CifarC | TfdsC | ImageNetC":
    """Writes corrupted images in the layout of CIFAR-10-C.

    Files that are there and whole are kept, so that the call resumes where an earlier
    one stopped. `corruptions.json` beside them says what they were made with.

    Args:
        folder: Path; made if need be.
        images: `(n, height, width, channels)`, uint8 or float in [0,1].
        labels: `(n,)` integers.
        kinds: Names of the corruptions, each written at all five severities.
        seed: int.
        constants: str. `"cifar"`, `"imagenet"` or `"auto"`, as in `Corruption`.
        frost_dir: Path of the frost images, as in `Corruption`.
        jpeg: bool, as in `Corruption`.

    Returns:
        The folder, opened as by `open_official`.

    Raises:
        ValueError: If images, labels or settings are bad, or the folder holds images
            that were made with others.
        OSError: Naming the file that cannot be written; no part of it is left.

    Example:

    >>> images, labels = np.zeros((2, 8, 8, 3), "uint8"), [0, 1]
    >>> official = write_official("my-c", images, labels, kinds=["fog"])
    >>> official.images("fog", 5).shape == images.shape
    True
    """
    folder, images, seed = pathlib.Path(folder), np.asarray(images), int(seed)
    make = functools.partial(
        Corruption, constants=constants, frost_dir=frost_dir, jpeg=jpeg
    )
    for kind in kinds:
        make(kind, 1)(images[:1])  # all that is wrong shows before a file is written
    labels = check_labels(labels, len(images))
    origin = {
        "constants": constants,
        "frost": frost_fingerprint(frost_dir),
        "images": fingerprint(images, labels),
        "jpeg": jpeg,
        "seed": seed,
        "shape": list(images.shape),
        "version": VERSION,
    }
    _claim(folder, origin)
    rows = np.tile(labels, len(SEVERITIES)).astype(np.min_scalar_type(labels.max()))
    disk.write_unless_there(folder / _LABELS, rows.shape, rows.dtype, [rows])
    shape, uint8 = (len(rows), *images.shape[1:]), np.dtype("uint8")
    for kind in kinds:
        chunks = itertools.chain.from_iterable(
            corrupted(make(kind, severity), images, range(len(images)), seed)
            for severity in SEVERITIES
        )
        disk.write_unless_there(folder / f"{kind}.npy", shape, uint8, chunks)
    return open_official(folder)


def _claim(folder, origin):
    """Notes the origin of a folder, which has to be one: settings are never mixed."""
    path = folder / ORIGIN
    if path.exists():
        refuse_difference(f"{folder} holds images", dict(read_json(path)), origin)
    elif _has_arrays(folder):
        raise ValueError(
            f"{folder} must be new, or written by `write_official`. "
            f"Received: corrupted images without {ORIGIN}"
        )
    write_json(path, origin)


def _has_arrays(folder):
    names = _LABELS, *(f"{kind}.npy" for kind in NAMES)
    return any((folder / name).exists() for name in names)
