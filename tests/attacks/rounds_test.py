"""An image in several rounds at once ends as if they came one after the other."""

from typing import NamedTuple

import numpy as np
import pytest

from nfm_keras.attacks import PGD
from nfm_keras.attacks.search import Search
from nfm_keras.backend.classifier import PlainClassifier

NEVER = 99
CALLS, ROUNDS = 6, 5
FIRST_WRONG = np.array(
    [
        [NEVER] * ROUNDS,
        [NEVER, 5, 0, 0, 1],  # a later round breaks it sooner: it does not count
        [NEVER, NEVER, 3, 3, 0],
        [2, 0, 0, 0, 0],
        [NEVER, NEVER, NEVER, NEVER, 4],
    ]
    * 3
)
"""At which call an image is misclassified, by round."""


class State(NamedTuple):
    points: np.ndarray  # image, round, call


class ByTable(Search):
    """A search whose outcome is known: what is tried is who, where and when."""

    calls, rounds = CALLS, ROUNDS
    most = 1

    def begin(self, where, rounds):
        return State(np.stack([where, rounds, np.zeros_like(where)], 1).astype("f4"))

    def advance(self, where, taken, state):
        points = state.points.copy()
        points[:, 2] = taken
        image, number = points[:, :2].astype(int).T
        wrong = FIRST_WRONG[image, number] <= taken
        rows = np.unique(points[:, :2], axis=0)[:, 0]
        self.most = max(self.most, np.unique(rows, return_counts=True)[1].max())
        logits = np.stack([1.0 - wrong, 1.0 * wrong, 0 * wrong], 1) * 3 - 1
        return state, points, logits.astype("f4"), None


def searched(batch_size, early_stop=True):
    n = len(FIRST_WRONG)
    given = PlainClassifier(lambda images: images), np.full((n, 3), -1.0, "f4")
    attack = PGD(early_stop=early_stop)
    given = (attack, *given, np.zeros(n, int), np.arange(n), 0, batch_size)
    search = ByTable(*given)
    search.walk(np.arange(n))
    return search


@pytest.mark.parametrize("early_stop", [True, False])
@pytest.mark.parametrize("batch_size", [1, 2, 7, 20, 64, 400])
def test_the_lowest_round_that_breaks_an_image_counts(batch_size, early_stop):
    search = searched(batch_size, early_stop)
    for image, calls in enumerate(FIRST_WRONG):
        rounds = np.flatnonzero(calls < CALLS)
        assert search.broken[image] == bool(len(rounds))
        expected = [image, rounds[0], calls[rounds[0]]] if len(rounds) else [-1] * 3
        np.testing.assert_array_equal(search.adversaries[image], expected)
    if not early_stop:  # every round of every image, whatever stands beside it
        assert search.gradients == len(FIRST_WRONG) * CALLS * ROUNDS


def test_several_rounds_at_once_where_few_images_are_left():
    assert searched(400).most == ROUNDS - 1  # the first round is gone through alone
    assert searched(7).most == 1 and searched(64).most > 1


def test_rounds_above_the_lowest_one_that_breaks_an_image_end_with_it():
    one_by_one = together = 0
    for calls in FIRST_WRONG:
        spent = np.minimum(calls + 1, CALLS)
        last = next((r for r in range(ROUNDS) if calls[r] < CALLS), ROUNDS - 1)
        one_by_one += spent[: last + 1].sum()
        # The first round is gone through alone; the others begin at once.
        together += spent[0] + (np.minimum.accumulate(spent[1:]).sum() if last else 0)
    assert searched(1).gradients == one_by_one
    assert searched(400).gradients == together
