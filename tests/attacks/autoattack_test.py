"""What holds for every attack of AutoAttack, and the cascade itself."""

import dataclasses
import functools
import math

import keras
import numpy as np
import pytest
from keras import layers, ops

from nfm_keras import attacks
from nfm_keras.attacks import APGD, FAB, AutoAttack, Square, apgd
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.records.ids import ATTACKS

pytestmark = pytest.mark.backends

NORMS = pytest.mark.parametrize("norm", attacks.NORMS)
EPSILON = {"linf": 0.03, "l2": 0.3}
SINGLE = {
    "apgd_ce": lambda epsilon, norm: APGD(epsilon, norm, steps=12),
    "apgd_dlr": lambda epsilon, norm: APGD(epsilon, norm, "dlr", steps=12, restarts=2),
    "apgd_t": lambda epsilon, norm: APGD(epsilon, norm, "targeted_dlr", steps=8),
    "fab_t": lambda epsilon, norm: FAB(epsilon, norm, steps=5, restarts=2),
    "square": lambda epsilon, norm: Square(epsilon, norm, queries=40, restarts=2),
}
EACH = pytest.mark.parametrize("make", SINGLE.values(), ids=SINGLE)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3, activation="tanh"),
            layers.Conv2D(8, 3, strides=2, activation="tanh"),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )


@pytest.fixture(scope="module")
def classifier(network):
    """Compiled once for all tests."""
    return PlainClassifier(network)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((36, 8, 8, 3), "float32")


@pytest.fixture(scope="module")
def labels(network, images):
    """Labels that the untrained network gets right, but for every sixth."""
    logits = ops.convert_to_numpy(network(images, training=False))
    return np.where(np.arange(36) % 6, logits.argmax(1), logits.argmin(1))


@functools.cache
def linear(classes, shape=(4, 3, 1), seed=0):
    """A linear classifier, compiled once for all tests, and images."""
    random = np.random.default_rng(seed)
    size = math.prod(shape)
    weights = random.normal(size=(size, classes)).astype("float32")
    bias = (-0.5 * weights.sum(axis=0)).astype("float32")

    def classifier(points):
        flat = ops.reshape(points, (-1, size))
        return ops.matmul(flat, ops.convert_to_tensor(weights)) + ops.convert_to_tensor(
            bias
        )

    images = random.uniform(0.3, 0.7, (12, *shape)).astype("float32")
    return PlainClassifier(classifier), images, weights, bias


def nearest_boundary(images, weights, bias, norm):
    """Label of each image and its distance: the least over all other classes."""
    logits = images.reshape(len(images), -1) @ weights + bias
    labels, distances = logits.argmax(1), np.empty(len(images))
    for row, label in enumerate(labels):
        others = np.arange(weights.shape[1]) != label
        normal = weights[:, others] - weights[:, [label]]
        dual = np.linalg.norm(normal, 1 if norm == "linf" else 2, axis=0)
        distances[row] = ((logits[row, label] - logits[row, others]) / dual).min()
    return labels, distances


@NORMS
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_attacks_reach_the_closed_form_distance_of_a_linear_classifier(norm, classes):
    """|m| / ||w||_1 in l-inf and |m| / ||w||_2 in l2, least over the other classes."""
    classifier, images, weights, bias = linear(classes)
    labels, distances = nearest_boundary(images, weights, bias, norm)
    kinds = [("ce", APGD), ("dlr", APGD), ("targeted_dlr", APGD), (None, FAB)]
    inner = np.flatnonzero((distances > 0.01) & (distances < 0.2))[0]
    one = [inner]
    for factor in (0.99, 1.01):
        epsilon = factor * float(distances[inner])
        for loss, kind in kinds:
            extra = {"loss": loss} if loss else {}
            attack = kind(epsilon, norm, steps=15, **extra)
            result = attack(classifier, images[one], labels[one], batch_size=1)
            # APGD on a loss of all classes may climb towards another class than the
            # nearest one; the targeted attacks try them all.
            exact = classes == 2 or loss in ("targeted_dlr", None)
            if exact or factor < 1:
                assert result.success[0] == (factor > 1), attack


@NORMS
def test_fab_finds_the_distance_of_a_linear_classifier(norm):
    classifier, images, weights, bias = linear(5)
    labels, expected = nearest_boundary(images, weights, bias, norm)
    inner = expected < 0.25
    attack = FAB(0.01, norm, steps=30)
    points, found = attack.nearest(classifier, images, labels)
    np.testing.assert_allclose(found[inner], expected[inner], rtol=0.01)
    assert (found[inner] >= expected[inner] * (1 - 1e-5)).all()
    success = attack(classifier, images, labels).success
    np.testing.assert_array_equal(success, expected < 0.01)
    moved = np.abs(points - images).reshape(len(images), -1)
    lengths = moved.max(1) if norm == "linf" else np.linalg.norm(moved, axis=1)
    np.testing.assert_allclose(lengths, found, rtol=1e-6)


