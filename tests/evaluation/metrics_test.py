import functools

import numpy as np
import pytest
from scipy import stats

from nfm_keras.data import labels as metrics
from nfm_keras.evaluation.comparison import _newcombe_interval, mcnemar
from nfm_keras.evaluation.statistics import accuracy, wilson_interval

pytestmark = pytest.mark.backends


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("correct, n", [(0, 7), (1, 1), (3, 7), (499, 1000), (9, 9)])
def test_wilson_interval_is_scipys(correct, n, confidence):
    expected = stats.binomtest(correct, n).proportion_ci(confidence, method="wilson")
    received = wilson_interval(correct, n, confidence)
    np.testing.assert_allclose(np.array(received) / 100, expected, atol=1e-12)


@pytest.mark.parametrize("correct, n", [(-1, 5), (6, 5), (0, 0)])
def test_wilson_interval_refuses_impossible_counts(correct, n):
    with pytest.raises(ValueError, match=f"Received: correct={correct}, n={n}"):
        wilson_interval(correct, n)


def test_accuracy_is_in_percent():
    logits = np.eye(3)[[0, 1, 1, 2]]
    assert accuracy(logits, [0, 1, 2, 2]) == 75.0


def test_of_equal_logits_the_first_counts():
    assert metrics.hits(np.zeros((2, 3)), [0, 1]).tolist() == [True, False]


@pytest.mark.parametrize(
    "logits, labels, message",
    [
        (np.full((2, 3), np.nan), [0, 0], "Received: NaN or infinite logits for 2"),
        (np.zeros((2, 3, 1)), [0, 0], r"Received: shape \(2, 3, 1\)"),
        (np.zeros((2, 3)), [0, 3], "Received: labels from 0 to 3"),
        (np.zeros((2, 3)), [-1, 0], "Received: labels from -1 to 0"),
        (np.zeros((2, 3)), [[0, 1], [0, 1]], r"Received: shape \(2, 2\)"),
        (np.zeros((2, 3)), [0.0, 1.0], "Received: dtype float64"),
    ],
    ids=["nan", "rank", "high", "negative", "matrix", "float"],
)
def test_bad_logits_and_labels_are_refused(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        metrics.hits(logits, labels)


def test_labels_may_come_as_a_column():
    """keras.datasets gives those of CIFAR as (n, 1)."""
    labels = metrics.check_labels(np.array([[0], [2]]), 2, num_classes=3)
    assert labels.tolist() == [0, 2]


def paired(*counts):
    """Hits of two classifiers: both, only the first, only the second, neither right."""
    kinds = np.array([(True, True), (True, False), (False, True), (False, False)])
    return np.repeat(kinds, counts, axis=0).T


@pytest.mark.parametrize(
    "counts, low, high, digits",
    [
        ((20, 12, 2, 16), 5.62, 32.92, 2),  # Newcombe 1998, method 10
        ((8, 3, 1, 2), -15.74, 41.36, 2),  # Tang et al. 2010
        ((1, 1, 7, 12), -50.7, -2.6, 1),  # Fagerland et al. 2014
        ((7, 25, 2, 68), 13.3, 31.8, 1),  # Chang et al. 2024
    ],
    ids=str,
)
def test_interval_of_a_paired_difference_is_the_published_one(
    counts, low, high, digits
):
    comparison = mcnemar(*paired(*counts))
    assert round(comparison.low, digits) == low
    assert round(comparison.high, digits) == high


@pytest.mark.parametrize("counts", [(5, 7, 1, 3), (0, 3, 3, 0), (9, 0, 4, 0)], ids=str)
def test_mcnemar_is_the_binomial_test_of_the_discordant_images(counts):
    comparison = mcnemar(*paired(*counts))
    _, only_first, only_second, _ = counts
    expected = stats.binomtest(only_first, only_first + only_second).pvalue
    np.testing.assert_allclose(comparison.p_value, expected, rtol=1e-12)
    assert (comparison.only_first, comparison.only_second) == (only_first, only_second)
    assert comparison.n == sum(counts)
    assert comparison.difference == 100 * (only_first - only_second) / sum(counts)


def test_mcnemar_is_statsmodels_for_ten_thousand_images():
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    expected = tables.mcnemar([[7000, 310], [250, 2440]], exact=True).pvalue
    comparison = mcnemar(*paired(7000, 310, 250, 2440))
    np.testing.assert_allclose(comparison.p_value, expected, rtol=1e-9)


@pytest.mark.parametrize("counts", [(9, 0, 0, 5), (7, 0, 0, 0), (0, 0, 0, 1)], ids=str)
def test_no_image_between_two_classifiers_is_no_evidence(counts):
    comparison = mcnemar(*paired(*counts))
    assert comparison.p_value == 1 and comparison.difference == 0
    assert comparison.low < 0 < comparison.high  # Wald's would be a point


def test_the_second_against_the_first_is_the_mirror_image():
    first, second = paired(20, 12, 2, 16)
    one, other = mcnemar(first, second), mcnemar(second, first)
    np.testing.assert_allclose([one.low, one.high], [-other.high, -other.low])
    assert one.p_value == other.p_value and one.difference == -other.difference


def test_interval_of_a_paired_difference_covers_it(monkeypatch):
    """Exactly: summed over every table of 30 images, whose law is multinomial."""
    cells, n = np.array([0.6, 0.15, 0.05, 0.2]), 30
    truth = 100 * (cells[1] - cells[2])
    tables = [
        (both, first, second, n - both - first - second)
        for both in range(n + 1)
        for first in range(n + 1 - both)
        for second in range(n + 1 - both - first)
    ]
    once = functools.cache(wilson_interval)  # 31 of them, over and over
    monkeypatch.setattr("nfm_keras.evaluation.comparison.wilson_interval", once)
    law = stats.multinomial(n, cells).pmf(tables)
    assert law.sum() == pytest.approx(1)
    low, high = np.transpose([_newcombe_interval(*table) for table in tables])
    assert 0.94 < law[(low <= truth) & (truth <= high)].sum() < 0.97


@pytest.mark.parametrize(
    "first, second, message",
    [
        ([True], [True, False], "Received: 1 and 2 images"),
        ([1, 0], [True, False], "`first_hits` .* Received: shape .* dtype int64"),
        ([True], [[True]], r"`second_hits` .* Received: shape \(1, 1\)"),
        ([], [], r"Received: shape \(0,\)"),
    ],
    ids=["length", "dtype", "rank", "empty"],
)
def test_bad_hits_are_refused(first, second, message):
    with pytest.raises(ValueError, match=message):
        mcnemar(first, second)
