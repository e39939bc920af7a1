"""FGSM and PGD, and what all attacks share."""

import dataclasses
import math

import keras
import numpy as np
import pytest
from keras import layers, ops

from nfm_keras import attacks
from nfm_keras.attacks import FGSM, PGD
from nfm_keras.backend.classifier import PlainClassifier

pytestmark = pytest.mark.backends

NORMS = pytest.mark.parametrize("norm", attacks.NORMS)
EPSILON = {"linf": 0.03, "l2": 0.3}


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(8, 3, strides=2, activation="tanh"),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )


@pytest.fixture(scope="module")
def classifier(network):
    """The same, compiled once for all tests."""
    return PlainClassifier(network)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((24, 8, 8, 3), "float32")


@pytest.fixture(scope="module")
def labels(network, images):
    """Labels that the untrained network gets right, but for every fifth."""
    logits = ops.convert_to_numpy(network(images, training=False))
    return np.where(np.arange(24) % 5, logits.argmax(1), logits.argmin(1))


def linear(weights, bias):
    """A two-class linear classifier whose margin of class 1 is w.x + b."""

    def classifier(points):
        margin = ops.matmul(points, ops.convert_to_tensor(weights[:, None])) + bias
        return ops.concatenate([-margin / 2, margin / 2], axis=1)

    return classifier


@NORMS
def test_pgd_reaches_the_closed_form_distance_of_a_linear_classifier(norm):
    """The boundary lies |m| / ||w||_1 away in l-inf, |m| / ||w||_2 in l2."""
    random = np.random.default_rng(0)
    weights = random.normal(size=10).astype("float32")
    points = random.uniform(0.45, 0.55, (8, 10)).astype("float32")  # far from the box
    margin = points @ weights - 0.5 * weights.sum()
    labels = (margin > 0).astype(int)
    dual = np.abs(weights).sum() if norm == "linf" else np.linalg.norm(weights)
    classifier = PlainClassifier(linear(weights, -0.5 * weights.sum()))
    distances = np.abs(margin) / dual
    for point, label, distance in zip(points, labels, distances, strict=True):
        for factor in (0.99, 1.01):
            epsilon = float(distance) * factor
            attack = PGD(epsilon, norm, steps=30, step_size=epsilon / 4)
            result = attack(classifier, point[None], [label], batch_size=1)
            assert result.success[0] == (factor > 1)


@NORMS
@pytest.mark.parametrize("attack", [FGSM, PGD])
def test_adversaries_stay_in_the_ball_and_in_the_box(
    attack, norm, classifier, images, labels
):
    extreme = np.round(images)  # on the box's boundary
    for clean in (images, extreme):
        found = attack(EPSILON[norm], norm)(classifier, clean, labels).images
        assert found.min() >= 0 and found.max() <= 1
        delta = (found - clean).reshape(len(clean), -1)
        order = np.inf if norm == "linf" else 2
        assert np.linalg.norm(delta, order, axis=1).max() <= EPSILON[norm] + 1e-6


@NORMS
def test_success_means_misclassified_and_clean_errors_count(
    norm, classifier, images, labels
):
    result = PGD(EPSILON[norm], norm)(classifier, images, labels)
    logits = ops.convert_to_numpy(classifier.logits(result.images))
    np.testing.assert_array_equal(result.success, logits.argmax(1) != labels)
    assert result.success[::5].all()
    assert 0 < result.success.sum() < len(images)


def test_an_image_misclassified_at_its_centre_alone_counts(images):
    """Any noise makes this classifier right; only the clean image fools it."""
    flat = images.reshape(len(images), -1)

    def classifier(points):
        points = ops.reshape(points, (-1, 192))
        distance = ops.sum(ops.square(points - ops.convert_to_tensor(flat[:1])), axis=1)
        return ops.stack([distance, 0 * distance + 1e-6], axis=1)

    result = PGD(0.05)(classifier, images[:1], [0])
    assert result.success[0]
    np.testing.assert_array_equal(result.images, images[:1])


