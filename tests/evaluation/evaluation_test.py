import dataclasses
import types

import keras
import numpy as np
import pytest
from conftest import BACKEND
from keras import layers, ops
from small_classifier import STD, images_of_five_classes

from nfm_keras import corruptions
from nfm_keras.attacks import PGD, Square
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.corruptions import official as files
from nfm_keras.evaluation import (
    conditions,
    extras,
    masking,
    plan,
    scoring,
    smoothing,
)
from nfm_keras.evaluation.noise import WHITE_NOISE_SEVERITIES, parse
from nfm_keras.evaluation.scoring import evaluate
from nfm_keras.evaluation.store import StoreWarning
from nfm_keras.records import load_evaluation, merge
from nfm_keras.records.ids import PROTOCOLS

pytestmark = pytest.mark.backends

ROWS = ["clean", "white_noise@0.3", "salt_and_pepper@0.2", "fgsm@8/255", "pgd_l2@0.2"]
MORE = [*ROWS, "fog@3", "shot_noise@5", Square(0.1, queries=100)]


@pytest.fixture(scope="module")
def network():
    """Compiled once for all tests; calling it does not compile."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Dropout(0.9),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )
    return PlainClassifier(model)


@pytest.fixture(scope="module")
def dataset(network):
    return images_of_five_classes(network)


def outcome(scores):
    return [(s.perturbation, s.protocol, s.correct, s.n) for s in scores]


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_batch_size_and_order_of_rows_change_nothing(network, dataset, protocol):
    for batch_size, limit in ((1, 5), (7, 31)):
        scores, expected = (
            evaluate(network, dataset, rows, protocol=protocol, limit=limit, **sizes)
            for rows, sizes in ((MORE, {"batch_size": batch_size}), (MORE[::-1], {}))
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
    noise = parse("white_noise@0.3")
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
        suite=plan.Suite(
            ["clean", "pgd@8/255", PGD(0.1, steps=2), "fog@1"],
            attack_limit=10,
            corruption_limit=5,
            attack_settings={"steps": 3, "step_size": None, "restarts": 2},
        ),
        limit=20,
        progress=lambda score, left: seen.append((score, left)),
    )
    assert [score for score, _ in seen] == list(scores)
    assert seen[0][1] > 0 and seen[-1][1] == 0
    assert [s.n for s in scores] == [20, 10, 10, 5]
    assert scores[1].settings["steps"] == 3 and scores[1].settings["restarts"] == 2
    assert scores[2].settings["steps"] == 2


def test_a_bare_noise_is_its_curve_and_begins_at_clean(network, dataset):
    scores = evaluate(network, dataset, ["white_noise", "clean"])
    severities = [score.severity for score in scores[:-1]]
    assert severities == list(WHITE_NOISE_SEVERITIES)
    assert scores[0].correct == scores[-1].correct


def test_merge_replaces_a_row_only_where_all_settings_agree(network, dataset):
    rows = ["clean", "white_noise@0.1", PGD(0.1)]
    old = evaluate(network, dataset, rows)
    again = evaluate(network, dataset, rows)
    assert merge(old, again) == again.scores
    pixel = evaluate(network, dataset, rows[1:2], protocol="pixel")
    longer = evaluate(network, dataset, [PGD(0.1, steps=9)])
    assert len(merge(old, [*pixel, *longer])) == 5


def test_an_attack_in_parts_scores_the_same(network, dataset, monkeypatch):
    expected = outcome(evaluate(network, dataset, ["pgd@8/255"], batch_size=16))
    monkeypatch.setattr(conditions, "MOST_FLOATS", 20 * 8 * 8 * 3)
    scores = evaluate(network, dataset, ["pgd@8/255"], batch_size=16)
    assert outcome(scores) == expected


def bad(**changes):
    return lambda dataset: types.SimpleNamespace(**vars(dataset) | changes)


SMALL = np.zeros((2, 8, 8, 3), "uint8")


@pytest.mark.parametrize(
    "change, rows, message",
    [
        (bad(), ["white_nose@0.1"], "Did you mean 'white_noise'"),
        (bad(), [], r"Received: \[\]"),
        (bad(), "clean", "must be a list.*Received: 'clean'"),
        (bad(), [3], "Received: 3"),
        (bad(), ["white_noise@-1"], "Received: -1.0"),
        (bad(), ["pgd@nan"], "Received: nan"),
        (bad(), ["fogg@3"], "Did you mean 'fog'"),
        (bad(), ["fog@6"], "1 to 5.*Received: 'fog@6'"),
        (bad(), ["fog@2.5"], "1 to 5.*Received: 'fog@2.5'"),
        (bad(), ["common_corruptions@0"], "1 to 5.*Received: 'common_corruptions@0'"),
        (bad(images=SMALL[:0], labels=[]), ["clean"], r"shape \(0, 8, 8, 3\)"),
        (bad(images=SMALL * 300.0 + 2), ["clean"], "Received: values from 2"),
        (bad(images=np.zeros((31, 9, 8, 3))), ["clean"], r"Received: \(9, 8, 3\)"),
        (bad(labels=np.arange(30)), ["clean"], r"Received: shape \(30,\)"),
        (bad(labels=np.full(31, 5)), ["clean"], "between 0 and 4. Received: labels"),
        (bad(labels=np.full(31, -1)), ["clean"], "Received: labels from -1"),
        (lambda dataset: 7, ["clean"], "Received: int"),
    ],
)
def test_bad_input_is_refused(network, dataset, change, rows, message):
    with pytest.raises(ValueError, match=message):
        evaluate(network, change(dataset), rows)


def test_nan_logits_and_missing_classes_are_refused(network, dataset):
    with pytest.raises(ValueError, match="Received: NaN or infinite logits"):
        evaluate(
            lambda images: ops.sum(images, axis=(1, 2)) * float("nan"),
            dataset,
            ["clean"],
        )
    with pytest.raises(ValueError, match="must give logits.*Received: probabilities"):
        evaluate(lambda x: ops.softmax(network(x)), dataset, ["clean"])
    with pytest.raises(ValueError, match="of the 5 classes.*Received: 3 outputs"):
        evaluate(lambda images: ops.sum(images, axis=(1, 2)), dataset, ["clean"])


def unmeasured(*arguments, **options):
    raise AssertionError("measured again")


def test_corruptions_from_the_generator_the_cache_and_official_files_agree(
    network, dataset, tmp_path
):
    rows = ["contrast", "impulse_noise@5"]
    expected = evaluate(network, dataset, rows, seed=3)
    direct = corruptions.Corruption("impulse_noise", 5)(dataset.images, seed=3)
    logits = ops.convert_to_numpy(network(direct.astype("float32") / 255))
    assert expected[-1].correct == (logits.argmax(1) == dataset.labels).sum()
    assert [s.severity for s in expected] == [1, 2, 3, 4, 5, 5]
    assert expected[0].protocol == "none"
    for _ in range(2):
        cached = evaluate(
            network,
            dataset,
            seed=3,
            suite=plan.Suite(rows, cache_dir=tmp_path / "cache"),
        )
        assert outcome(cached) == outcome(expected)
    folder = tmp_path / "official"
    files.write_official(
        folder, dataset.images, dataset.labels, kinds=["contrast"], seed=9
    )
    suite = plan.Suite(rows, official=folder)
    official = evaluate(network, dataset, suite=suite, seed=3)
    assert outcome(official) == outcome(expected)  # contrast draws nothing
    assert official[0].settings["source"] == "official"
    assert official[-1].settings["source"] == "generated"
    # Official files keep an order of their own: their labels are the ones that count.
    turned = bad(images=dataset.images[::-1], labels=dataset.labels[::-1])(dataset)
    some = plan.Suite(rows[:1], official=folder)
    again = evaluate(network, turned, suite=some)
    assert outcome(again) == outcome(official)[:5]
    assert official[0].in_order and not again[0].in_order
    few = evaluate(network, dataset, suite=some, limit=7)
    whole = official.score("contrast@5").right[:7]
    assert np.array_equal(few.score("contrast@5").right, whole)
    with pytest.raises(ValueError, match="contrast@1 must be of the data set"):
        evaluate(network, bad(labels=np.zeros(31, int))(dataset), suite=suite)
    with pytest.raises(ValueError, match=r"contrast@1 must have the shape \(9, 8, 3"):
        other = bad(images=np.zeros((31, 9, 8, 3), "uint8"))(dataset)
        evaluate(lambda images: images[:, 0, :5, 0], other, suite=suite)


TINY = plan.Suite(
    ("clean", "white_noise@0.3", "fog@2", "pgd@8/255"),
    name="tiny",
    limit=20,
    attack_limit=10,
    attack_settings={"steps": 2},
    sigmas=(0.1, 0.2),
    certify_limit=4,
    certify_samples=50,
    masking_limit=6,
)


def test_a_suite_adds_calibration_certificates_and_a_masking_report(
    network, dataset, tmp_path, monkeypatch
):
    monkeypatch.setitem(plan.SUITES, "tiny", TINY)
    store = tmp_path / "evaluation.json"
    found = evaluate(network, dataset, suite="tiny", store=store)
    assert [s.n for s in found] == [20, 20, 20, 10] and found.suite == "tiny"
    assert set(found.scores[0].calibration) > {"nll", "brier", "ece", "rms"}
    assert not found.scores[3].calibration
    assert sum(found.reliability["counts"]) == 20
    assert [c["sigma"] for c in found.certifications] == [0.1, 0.2]
    expected = smoothing.certify(
        network, dataset.images[:4], dataset.labels[:4], sigma=0.1, n=50
    )
    assert found.certifications[0]["radii"] == expected.radii.tolist()
    assert len(found.checks) >= 8 and 0 < found.model_seconds < found.seconds
    assert {tuple(check["radii"]) for check in found.checks} == {(8 / 255,)}
    for owner, name in ((scoring, "measured"), (smoothing, "certify")):
        monkeypatch.setattr(owner, name, unmeasured)
    again = evaluate(network, dataset, suite="tiny", store=store)
    assert again == load_evaluation(store) and again.scores == found.scores
    assert again.certifications == found.certifications
    more = dataclasses.replace(TINY, certify_limit=5)
    with (
        pytest.warns(StoreWarning, match=r"radii at 0.1, .* \(images was 4, is 5\)"),
        pytest.raises(AssertionError, match="measured again"),
    ):
        evaluate(network, dataset, suite=more, store=store)
    with pytest.raises(ValueError, match="Unknown suite.*Received: 'tinny'"):
        evaluate(network, dataset, suite="tinny")
    with pytest.raises(ValueError, match="either `perturbations` or `suite`"):
        evaluate(network, dataset, ["clean"], suite="tiny")


def test_the_masking_report_looks_at_the_radii_that_are_attacked():
    def attacked(*names):
        return extras.attacked(plan.conditions(plan.Suite(names)))

    mixed = "clean", "fog@2", "pgd@2/255", "fgsm@8/255", "square@2/255", "pgd_l2@0.5"
    assert attacked(*mixed) == [2 / 255, 8 / 255]
    assert attacked("clean", "pgd_l2@0.5", "pgd@0.5", "white_noise@0.1") == [8 / 255]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="draws from TensorFlow's state")
def test_a_classifier_that_stays_random_is_refused_or_attacked_on_average(dataset):
    import tensorflow as tf

    def classifier(images):
        logits = tf.reduce_mean(images, (1, 2)) * 40
        return logits + tf.random.normal(tf.shape(logits), stddev=0.1)

    labels = dataset.images.mean((1, 2)).argmax(1)
    random = dataset.images, labels
    with pytest.raises(ValueError, match="must not change between two passes"):
        evaluate(classifier, random, ["clean"])
    with pytest.raises(ValueError, match="by `autoattack`.*Received: 'pgd@0.1'"):
        evaluate(classifier, random, ["pgd@0.1"], allow_stochastic=True)
    rows = ["clean", "autoattack@0.3"]
    clean, attacked = evaluate(
        classifier, random, rows, allow_stochastic=True, attack_limit=4
    )
    assert clean.value > 80 and attacked.value == 0
    assert attacked.settings["version"] == "rand"
    scores = evaluate(
        classifier, random, suite="quick", allow_stochastic=True, limit=20
    )
    assert "pgd@1/255" not in {s.perturbation for s in scores} and len(scores) == 80


@pytest.mark.skipif(BACKEND != "tensorflow", reason="batch statistics of a function")
def test_a_classifier_that_looks_at_its_batch_is_refused(dataset):
    def classifier(images):
        mean = ops.mean(images, axis=(1, 2))
        return ops.concatenate([mean - ops.mean(mean), mean[:, :2]], axis=1)

    def small(images):  # attacks end on few images, which would be said to stand
        logits = ops.concatenate([ops.mean(images, axis=(1, 2))] * 2, axis=1)
        return logits * ops.cast(ops.shape(images)[0] > 4, "float32")

    for one in (classifier, small):
        with pytest.raises(ValueError, match="whatever else is in the batch"):
            evaluate(one, (dataset.images, dataset.labels), ["clean"])


def test_a_classifier_without_a_gradient_is_named_and_its_attack_refused(
    dataset, monkeypatch, tmp_path
):
    def classifier(images):
        return ops.round(ops.mean(images, axis=(1, 2)) * 20) @ ops.ones((3, 5))

    monkeypatch.setitem(plan.SUITES, "tiny", TINY)
    store, zeros = tmp_path / "evaluation.json", bad(labels=np.zeros(31, int))(dataset)
    with pytest.raises(ValueError, match="pgd@8/255 needs a gradient.*0 for all of 10"):
        about = {"model": "rounded"}
        evaluate(classifier, zeros, suite="tiny", store=store, about=about)
    found = load_evaluation(store)
    assert [s.value for s in found] == [100.0] * 3  # all logits equal: the first class
    assert "gradient" in masking.verdict(
        [types.SimpleNamespace(**check) for check in found.checks]
    )


def test_zero_images_are_refused_and_not_taken_for_all(network, dataset):
    for name in ("limit", "attack_limit"):
        with pytest.raises(ValueError, match=f"`{name}` must be a positive.*: 0"):
            evaluate(network, dataset, suite="quick", **{name: 0})
    with pytest.raises(ValueError, match="`corruption_limit` must be a positive.*: 0"):
        plan.Suite(["clean"], corruption_limit=0)


def test_scores_are_frozen(network, dataset):
    (score,) = evaluate(network, dataset, ["clean"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        score.value = 100.0
