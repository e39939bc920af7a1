import numpy as np
import pytest
import scipy.stats
from conftest import scored

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
    # Scores that hit half of the images each leave no doubt about the mean.
    opposite = [scored("fog@1", right), scored("fog@2", ~right)]
    np.testing.assert_allclose(mean_accuracy(opposite), (50, 50, 50))
    for bad in ([], [scored("fog@1", right), scored("fog@2", right[:9])]):
        with pytest.raises(ValueError, match="Received: scores of"):
            mean_accuracy(bad)


def test_the_interval_of_a_mean_is_students_and_one_number_leaves_it_open():
    values = np.random.default_rng(1).normal(3, 2, 30)
    half = scipy.stats.t.ppf(0.975, 29) * values.std(ddof=1) / 30**0.5
    mean, low, high = mean_interval(values)
    np.testing.assert_allclose((low, high), (mean - half, mean + half))
    assert mean_interval([2.0]) == (2.0, -np.inf, np.inf)
    assert mean_interval([2.0, 2.0]) == (2.0, 2.0, 2.0)
