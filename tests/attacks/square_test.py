import numpy as np
import pytest
from keras import ops

from nfm_keras import attacks
from nfm_keras.attacks import Square, square, windows
from nfm_keras.backend.classifier import PlainClassifier

pytestmark = pytest.mark.backends

NORMS = pytest.mark.parametrize("norm", attacks.NORMS)
SHAPE = (11, 7, 3)


def hidden(weights):
    """A linear classifier that nothing in the ball fools: its margin is visible."""

    def classifier(points):
        score = ops.sum(points * ops.convert_to_tensor(weights), axis=(1, 2, 3))
        return ops.stack([0 * score - 1e3, score], axis=1)

    return classifier


def test_the_share_of_the_window_halves_on_schedule():
    share = windows.sides(9000, 1000, 1000, p_init=0.64) ** 2 / 640000
    for proposal, halvings in ((10, 0), (11, 1), (51, 2), (501, 4), (8001, 9)):
        assert share[proposal + 1] == pytest.approx(0.5**halvings, rel=0.03)
    small = windows.sides(1000, *SHAPE[:2], norm="l2")
    assert set(small) <= {3, 5, 7} and small[0] == 7


def test_a_bump_is_nested_squares_up_and_down():
    """Rings of weight 1, 1/4, 1/9 ... around the middle of each half, length 1."""
    for side in (3, 4, 7, 10):
        expected = np.zeros((side, side))
        for top, bottom, sign in ((0, side // 2, 1), (side // 2, side, -1)):
            half = np.zeros((bottom - top, side))
            row, column = (bottom - top) // 2, side // 2
            for ring in range(max(half.shape) // 2 + 1):
                rows = slice(max(row - ring, 0), row + ring + 1)
                columns = slice(max(column - ring, 0), column + ring + 1)
                half[rows, columns] += 1 / (ring + 1) ** 2
            expected[top:bottom] = sign * half / np.linalg.norm(half)
        expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(windows.bump(side), expected, atol=1e-6)


@NORMS
def test_only_what_lowers_the_margin_is_taken(norm, monkeypatch):
    """And all but the start differ from the best so far in windows only."""
    random = np.random.default_rng(0)
    weights = random.normal(size=SHAPE).astype("float32")
    images = random.uniform(0.3, 0.7, (6, *SHAPE)).astype("float32")
    seen = []
    advance = square.SquareSearch.advance

    def spy(self, where, taken, state):
        after, tried, logits, health = advance(self, where, taken, state)
        arrays = (state.points, after.points, tried)
        seen.append([ops.convert_to_numpy(array)[:6] for array in arrays])
        return after, tried, logits, health

    monkeypatch.setattr(square.SquareSearch, "advance", spy)
    epsilon = {"linf": 0.05, "l2": 0.5}[norm]
    attack = Square(epsilon, norm, queries=150)
    result = attack(hidden(weights), images, np.ones(6, int), batch_size=6)
    assert len(seen) == 150 and result.gradients == 0 and not result.success.any()

    def score(points):
        return (points * weights).sum(axis=(1, 2, 3))

    accepted = np.zeros(SHAPE[:2], int)
    for query, (before, after, tried) in enumerate(seen):
        better = score(tried) < score(before) - 1e-5
        same = (after == before).all(axis=(1, 2, 3))
        taken = (after == tried).all(axis=(1, 2, 3))
        assert (taken | same).all()
        if query:
            assert (taken[better]).all() and (score(after) <= score(before)).all()
            accepted += (tried != before).any(axis=(0, 3))
    gain = score(seen[0][0]) - score(seen[-1][1])
    bound = epsilon * (np.abs(weights).sum() if norm == "linf" else 1)
    if norm == "linf":
        assert (gain > 0).all() and (accepted > 0).all()  # the last row as well
        assert (score(images) - score(seen[-1][1]) > 0.3 * bound).all()
    else:
        delta = (seen[-1][1] - images).reshape(6, -1)
        np.testing.assert_allclose(np.linalg.norm(delta, axis=1), epsilon, rtol=1e-4)
        assert (gain > 0).all()


@NORMS
def test_starts_fill_the_ball(norm):
    generator = np.random.default_rng(0)
    start = square._STARTS[norm](generator, (32, 32, 3))
    if norm == "linf":
        stripes = np.broadcast_to(start, (32, 32, 3))
        assert set(np.unique(stripes)) == {-1, 1}
        assert (stripes == stripes[0]).all() and (stripes != stripes[:, :1]).any()
    else:
        assert np.linalg.norm(start) == pytest.approx(1)
        used = (start != 0).any(axis=2)
        assert used.sum() == 30 * 30 and used[1:31, 1:31].all()


def test_a_window_may_lie_anywhere():
    given = PlainClassifier(hidden(1.0)), np.zeros((1, *SHAPE), "float32")
    search = square.SquareSearch(Square(0.1), *given, np.ones(1, int), [0], 0, 1)
    draws = np.random.default_rng(0).random((5000, 8), "float32")
    for side in (1, 4, 7):
        sides = np.full(5000, side, "int32")
        for found, extent in zip(search.windows(draws, sides), SHAPE, strict=False):
            assert set(found.ravel()) == set(range(extent - side + 1))


@pytest.mark.parametrize("last_row", [True, False])
def test_the_last_row_is_reached_unless_as_in_the_authors_code(last_row):
    attack = Square(0.1, queries=60, last_row=last_row)
    assert ("last_row" in attack.settings) != last_row
    images = np.full((1, 8, 8, 3), 0.5, "float32")
    given = PlainClassifier(hidden(1.0)), images, [0], [0]
    search = square.SquareSearch(attack, *given, 0, 1)
    draws = np.random.default_rng(0).random((5000, 8), "float32")
    for side in (1, 3, 8):
        tops, lefts = search.windows(draws, np.full(5000, side, "int32"))
        last = max(8 - side - (not last_row), 0)
        assert tops.max() == lefts.max() == last and tops.min() == 0


def test_images_without_height_and_width_are_refused():
    with pytest.raises(ValueError, match=r"Received: \(2, 5\)"):
        Square(0.1)(hidden(1.0), np.zeros((2, 5)), [1, 1])
