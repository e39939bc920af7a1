"""Checkpoints: whole or not there, and a way back to the newest."""

import hashlib
import pathlib
import shutil
import time

import keras

from nfm_keras import records

_WEIGHTS, _STATE = "model.weights.h5", "state.json"


class Checkpoint(keras.callbacks.Callback):
    """Saves weights, optimiser, epoch and history after every epoch.

    A checkpoint is a folder `<folder>/<epoch>`, written under a hidden name and
    renamed when it is complete.

    Args:
        folder: Where the checkpoints go.
        keep: How many of the newest to keep.
        state: What an earlier part of the run left (`restore`), or `None`.
    """

    def __init__(self, folder, keep=2, state=None):
        super().__init__()
        self.folder, self.keep = pathlib.Path(folder), keep
        self.history = {k: list(v) for k, v in (state or {}).get("history", {}).items()}
        self.seconds = (state or {}).get("seconds", 0.0)

    def on_epoch_begin(self, epoch, logs=None):
        self._begun = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        self._log(epoch, logs or {})
        self.seconds += time.monotonic() - self._begun
        self._begun = time.monotonic()
        try:
            self._write(epoch + 1)
        except OSError as error:
            reason = error.strerror or str(error).splitlines()[0]
            raise OSError(
                f"Cannot write the checkpoint of epoch {epoch + 1} to {self.folder}: "
                f"{reason}. The last whole one is kept."
            ) from error

    def _log(self, epoch, logs):
        for name in self.history.keys() | logs.keys():
            values = self.history.setdefault(name, [])
            values += [float("nan")] * (epoch - len(values))
            values.append(float(logs.get(name, "nan")))

    def _write(self, epoch):
        final = self.folder / f"{epoch:04d}"
        hidden = self.folder / f".{epoch:04d}.tmp"
        shutil.rmtree(hidden, ignore_errors=True)
        try:
            hidden.mkdir(parents=True)
            self.model.save_weights(hidden / _WEIGHTS)
            state = {
                "epoch": epoch,
                "sha256": _sha256(hidden / _WEIGHTS),
                "history": self.history,
                "seconds": self.seconds,
            }
            records.write_json(hidden / _STATE, state)
            shutil.rmtree(final, ignore_errors=True)
            hidden.rename(final)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
        for old in _epochs(self.folder)[: -self.keep]:
            shutil.rmtree(old)


def restore(model, folder):
    """Loads the newest checkpoint into a compiled model.

    Args:
        model: The compiled model that `Checkpoint` saved.
        folder: Where the checkpoints are.

    Returns:
        Dict with `epoch` (how many are done), `history` and `seconds`; `None` where
        there is no checkpoint.

    Raises:
        ValueError: If the newest checkpoint is damaged or incomplete.
    """
    found = _epochs(pathlib.Path(folder))
    if not found:
        return None
    newest = found[-1]
    try:
        state = records.read_json(newest / _STATE)
        received = _sha256(newest / _WEIGHTS)
        if received != state["sha256"]:
            raise ValueError(f"its weights have SHA-256 {received[:12]}...")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"Checkpoint {newest} is truncated or damaged; remove it to go on from "
            f"the one before. Expected: the weights that its {_STATE} names. "
            f"Received: {error}"
        ) from None
    model.optimizer.build(model.trainable_variables)
    model.load_weights(newest / _WEIGHTS)
    state["history"] = {
        name: [float(v) for v in values] for name, values in state["history"].items()
    }
    return state


def _epochs(folder):
    return sorted(p for p in folder.glob("[0-9]*") if p.is_dir())


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
