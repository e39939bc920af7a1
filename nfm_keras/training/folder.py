"""A run's folder: what lies in it, one process at a time, an end without loss."""

import contextlib
import pathlib
import signal
import threading

from nfm_keras import records
from nfm_keras.records import lock
from nfm_keras.records.schema import refuse_difference
from nfm_keras.training.config import Config

CONFIG = "config.json"
CHECKPOINTS = "checkpoints"
CLASSIFIER = "classifier.keras"

_LOCK = ".lock"


def check_folder(folder: pathlib.Path, config: Config, resume: bool) -> None:
    """Refuses a folder that holds another run, or this one without `resume`.

    Args:
        folder: `pathlib.Path`, which need not exist.
        config: The resolved `Config` of the run.
        resume: Whether to go on with what the folder holds.

    Raises:
        ValueError: If it holds another run, or parts of one.
        FileExistsError: If it holds this one and `resume` is false.
    """
    path = folder / CONFIG
    if not path.exists():
        names = records.FILE, CLASSIFIER, CHECKPOINTS
        parts = [name for name in names if (folder / name).exists()]
        if parts:
            raise ValueError(
                f"{folder} holds parts of a run without its {CONFIG}; name another "
                f"folder. Received: {', '.join(parts)}"
            )
        return
    # A field that is newer than the folder was what it is by default now.
    held = records.with_rate_drops(records.read_json(path))
    held = Config().to_json() | held
    refuse_difference(f"{folder} holds a run", held, config.to_json())
    if not resume:
        raise FileExistsError(
            f"{folder} already holds this run: pass --resume (resume=True) to go on "
            "with it, or name another folder."
        )


def locked(folder):
    """Keeps other processes out of a run's folder for the length of a `with` block.

    Args:
        folder: The folder; made where there is none.

    Raises:
        BlockingIOError: If another process, or another block of this one, holds it.
        OSError: If the folder cannot be written to.

    Example:

    >>> with locked("runs/nfm"):
    ...     pass
    """
    only = f"{folder} is in use: one process at a time may work on a run"
    return lock.locked(pathlib.Path(folder) / _LOCK, only)


class StopRequest(threading.Event):
    """An event that a signal sets, to ask a run to save and end.

    Attributes:
        number: Of the signal.
    """

    number = signal.SIGTERM


class RunStopped(SystemExit):
    """Ends the process of a run that was asked to stop, once it is saved.

    Args:
        number: Of the signal that asked; the exit status is 128 more, as a shell
            reports it.
        epoch: How many epochs are done.
        step: How many steps of the next are done.
    """

    def __init__(self, number: int, epoch: int, step: int = 0) -> None:
        super().__init__(128 + number)
        self.epoch, self.step = epoch, step

    def __str__(self) -> str:
        return f"saved at epoch {self.epoch}, step {self.step}"


@contextlib.contextmanager
def catch_signals():
    """Turns SIGTERM and Ctrl-C into an event for the length of a `with` block.

    A second Ctrl-C interrupts at once. Outside of the main thread, where Python handles
    no signals, the event is never set.

    Yields:
        `StopRequest`, set once a signal came.

    Example:

    >>> with catch_signals() as stop:
    ...     stop.is_set()
    False
    """
    event = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def ask(number, frame):
        if event.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        event.number = number
        event.set()

    # A job that a shell started in the background ignores Ctrl-C, and goes on so.
    heard = (signal.SIGTERM, signal.SIGINT)
    heard = [n for n in heard if signal.getsignal(n) != signal.SIG_IGN]
    before = {n: signal.signal(n, ask) for n in heard}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
