import itertools

import numpy as np
import pytest

from nfm_keras.mixing.techniques import graphcut

RNG = np.random.default_rng(0)


def problem(batch, rows, columns, weight=1.0):
    return (
        RNG.normal(size=(3, batch, rows, columns)),
        weight * RNG.random((batch, rows, columns - 1)),
        weight * RNG.random((batch, rows - 1, columns)),
    )


@pytest.mark.parametrize("rows, columns", [(2, 2), (2, 3), (1, 4)])
@pytest.mark.parametrize("weight", [0.1, 1.0, 5.0])
def test_no_labelling_has_less_energy(rows, columns, weight):
    """Every one of the 3^cells labellings is tried."""
    given = problem(20, rows, columns, weight)
    found = graphcut.energies(graphcut.solve(*given), *given)
    labellings = itertools.product(range(3), repeat=rows * columns)
    every = [
        graphcut.energies(np.array(x).reshape(1, rows, columns).repeat(20, 0), *given)
        for x in labellings
    ]
    np.testing.assert_allclose(found, np.min(every, axis=0), atol=1e-6)


def test_energy_is_what_it_is_said_to_be():
    unaries, right, down = problem(1, 2, 2)
    labels = np.array([[[0, 2], [1, 1]]])
    expected = sum(unaries[labels[0, i, j], 0, i, j] for i in (0, 1) for j in (0, 1))
    expected += right[0, 0, 0] + down[0, 0, 0] / 4 + down[0, 0, 1] / 4
    assert graphcut.energies(labels, unaries, right, down)[0] == pytest.approx(expected)


def test_a_grid_is_solved_as_if_alone():
    given = problem(6, 8, 8)
    together = graphcut.solve(*given)
    for i in range(6):
        alone = graphcut.solve(
            given[0][:, i : i + 1], *(w[i : i + 1] for w in given[1:])
        )
        np.testing.assert_array_equal(alone[0], together[i])


def test_limits_of_the_weights():
    unaries, right, down = problem(3, 6, 6, weight=0.0)
    np.testing.assert_array_equal(
        graphcut.solve(unaries, right, down), unaries.argmin(0)
    )
    labels = graphcut.solve(unaries, right + 1e4, down + 1e4)
    assert (labels == unaries.sum((2, 3)).argmin(0)[:, None, None]).all()


def test_bad_problems_are_refused():
    unaries, right, down = problem(1, 2, 2)
    with pytest.raises(ValueError, match="must be those of 3 labels. Received: 2"):
        graphcut.solve(unaries[:2], right, down)
    with pytest.raises(ValueError, match="must not be negative. Received: -"):
        graphcut.solve(unaries, right - 2, down)