def test_square_reaches_the_closed_form_distance_of_a_linear_classifier():
    classifier, images, weights, bias = linear(2)
    labels, distances = nearest_boundary(images, weights, bias, "linf")
    row = int(np.argmin(np.where(distances > 0.02, distances, np.inf)))
    for factor in (0.99, 1.01):
        attack = Square(factor * float(distances[row]), queries=800)
        result = attack(classifier, images[[row]], labels[[row]], batch_size=1)
        assert result.success[0] == (factor > 1)
        assert result.gradients == 0


@NORMS
@EACH
def test_adversaries_stay_in_the_ball_and_in_the_box(
    make, norm, classifier, images, labels
):
    clean = np.concatenate([images[:18], np.round(images[18:])])
    result = make(EPSILON[norm], norm)(classifier, clean, labels)
    found = result.images
    assert found.min() >= 0 and found.max() <= 1
    delta = (found - clean).reshape(len(clean), -1)
    order = np.inf if norm == "linf" else 2
    lengths = np.linalg.norm(delta, order, axis=1)
    assert lengths.max() <= EPSILON[norm] + 1e-6
    logits = ops.convert_to_numpy(classifier.logits(found))
    np.testing.assert_array_equal(result.success, logits.argmax(1) != labels)
    np.testing.assert_array_equal(found[~result.success], clean[~result.success])


@NORMS
@EACH
def test_batch_size_and_order_change_nothing(make, norm, classifier, images, labels):
    attack = make(EPSILON[norm] / 3, norm)
    if attack.name == "square":  # blind, and so few queries: it needs more room
        attack = dataclasses.replace(attack, epsilon=2 * EPSILON[norm])
    expected = attack(classifier, images, labels, seed=3)
    assert expected.success[::6].all() and 6 < expected.success.sum() < 36
    order = np.random.default_rng(0).permutation(len(images))
    for batch_size, rows in ((1, np.arange(3)), (32, order)):
        options = {"seed": 3, "indices": rows, "batch_size": batch_size}
        result = attack(classifier, images[rows], labels[rows], **options)
        np.testing.assert_array_equal(result.success, expected.success[rows])
        np.testing.assert_allclose(result.images, expected.images[rows], atol=1e-5)


@NORMS
def test_the_cascade_is_the_union_of_its_attacks(norm, classifier, images, labels):
    attack = AutoAttack(EPSILON[norm] / 3, norm, steps=6, queries=20)
    result = attack(classifier, images, labels, seed=2, batch_size=16)
    names = ["clean", "apgd_ce", "apgd_t", "fab_t", "square"]
    counts = list(result.stages.values())
    assert list(result.stages) == names and counts == sorted(counts, reverse=True)
    assert counts[0] == 30 and 0 < counts[-1] < 30
    broken = np.arange(36) % 6 == 0
    for single, count in zip(attack.attacks, counts[1:], strict=True):
        broken |= single(classifier, images, labels, seed=2).success
        assert count == (~broken).sum()
    np.testing.assert_array_equal(result.success, broken)


def test_broken_images_cost_no_more_gradients(classifier, images, labels):
    attack = APGD(0.02, steps=10, restarts=2)
    early = attack(classifier, images, labels)
    late = dataclasses.replace(attack, early_stop=False)(classifier, images, labels)
    np.testing.assert_array_equal(early.success, late.success)
    np.testing.assert_allclose(early.images, late.images, atol=1e-5)
    assert late.gradients == 30 * 2 * 11 > early.gradients
    assert AutoAttack(0.5)(classifier, images, labels).gradients <= 30 * 2


def test_waiting_images_take_the_place_of_broken_ones_at_once(
    classifier, images, labels, monkeypatch
):
    sizes = []
    advance = apgd._APGDSearch.advance

    def spy(self, where, taken, state):
        sizes.append(len(np.unique(where)))
        return advance(self, where, taken, state)

    monkeypatch.setattr(apgd._APGDSearch, "advance", spy)
    APGD(0.02, steps=10)(classifier, images, labels, batch_size=8)
    assert set(sizes[:-11]) == {8} and len(sizes) > 11


class Jitter(layers.Layer):
    """Noise on the logits that stays at inference."""

    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(0)

    def call(self, logits):
        return logits + keras.random.normal(ops.shape(logits), seed=self.seeds)


