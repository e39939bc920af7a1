import dataclasses
import types

import keras
import numpy as np
import pytest
from keras import layers, ops

from nfm_keras import evaluation, gradients, perturbations
from nfm_keras.attacks import PGD
from nfm_keras.evaluation import evaluate

pytestmark = pytest.mark.backends

STD = (0.247, 0.2435, 0.2616)
ROWS = ["clean", "white_noise@0.3", "salt_and_pepper@0.2", "fgsm@8/255", "pgd_l2@0.2"]


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    """Compiled once for all tests; calling it does not compile."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Dropout(0.9),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )
    return gradients.PlainClassifier(model)


@pytest.fixture(scope="module")
def dataset(network):
    images = np.random.default_rng(0).integers(0, 256, (31, 8, 8, 3)).astype("uint8")
    logits = ops.convert_to_numpy(network(images.astype("float32") / 255))
    labels = np.where(np.arange(31) % 6, logits.argmax(1), logits.argmin(1))
    spec = types.SimpleNamespace(std=STD, num_classes=5)
    return types.SimpleNamespace(images=images, labels=labels, spec=spec)


def outcome(scores):
    return [(s.perturbation, s.protocol, s.correct, s.n) for s in scores]


@pytest.mark.parametrize("protocol", perturbations.PROTOCOLS)
def test_batch_size_and_order_of_rows_change_nothing(network, dataset, protocol):
    for batch_size, limit in ((1, 5), (7, 31)):
        scores, expected = (
            evaluate(network, dataset, rows, protocol=protocol, limit=limit, **sizes)
            for rows, sizes in ((ROWS, {"batch_size": batch_size}), (ROWS[::-1], {}))
        )
        assert outcome(scores) == outcome(expected)[::-1]


def test_scores_say_what_was_measured(network, dataset):
    clean, noise, _, _, pgd = evaluate(network, dataset, ROWS, protocol="pixel")
    assert clean.correct == 25 and clean.n == 31 and clean.value == 100 * 25 / 31
    assert clean.low < clean.value < clean.high
    assert (clean.protocol, noise.protocol, pgd.protocol) == ("none", "pixel", "none")
    assert noise.severity == 0.3 and pgd.severity == 0.2
    assert clean.settings == {} and pgd.settings == PGD(0.2, "l2").settings
    assert pgd.correct < clean.correct


def test_noise_rows_score_the_noisy_images(network, dataset):
    noise = perturbations.parse("white_noise@0.3")
    images = noise(dataset.images, protocol="reference", std=STD, seed=4)
    logits = ops.convert_to_numpy(network(images))
    (score,) = evaluate(network, dataset, [noise], seed=4, batch_size=16)
    assert score.correct == (logits.argmax(1) == dataset.labels).sum()


def test_a_tuple_of_floats_is_a_dataset_and_a_function_a_classifier(network, dataset):
    pair = dataset.images.astype("float32") / 255, dataset.labels
    scores = evaluate(lambda images: network(images), pair, ROWS, std=STD)
    assert outcome(scores) == outcome(evaluate(network, dataset, ROWS))


def test_limits_settings_and_progress(network, dataset):
    seen = []
    scores = evaluate(
        network,
        dataset,
        ["clean", "pgd@8/255", PGD(0.1, steps=2)],
        limit=20,
        attack_limit=10,
        attack_settings={"steps": 3, "step_size": None, "restarts": 2},
        progress=seen.append,
    )
    assert seen == scores and [s.n for s in scores] == [20, 10, 10]
    assert scores[1].settings["steps"] == 3 and scores[1].settings["restarts"] == 2
    assert scores[2].settings["steps"] == 2


def test_a_bare_noise_is_its_curve_and_begins_at_clean(network, dataset):
    scores = evaluate(network, dataset, ["white_noise", "clean"])
    severities = [score.severity for score in scores[:-1]]
    assert severities == list(perturbations.WHITE_NOISE_SEVERITIES)
    assert scores[0].correct == scores[-1].correct


def test_merge_replaces_a_row_only_where_all_settings_agree(network, dataset):
    rows = ["clean", "white_noise@0.1", PGD(0.1)]
    old = evaluate(network, dataset, rows)
    again = evaluate(network, dataset, rows)
    assert evaluation.merge(old, again) == tuple(again)
    pixel = evaluate(network, dataset, rows[1:2], protocol="pixel")
    longer = evaluate(network, dataset, [PGD(0.1, steps=9)])
    assert len(evaluation.merge(old, pixel + longer)) == 5


def test_an_attack_in_parts_scores_the_same(network, dataset, monkeypatch):
    expected = outcome(evaluate(network, dataset, ["pgd@8/255"], batch_size=16))
    monkeypatch.setattr(evaluation, "_ATTACK_FLOATS", 20 * 8 * 8 * 3)
    scores = evaluate(network, dataset, ["pgd@8/255"], batch_size=16)
    assert outcome(scores) == expected


def bad(**changes):
    return lambda dataset: types.SimpleNamespace(**vars(dataset) | changes)


SMALL = np.zeros((2, 8, 8, 3), "uint8")


@pytest.mark.parametrize(
    "change, rows, message",
    [
        (bad(), ["white_nose@0.1"], "Did you mean white_noise"),
        (bad(), [], r"Received: \[\]"),
        (bad(), "clean", "must be a list.*Received: 'clean'"),
        (bad(), [3], "Received: 3"),
        (bad(), ["white_noise@-1"], "Received: -1.0"),
        (bad(), ["pgd@nan"], "Received: nan"),
        (bad(images=SMALL[:0], labels=[]), ["clean"], r"shape \(0, 8, 8, 3\)"),
        (bad(images=SMALL * 300.0 + 2), ["clean"], "Received: values from 2"),
        (bad(images=np.zeros((31, 9, 8, 3))), ["clean"], r"Received: \(9, 8, 3\)"),
        (bad(labels=np.arange(30)), ["clean"], r"Received: shape \(30,\)"),
        (bad(labels=np.full(31, 5)), ["clean"], "between 0 and 4. Received: labels"),
        (bad(labels=np.full(31, -1)), ["clean"], "Received: labels from -1"),
        (bad(spec=None), ["white_noise@0.1"], "Received: std=None"),
        (lambda dataset: 7, ["clean"], "Received: int"),
    ],
)
def test_bad_input_is_refused(network, dataset, change, rows, message):
    with pytest.raises(ValueError, match=message):
        evaluate(network, change(dataset), rows)


def test_nan_logits_and_missing_classes_are_refused(dataset):
    with pytest.raises(ValueError, match="Received: NaN or infinite logits"):
        evaluate(
            lambda images: ops.sum(images, axis=(1, 2)) * float("nan"),
            dataset,
            ["clean"],
        )
    with pytest.raises(ValueError, match="between 0 and 2. Received: labels from 0"):
        evaluate(lambda images: ops.sum(images, axis=(1, 2)), dataset, ["clean"])


def test_scores_are_frozen(network, dataset):
    (score,) = evaluate(network, dataset, ["clean"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        score.value = 100.0
