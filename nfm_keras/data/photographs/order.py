"""In which order photographs are trained on: a pure function of seed and epoch."""

import numpy as np


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
    by_class = np.lexsort((names, labels))
    counts = np.bincount(labels, minlength=1)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    rank = np.arange(len(labels)) - first
    return by_class[np.lexsort((labels[by_class], rank))]
