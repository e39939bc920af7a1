"""What a run that goes on must have in common with its newest checkpoint.

The config is compared where it is read. Here is what it does not say: which images
there are, by what the best classifier is chosen, and under which backend the run is.
"""

import datetime
import hashlib
import math
import warnings
from typing import Any

import keras
import numpy as np

from nfm_keras.data.photographs.photographs import Photographs
from nfm_keras.training import checkpoints


def check(job) -> None:
    """Refuses to go on from the newest checkpoint as another run.

    A checkpoint of before these things were kept goes on without being compared.

    Args:
        job: `nfm_keras.training.fit.Job`.

    Raises:
        ValueError: If it is of other training images, if the run chose its best by
            another metric, or if it was in the middle of an epoch under another
            backend.
    """
    newest = checkpoints.newest(job.checkpoints)
    if newest is None:
        return
    path, state = newest
    check_images(path, state, images(job.splits.train, job.steps))
    _check_best(path, state, job)
    _check_backend(path, state)


def kept(job) -> dict[str, Any]:
    """Returns what the checkpoints of a run hold besides its progress.

    Args:
        job: `nfm_keras.training.fit.Job`.
    """
    newest = checkpoints.newest(job.checkpoints)
    state: dict[str, Any] = newest[1] if newest else {}
    return begun(state, job.config.epochs) | {
        "rollbacks": state.get("rollbacks", 0),
        "images": images(job.splits.train, job.steps),
        "backend": keras.backend.backend(),
        "save_best": job.save_best,
        "best": state.get("best", {}) if job.save_best else {},
    }


def begun(state: dict[str, Any], epochs: int) -> dict[str, Any]:
    """Returns when a run was started, and what lengths it had before.

    Args:
        state: Dict of its newest checkpoint; empty where there is none.
        epochs: Its length now.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {
        "started": state.get("started", now),
        "extended": checkpoints.lengths(state, epochs),
    }


def images(train, steps: int) -> dict[str, Any]:
    """Returns what the training images of a run are known by.

    Args:
        train: `nfm_keras.data.Split` or `PhotographSplit`.
        steps: Steps in an epoch.

    Returns:
        Dict with `count`, `steps` and `digest`: of arrays that of the labels, of
        photographs that of their number in each file on disk, of class folders that of
        their names too. Where they lie does not count.

    Example:

    >>> from nfm_keras import data
    >>> train = data.load("digits").train
    >>> images(train, steps=21)["count"]
    1297
    """
    digest = hashlib.sha256(repr(train.images.shape).encode())
    for part in _parts(train):
        digest.update(np.ascontiguousarray(part).tobytes())
    count = len(train.images)
    return {"count": count, "steps": steps, "digest": digest.hexdigest()}


def _parts(train):
    """Arrays that are quickly read and differ where the images do."""
    if not isinstance(train.images, Photographs):
        return [np.asarray(train.labels, np.int64)]
    files = train.images.files
    parts = [files.lengths, train.images.rows]
    if files.lengths.max() > 1:
        return parts  # shards: names are in the records, which are not read for this
    return [*parts, *files.names_and_labels()]


def check_images(path, state: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuses to go on from a checkpoint of other training images.

    Args:
        path: The checkpoint, for the error.
        state: What it says.
        now: From `images`.

    Raises:
        ValueError: If they differ, or the epoch is not as long as what is done of it.
    """
    held = state.get("images", now)
    if held != now:
        raise ValueError(
            f"{path} is of a run on other training images: the set has changed since. "
            "Put it back as it was, or train into another folder. "
            f"Expected: {_told(held)}. Received: {_told(now)}"
        )
    if state["step"] >= now["steps"]:
        raise ValueError(
            f"{path} is at step {state['step']} of an epoch, and the training images "
            f"are fewer since. Expected: more than {state['step']} steps in an epoch. "
            f"Received: {_told(now)}"
        )


def _told(images):
    name = f"known by {images['digest'][:12]}"
    return f"{images['count']} images, {images['steps']} steps an epoch, {name}"


def _check_best(path, state, job):
    held = state.get("save_best", state.get("best", {}).get("metric"))
    losses = state["history"].get("val_loss", [])
    validated = not all(math.isnan(float(value)) for value in losses)
    # Before it was refused, a best could be chosen on the images of the test. Such a
    # run goes on without.
    refused = job.splits.validation is job.splits.test
    if held != job.save_best and validated and not refused:
        raise ValueError(
            "`save_best` must be what it was from the run's start on, so that the "
            "best is that of all epochs. "
            f"Expected: {held}, as in {path}. Received: {job.save_best}"
        )


def _check_backend(path, state):
    now = keras.backend.backend()
    held = state.get("backend", now)
    if held == now:
        return
    if state["step"]:
        raise ValueError(
            f"{path} is in the middle of an epoch, and each backend has an order of "
            "its own for the images: some would be shown twice. Go on under the "
            "backend of before, at least to the end of an epoch. "
            f"Expected: KERAS_BACKEND={held}. Received: {now}"
        )
    warnings.warn(
        f"{path} was written under KERAS_BACKEND={held}. From here on the images come "
        f"in the order that {now} draws for them.",
        stacklevel=2,
    )
