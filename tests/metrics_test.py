import numpy as np
import pytest
from scipy import stats

from nfm_keras import metrics

pytestmark = pytest.mark.backends


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("correct, n", [(0, 7), (1, 1), (3, 7), (499, 1000), (9, 9)])
def test_wilson_interval_is_scipys(correct, n, confidence):
    expected = stats.binomtest(correct, n).proportion_ci(confidence, method="wilson")
    received = metrics.wilson_interval(correct, n, confidence)
    np.testing.assert_allclose(np.array(received) / 100, expected, atol=1e-12)


@pytest.mark.parametrize("correct, n", [(-1, 5), (6, 5), (0, 0)])
def test_wilson_interval_refuses_impossible_counts(correct, n):
    with pytest.raises(ValueError, match=f"Received: correct={correct}, n={n}"):
        metrics.wilson_interval(correct, n)


def test_accuracy_is_in_percent():
    logits = np.eye(3)[[0, 1, 1, 2]]
    assert metrics.accuracy(logits, [0, 1, 2, 2]) == 75.0


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