@NORMS
def test_batch_size_and_order_change_nothing(norm, classifier, images, labels):
    attack = PGD(EPSILON[norm], norm, steps=4, restarts=2)
    expected = attack(classifier, images, labels, seed=3)
    for batch_size, n in ((1, 5), (8, 24)):
        result = attack(
            classifier, images[:n], labels[:n], seed=3, batch_size=batch_size
        )
        np.testing.assert_array_equal(result.success, expected.success[:n])
        np.testing.assert_allclose(result.images, expected.images[:n], atol=1e-5)
    order = np.random.default_rng(0).permutation(len(images))
    result = attack(classifier, images[order], labels[order], seed=3, indices=order)
    np.testing.assert_allclose(result.images, expected.images[order], atol=1e-5)


@NORMS
def test_early_stopping_saves_gradients_and_changes_nothing_else(
    norm, classifier, images, labels
):
    attack = PGD(2 * EPSILON[norm], norm, restarts=3)
    early = attack(classifier, images, labels, batch_size=16)
    full = dataclasses.replace(attack, early_stop=False)(classifier, images, labels)
    np.testing.assert_array_equal(early.success, full.success)
    np.testing.assert_allclose(early.images, full.images, atol=1e-5)
    assert full.gradients == 3 * attack.steps * len(images) > early.gradients


@NORMS
def test_one_step_of_pgd_without_start_is_fgsm(norm, classifier, images, labels):
    epsilon = EPSILON[norm]
    pgd = PGD(epsilon, norm, steps=1, step_size=epsilon, random_start=False)
    fgsm = FGSM(epsilon, norm)(classifier, images, labels)
    np.testing.assert_array_equal(fgsm.images, pgd(classifier, images, labels).images)
    moved = (fgsm.images - images)[~fgsm.success]
    free = np.abs(images[~fgsm.success] - 0.5) < 0.5 - epsilon
    if norm == "linf":  # the sign of a gradient is 1, -1, or 0 where a pixel is unused
        steps = np.abs(moved[free]) / epsilon
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
        assert (steps > 0.5).mean() > 0.5


@NORMS
def test_more_epsilon_and_more_restarts_break_no_fewer(
    norm, classifier, images, labels
):
    curve = [
        PGD(factor * EPSILON[norm], norm)(classifier, images, labels).success.sum()
        for factor in (0, 0.5, 1, 2, 20)
    ]
    assert curve == sorted(curve) and curve[0] == 5 and curve[-1] == len(images)
    one, four = (
        PGD(EPSILON[norm], norm, restarts=n)(classifier, images, labels).success
        for n in (1, 4)
    )
    assert (four >= one).all()


def test_random_start_is_uniform_in_the_cube():
    images = np.full((2000, 2, 2, 3), 0.5, "float32")
    delta = PGD(0.1, "linf").start(images, range(2000)) - 0.5
    assert np.abs(delta).max() <= 0.1 + 1e-6
    assert abs(delta.var() / (0.1**2 / 3) - 1) < 0.03
    assert abs((delta > 0).mean() - 0.5) < 0.02


def test_random_start_is_uniform_in_the_ball():
    """Of a ball in d dimensions, the part within radius r holds r^d of the volume."""
    images = np.full((4000, 1, 2, 2), 0.5, "float32")
    delta = (PGD(0.1, "l2").start(images, range(4000)) - 0.5).reshape(4000, 4)
    radius = np.linalg.norm(delta, axis=1) / 0.1
    assert radius.max() <= 1 + 1e-5
    for r in (0.5, 0.7, 0.9):
        assert abs((radius < r).mean() - r**4) < 5 * math.sqrt(0.25 / 4000)
    assert np.abs(delta.mean(axis=0)).max() < 5 * 0.1 / math.sqrt(4000)


def test_random_start_depends_on_seed_image_and_restart():
    images = np.full((2, 4, 4, 3), 0.5, "float32")
    start = PGD(0.1).start
    first, second = start(images, [0, 1])
    assert (first != second).any()
    assert (start(images, [0, 1], seed=1)[0] != first).any()
    assert (start(images, [0, 1], restart=1)[0] != first).any()


