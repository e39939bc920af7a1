"""What makes a score doubtful is said, kept with it and shown."""

import warnings

import keras
import numpy as np
import pytest
from conftest import BACKEND
from keras import layers, ops

from nfm_keras import attacks, reports
from nfm_keras.attacks import PGD, Square
from nfm_keras.evaluation import adversaries, classifiers, conditions, line
from nfm_keras.evaluation.scoring import evaluate
from nfm_keras.records import load_evaluation

pytestmark = pytest.mark.backends


@pytest.fixture(scope="module")
def network():
    generator = np.random.default_rng(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Rescaling(2.0, offset=-1.0),
            layers.Flatten(),
            layers.Dense(16, activation="tanh"),
            layers.Dense(5),
        ]
    )
    first, second = generator.normal(size=(192, 16)), generator.normal(size=(16, 5))
    model.set_weights([0.15 * first, np.zeros(16), 1.5 * second, np.zeros(5)])
    return model


@pytest.fixture(scope="module")
def dataset(network):
    images = np.random.default_rng(1).integers(0, 256, (200, 8, 8, 3)).astype("uint8")
    logits = ops.convert_to_numpy(network(images.astype("float32") / 255))
    sure = np.argsort(np.diff(np.sort(logits, axis=1)[:, -2:], axis=1)[:, 0])[-40:]
    return images[sure], logits[sure].argmax(axis=1)


def outcome(scores):
    return [(s.perturbation, s.correct, s.n) for s in scores]


def cut(network):
    """No gradient on images whose first pixel is bright."""

    def classifier(points):
        blind = network(ops.stop_gradient(points))
        return ops.where(points[:, 0, 0, :1] > 0.5, blind, network(points))

    return classifier


NAMED = {"model": "a function of this test"}


def test_a_count_stays_with_the_score(network, dataset, tmp_path):
    store = tmp_path / "evaluation.json"
    with pytest.warns(attacks.AttackWarning, match="pgd@0.02: .* without a gradient"):
        found = evaluate(
            cut(network), dataset, ["clean", "pgd@0.02"], store=store, about=NAMED
        )
    count = found[1].warnings["no_gradient"]
    assert found[0].warnings == {} and 0 < count <= found[1].correct
    assert load_evaluation(store) == found
    assert f"doubtful: no_gradient {count}" in line(found[1])
    page = reports.suite.to_markdown([found])
    assert f"`pgd@0.02`: {count} of 40 images met points without a gradient" in page


def test_how_images_are_divided_changes_no_doubt(network, dataset, monkeypatch):
    """The last parts have an image each, without a gradient: that is no error."""
    images, labels = (rows[np.argsort(dataset[0][:, 0, 0, 0])] for rows in dataset)
    whole, parts = [], []
    for found, size in ((whole, 40), (parts, 1)):
        monkeypatch.setattr(conditions, "MOST_FLOATS", size * 8 * 8 * 3)
        rows = ["pgd@0.02", "fgsm@0.02"]
        with pytest.warns(attacks.AttackWarning):
            found += evaluate(cut(network), (images, labels), rows, batch_size=1)
    assert [s.warnings for s in whole] == [s.warnings for s in parts]
    assert outcome(whole) == outcome(parts) and whole[0].warnings["no_gradient"]
    with pytest.warns(attacks.AttackWarning, match="without a gradient") as told:
        adversaries.breaking_radii(cut(network), (images, labels), radii=[0.01, 1])
    assert [w.category for w in told].count(attacks.AttackWarning) == 1


