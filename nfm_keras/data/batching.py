"""Training batches: shuffled, augmented a batch at a time, without end."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import keras
import numpy as np

from nfm_keras.checks import check_count
from nfm_keras.data import array_stream, augmentation, policies, tensorflow_stream
from nfm_keras.data.loading import Split
from nfm_keras.data.photographs import array_batches, training_batches
from nfm_keras.data.photographs import tensorflow_batches as photograph_stream
from nfm_keras.data.photographs.photographs import Photographs, PhotographSplit


class Plan(NamedTuple):
    """What a stream of batches needs to know.

    Attributes:
        images: uint8 `(n, height, width, channels)`.
        labels: int64 `(n,)`.
        pad: Pixels of zeros around an image, of which a random part of its size is
            taken. No padded image is kept: it would be half as large again.
        flip: bool. Whether half of them are mirrored.
        batch_size: int.
        steps: int, batches in an epoch.
        seed: int.
        epoch: int, the one to begin with.
        step: int, the batch of that epoch to begin with.
        vary: Function `(images, epoch, indices) -> images` of arrays, or None.
        part: slice, the rows of each batch to make.
    """

    images: np.ndarray
    labels: np.ndarray
    pad: int
    flip: bool
    batch_size: int
    steps: int
    seed: int
    epoch: int
    step: int
    vary: object
    part: slice


def batches(
    split: Split | PhotographSplit,
    batch_size: int,
    seed: int = 0,
    augment: bool = True,
    start_epoch: int = 0,
    drop_last: bool = False,
    policy: str | None = None,
    start_step: int = 0,
    part: slice = slice(None),
) -> Iterable:
    """Returns an endless stream of shuffled training batches, for `fit`.

    Each epoch's order and augmentation are a pure function of `(seed, epoch)`, so that
    a run resumed with `start_epoch` and `start_step` sees what it would have seen, and
    of photographs reads none that was trained on.
    Images stay uint8; crops and mirror images are gathered a whole batch at a time,
    then the policy does to each image what it draws for it.

    Args:
        split: A `Split`.
        batch_size: Images in a batch; the last of an epoch may be smaller.
        seed: Integer.
        augment: Whether to crop and flip, as the set's `DatasetSpec` allows.
        start_epoch: The epoch to begin with.
        drop_last: Leave out the smaller last batch.
        policy: One of `nfm_keras.data.policies.POLICIES`; `None` for none. It runs in
            NumPy: a `tf.data` stream with it can be neither saved nor sent to another
            machine.
        start_step: The batch of `start_epoch` to begin with.
        part: Which rows of each batch to make, where several processes make a batch
            together (`distribution.Engine.part`).

    Returns:
        `tf.data.Dataset` on the TensorFlow backend, else a
        `keras.utils.PyDataset` without an end that needs no TensorFlow. Pass
        `steps_per_epoch(...)` to `fit` with it.

    Raises:
        ValueError: For an unknown policy, or a batch that is larger than the set.

    Example:

    >>> from nfm_keras.data import load
    >>> train = load("digits").train
    >>> stream = batches(train, 128, start_epoch=3)
    >>> steps = steps_per_epoch(train, 128)
    """
    if isinstance(split.images, Photographs):
        steps_per_epoch(split, batch_size)
        place = start_epoch, start_step, augment, _variation(policy, seed), part
        return _photographs(
            training_batches.Plan(split.images, batch_size, seed, *place)
        )
    known = split.spec
    pad, flip = (known.pad, known.flip) if augment else (0, False)
    plan = Plan(
        images=split.images,
        labels=split.labels,
        pad=pad,
        flip=flip,
        batch_size=batch_size,
        steps=steps_per_epoch(split, batch_size, drop_last),
        seed=seed,
        epoch=start_epoch,
        step=start_step,
        vary=_variation(policy, seed),
        part=part,
    )
    if keras.backend.backend() == "tensorflow":
        return tensorflow_stream.stream(plan)
    return array_stream.Stream(plan)


def _photographs(plan):
    if keras.backend.backend() == "tensorflow":
        return photograph_stream.stream(plan)
    return array_batches.TrainingBatches(plan)


def in_order(images: Any, labels: Any, batch_size: int) -> Any:
    """Returns images and labels as `fit` takes them to validate on.

    Args:
        images: Array, or `Photographs`.
        labels: Integers `(n,)`.
        batch_size: int.

    Returns:
        Both as they are; of photographs a `keras.utils.PyDataset` that reads them.
    """
    if isinstance(images, Photographs):
        return array_batches.InOrder(images, labels, batch_size)
    return images, labels


def steps_per_epoch(
    split: Split | PhotographSplit, batch_size: int, drop_last: bool = False
) -> int:
    """Returns how many batches an epoch has.

    Args:
        split: A `Split`.
        batch_size: As in `batches`.
        drop_last: As there; of photographs the smaller last batch is always left out,
            other images in each epoch.

    Raises:
        ValueError: If that is none.
    """
    check_count("batch_size", batch_size)
    whole, rest = divmod(len(split.images), batch_size)
    drop_last = drop_last or isinstance(split.images, Photographs)
    steps = whole + bool(rest and not drop_last)
    if not steps:
        raise ValueError(
            f"A batch of {batch_size} must fit into the training set. "
            f"Received: {len(split.images)} images"
        )
    return steps


def _variation(policy, seed):
    """The function `(images, epoch, indices) -> images` of a policy, in NumPy."""
    if policy is None:
        return None
    known = policies.lookup(policy)
    return lambda images, *place: augmentation.augment(images, known, seed, *place)