def test_iterates_of_several_rounds_are_refused(network, images, labels):
    for several in ({"targets": 1}, {"eot": 2}):
        with pytest.raises(ValueError, match="one round of one pass. Received: PGD"):
            next(PGD(0.1, **several).iterates(network, images, labels))


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="foolbox runs TensorFlow models"
)
@NORMS
def test_iterates_are_those_of_foolbox(norm, network, images, labels):
    foolbox = pytest.importorskip("foolbox")
    import tensorflow as tf

    name = {"linf": "LinfPGD", "l2": "L2PGD"}[norm]
    epsilon, step_size = EPSILON[norm], EPSILON[norm] / 3
    model = foolbox.TensorFlowModel(network, bounds=(0, 1), device="/CPU:0")
    ours = PGD(epsilon, norm, steps=6, step_size=step_size, random_start=False)
    for steps, iterate in enumerate(ours.iterates(network, images, labels)):
        if steps == 0:
            np.testing.assert_array_equal(iterate, images)
            continue
        theirs = getattr(foolbox.attacks, name)(
            abs_stepsize=step_size, steps=steps, random_start=False
        ).run(model, tf.constant(images), tf.constant(labels), epsilon=epsilon)
        np.testing.assert_allclose(iterate, theirs.numpy(), atol=1e-6)


def test_a_curve_over_epsilon_compiles_once(images, labels):
    traces = []

    def classifier(points):
        traces.append(points.shape)
        return 10 * ops.reshape(points, (-1, 192))[:, :5]

    plain = PlainClassifier(classifier)
    for epsilon in (0.01, 0.02, 0.04):
        PGD(epsilon)(plain, images, labels, batch_size=8)
    if keras.backend.backend() != "torch":  # which compiles nothing
        # The step and the forward pass, at 8 images and at few smaller sizes.
        assert len(traces) <= 2 * 4


def test_ids_and_settings_name_the_attack():
    assert PGD(8 / 255).id == "pgd@8/255" and FGSM(0.5, "l2").id == "fgsm_l2@0.5"
    for text in ("fgsm@8/255", "fgsm_l2@0.5", "pgd@8/255", "pgd_l2@0.5"):
        assert attacks.from_perturbation(text).id == text
    assert PGD(0.1, steps=10).settings == {
        "norm": "linf",
        "steps": 10,
        "step_size": 0.025,
        "restarts": 1,
        "random_start": True,
    }


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"norm": "l1"}, "linf, l2. Received: 'l1'"),
        ({"epsilon": -0.1}, "Received: -0.1"),
        ({"epsilon": math.nan}, "Received: nan"),
        ({"steps": 0}, "`steps`.*Received: 0"),
        ({"step_size": -1.0}, "`step_size`.*Received: -1.0"),
        ({"restarts": 0}, "`restarts`.*Received: 0"),
        ({"restarts": 2, "random_start": False}, "repeat each other. Received: 2"),
    ],
    ids=str,
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PGD(**settings)


@pytest.mark.filterwarnings("ignore:.*does not represent logits")
@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"batch_size": -1}, {"indices": [0, 1]}], ids=str
)
def test_bad_arguments_of_a_call_are_refused(options, classifier, images, labels):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}`.*Received: "):
        PGD(0.1)(classifier, images, labels, **options)


def test_bad_classifiers_are_refused(images, labels):
    def broken(points):
        return ops.reshape(points, (-1, 192))[:, :5] * math.nan

    def softmax(points):
        return ops.softmax(ops.reshape(points, (-1, 192))[:, :5])

    with pytest.raises(ValueError, match="Received: NaN or infinite logits for 24"):
        PGD(0.1)(broken, images, labels)
    # A few rows may look like probabilities by chance, so it takes 32 to refuse.
    with pytest.raises(ValueError, match="Received: probabilities"):
        PGD(0.1)(softmax, images, labels)