def test_a_healthy_network_is_warned_of_in_no_way(network, dataset):
    rows = ["fgsm@0.02", "pgd_l2@0.2", PGD(0.02, steps=3), Square(0.02, queries=200)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", attacks.AttackWarning)
        scores = evaluate(network, dataset, rows)
    assert all(score.warnings == {} for score in scores)
    assert "Doubtful" not in reports.suite.to_markdown([scores])


def test_no_gradient_is_an_error_and_what_is_ready_stays(network, dataset, tmp_path):
    store = tmp_path / "evaluation.json"
    rows = ["clean", Square(0.02, queries=20), "pgd@0.02"]

    def rounded(images):
        return network(ops.round(images * 8) / 8)

    with pytest.raises(ValueError, match=r"pgd@0.02 needs a gradient.*0 for all of 40"):
        evaluate(rounded, dataset, rows, store=store, about=NAMED)
    assert len(load_evaluation(store)) == 2


def test_square_that_does_better_than_gradients_is_flagged(network, dataset):
    def misled(points):
        logits = network(points)
        return 2 * ops.stop_gradient(logits) - logits

    rows = [PGD(0.06, steps=3), "fgsm@0.06", Square(0.06, queries=200)]
    with pytest.warns(attacks.AttackWarning, match="square@0.06: .* broken by Square"):
        scores = evaluate(misled, dataset, rows)
    assert scores[2].warnings["square"] >= scores[0].correct - scores[2].correct > 0


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_head_changes_no_score(activation, network, dataset):
    rows = ["clean", "white_noise@0.1", "pgd@0.02"]
    expected = evaluate(network, dataset, rows, std=(1, 1, 1))
    head = layers.Activation(activation)
    headed = keras.Sequential([network, head])
    function = evaluate(
        lambda x: head(network(x)), dataset, rows, std=(1, 1, 1), from_logits=False
    )
    itself = evaluate(headed, dataset, rows, std=(1, 1, 1))
    assert outcome(itself) == outcome(function)
    for one, other in zip(itself, expected, strict=True):
        assert abs(one.correct - other.correct) <= (one.perturbation[:3] == "pgd")
    if activation == "softmax":
        nll = [scores[0].calibration["nll"] for scores in (itself, expected)]
        np.testing.assert_allclose(*nll, rtol=1e-4)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="SavedModels are TensorFlow's")
def test_a_saved_model_with_a_softmax_scores_as_its_keras_model(
    network, dataset, tmp_path
):
    headed = keras.Sequential([network, layers.Softmax()])
    headed.export(tmp_path / "1", verbose=False)
    served = classifiers.load(tmp_path / "1").classifier
    with pytest.raises(ValueError, match="say from_logits=False"):
        evaluate(served, dataset, ["pgd@0.02"])
    found = evaluate(served, dataset, ["pgd@0.02"], from_logits=False)
    assert outcome(found) == outcome(evaluate(headed, dataset, ["pgd@0.02"]))


def test_multiples_of_a_softmax_are_refused(network, dataset):
    with pytest.raises(ValueError, match="probabilities that sum to 100"):
        evaluate(lambda x: 100 * ops.softmax(network(x)), dataset, ["clean"])


def test_memory_order_and_a_column_of_labels_change_nothing(network, dataset):
    images, labels = dataset
    rows = ["white_noise@0.1", "salt_and_pepper@0.1", "pgd@0.02", "impulse_noise@3"]
    expected = evaluate(network, dataset, rows, std=(1, 1, 1))
    turned = np.ascontiguousarray(images.transpose(0, 3, 2, 1)).transpose(0, 3, 2, 1)
    for other in (turned, np.asfortranarray(images)):
        assert not other.flags.c_contiguous
        found = evaluate(network, (other, labels[:, None]), rows, std=(1, 1, 1))
        assert outcome(found) == outcome(expected)
        assert found.images == expected.images


@pytest.mark.parametrize("row", ["salt_and_pepper@0.1", "square@0.1"])
def test_channels_in_front_are_refused(row, network, dataset):
    first = dataset[0].transpose(0, 3, 1, 2), dataset[1]
    with pytest.raises(ValueError, match=r"channels first, \(\d+, 3, 8, 8\)"):
        evaluate(
            lambda x: network(ops.transpose(x, (0, 2, 3, 1))),
            first,
            [row],
            protocol="pixel",
        )
