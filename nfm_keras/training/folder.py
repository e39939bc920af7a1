"""A run's folder: what lies in it, one process at a time, an end without loss."""

import pathlib

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
