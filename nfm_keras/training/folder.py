"""A run's folder: what lies in it, one process at a time, an end without loss."""

import pathlib
from typing import Any

from nfm_keras import records
from nfm_keras.records import lock
from nfm_keras.records.schema import refuse_difference
from nfm_keras.training.config import Config
from nfm_keras.training.optimizers import rate_drops

CONFIG = "config.json"
CHECKPOINTS = "checkpoints"
CLASSIFIER = "classifier.keras"
BEST = "best.keras"
HALF_WEIGHTS = "weights_float16.npz"
"""Its weights in half precision, for who keeps them beside the record."""

_LOCK = ".lock"


def check_folder(folder: pathlib.Path, config: Config, resume: bool) -> None:
    """Refuses a folder that holds another run, or this one without `resume`.

    A shorter run that is the same otherwise is one that can be extended.

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
    held = records.with_later_fields(read_config(path))
    held = Config().to_json() | held
    longer = extended(held, config.to_json())
    refuse_difference(f"{folder} holds a run", longer, config.to_json())
    if not resume:
        of, do = "", "go on with"
        if held["epochs"] < config.epochs:
            of, do = f", of {held['epochs']} epochs", "extend"
        raise FileExistsError(
            f"{folder} already holds this run{of}: pass --resume (resume=True) to "
            f"{do} it, or name another folder."
        )


def read_config(path: pathlib.Path) -> dict[str, Any]:
    """Reads the config of a run, finished or not, as JSON values.

    Args:
        path: Its config.json.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is broken, or no config.
    """
    config = records.read_json(path)
    if not isinstance(config, dict):
        raise ValueError(f"{path} must be a JSON object. Received: {config!r:.80}")
    return config


def extended(held: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Returns the config of a run, with the length of a longer run of the same.

    What depends on the length, the epochs at which a step schedule falls, comes with it
    unless it was chosen.

    Args:
        held: Dict of JSON values, the config of the run.
        wanted: The same of the run it is to become.

    Returns:
        `held`, changed only where `wanted` is longer: equal to `wanted` where it
        differs in nothing else.

    Raises:
        ValueError: If the run is longer than the wanted one and the same otherwise, or
            averages the weights of its last epochs.

    Example:

    >>> held, wanted = Config(epochs=30).to_json(), Config(epochs=60).to_json()
    >>> extended(held, wanted) == wanted
    True
    """
    before, epochs = held.get("epochs"), wanted.get("epochs")
    if before is None or epochs is None or before == epochs:
        return held
    longer = held | {"epochs": epochs}
    if held.get("rate_drops") == list(rate_drops(before)):
        longer["rate_drops"] = list(rate_drops(epochs))
    if longer != wanted:
        return held
    if epochs < before:
        raise ValueError(
            f"A run of {before} epochs can be extended, not shortened. "
            f"Expected: epochs of at least {before}. Received: {epochs}"
        )
    if held.get("swa_epochs"):
        raise ValueError(
            "A run that averages the weights of its last epochs cannot be extended. "
            f"Received: swa_epochs={held['swa_epochs']}, epochs={epochs}"
        )
    return longer


def is_shorter(folder: pathlib.Path, config: Config) -> bool:
    """Returns whether a folder holds the run of a config with fewer epochs."""
    path = folder / CONFIG
    return path.exists() and read_config(path).get("epochs", 0) < config.epochs


def set_aside(folder: pathlib.Path) -> str:
    """Renames what a run has left at its end, before it is extended.

    `record.json` becomes `record.30_epochs.json`, and so do the evaluation, which is of
    the classifier of then, the classifiers and their weights. The best classifier
    stays: the longer run goes on with it.

    Args:
        folder: Folder of the run.

    Returns:
        A sentence that says what was done.
    """
    before = read_config(folder / CONFIG)["epochs"]
    kept = []
    # The record last: as long as it is there the run counts as done.
    models = CLASSIFIER, HALF_WEIGHTS
    for name in (*records.EVALUATION_FILES.values(), *models, records.FILE):
        path = folder / name
        if path.exists():
            aside = path.with_name(f"{path.stem}.{before}_epochs{path.suffix}")
            path.rename(aside)
            kept.append(aside.name)
    return f"kept of {before} epochs: {', '.join(kept)}" if kept else ""


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
