"""An image set in parts small enough to be carried to a machine without a network.

A part holds images as lossless WebP, some hundred below each other in one picture, and
their labels. Every part says which it is, of how many and of which set, with the
SHA-256 of what it holds: one that is missing, damaged or of another set is named.
"""

import hashlib
import importlib.metadata
import io
import itertools
import pathlib
import zipfile

import numpy as np

from nfm_keras import data, records
from nfm_keras.types import StrPath

MEGABYTES = 40
"""The most that a part's pictures hold, in units of 1,000,000 bytes, by default."""

CARRIED = ("keras", "optree", "namex")
"""Packages besides this one that a machine with JAX, NumPy and Pillow often lacks."""

_SHEET = 500  # images below each other in one picture
_PART = "part_{}.npz"
_FIELDS = (
    *("dataset", "number", "count", "whole", "trained", "digest"),
    *("shape", "pictures", "sizes", "labels"),
)
_DAMAGE = (zipfile.BadZipFile, ValueError, OSError, EOFError, KeyError)


def pack(
    folder: StrPath,
    dataset: str = "cifar10",
    data_dir: StrPath | None = None,
    megabytes: float = MEGABYTES,
) -> list[pathlib.Path]:
    """Writes an image set in parts, to be read without TensorFlow.

    Args:
        folder: Where to; parts of an earlier call there are replaced.
        dataset: As in `data.load`, a set of images with 1 or 3 channels.
        data_dir: As in `data.load`.
        megabytes: The most that a part's pictures may hold, in units of 1,000,000
            bytes. A part has at least one picture, of 500 images.

    Returns:
        Paths of the parts, in their order.

    Raises:
        ValueError: If `folder` is a file.
        FileNotFoundError: If the set is not there.
        OSError: If the folder cannot be written to, or the disk is full.

    Example:

    >>> pack("carried", "digits")
    [PosixPath('carried/part_0.npz')]
    """
    folder = pathlib.Path(folder)
    if folder.is_file():
        raise ValueError(f"{folder} must be a folder to write to. Received: a file")
    folder.mkdir(parents=True, exist_ok=True)
    train, _, test = data.load(dataset, data_dir)
    images = np.concatenate([train.images, test.images])
    labels = np.concatenate([train.labels, test.labels])
    starts = range(0, len(images), _SHEET)
    pictures = [_encode(images[start : start + _SHEET]) for start in starts]
    bounds = _bounds([len(picture) for picture in pictures], 1e6 * megabytes)
    about = {
        "dataset": dataset,
        "count": len(bounds) - 1,
        "whole": _digest(images, labels),
        "trained": len(train.images),
        "shape": images.shape[1:],
    }
    for old in folder.glob(_PART.format("*")):
        old.unlink()
    paths = []
    for number, (first, last) in enumerate(itertools.pairwise(bounds)):
        place = slice(_SHEET * first, _SHEET * last)
        files = pictures[first:last]
        paths.append(folder / _PART.format(number))
        with records.whole(paths[-1]) as hidden:
            np.savez(
                hidden,
                number=number,
                pictures=np.frombuffer(b"".join(files), np.uint8),
                sizes=[len(file) for file in files],
                labels=labels[place],
                digest=_digest(images[place], labels[place]),
                **about,
            )
    return paths


def unpack(folder: StrPath, dataset: str = "cifar10") -> data.Splits:
    """Reads what `pack` wrote.

    Args:
        folder: Folder of all parts.
        dataset: Whose images these are.

    Returns:
        `data.Splits`, without validation.

    Raises:
        FileNotFoundError: If parts are missing; it names them.
        ValueError: If a part is damaged, or of another set.

    Example:

    >>> _ = pack("carried", "digits")
    >>> unpack("carried", "digits").test.images.shape
    (500, 8, 8, 1)
    """
    folder = pathlib.Path(folder)
    parts = _read_all(folder, dataset)
    pairs = [_decoded(path, part) for path, part in parts]
    images, labels = map(np.concatenate, zip(*pairs, strict=True))
    known, trained = data.spec(dataset), int(parts[0][1]["trained"])
    halves = slice(None, trained), slice(trained, None)
    train, test = (data.Split(images[half], labels[half], known) for half in halves)
    return data.Splits(train, None, test)