@pytest.fixture(scope="module")
def jittery():
    """Class 1 leads by 1 on white images and by -3 on black ones, give or take."""
    inputs = keras.Input((2, 2, 1))
    leads = 4 * ops.mean(inputs, axis=(1, 2)) - 3
    return keras.Model(inputs, Jitter()(ops.concatenate([0 * leads, leads], axis=1)))


def test_lucky_draws_of_a_random_classifier_are_no_success(jittery):
    plain = PlainClassifier(jittery)
    first, second = (np.asarray(plain.logits(np.ones((2, 2, 2, 1)))) for _ in range(2))
    assert (first != second).all()
    images = np.ones((20, 2, 2, 1), "float32")
    once = APGD(0.01, steps=20)(plain, images, np.ones(20, int))
    assert once.success.mean() > 0.9
    # Some 8 % of the means over 4 passes are wrong; twice in a row, hardly any.
    few = APGD(0.01, steps=20, eot=4)(plain, images, np.ones(20, int))
    assert few.success.mean() < 0.5
    for epsilon, broken in ((0.01, False), (0.7, True)):
        attack = AutoAttack(epsilon, version="rand", steps=10)
        result = attack(plain, images, np.ones(20, int))
        assert (result.success == broken).mean() >= 0.95
        assert list(result.stages) == ["clean", "apgd_ce", "apgd_dlr"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pdg@8/255", "Unknown attack. Did you mean 'pgd'.*Received: 'pdg'"),
        ("white_noise@0.1", "Unknown attack.*Received: 'white_noise'"),
        ("pgd", "Expected an id like `pgd@8/255`. Received: 'pgd'"),
        ("pgd@eight", "number or a fraction.*Received: 'pgd@eight'"),
    ],
)
def test_what_names_no_attack_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        attacks.from_perturbation(text)


def test_ids_and_settings_name_the_attack():
    for name in ATTACKS:
        text = f"{name}@8/255"
        attack = attacks.from_perturbation(text, steps=3)
        assert attack.id == text
        # Settings are PGD's alone: the others keep those they were published with.
        assert (attack.settings.get("steps") == 3) == name.startswith("pgd")
    assert AutoAttack().settings == {
        "norm": "linf",
        "version": "standard",
        "steps": 100,
        "queries": 5000,
        "targets": 9,
    }
    assert AutoAttack(version="rand").settings == {
        "norm": "linf",
        "version": "rand",
        "steps": 100,
        "eot": 20,
    }
    assert [attack.id for attack in AutoAttack(0.5, "l2").attacks] == [
        *("apgd_ce_l2@0.5", "apgd_t_l2@0.5", "fab_t_l2@0.5", "square_l2@0.5")
    ]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: APGD(loss="cw"), "ce, dlr, targeted_dlr. Received: 'cw'"),
        (lambda: APGD(rho=1.5), "`rho`.*Received: 1.5"),
        (lambda: APGD(eot=0), "`eot`.*Received: 0"),
        (lambda: APGD(targets=2.5), "`targets`.*Received: 2.5"),
        (lambda: FAB(norm="l1"), "linf, l2. Received: 'l1'"),
        (lambda: FAB(steps=0), "`steps`.*Received: 0"),
        (lambda: Square(p_init=0.0), "`p_init`.*Received: 0.0"),
        (lambda: Square(queries=0), "`queries`.*Received: 0"),
        (lambda: AutoAttack(version="plus"), "standard, rand. Received: 'plus'"),
        (lambda: AutoAttack(math.inf), "`epsilon`.*Received: inf"),
        (lambda: Square(8), "at most 1 in the linf norm.*8/255.*Received: 8"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def flat(points):
    return ops.reshape(points, (-1, 192))[:, :5]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"classifier": lambda x: flat(x) * math.nan}, "Received: NaN or infinite"),
        ({"classifier": lambda x: ops.softmax(flat(x))}, "Received: probabilities"),
        (
            {"classifier": lambda x: flat(x)[:, :1], "labels": [0] * 36},
            "two classes or more",
        ),
        ({"labels": [5] * 36}, "between 0 and 4. Received: labels"),
        ({"images": np.full((36, 8, 8, 3), 2.0)}, "Received: values from 2"),
    ],
    ids=["nan", "softmax", "one class", "labels", "images"],
)
def test_bad_input_is_refused(change, message, classifier, images, labels):
    given = {"classifier": classifier, "images": images, "labels": labels} | change
    for make in SINGLE.values():
        with pytest.raises(ValueError, match=message):
            make(0.1, "linf")(**given)
