"""Checkpoints: whole or not there, and a way back to the newest.

Ours, not `keras.callbacks.BackupAndRestore`: that one writes in place, begins an epoch
again from its first step, and keeps neither the history nor the config.
"""

import hashlib
import pathlib
import re
import shutil
import time
import warnings

import keras
import numpy as np

from nfm_keras import records
from nfm_keras.checks import check_count
from nfm_keras.records.schema import refuse_difference
from nfm_keras.training.distribution.agreement import RunStopped
from nfm_keras.training.distribution.engine import Engine
from nfm_keras.training.finite_loss import check
from nfm_keras.training.folder import extended
from nfm_keras.training.weights import in_memory

FORMAT = 2
"""Version of what a checkpoint holds. One of any other version is refused."""

_WEIGHTS, _STATE = "model.weights.h5", "state.json"


class Checkpoint(keras.callbacks.Callback):
    """Saves all that a run needs to go on, after each epoch and every so many steps.

    A checkpoint is a folder, `<folder>/<epochs done>` or
    `<folder>/<epochs done>-<steps of the next>`, which is there once it is complete. It
    holds weights, optimiser, step, history, the metrics of an epoch that is not over,
    and the `config` of its run.

    Args:
        folder: Where the checkpoints go.
        keep: How many of the newest to keep.
        state: What an earlier part of the run left (`restore`), or `None`.
        config: Dict of JSON values that says what run this is.
        every: Save every so many steps, too; `None` for the ends of epochs only.
        steps: Steps in an epoch; needed with `every` or `stop`.
        stop: `agreement.StopRequest`. Once it is set, a checkpoint is saved and the
            process ends by `agreement.RunStopped`.
        extra: Dict of JSON values that `restore` gives back.
        engine: `distribution.Engine`; `None` for one device. Processes other than the
            chief save nothing, and keep the history.

    Raises:
        ValueError: If `keep` or `every` is not positive.

    Example:

    >>> checkpoint = Checkpoint("runs/nfm/checkpoints", every=1000, steps=5004)
    """

    def __init__(
        self,
        folder,
        keep=2,
        state=None,
        config=None,
        every=None,
        steps=None,
        stop=None,
        extra=None,
        engine=None,
    ):
        super().__init__()
        for name, value in (("keep", keep), ("every", every)):
            if value is not None:
                check_count(name, value)
        self.folder, self.keep, self.config = pathlib.Path(folder), keep, config
        self.every, self.steps, self.stop = every, steps, stop
        self.engine = engine or Engine()
        self.extra, state = extra or {}, state or {}
        self.history = {k: list(v) for k, v in state.get("history", {}).items()}
        self.seconds = state.get("seconds", 0.0)
        self.epoch_seconds = list(state.get("epoch_seconds", []))
        self._first, self._metrics = state.get("step", 0), state.get("metrics")

    def on_epoch_begin(self, epoch, logs=None):
        self._begun, self._epoch = time.monotonic(), epoch
        self._done = self._first
        if self._first:
            # Here, since Keras resets the metrics just before it calls this.
            variables = self.model.metrics_variables
            for variable, value in zip(variables, self._metrics, strict=True):
                variable.assign(np.asarray(value, "float64"))

    # Before the next step: with a hook after it, Keras waits for the logs of each.
    def on_train_batch_begin(self, batch, logs=None):
        before, self._done = self._done, self._first + batch
        if self.steps is None or self._done == self._first:
            return  # no step was done since the last checkpoint
        stops = self.stop is not None and self.stop.is_set()
        if stops or (self.every and self._done // self.every > before // self.every):
            self._count_seconds()
            self._write(self._epoch, self._done)
        if stops:
            raise RunStopped(self.stop.number, self._epoch, self._done)

    def on_epoch_end(self, epoch, logs=None):
        self._log(epoch, logs or {})
        self._count_seconds()
        self.epoch_seconds.append(self.seconds - sum(self.epoch_seconds))
        self._first = 0
        self._write(epoch + 1)
        if self.stop is not None and self.stop.is_set():
            raise RunStopped(self.stop.number, epoch + 1)

    def _count_seconds(self):
        self.seconds += time.monotonic() - self._begun
        self._begun = time.monotonic()

    def _log(self, epoch, logs):
        for name in self.history.keys() | logs.keys():
            values = self.history.setdefault(name, [])
            values += [float("nan")] * (epoch - len(values))
            values.append(float(logs.get(name, "nan")))

    def _write(self, epoch, step=0):
        check(self.model)
        # In every process: TensorFlow sums them over the replicas when they are read.
        variables = self.model.metrics_variables if step else []
        metrics = [keras.ops.convert_to_numpy(v) for v in variables]
        if not self.engine.is_chief:
            return
        try:
            with self.engine.alone():
                self._save(epoch, step, metrics)
        except OSError as error:
            reason = str(error.strerror or error).splitlines()[0]
            raise OSError(f"{reason}. The last whole checkpoint is kept.") from error

    def _save(self, epoch, step, metrics):
        name = f"{epoch:04d}-{step:06d}" if step else f"{epoch:04d}"
        with records.whole(self.folder / name) as hidden:
            hidden.mkdir()
            in_memory.write(self.model.save_weights, hidden / _WEIGHTS)
            state = self._state(epoch, step, hidden) | {"metrics": metrics}
            records.write_json(hidden / _STATE, state)
        _remove_others(self.folder, self.folder / name, self.keep)

    def _state(self, epoch, step, folder):
        return self.extra | {
            "format": FORMAT,
            "config": self.config,
            "epoch": epoch,
            "step": step,
            "sha256": _sha256(folder / _WEIGHTS),
            "history": self.history,
            "seconds": self.seconds,
            "epoch_seconds": self.epoch_seconds,
        }


def restore(model, folder, config=None):
    """Loads the newest whole checkpoint into a compiled model.

    A broken one is left out with a warning, and the one before is taken.

    Args:
        model: The compiled model that `Checkpoint` saved.
        folder: Where the checkpoints are.
        config: Dict of JSON values: the run that the checkpoint has to be of, or one
            of the same with fewer epochs.

    Returns:
        Dict with `epoch` (how many are done), `step` (how many of the next), `history`,
        `seconds`, `metrics` and what `extra` was; `None` where there is no checkpoint.

    Raises:
        ValueError: If the newest whole one is of another config or version, or if there
            are checkpoints and none of them is whole.
    """
    checkpoint = newest(folder)
    if checkpoint is None:
        return None
    path, state = checkpoint
    held = state.get("config")
    if held is not None and config is not None:
        held = extended(records.with_later_fields(held), config)
        refuse_difference(f"Checkpoint {path} is of a run", held, config)
    if not model.optimizer.built:  # built twice, LossScaleOptimizer loses its scale
        model.optimizer.build(model.trainable_variables)
    model.load_weights(path / _WEIGHTS)
    history = state["history"].items()
    state["history"] = {name: [float(v) for v in values] for name, values in history}
    return state


def there_are(folder):
    """Returns whether a folder has a checkpoint, whole or not.

    A run that died in its first one has left a folder without any.

    Args:
        folder: Where the checkpoints are.
    """
    return bool(_paths(pathlib.Path(folder)))


def newest(folder):
    """Returns the newest whole checkpoint of a folder.

    Args:
        folder: Where the checkpoints are.

    Returns:
        `(path, state)`: the checkpoint's folder and a dict as of `restore`; `None`
        where there is no checkpoint.

    Raises:
        ValueError: If it is of another version, or none of several is whole.
    """
    paths = _paths(pathlib.Path(folder))
    for path in reversed(paths):
        try:
            state = _read(path)
        except (OSError, KeyError, TypeError, ValueError) as error:
            warnings.warn(
                f"Checkpoint {path} is truncated or damaged and is left out: {error}",
                stacklevel=2,
            )
            continue
        if state.get("format") != FORMAT:
            raise ValueError(
                f"Checkpoint {path} is of another version of nfm-keras. Expected: "
                f"format {FORMAT}. Received: {state.get('format', 1)}"
            )
        return path, state
    if paths:
        raise ValueError(
            f"No checkpoint in {folder} is whole; remove the folder to begin again. "
            f"Received: {', '.join(path.name for path in paths)}"
        )
    return None


def lengths(state, epochs):
    """Returns the lengths that an extended run had before, in epochs.

    Args:
        state: Dict of its newest checkpoint, which may be of the run before.
        epochs: Its length now.
    """
    before = (state.get("config") or {}).get("epochs", epochs)
    earlier = [*state.get("extended", [])]
    return earlier if before == epochs else [*earlier, before]


def _read(path):
    state = records.read_json(path / _STATE)
    received = _sha256(path / _WEIGHTS)
    if received != state["sha256"]:
        raise ValueError(f"its weights have SHA-256 {received[:12]}...")
    return state


def _remove_others(folder, last, keep):
    """Removes all checkpoints but the last one and the few before it.

    What is newer was broken, or is of a run that did not begin where this one did. What
    is hidden was left by a process that was killed: one at a time writes here.
    """
    paths = _paths(folder)
    end = paths.index(last) + 1
    others = *paths[end:], *paths[:end][:-keep], *folder.glob(".[0-9]*.tmp")
    for path in others:
        shutil.rmtree(path)


def _paths(folder):
    """Returns the folders of the checkpoints, the oldest first."""
    paths = [p for p in folder.glob("[0-9]*") if re.fullmatch(r"\d+(-\d+)?", p.name)]
    return sorted(paths, key=lambda p: [int(part) for part in p.name.split("-")])


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