def manifest(paths: list[pathlib.Path]) -> list[str]:
    """Lists what has to be carried, with sizes.

    Args:
        paths: From `pack`.

    Returns:
        Lines of text. Sizes of packages are those of their installed files; a wheel
        takes about a third.
    """
    lines = [f"{path}: {path.stat().st_size / 1e6:.1f} MB" for path in paths]
    root = pathlib.Path(__file__).parents[1]
    ours = sum(path.stat().st_size for path in root.rglob("*.py*"))
    lines.append(f"nfm_keras: {ours / 1e6:.1f} MB of source, or its wheel")
    for name in CARRIED:
        found = importlib.metadata.distribution(name)
        files = [pathlib.Path(str(file.locate())) for file in found.files or ()]
        size = sum(file.stat().st_size for file in files if file.is_file())
        told = f"{size / 1e6:.1f} MB, where it is missing"
        lines.append(f"{name}=={found.version}: {told}")
    return lines


def _bounds(sizes, most):
    """Returns where parts begin and end, in pictures: few parts, of about one size."""
    ends = np.cumsum(sizes)
    for count in range(1, len(sizes) + 1):
        marks = ends[-1] * np.arange(1, count) / count
        bounds = [0, *(np.searchsorted(ends, marks) + 1).tolist(), len(sizes)]
        parts = [sum(sizes[i:j]) for i, j in itertools.pairwise(bounds)]
        if all(parts) and max(parts) <= most:
            return bounds
    return list(range(len(sizes) + 1))


def _encode(images):
    """Returns a lossless WebP file of uint8 `(n, height, width, 1 or 3)`."""
    from PIL import Image

    sheet = images.reshape(-1, *images.shape[2:])
    sheet = np.broadcast_to(sheet, (*sheet.shape[:2], 3))  # WebP knows no grey
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(sheet))
    picture.save(buffer, "WEBP", lossless=True, quality=75, method=4)
    return buffer.getvalue()


def _decode(file, shape):
    from PIL import Image

    sheet = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
    return sheet[..., : shape[-1]].reshape(-1, *shape)


def _digest(images, labels):
    """Returns the SHA-256 of images and labels, whatever machine they are on."""
    known = hashlib.sha256(np.ascontiguousarray(images))
    known.update(np.ascontiguousarray(labels, "<i8"))
    return known.hexdigest()


def _read_all(folder, dataset):
    """Returns paths and contents of all parts, in their order."""
    if folder.is_file():
        raise ValueError(
            f"{folder} must be the folder that --pack made. Received: a file"
        )
    present = sorted(folder.glob(_PART.format("[0-9]*")))
    if not present:
        raise FileNotFoundError(
            f"{folder} must hold parts such as {_PART.format(0)}, as --pack writes "
            "them. Received: no such file"
        )
    parts = [(path, _read(path, dataset)) for path in present]
    first = parts[0][1]
    for path, part in parts:
        if any(part[name] != first[name] for name in ("whole", "count")):
            raise ValueError(
                f"{path} must be of the same set as {present[0].name}. Received: a "
                "part that was packed with others"
            )
    wanted = [folder / _PART.format(number) for number in range(int(first["count"]))]
    missing = [path.name for path in wanted if path not in present]
    if missing:
        raise FileNotFoundError(
            f"{folder} must hold {len(wanted)} parts. Missing: {', '.join(missing)}. "
            f"Received: {', '.join(path.name for path in present)}"
        )
    return sorted(parts, key=lambda pair: int(pair[1]["number"]))


def _read(path, dataset):
    """Returns what a part holds, as a dict of arrays."""
    try:
        # Opened here: NumPy leaves a file open that it finds cut short.
        with path.open("rb") as file, np.load(file) as arrays:
            part = {name: arrays[name] for name in _FIELDS}
    except _DAMAGE as error:
        raise _damaged(path, error) from None
    if str(part["dataset"]) != dataset:
        raise ValueError(f"{path} must be of {dataset}. Received: {part['dataset']}")
    if path.name != _PART.format(int(part["number"])):
        raise ValueError(
            f"{path} must have its own name, {_PART.format(int(part['number']))}. "
            f"Received: {path.name}"
        )
    return part


def _decoded(path, part):
    """Returns images and labels of a part that holds what was written."""
    file, ends = part["pictures"].tobytes(), np.cumsum(part["sizes"])
    shape = tuple(map(int, part["shape"]))
    try:
        images = np.concatenate(
            [
                _decode(file[start:end], shape)
                for start, end in itertools.pairwise([0, *map(int, ends)])
            ]
        )
    except _DAMAGE as error:
        raise _damaged(path, error) from None
    if _digest(images, part["labels"]) != str(part["digest"]):
        raise _damaged(path, "other pixels or labels than were packed")
    return images, part["labels"]


def _damaged(path, error):
    return ValueError(f"{path} is damaged: carry it again. Received: {error}")
