"""Classes in a comparison: how often each is right, and what it is taken for."""

import numpy as np

from nfm_keras.evaluation.statistics import wilson_interval
from nfm_keras.reports.columns import MISSING
from nfm_keras.reports.comparisons.tables import interval
from nfm_keras.table import Table

MOST = 20
"""Classes that fit a table and a figure; of more, the worst are told."""

_TOLD = 10


def names(evaluation, count):
    """Returns the names of the classes, their numbers where they have none.

    Args:
        evaluation: `nfm_keras.records.Evaluation`.
        count: int, how many there are.

    Example:

    >>> from nfm_keras.records import Evaluation
    >>> names(Evaluation("a", "mine", "", []), 2)
    ['0', '1']
    """
    known = evaluation.classes
    return [*known] if len(known) == count else [str(i) for i in range(count)]


def number(evaluation):
    """Returns how many classes there are, as far as the record shows; 0 without it."""
    if evaluation.answers is None:
        return 0
    most = 1 + max(int(classes.max()) for classes in evaluation.answers)
    return max(most, len(evaluation.classes))


def confusion(evaluation):
    """Returns how many images of each class were taken for which, as they are.

    Args:
        evaluation: `nfm_keras.records.Evaluation`.

    Returns:
        `(classes, classes)` ints, rows true and columns predicted; None where it was
        not recorded.

    Example:

    >>> from nfm_keras.records import Evaluation, pack_classes
    >>> told = {"labels": pack_classes([0, 0, 1]), "predicted": pack_classes([0, 1, 1])}
    >>> confusion(Evaluation("a", "mine", "", [], **told)).tolist()
    [[1, 1], [0, 1]]
    """
    if evaluation.answers is None:
        return None
    count = number(evaluation)
    counts = np.zeros((count, count), int)
    np.add.at(counts, evaluation.answers, 1)
    return counts


def missing(evaluations):
    """Returns what is not recorded, in a sentence; empty where all is."""
    without = [f"**{e.model}**" for e in evaluations if e.answers is None]
    if not without:
        return ""
    return (
        f"Predicted classes are not recorded of {' and '.join(without)}: the "
        "evaluation is of an earlier version, or has no clean images. The same command "
        "records them."
    )


def accuracy(evaluations, rights):
    """Returns the accuracy by class, a column a model, or None without records.

    Args:
        evaluations: list of `nfm_keras.records.Evaluation`.
        rights: dict from model to `(n,)` bools, of its first images whether they were
            right. All columns are of as many images as the shortest has.
    """
    there = [e for e in evaluations if e.answers is not None and e.model in rights]
    if not there:
        return None
    n = min(min(len(rights[e.model]), len(e.answers[0])) for e in there)
    columns = {e.model: (rights[e.model][:n], e.answers[0][:n]) for e in there}
    count = max(map(number, there))
    shown, rows = _worst_classes(columns.values(), count), []
    for place in shown:
        cells = [_cell(right[labels == place]) for right, labels in columns.values()]
        rows.append([names(there[0], count)[place], *cells])
    return Table(["class", *columns], rows, "lr")


def pairs(evaluations):
    """Returns the most frequent confusions of each model, for sets of many classes."""
    told = {e.model: _pairs(e) for e in evaluations if e.answers is not None}
    rows = [
        [
            rank + 1,
            *(one[rank] if rank < len(one) else MISSING for one in told.values()),
        ]
        for rank in range(_TOLD)
    ]
    return Table(["", *told], rows, "l")


def _pairs(evaluation):
    counts = confusion(evaluation)
    np.fill_diagonal(counts, 0)
    known = names(evaluation, len(counts))
    order = np.argsort(-counts, axis=None, kind="stable")[:_TOLD]
    places = zip(*np.unravel_index(order, counts.shape), strict=True)
    return [
        f"{known[true]} taken for {known[taken]}: {counts[true, taken]}"
        for true, taken in places
        if counts[true, taken]
    ]


def _cell(right):
    if not len(right):
        return MISSING
    ends = wilson_interval(int(right.sum()), len(right))
    return f"{interval(100 * right.mean(), *ends)} n={len(right)}"


def _worst_classes(columns, count):
    """All classes, or of many those that are right least often."""
    if count <= MOST:
        return range(count)
    means = np.full(count, 2.0)
    for place in range(count):
        some = [right[labels == place] for right, labels in columns]
        if any(map(len, some)):
            means[place] = np.mean(np.concatenate(some))
    return np.argsort(means, kind="stable")[:_TOLD]
