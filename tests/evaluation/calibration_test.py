import json
import math

import keras
import numpy as np
import pytest

import nfm_keras as nfm
from nfm_keras.evaluation import calibration


def logits_of(confidences):
    """Two-class logits that predict class 1 with these probabilities."""
    confidences = np.asarray(confidences, "float64")
    return np.log(np.stack([1 - confidences, confidences], axis=1))


def random_logits(n, classes=4, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, n)
    return 2 * generator.standard_normal((n, classes)), labels


def test_nll_and_brier_by_hand():
    logits = np.log([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    expected = -(math.log(0.3) + math.log(0.8)) / 2
    assert calibration.nll(logits, [1, 2]) == pytest.approx(expected, rel=1e-14)
    expected = (0.5**2 + 0.7**2 + 0.2**2 + 0.1**2 + 0.1**2 + 0.2**2) / 2
    assert calibration.brier(logits, [1, 2]) == pytest.approx(expected, rel=1e-14)


def test_extreme_logits_overflow_nowhere():
    logits = np.array([[1e4, 0.0], [1e4, 0.0], [-1e4, -1e4]], "float32")
    expected = (0 + 1e4 + math.log(2)) / 3
    assert calibration.nll(logits, [0, 1, 1]) == pytest.approx(expected)
    assert calibration.brier(logits, [0, 1, 1]) == pytest.approx((0 + 2 + 0.5) / 3)


@pytest.mark.parametrize("shift", [-1e5, 0.0, 1e5])
def test_a_shift_of_the_logits_changes_nothing(shift):
    logits, labels = random_logits(300)
    shifted = calibration.summary(logits + shift, labels)
    assert shifted == pytest.approx(calibration.summary(logits, labels), rel=1e-6)


def test_confidence_08_and_accuracy_06_are_02_apart():
    logits, labels = logits_of(np.full(200, 0.8)), np.repeat([1, 0], [120, 80])
    assert calibration.expected_calibration_error(logits, labels) == pytest.approx(0.2)
    # All are as sure: which of them are in which bin of 100 makes no difference.
    received = calibration.rms_calibration_error(logits, labels)
    assert received == pytest.approx(0.2, rel=1e-12)


def test_a_calibrated_classifier_has_no_error():
    """In each bin exactly as many are right as the confidence says."""
    confidences, hits = [], []
    for right in (6, 7, 8, 9, 10):
        confidences += [right / 10] * 10
        hits += [1] * right + [0] * (10 - right)
    with np.errstate(divide="ignore"):
        logits = np.maximum(logits_of(confidences), -1e6)
    assert calibration.expected_calibration_error(logits, hits) < 1e-15
    assert calibration.rms_calibration_error(logits, hits, bin_size=10) < 1e-15


@pytest.mark.parametrize("classes, bin_of_15", [(15, 0), (5, 2), (3, 4)])
def test_confidence_on_an_edge_belongs_to_the_lower_bin(classes, bin_of_15):
    """Equal logits make the confidence 1 / classes: 1/15, 3/15 and 5/15."""
    diagram = calibration.reliability(np.zeros((4, classes)), np.zeros(4, int))
    assert diagram.counts.tolist() == [4 * (i == bin_of_15) for i in range(15)]
    assert diagram.edges[bin_of_15 + 1] == diagram.confidence[bin_of_15] == 1 / classes


def test_certain_and_wrong_is_an_error_of_one():
    logits = np.array([[0.0, 1000.0]] * 3)
    assert calibration.reliability(logits, [0, 0, 0]).counts[-1] == 3
    assert calibration.summary(logits, [0, 0, 0])["ece"] == 1.0


@pytest.mark.parametrize("bins", [1, 2, 10, 15, 100])
def test_bins_are_those_of_a_plain_loop(bins):
    logits, labels = random_logits(500, classes=3)
    logits[:50] = 0  # a third, on an edge of some of these
    powers = np.exp(logits)
    confidences = powers.max(axis=1) / powers.sum(axis=1)
    hits = logits.argmax(axis=1) == labels
    diagram, error = calibration.reliability(logits, labels, bins), 0.0
    for i in range(bins):
        inside = (confidences > i / bins) & (confidences <= (i + 1) / bins)
        assert diagram.counts[i] == inside.sum()
        mean = confidences[inside].mean() if inside.any() else 0.0
        share = hits[inside].mean() if inside.any() else 0.0
        np.testing.assert_allclose(diagram.confidence[i], mean, rtol=1e-12)
        np.testing.assert_allclose(diagram.accuracy[i], share, rtol=1e-12)
        error += inside.mean() * abs(share - mean)
    received = calibration.expected_calibration_error(logits, labels, bins)
    np.testing.assert_allclose(received, error, rtol=1e-12)


@pytest.mark.parametrize("n", [1, 99, 100, 199, 200, 450])
@pytest.mark.parametrize("compat", [False, True])
def test_rms_error_is_that_of_a_plain_loop(n, compat):
    logits, labels = random_logits(n, seed=n)
    if compat and n < 100:
        with pytest.raises(ValueError, match=f"one full bin .* Received: {n} images"):
            calibration.rms_calibration_error(logits, labels, hendrycks_compat=True)
        return
    powers = np.exp(logits)
    confidences = powers.max(axis=1) / powers.sum(axis=1)
    rows = sorted(zip(confidences, logits.argmax(1) == labels, strict=True))
    bins = max(n // 100, 1)
    total = 0.0
    for i in range(bins - 1 if compat else bins):
        members = rows[100 * i :] if i == bins - 1 else rows[100 * i : 100 * (i + 1)]
        confidence = sum(row[0] for row in members) / len(members)
        share = sum(row[1] for row in members) / len(members)
        total += len(members) / n * (share - confidence) ** 2
    received = calibration.rms_calibration_error(
        logits, labels, hendrycks_compat=compat
    )
    np.testing.assert_allclose(received, math.sqrt(total), rtol=1e-12)


def test_order_of_the_images_changes_nothing():
    logits, labels = random_logits(350)
    order = np.random.default_rng(1).permutation(350)
    expected = calibration.summary(logits, labels)
    assert calibration.summary(logits[order], labels[order]) == pytest.approx(expected)


def test_summary_is_json_and_accuracy_in_percent():
    logits = logits_of([0.9, 0.8, 0.7, 0.6])
    figures = json.loads(json.dumps(calibration.summary(logits, [1, 1, 1, 0])))
    assert list(figures) == ["nll", "brier", "ece", "rms", "confidence", "accuracy"]
    assert figures["accuracy"] == 75.0
    assert figures["confidence"] == pytest.approx(0.75)


@pytest.mark.parametrize(
    "logits, labels, message",
    [
        (np.zeros((0, 3)), np.zeros(0, int), "at least one image"),
        (np.full((2, 3), np.nan), [0, 0], "Received: NaN or infinite logits for 2"),
        (np.zeros((2, 3)), [0, 3], "Received: labels from 0 to 3"),
        (np.zeros(2), [0, 1], r"Received: shape \(2,\)"),
        (np.zeros((2, 3)), [0.5, 1.0], "Received: dtype float64"),
    ],
    ids=["empty", "nan", "label", "rank", "float"],
)
@pytest.mark.parametrize("name", ["nll", "brier", "reliability", "summary"])
def test_bad_logits_and_labels_are_refused(name, logits, labels, message):
    with pytest.raises(ValueError, match=message):
        getattr(calibration, name)(logits, labels)


@pytest.mark.parametrize("setting", ["bins", "bin_size"])
@pytest.mark.parametrize("value", [0, -1, 2.0])
def test_bad_bins_are_refused(setting, value):
    function = {
        "bins": calibration.expected_calibration_error,
        "bin_size": calibration.rms_calibration_error,
    }[setting]
    with pytest.raises(ValueError, match=f"`{setting}` must be .* Received: {value}"):
        function(np.zeros((2, 2)), [0, 1], value)


def test_images_of_one_confidence_are_in_one_bin_or_another_by_chance():
    n = 1000
    logits, labels = np.tile([80.0, 0.0], (n, 1)), (np.arange(n) >= 900).astype(int)
    assert calibration.rms_calibration_error(logits, labels) == pytest.approx(0.1)
    order = np.random.default_rng(0).permutation(n)
    assert calibration.rms_calibration_error(logits, labels[order]) == pytest.approx(
        0.1
    )


def test_sigmoids_are_as_sure_as_they_say():
    outputs = np.array([0.7, 0.3], "float32")

    def build(activation):
        head = keras.layers.Dense(2, activation=activation, kernel_initializer="zeros")
        model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), head])
        head.bias.assign(np.log(outputs / (1 - outputs)))
        return model

    images, labels = np.zeros((10, 4, 4, 1), "uint8"), [0] * 7 + [1] * 3
    (score,) = nfm.evaluate(build("sigmoid"), (images, labels), ["clean"])
    assert score.calibration["confidence"] == pytest.approx(0.7, abs=1e-4)
    assert score.calibration["ece"] == pytest.approx(0, abs=1e-4)
    (score,) = nfm.evaluate(build(None), (images, labels), ["clean"])
    assert score.calibration["confidence"] == pytest.approx(49 / 58, abs=1e-4)
