"""Files that are written whole or not at all."""

import contextlib
import errno
import glob
import json
import math
import os
import pathlib
import secrets
import shutil
import zlib
from collections.abc import Iterator

from nfm_keras.types import Json, StrPath

NON_FINITE = {json.dumps(x): x for x in (math.nan, math.inf, -math.inf)}
"""How NaN and the infinities stand in a file: as strings, JSON has no such numbers."""


@contextlib.contextmanager
def whole(path: StrPath, *, replace: bool = True) -> Iterator[pathlib.Path]:
    """Gives a path to write to, which takes the place of `path` once all is written.

    The hidden path lies in the same folder and has the same suffix. A file is flushed
    to the disk and renamed over the old one; a folder is moved to where the old one
    was removed. Where the block fails or is interrupted, the hidden path is removed and
    the old file is untouched.

    Args:
        path: File or folder to write; its folder is created.
        replace: Whether to take the place of what is there; without, two processes that
            write the same path end with the first one's, and an error in the other.

    Yields:
        `pathlib.Path` that does not exist: the block makes a file or a folder of it.

    Raises:
        FileExistsError: Without `replace`, if `path` is there once all is written.
        OSError: One line that names the file (full disk, read-only folder).

    Example:

    >>> with whole("classes.txt") as hidden, open(hidden, "w") as file:
    ...     print("cat", file=file)
    >>> pathlib.Path("classes.txt").read_text()
    'cat\\n'
    """
    path = pathlib.Path(path)
    hidden = _hidden(path, secrets.token_hex(8))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield hidden
        if hidden.is_file():
            with open(hidden, "rb") as file:
                os.fsync(file.fileno())
        _move(hidden, path, replace)
    except OSError as error:
        reason = error.strerror or str(error)
        # Given an errno, OSError makes the right subclass (PermissionError ...).
        raise OSError(error.errno, f"Cannot write {path}: {reason}") from None
    finally:
        with contextlib.suppress(OSError):
            _remove(hidden)


def remove_leftovers(path: StrPath) -> None:
    """Removes what killed processes left of their attempts to write a file.

    Args:
        path: The file, which nobody else may be writing: hold a lock.

    Example:

    >>> remove_leftovers("classes.txt")
    """
    path = pathlib.Path(path)
    pattern = _hidden(pathlib.Path(glob.escape(path.name)), "*").name
    for left in path.parent.glob(pattern):
        _remove(left)


def write_text(path: StrPath, text: str) -> None:
    """Writes a file of text, whole or not at all.

    Args:
        path: File to write; its folder is created.
        text: str.

    Raises:
        OSError: As `whole`.
    """
    with whole(path) as hidden, open(hidden, "w", encoding="utf-8", newline="") as file:
        file.write(text)


def write_json(path: StrPath, values: Json) -> None:
    """Writes JSON values to a file, whole or not at all.

    NaN and the infinities become `"NaN"`, `"Infinity"` and `"-Infinity"`; NumPy numbers
    and arrays become numbers and lists.

    Args:
        path: File to write; its folder is created.
        values: Dicts with string keys, lists, tuples, strings, numbers, booleans, None.

    Raises:
        OSError: As `whole`.
        TypeError: If a value is none of these, or a key is not a string; the old file
            is untouched.
    """
    write_text(path, json.dumps(_encode(values), indent=1, allow_nan=False) + "\n")


def read_json(path: StrPath) -> Json:
    """Reads a file of strict JSON; NaN and the infinities are strings in it.

    Args:
        path: File to read.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the content is truncated or is not strict JSON.
    """
    content = pathlib.Path(path).read_bytes()
    try:
        return json.loads(content.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is truncated or is not JSON ({error}). "
            f"Received: {len(content)} bytes ending in {content[-40:]!r}"
        ) from None


def file_name(name: str) -> str:
    """Returns a name as that of a file, which may hold no `/`.

    Names that differ have files that differ.

    Example:

    >>> file_name("nfm v2"), file_name("runs/nfm")
    ('nfm v2', 'runs_nfm_0337cabb')
    """
    safe = name.replace("/", "_")
    return name if safe == name else f"{safe}_{zlib.crc32(name.encode()):08x}"


def _hidden(path, owner):
    return path.with_name(f".{path.stem}.{owner}.tmp{path.suffix}")


def _move(hidden, path, replace):
    if replace:
        if hidden.is_dir():
            _remove(path)  # no folder can be renamed over one that has files in it
        os.replace(hidden, path)
        return
    try:
        # Neither can take the place of a file, or of a folder with files in it.
        (os.rename if hidden.is_dir() else os.link)(hidden, path)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        reason = "it appeared meanwhile, and is never changed"
        raise FileExistsError(errno.EEXIST, reason) from None


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _refuse_constant(name):
    raise ValueError(f"{name} is not strict JSON")


def _encode(value):
    if hasattr(value, "tolist"):  # NumPy arrays and scalars alike
        value = value.tolist()
    if isinstance(value, dict):
        return {_key(key): _encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)  # NaN, Infinity, -Infinity, as text
    return value


def _key(key):
    # json.dumps would turn the key 1 into "1", which does not read back equal.
    if not isinstance(key, str):
        raise TypeError(f"Keys must be strings. Received: {key!r}")
    return key
