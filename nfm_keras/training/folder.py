"""One process at a time in a folder."""

import contextlib
import os
import pathlib
import socket

FILE = ".lock"


@contextlib.contextmanager
def locked(folder):
    """Keeps other processes out of a folder for the length of a `with` block.

    The lock is the kernel's and ends with the process, however that ends: what a killed
    one leaves behind keeps nobody out. The folder is made where there is none.

    Args:
        folder: The folder.

    Raises:
        BlockingIOError: If another process, or another block of this one, holds it.
        OSError: If the folder cannot be written to.

    Example:

    >>> with locked("runs/nfm"):  # doctest: +SKIP
    ...     pass
    """
    path = pathlib.Path(folder) / FILE
    file = _open(path)
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
    finally:
        if _is_at(file, path):  # and not another's, in a folder made anew
            path.unlink()
        file.close()


def _open(path):
    import fcntl  # not on Windows, where the rest of the package works

    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "a+")  # noqa: SIM115, closed by `locked`
        except OSError as error:
            raise type(error)(
                error.errno,
                f"Cannot write to {path.parent}: {error.strerror}. A run needs a "
                "folder that it can write to",
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read() or "another process"
            file.close()
            raise BlockingIOError(
                f"{path.parent} is in use: one process at a time may work on a run. "
                f"Received: a lock of {holder}"
            ) from None
        if _is_at(file, path):
            return file
        file.close()  # its holder removed it in between: this lock keeps nobody out


def _is_at(file, path):
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
