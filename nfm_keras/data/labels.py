"""Labels and logits: what is wrong with them, and which samples are right."""

import numpy as np
from numpy.typing import ArrayLike


def hits(logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Returns which samples are classified correctly.

    Args:
        logits: `(batch, classes)` floats.
        labels: `(batch,)` or `(batch, 1)` integers in `[0, classes)`.

    Returns:
        `(batch,)` bool array. Of several equal logits the first class counts.

    Raises:
        ValueError: If the logits are no matrix of finite numbers, or a label does not
            fit them.

    Example:

    >>> hits([[0.1, 0.9], [0.8, 0.2]], [1, 1]).tolist()
    [True, False]
    """
    labels = np.asarray(labels)
    logits = check_logits(logits, len(labels))
    labels = check_labels(labels, len(logits), logits.shape[1])
    return logits.argmax(axis=1) == labels


def are_probabilities(logits):
    """Returns which rows look like the output of a softmax, in half precision too.

    Args:
        logits: `(batch, classes)` numbers.

    Returns:
        `(batch,)` bool array. A row of logits may pass by chance, several hardly.

    Example:

    >>> are_probabilities(np.array([[0.25, 0.75], [-1.0, 2.0]])).tolist()
    [True, False]
    """
    return are_shares(logits, 1.0)


def are_shares(logits, total):
    """Returns which rows look like the output of a softmax times a number.

    Args:
        logits: `(batch, classes)` numbers.
        total: float, the number. Another one than 1 is believed of three classes or
            more: two logits z and a - z are common.

    Returns:
        `(batch,)` bool array.

    Example:

    >>> are_shares(np.array([[25.0, 70.0, 5.0], [-1.0, 100.0, 1.0]]), 100.0).tolist()
    [True, False]
    """
    if total <= 0 or (logits.shape[-1] < 3 and abs(total - 1) > 1e-2):
        return np.zeros(logits.shape[:-1], bool)
    # Probabilities in bfloat16 are off by 1/256 of themselves, and so is their sum.
    sums = np.isclose(logits.sum(axis=-1), total, rtol=1e-2, atol=0)
    return (logits >= 0).all(axis=-1) & sums


def check_logits(logits: ArrayLike, n: int) -> np.ndarray:
    """Returns logits as an array, once they are checked.

    Args:
        logits: `(n, classes)` finite numbers, of two classes or more.
        n: int, how many images there are.

    Raises:
        ValueError: For another shape, NaN or infinite numbers.

    Example:

    >>> check_logits([[0.1, 0.9]], 1)
    array([[0.1, 0.9]])
    """
    logits = np.asarray(logits)
    if logits.ndim != 2 or len(logits) != n:
        raise ValueError(
            f"The classifier must give logits of shape ({n}, classes) for {n} images. "
            f"Received: shape {logits.shape}"
        )
    if logits.shape[1] == 1:
        # The largest of one is always right for class 0.
        raise ValueError(
            "The classifier must give a logit for each of two classes or more. Where "
            "it has one output z, of which class 1 is positive, pass one that gives "
            f"[0, z]. Received: shape {logits.shape}"
        )
    bad = np.count_nonzero(~np.isfinite(logits).all(axis=1))
    if bad:
        # Comparing NaN would silently score as class 0.
        raise ValueError(
            "The classifier must give finite logits. Received: NaN or infinite logits "
            f"for {bad} of {n} images"
        )
    return logits


def check_labels(
    labels: ArrayLike, n: int, num_classes: int | None = None
) -> np.ndarray:
    """Returns labels as an int32 array `(n,)`, once they are checked.

    Args:
        labels: `(n,)` or `(n, 1)` integers in `[0, num_classes)`, or `(n, classes)`
            one-hot rows of any type: a single 1 in each, and 0 elsewhere.
        n: int, how many images there are.
        num_classes: int, or None to leave the upper end unchecked.

    Raises:
        ValueError: For another shape, type or range, and for rows that are not one-hot,
            such as labels that were mixed or smoothed.

    Example:

    >>> check_labels([0, 2], 2, num_classes=3)
    array([0, 2], dtype=int32)
    """
    labels = np.asarray(labels)
    if labels.shape == (n, 1):  # as keras.datasets has them
        labels = labels[:, 0]
    columns = labels.shape[1] if labels.ndim == 2 and len(labels) == n else 0
    if columns > 1 and num_classes in (None, columns):
        labels = _classes(labels)
    if labels.shape != (n,):
        raise ValueError(
            f"`labels` must have one class for each of the {n} images: shape ({n},). "
            f"Received: shape {labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"`labels` must be integers, the index of the class. "
            f"Received: dtype {labels.dtype}"
        )
    low, high = (int(labels.min()), int(labels.max())) if n else (0, 0)
    if low < 0 or (num_classes is not None and high >= num_classes):
        top = "classes - 1" if num_classes is None else num_classes - 1
        raise ValueError(
            f"`labels` must lie between 0 and {top}. "
            f"Received: labels from {low} to {high}"
        )
    return labels.astype("int32")


def _classes(rows: np.ndarray) -> np.ndarray:
    """The classes of one-hot rows."""
    hot = rows == 1
    bad = ~((hot | (rows == 0)).all(axis=1) & (hot.sum(axis=1) == 1))
    if bad.any():
        raise ValueError(
            "`labels` of several columns must be one-hot rows, a single 1 in each and "
            f"0 elsewhere. Received: {bad.sum()} other rows, such as "
            f"{rows[bad][0].tolist()!s:.80}"
        )
    return np.argmax(hot, axis=1)
