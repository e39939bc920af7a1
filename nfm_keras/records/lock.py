"""A lock on a file that is shared by processes."""

import contextlib
import os
import pathlib
import socket
import time
from collections.abc import Iterator

from nfm_keras.types import StrPath

_PAUSE = 0.01


@contextlib.contextmanager
def locked(path: StrPath, refusal: str, patience: float = 0.0) -> Iterator[None]:
    """Keeps other processes out for the length of a `with` block.

    The lock is the kernel's and ends with the process, however that ends: the file that
    a killed one leaves behind keeps nobody out.

    Args:
        path: File of the lock, which nothing else is written to; its folder is made
            where there is none.
        refusal: What to say where another holds it: `"runs/nfm is in use"`.
        patience: Seconds to wait for another to let go.

    Raises:
        BlockingIOError: If another process, or another block of this one, holds it.
        OSError: If the folder cannot be written to.

    Example:

    >>> with locked("runs/.lock", "runs is in use"):
    ...     pass
    """
    path = pathlib.Path(path)
    # Not the package `filelock`: it locks in the same way, and cannot say who does.
    file = _open(path, refusal, time.monotonic() + patience)
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
    finally:
        if _is_at(file, path):  # and not another's, in a folder made anew
            path.unlink()
        file.close()


def _open(path, refusal, deadline):
    import fcntl  # not on Windows, where the rest of the package works

    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "a+")  # noqa: SIM115, closed by `locked`
        except OSError as error:
            reason = f"Cannot write to {path.parent}: {error.strerror}"
            raise type(error)(error.errno, reason) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read() or "another process"
            file.close()
            if time.monotonic() >= deadline:
                raise BlockingIOError(
                    f"{refusal}. Received: a lock of {holder}"
                ) from None
            time.sleep(_PAUSE)
            continue
        if _is_at(file, path):
            return file
        file.close()  # its holder removed it in between: this lock keeps nobody out


def _is_at(file, path):
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
