import numpy as np
import pytest
import scipy.stats
from conftest import scored

from nfm_keras.evaluation.comparison import paired
from nfm_keras.evaluation.statistics import mean_accuracy, mean_interval


def test_the_interval_of_a_mean_counts_images_and_not_rows():
    """Ten rows that agree are worth one: the interval must not shrink."""
    right = np.random.default_rng(0).random(400) < 0.7
    mean, low, high = mean_accuracy([scored("fog@1", right)])
    again = mean_accuracy([scored(f"fog@{s}", right) for s in range(10)])
    np.testing.assert_allclose(again, (mean, low, high))
    share = right.mean()
    half = 100 * scipy.stats.t.ppf(0.975, 399) * right.std(ddof=1) / 20
    np.testing.assert_allclose((mean, high - mean), (100 * share, half))
    # Scores that hit half of the images each leave little doubt about the mean.
    opposite = [scored("fog@1", right), scored("fog@2", ~right)]
    np.testing.assert_allclose(mean_accuracy(opposite), (50, 50, 50), atol=0.5)
    for bad in ([], [scored("fog@1", right), scored("fog@2", right[:9])]):
        with pytest.raises(ValueError, match="Received: scores of"):
            mean_accuracy(bad)


def test_the_interval_of_a_mean_is_students_within_its_ends():
    values = np.random.default_rng(1).normal(3, 2, 30)
    half = scipy.stats.t.ppf(0.975, 29) * values.std(ddof=1) / 30**0.5
    mean, low, high = mean_interval(values, -1e3, 1e3)
    np.testing.assert_allclose((low, high), (mean - half, mean + half))
    assert mean_interval(values, 0, mean + half / 2)[2] == mean + half / 2


@pytest.mark.parametrize("n", [1, 2, 10, 400])
def test_numbers_that_are_all_alike_leave_room_for_those_that_were_not_seen(n):
    exact = scipy.stats.binomtest(n, n).proportion_ci(method="exact")
    for share in (0.0, 1.0):
        mean, low, high = mean_interval([100 * share] * n, 0, 100)
        assert mean == 100 * share
        far, near = (low, high) if share else (100 - high, 100 - low)
        np.testing.assert_allclose((far, near), (100 * exact.low, 100))
    mean, low, high = mean_interval([20.0] * n, -100, 100)
    unseen = 1 - exact.low
    np.testing.assert_allclose((low, high), (20 - 120 * unseen, 20 + 80 * unseen))


def test_an_interval_of_few_images_that_are_nearly_all_right_has_a_width():
    """And covers: Student's alone has none where all happen to be right."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        mean, low, high = mean_interval(100.0 * (rng.random(10) < 0.9), 0, 100)
        assert low < high
        held += low <= 90 <= high
    assert held > 900


@pytest.mark.parametrize("n, p_value", [(1, 1.0), (2, 0.5), (8, 2**-7)])
def test_a_difference_that_is_the_same_for_all_of_few_images_proves_little(n, p_value):
    test = paired(np.full(n, 1.0), np.full(n, 0.8))
    np.testing.assert_allclose((test.difference, test.p_value), (20, p_value))
    assert np.isfinite(test.low) and test.low < 0 < 20 < test.high <= 100
    assert paired(np.full(n, 0.4), np.full(n, 0.4)).p_value == 1
