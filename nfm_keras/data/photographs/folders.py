"""Class folders as sets of photographs, and what is wrong with them."""

import os
import pathlib

import numpy as np

from nfm_keras.data.photographs.files import FolderFiles

ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm"),
)
"""How names of image files end, in small letters or capitals. What a file is, is seen
from its first bytes."""

ALL = "all"
"""What the images of class folders alone are called, which are in no split."""

TRAIN = "train"
VALIDATION = ("valid", "validation", "val")
TEST = "test"

_LAYOUT = "<class>/<image> or train/<class>/<image> and val/<class>/<image>"


def splits(folder: str | os.PathLike) -> dict[str, FolderFiles]:
    """Returns the files of a folder of photographs, by the name of their split.

    Args:
        folder: Folder with some of `train`, `test` and one of `val`, `validation` and
            `valid`, each with a folder for each class; or such class folders alone.

    Returns:
        Dict with some of `"train"`, `"val"` and `"test"`, or with `ALL` alone.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: For class folders that differ between the splits, a class without
            images, a folder or a file that is no image in a class folder, no class
            folders at all, or several folders to validate on.
    """
    is_named, folder = bool(os.fspath(folder)), pathlib.Path(folder).expanduser()
    if not is_named or not folder.is_dir():
        raise FileNotFoundError(
            f"A folder of photographs, {_LAYOUT}, must be there. "
            f"Received: {folder if is_named else 'no path'}"
        )
    there = _folders(folder)
    held_out = [name for name in VALIDATION if name in there]
    if TRAIN not in there and (not there or {*there} - {*held_out, TEST}):
        return {ALL: scan(folder)}
    if len(held_out) > 1:
        raise ValueError(
            f"{folder} must have one folder to validate on. "
            f"Received: {' and '.join(held_out)}"
        )
    names = {"train": TRAIN, "val": next(iter(held_out), ""), "test": TEST}
    parts = {key: name for key, name in names.items() if name in there}
    found = {key: scan(folder / name) for key, name in parts.items()}
    first = next(iter(found.values()))
    for key, files in found.items():
        _check_same(first, files, folder / parts[key])
    return found


def scan(folder: pathlib.Path) -> FolderFiles:
    """Returns the files of class folders.

    Folders and files whose names begin with `.`, `_` or `@` are passed over:
    `__MACOSX`, `@eaDir` and `.ipynb_checkpoints` are no classes. Classes are sorted by
    name; by number where all are numbers.

    Args:
        folder: Folder of the class folders.

    Raises:
        ValueError: As `splits`.
    """
    classes = _folders(folder)
    if not classes:
        raise ValueError(
            f"{folder} must have a folder for each class, {_LAYOUT}. "
            f"Received: {_listing(folder)}"
        )
    names = [_images(folder / name) for name in classes]
    empty = [name for name, files in zip(classes, names) if not len(files)]
    if empty:
        raise ValueError(
            f"Every class folder of {folder} must hold an image. Received: none in "
            f"{', '.join(empty[:5])} ({len(empty)} of {len(classes)} folders)"
        )
    counts = [len(files) for files in names]
    return FolderFiles(folder, tuple(classes), np.concatenate(names), counts)


def _folders(folder):
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.is_dir() and not _is_hidden(e.name)]
    if all(name.isdecimal() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def _is_hidden(name):
    return name.startswith((".", "_", "@"))


def _images(folder):
    """Names of the image files of a folder, bytes, sorted."""
    with os.scandir(folder) as entries:
        files = {e.name: e.is_file() for e in entries if not _is_hidden(e.name)}
    for name, is_file in files.items():
        if not is_file:
            raise ValueError(
                f"Every class folder must hold image files, {_LAYOUT}. "
                f"Received: {folder / name}, which is none"
            )
        if not name.lower().endswith(ENDINGS):
            raise ValueError(
                f"Every file of a class folder must be an image, by its name one of "
                f"{' '.join(ENDINGS)}. Received: {folder / name}"
            )
    return np.array(sorted(os.fsencode(name) for name in files), np.bytes_)


def _check_same(train, other, folder):
    missing = sorted(set(train.classes) - set(other.classes))
    alien = sorted(set(other.classes) - set(train.classes))
    if missing or alien:
        raise ValueError(
            f"{folder} must have the class folders of {train.folder}. Received: "
            f"{_few('without', missing)}{' and ' * bool(missing and alien)}"
            f"{_few('besides', alien)}"
        )


def _few(word, names):
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{word} {', '.join(names[:5])}{more}" if names else ""


def _listing(folder):
    names = sorted(path.name for path in folder.iterdir())
    more = " ..." if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}" if names else "an empty folder"
