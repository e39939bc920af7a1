"""In which order photographs are trained on, a pure function of seed and epoch; and
which are held out, one of their names."""

import hashlib
import os
from collections.abc import Sequence

import numpy as np

from nfm_keras.data.photographs.photographs import PhotographSplit


def epoch_rows(
    rows: np.ndarray,
    lengths: np.ndarray,
    *,
    seed: int,
    epoch: int,
    group: int,
    count: int,
    processes: int = 1,
    process: int = 0,
) -> np.ndarray:
    """Returns the images that one process trains on in an epoch, in their order.

    Files are permuted, all images one after another dealt out to the processes in
    equal parts, so that each reads files of its own (two may share one at the border
    of their parts), and shuffled within groups of so many files.

    Args:
        rows: Integers `(n,)`, ascending: numbers of the images, counted through all
            files one after the other.
        lengths: Integers `(files,)`, how many images each file holds.
        seed, epoch: Integers.
        group: How many files are read together.
        count: How many images a process trains on; at most `n // processes`.
        processes, process: How many processes there are, and the number of this one.

    Returns:
        int64 `(count,)`, some of `rows`.

    Example:

    >>> settings = {"seed": 0, "epoch": 0, "group": 2, "count": 6}
    >>> sorted(epoch_rows(np.arange(6), np.array([2, 2, 2]), **settings).tolist())
    [0, 1, 2, 3, 4, 5]
    """
    rng = np.random.default_rng((seed, 0, epoch))
    ends = np.searchsorted(rows, np.cumsum(lengths))
    starts = np.concatenate([[0], ends[:-1]])
    files = rng.permutation(len(lengths))
    files = files[ends[files] > starts[files]]  # of a subset some are empty
    kept = ends[files] - starts[files]
    before = np.cumsum(kept) - kept
    # The place of each image among `rows`, file by file in the permuted order.
    places = np.repeat(starts[files] - before, kept) + np.arange(kept.sum())
    first, last = process * count, (process + 1) * count
    inner = before[(before > first) & (before < last)]
    borders = np.concatenate([[first], inner[group - 1 :: group], [last]])
    key = np.random.default_rng((seed, 1, epoch, process))
    spans = zip(borders[:-1], borders[1:])
    parts = [key.permutation(places[a:b]) for a, b in spans]
    return rows[np.concatenate(parts)]


def spread(labels: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Returns an order in which every beginning has all classes alike.

    First come the first images of every class, by name, then the second ones: the same
    images in the same order, however the files lie on disk. What is evaluated on the
    first 5,000 of ImageNet's validation images sees five of each class.

    Args:
        labels: Integers `(n,)`.
        names: `(n,)`, of the images.

    Returns:
        int64 `(n,)`, a permutation.

    Example:

    >>> spread(np.array([0, 0, 1, 1]), np.array(["b", "a", "d", "c"])).tolist()
    [1, 3, 0, 2]
    """
    by_class, rank, _ = _ranked(labels, names)
    return by_class[np.argsort(rank, kind="stable")]


def _ranked(
    labels: np.ndarray, keys: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images class by class, those of a class in the order of their keys.

    Args:
        labels: Integers `(n,)`.
        keys: `(n,)`, of the images.

    Returns:
        `(places, rank, size)`, int64 `(n,)` each: where each image is, how many of its
        class are before it, and how many the class has.
    """
    places = np.lexsort((keys, labels))
    counts = np.bincount(labels, minlength=1)
    size = np.repeat(counts, counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    return places, np.arange(len(labels)) - first, size


def hold_out(
    train: PhotographSplit, count: int
) -> tuple[PhotographSplit, PhotographSplit]:
    """Returns the training images without so many, and those, in the order to test on.

    Args:
        train: `PhotographSplit`, its rows ascending.
        count: int.

    Raises:
        ValueError: If that leaves a class without images to train on, or an image has
            no label.
    """
    names, labels = train.images.files.names_and_labels()
    names, labels = names[train.images.rows], labels[train.images.rows]
    if labels.min() < 0:
        raise ValueError(
            f"Every training image of {train.spec.name} must have a label. "
            f"Received: {(labels < 0).sum()} without one"
        )
    present = len(np.unique(labels))
    if not 0 < count <= len(labels) - present:
        raise ValueError(
            f"`validation` must be at least 0 and leave some of the {len(labels)} "
            f"training images, one of each of {present} classes. Received: {count}"
        )
    folders = [os.fsencode(name) for name in train.spec.classes]
    paths = [folders[y] + b"/" + name for y, name in zip(labels, names, strict=True)]
    held = held_out(labels, paths, count)
    kept = np.delete(np.arange(len(labels)), held)
    held = held[spread(labels[held], names[held])]
    return train.subset(kept), train.subset(held)


def held_out(labels: np.ndarray, names: Sequence[bytes], count: int) -> np.ndarray:
    """Returns which images are held out: the same share of every class.

    In each class those come first whose names have the smallest hashes, so that a file
    that is added or taken away moves hardly any other; and what is held out of a set is
    held out as well where more is. A class keeps one image to train on.

    Args:
        labels: Integers `(n,)`.
        names: Bytes, `n` of them, of the images.
        count: int, at most as many as leave one image of each class.

    Returns:
        int64 `(count,)`, their places.

    Example:

    >>> names = [b"a", b"b", b"c", b"d", b"e", b"f"]
    >>> held_out(np.array([0, 0, 0, 0, 1, 1]), names, 3).tolist()
    [3, 5, 2]
    """
    digests = (hashlib.sha256(name).digest() for name in names)
    hashes = np.array([int.from_bytes(digest[:8]) for digest in digests], np.uint64)
    by_class, rank, size = _ranked(labels, hashes)
    share = np.where(rank < size - 1, (rank + 0.5) / size, np.inf)
    return by_class[np.argsort(share, kind="stable")[:count]]
