"""Images and labels of a data set, whatever holds them."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nfm_keras.evaluation.inputs.spool import Spool

_NAMES = (("image", "images", "pixel_values", "x"), ("label", "labels", "y"))
"""How dicts call their images and labels."""


def read(dataset: Any, limit: int | None = None) -> tuple[ArrayLike, ArrayLike, Any]:
    """Returns the images, labels and `spec` of a data set.

    Args:
        dataset: One of

            * an object with `images` and `labels`, and perhaps a `spec`;
            * a tuple `(images, labels)`;
            * batches: a `tf.data.Dataset`, `keras.utils.PyDataset`, PyTorch
              `DataLoader` or any other iterable, of `(images, labels)` or of dicts
              with the keys `image` and `label`; single images are batches of one.

            Batches are read once, in the order in which they come.
        limit: int. Batches are read until there are so many images, and no further.

    Returns:
        `(images, labels, spec)`: arrays, or what is read like one; None for no spec.
        Images of batches lie in a temporary file (`spool.Spool`).

    Raises:
        ValueError: If it is none of these, gives no image, has sample weights that
            differ, or is known to have no end and there is no `limit`.

    Example:

    >>> batches = ((np.zeros((2, 4, 4, 1), "uint8"), [0, 1]) for _ in range(3))
    >>> images, labels, _ = read(batches)
    >>> images.shape, labels.tolist()
    ((6, 4, 4, 1), [0, 1, 0, 1, 0, 1])
    """
    if hasattr(dataset, "sound"):  # photographs, without files that cannot be read
        dataset = dataset.sound()
    if hasattr(dataset, "images") and hasattr(dataset, "labels"):
        return dataset.images, dataset.labels, getattr(dataset, "spec", None)
    if (
        isinstance(dataset, (tuple, list))
        and len(dataset) == 2
        and not all(map(_is_batch, dataset))
    ):
        return _array(dataset[0]), _array(dataset[1]), None
    return (*_spooled(_batches(dataset, limit), limit), None)


def first(values: Any, limit: int | None) -> np.ndarray:
    """Returns the first images or labels of what `read` returned, as one array."""
    return np.asarray(values[:limit])


def _batches(dataset: Any, limit: int | None) -> Iterable[Any]:
    """The batches, in order."""
    if limit is None and _is_endless(dataset):
        raise ValueError(
            "Batches without an end need a `limit`, the number of images to read. "
            f"Received: {type(dataset).__name__}, limit=None"
        )
    if hasattr(dataset, "as_numpy_iterator"):
        batches: Iterator[Any] = dataset.as_numpy_iterator()
        return batches
    if hasattr(dataset, "__getitem__") and not hasattr(dataset, "__iter__"):
        # A PyDataset, which may have no end, or any other sequence.
        sized = not hasattr(dataset, "num_batches")
        count = len(dataset) if sized else dataset.num_batches
        places = itertools.count() if count is None else range(count)
        return (dataset[place] for place in places)
    if isinstance(dataset, Iterable) and not isinstance(dataset, (str, Mapping)):
        return dataset
    raise ValueError(
        "`dataset` must have `images` and `labels`, be a tuple (images, labels), or "
        "give batches of such, as a tf.data.Dataset, a PyDataset, a DataLoader or a "
        f"generator does. Received: {type(dataset).__name__}"
    )


def _is_batch(value):
    """Whether one of two is a batch of a list, and not all images or all labels."""
    pair = isinstance(value, (tuple, list)) and len(value) == 2
    return isinstance(value, Mapping) or (pair and np.ndim(value[0]) > 2)


def _is_endless(dataset):
    if hasattr(dataset, "as_numpy_iterator"):
        return int(dataset.cardinality()) == -1  # tf.data.INFINITE_CARDINALITY
    return getattr(dataset, "num_batches", 0) is None


def _spooled(batches, limit):
    spool, labels = Spool(), []
    for batch in batches:
        some, classes = _pair(batch)
        room = None if limit is None else limit - spool.count
        spool.add(some[:room])
        labels.append(classes[:room])
        if limit is not None and spool.count >= limit:
            break
    if not spool.count:
        raise ValueError(
            "`dataset` must give at least one image; a generator gives its images "
            "once. Received: no batch"
        )
    return spool.images(), np.concatenate(labels)


def _pair(batch):
    """Images and labels of one batch, as arrays with a first axis."""
    if isinstance(batch, Mapping):
        names = [next((n for n in some if n in batch), None) for some in _NAMES]
        parts = [batch[name] for name in names if name is not None]
    else:
        parts = list(batch) if isinstance(batch, (tuple, list)) else []
    if len(parts) not in (2, 3):
        kind = sorted(batch) if isinstance(batch, Mapping) else type(batch).__name__
        raise ValueError(
            "A batch must be (images, labels), or a dict with `image` and `label`. "
            f"Received: {kind}, with {len(parts)} parts"
        )
    images, labels, *weights = map(_array, parts)
    if weights and np.ptp(weights[0]) > 0:
        raise ValueError(
            "Accuracy counts every image once: leave the sample weights out. "
            f"Received: weights from {weights[0].min():g} to {weights[0].max():g}"
        )
    if labels.ndim == 0 or _is_one(images, labels):
        images, labels = images[None], labels[None]
    if len(images) != len(labels):
        raise ValueError(
            "A batch must have a label for each image. "
            f"Received: {len(images)} images, {len(labels)} labels"
        )
    return images, labels


def _is_one(images, labels):
    """Whether it is a single image and its one-hot label, not a batch."""
    if images.ndim != 3 or labels.ndim != 1:
        return False
    # As many classes as rows: a batch of as many images has integers.
    floats = np.issubdtype(labels.dtype, np.floating)
    return len(labels) != len(images) or (floats and sorted(labels)[-2:] == [0, 1])


def _array(values):
    """An array of what may be a tensor of PyTorch, on whatever device."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return values if hasattr(values, "digests") else np.asarray(values)
