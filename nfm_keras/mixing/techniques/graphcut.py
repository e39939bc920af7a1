"""Labellings of grids in three labels, optimal, by one maximum flow a batch."""

import functools

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

LABELS = 3
_SOURCE, _SINK, _FIRST = 0, 1, 2
# Flows are whole numbers of 32 bits: the largest energy becomes 2**28, so that a
# capacity, and what flows against it, stay below 2**31.
_LARGEST, _INFINITE = 2**28, 2**30


def solve(unaries, right, down):
    """Finds the labels of least energy, exactly, for every grid of a batch.

    The energy of labels l in {0, 1, 2} is

        sum_p unaries[l_p, p] + sum_pq w_pq ((l_p - l_q) / 2)^2

    over cells p and neighbours pq. It is convex in the difference of two labels, so
    that a minimum cut with two nodes a cell finds its minimum. Energies count to 2e-9
    of the largest unary or weight.

    Args:
        unaries: Array `(3, batch, rows, columns)`.
        right: Weights w, not negative, `(batch, rows, columns - 1)`: of a cell with its
            right neighbour.
        down: The same with the lower neighbour, `(batch, rows - 1, columns)`.

    Returns:
        int8 array of labels `(batch, rows, columns)`.

    Raises:
        ValueError: If there are not three labels, or a weight is negative.

    Example:

    >>> unaries = np.array([1.0, 0.5, 0.0]).reshape(3, 1, 1, 1) * np.ones((3, 1, 2, 2))
    >>> solve(unaries, np.ones((1, 2, 1)), np.ones((1, 1, 2)))[0].tolist()
    [[2, 2], [2, 2]]

    Reference:
        [Ishikawa, 2003](https://doi.org/10.1109/TPAMI.2003.1233908).
    """
    if len(unaries) != LABELS:
        raise ValueError(
            f"`unaries` must be those of {LABELS} labels. Received: {len(unaries)}"
        )
    batch, rows, columns = unaries.shape[1:]
    weights = np.concatenate([right.reshape(batch, -1), down.reshape(batch, -1)], 1)
    if weights.size and weights.min() < 0:
        raise ValueError(f"Weights must not be negative. Received: {weights.min()}")
    order, heads, starts = _network(batch, rows, columns)
    capacities = _capacities(np.diff(unaries, axis=0), weights)[order]
    network = csr_array((capacities, heads, starts))
    flow = maximum_flow(network, _SOURCE, _SINK).flow.data
    above = np.zeros(len(starts) - 1, np.int8)
    above[_reachable(capacities > flow, heads, starts)] = 1
    return above[_FIRST:].reshape(batch, rows, columns, 2).sum(-1, dtype=np.int8)


def energies(labels, unaries, right, down):
    """Returns the energy of the labels of each grid, as `solve` has it.

    Args:
        labels: int array `(batch, rows, columns)`.
        unaries: As in `solve`.
        right: As there.
        down: As there.

    Returns:
        float array `(batch,)`.
    """
    chosen = np.take_along_axis(unaries, labels[None].astype(int), axis=0)[0]
    t = labels / 2
    across = right * np.diff(t, axis=2) ** 2
    along = down * np.diff(t, axis=1) ** 2
    return sum(part.sum((1, 2)) for part in (chosen, across, along))


def _capacities(steps, weights):
    """Capacities in the order in which `_network` lists the arcs.

    Args:
        steps: What the first and the second step up in label cost, `(2, batch, ...)`.
        weights: `(batch, pairs)`.
    """
    largest = max(abs(steps).max(), weights.max(initial=0)) or 1.0
    steps = np.rint(steps.reshape(2, -1).T.ravel() * (_LARGEST / largest))
    same = np.rint(weights.ravel() * (_LARGEST / largest / 4))
    none = np.zeros_like(same)
    # A step up that costs is an arc to the sink, one that pays an arc from the source.
    costs, pays, no_step = np.maximum(steps, 0), np.maximum(-steps, 0), 0 * steps
    ordered = np.full(steps.size // 2, _INFINITE)
    # Each neighbour pair: 1 for a difference of one label, 1 + 1 + 2 for one of two.
    forth = [same, same, 2 * same, 2 * same, ordered, pays, costs]
    back = [same, same, none, none, 0 * ordered, no_step, no_step]
    return np.concatenate([*forth, *back]).astype(np.int32)


@functools.lru_cache(maxsize=16)
def _network(batch, rows, columns):
    """The arcs: their order by tail and head, their heads, where each tail's start.

    Both directions of an arc are there, or SciPy would have to put them in.
    """
    cells = np.arange(batch * rows * columns).reshape(batch, rows, columns)
    p = _flat(batch, cells[:, :, :-1], cells[:, :-1])
    q = _flat(batch, cells[:, :, 1:], cells[:, 1:])
    nodes = _FIRST + np.arange(2 * cells.size)
    # Node 1 of a cell: label at least 1; node 2: label 2.
    (p1, p2), (q1, q2) = ((_FIRST + 2 * x, _FIRST + 2 * x + 1) for x in (p, q))
    source, sink = np.full_like(nodes, _SOURCE), np.full_like(nodes, _SINK)
    forth = [(p1, q1), (p2, q2), (p2, q1), (q2, p1), (nodes[1::2], nodes[::2])]
    forth += [(source, nodes), (nodes, sink)]
    tails, heads = (np.concatenate(ends) for ends in zip(*forth))
    tails, heads = np.concatenate([tails, heads]), np.concatenate([heads, tails])
    order = np.lexsort((heads, tails))
    starts = np.searchsorted(tails[order], np.arange(len(nodes) + _FIRST + 1))
    return order, heads[order].astype(np.int32), starts.astype(np.int32)


def _flat(batch, *cells):
    return np.concatenate([part.reshape(batch, -1) for part in cells], axis=1).ravel()


def _reachable(open_arcs, heads, starts):
    """The nodes on the source's side of the cut."""
    before = np.concatenate([[0], np.cumsum(open_arcs, dtype=np.int32)])
    residual = csr_array(
        (np.ones(before[-1], np.int8), heads[open_arcs], before[starts]),
        shape=(len(starts) - 1,) * 2,
    )
    return breadth_first_order(residual, _SOURCE, return_predecessors=False)
