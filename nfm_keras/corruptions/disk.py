"""Images on disk, read when they are asked for: `.npy` files, written whole; JPEGs."""

import functools
import hashlib
import io
import os
import re
import warnings

import numpy as np
from PIL import Image

from nfm_keras.data.photographs.order import spread
from nfm_keras.records.files import whole

_LEFT = ".", "_", "@"  # how the names begin of what programs leave behind


def write(path, shape, dtype, chunks):
    """Writes an array that comes in chunks.

    Args:
        path: File to write, such as the hidden one of `records.files.whole`.
        shape: Tuple of ints, of the whole array.
        dtype: `np.dtype`.
        chunks: Iterable of arrays that, one after the other along the first axis, make
            the whole.

    Returns:
        Dict of what the file is recognised by: `bytes`, int, and `sha256`, str.

    Raises:
        OSError: If the file cannot be written.
    """
    digest, count = hashlib.sha256(), 0
    # Not a memory map to write to: on a full disk that is a SIGBUS and no OSError.
    with open(path, "xb") as file:
        for part in _parts(shape, dtype, chunks):
            count += file.write(part)
            digest.update(part)
    return {"bytes": count, "sha256": digest.hexdigest()}


def write_unless_there(path, shape, dtype, chunks):
    """Writes an array, unless the file holds one of this shape and type already.

    Args:
        path: File to write; its folder is created. One that does not fit is made again,
            with a warning.
        shape, dtype, chunks: As for `write`; no chunk is asked for without need.

    Raises:
        OSError: Naming the file that cannot be written; no part of it is left.
    """
    if not _is_there(path, shape, dtype):
        with whole(path) as hidden:
            write(hidden, shape, dtype, chunks)


def read(path):
    """Opens an array where it is.

    Args:
        path: File to read.

    Returns:
        Memory map, read-only.

    Raises:
        FileNotFoundError: Naming what its folder holds instead.
        ValueError: If the file is truncated or is no `.npy` file.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent} must hold {path.name}. Received: {listing(path.parent)}"
        )
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"{path} must be a whole .npy file. "
            f"Received: {path.stat().st_size} bytes ({error})"
        ) from None


@functools.lru_cache(maxsize=1)  # images and labels of a pair are asked for in turn
def read_tfds(folder):
    """Reads a corruption that TensorFlow Datasets prepared.

    Args:
        folder: `pathlib.Path`, of which the newest version is read.

    Returns:
        Dict of the arrays `image` and `label`.

    Raises:
        FileNotFoundError: If nothing is prepared there, or what reads it is missing.
    """
    prepared = (path.parent for path in folder.glob("*/dataset_info.json"))
    versions = sorted(prepared, key=_version)
    if not versions:
        raise FileNotFoundError(
            f"{folder} must be prepared by TensorFlow Datasets; nothing is downloaded "
            f"here. Received: {listing(folder)}"
        )
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise FileNotFoundError(
            f"{folder} is read with TensorFlow Datasets, which is not installed: "
            'pip install "nfm-keras[tensorflow]"'
        ) from None

    builder = tfds.builder_from_directory(versions[-1])  # by name, it might download
    return tfds.as_numpy(builder.as_dataset(split="test", batch_size=-1))


class Jpegs:
    """Image files as a sequence `(n, height, width, 3)` of uint8, read when it is cut.

    Args:
        paths: List of the files; all images have the size of the first.

    Raises:
        ValueError: Naming a file that is no image, or is of another size, when it is
            read.
    """

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

    def digest(self, count):
        """Returns the SHA-256 of the first files, as they are on disk."""
        digest = hashlib.sha256()
        for path in self._paths[:count]:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def _read(self, path):
        image = _read_jpeg(path)
        if image.shape != self.shape[1:]:
            raise ValueError(
                f"All images must have the shape {self.shape[1:]} of the first. "
                f"Received: {path} of shape {image.shape}"
            )
        return image


def wnids(folders):
    """Returns the sorted names of class folders, each once.

    Args:
        folders: Iterable of `pathlib.Path`. Those that are not `is_shown` do not count.

    Raises:
        ValueError: If one is not named as ImageNet's are: any other folder would shift
            the number of every class behind it.

    Example:

    >>> import pathlib
    >>> wnids(map(pathlib.Path, ["1/n01443537", "1/n01440764", "1/__MACOSX"]))
    ['n01440764', 'n01443537']
    """
    names = sorted({folder.name for folder in folders if is_shown(folder)})
    others = [name for name in names if not re.fullmatch(r"n\d{8}", name)]
    if others:
        raise ValueError(
            "A class folder must be named `n` and eight digits, or be one of the "
            f"`wnids` that you give. Received: {', '.join(others[:5])}"
        )
    return names


def class_files(folder, classes):
    """Returns the JPEG files of class folders, every beginning with all classes alike.

    Args:
        folder: `pathlib.Path`, `<kind>/<severity>` with class folders in it.
        classes: List of their names, by label.

    Returns:
        `(paths, labels)`, list and int32 `(n,)`, in the order of
        `nfm_keras.data.photographs.order.spread`.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If a class folder is none of `classes`.
    """
    paths = list(filter(is_shown, folder.glob("*/*.JPEG")))
    if not paths:
        kind = folder.parent
        raise FileNotFoundError(
            f"{kind.parent} must hold {kind.name}/{folder.name}/<wnid>/*.JPEG. "
            f"Received: {listing(kind)}"
        )
    ranks = {name: rank for rank, name in enumerate(classes)}
    strangers = sorted({path.parent.name for path in paths} - ranks.keys())
    if strangers:
        raise ValueError(
            f"Every class folder must be one of the {len(ranks)} `wnids`. "
            f"Received: {', '.join(strangers[:5])}"
        )
    labels = np.array([ranks[path.parent.name] for path in paths], "int32")
    order = spread(labels, np.array([os.fsencode(path.name) for path in paths]))
    return [paths[place] for place in order], labels[order]


def is_shown(path):
    """Returns whether neither a path nor its folder was left behind by a program.

    Such as `.ipynb_checkpoints`, `__MACOSX`, `@eaDir`, or `._0.JPEG` of a Mac.
    """
    return not path.name.startswith(_LEFT) and not path.parent.name.startswith(_LEFT)


def listing(folder):
    """Returns how many files a folder holds and the names of a few, for an error."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return f"{len(names)} names ({', '.join(names[:5])})" if names else "nothing"


def _version(folder):
    """The numbers of a version: 10.0.0 is newer than 9.0.0."""
    return [int(number) for number in re.findall(r"\d+", folder.name)]


def _parts(shape, dtype, chunks):
    header = io.BytesIO()
    layout = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, layout)
    yield header.getvalue()
    for chunk in chunks:
        yield np.ascontiguousarray(chunk).ravel().view("uint8")


def _is_there(path, shape, dtype):
    if not path.exists():
        return False
    try:
        there = read(path)
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


def _read_jpeg(path):
    try:
        return np.asarray(Image.open(path).convert("RGB"))
    except OSError as error:
        raise ValueError(f"{path} must be a whole image. Received: {error}") from None
