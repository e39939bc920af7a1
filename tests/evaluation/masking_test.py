import math

import keras
import numpy as np
import pytest
from keras import layers, ops

from nfm_keras import attacks
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.evaluation import masking
from nfm_keras.evaluation.masking import (
    checks,
    looks,
    masking_report,
    to_markdown,
    trials,
    verdict,
)
from nfm_keras.evaluation.masking.examined import Examined, margins

pytestmark = pytest.mark.backends

N = 60
ATTACKED = [row.name for row in checks._ROWS[4:]]


@pytest.fixture(scope="module", autouse=True)
def few_queries():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looks, "QUERIES", 60)
        yield


@pytest.fixture(scope="module")
def network():
    """A small CNN as it was drawn: its labels are what it says, so it is always right,
    and its gradient is as honest as any."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Rescaling(4.0, offset=-2.0),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(4),
        ]
    )
    generator = np.random.default_rng(0)  # the same network on every backend
    for weight in model.trainable_variables:
        scale = np.sqrt(2 / np.prod(weight.shape[:-1])) if len(weight.shape) > 1 else 0
        weight.assign(scale * generator.standard_normal(weight.shape))
    return PlainClassifier(model)


@pytest.fixture(scope="module")
def images(network):
    """Of many, those that the network is surest of, and some on the way to them."""
    images = np.random.default_rng(0).random((10 * N, 8, 8, 3)).astype("float32")
    logits = np.sort(ops.convert_to_numpy(network(images)), axis=1)
    margins = logits[:, -1] - logits[:, -2]
    return images[np.argsort(-margins)[: 2 * N : 2]]


@pytest.fixture(scope="module")
def labels(network, images):
    return ops.convert_to_numpy(network(images)).argmax(axis=1)


def report(classifier, images, labels, **settings):
    checks = masking_report(classifier, images, labels, **settings)
    return {check.name: check for check in checks}


def failed(checks):
    return {name for name, check in checks.items() if check.passed is False}


def not_run(checks):
    return {name for name, check in checks.items() if check.passed is None}


@pytest.fixture(scope="module")
def honest(network, images, labels):
    return report(network, images, labels)


def test_an_honest_network_passes_everything(honest):
    assert all(check.passed is True for check in honest.values()), honest
    assert verdict(honest.values()) == "no sign of gradient masking"
    values = {check.value for name, check in honest.items() if name in ATTACKED}
    assert max(values) < 15 and min(values) == 0


def test_the_radius_of_the_honest_network_is_worth_checking(network, images, labels):
    """Neither nothing nor everything is broken there."""
    subject = Examined(network, images, labels, (8 / 255,), 0, 250)
    left = np.mean(subject.walked(8 / 255, 10) > 0)
    assert subject.radii == (8 / 255,) and 0.5 <= left < 0.95
    # Where all are broken, a smaller radius is looked at as well.
    wide = Examined(network, images, labels, (0.3,), 0, 250)
    assert len(wide.radii) == 2 and wide.radii[1] == 0.3
    assert np.mean(wide.walked(wide.radii[0], 10) > 0) >= 0.5
    assert np.mean(wide.walked(2 * wide.radii[0], 10) > 0) < 0.5


def test_a_margin_is_the_least_that_an_attack_met(network, images, labels):
    subject = Examined(network, images, labels, (8 / 255,), 0, 35)
    few, many, one = (np.maximum(subject.walked(0.02, n), 0) for n in (10, 50, 1))
    clean = np.maximum(subject.margins, 0)
    assert (few <= clean).all() and (one <= clean).all()
    assert np.mean(many <= few + 0.02) > 0.9 and np.mean(few <= one + 0.02) > 0.9
    pgd = attacks.PGD(0.02, steps=10)(network, images, labels)
    np.testing.assert_array_equal(few <= 0, pgd.success)
    where = np.flatnonzero(many > 0)[:9]
    assert (subject.searched(0.02, where, 30) <= subject.margins[where]).all()


def test_chance_is_the_binomial_tail_and_one_level_is_for_all_tests():
    for count, n, share in ((0, 5, 0.1), (3, 32, 0.05), (7, 100, 0.01)):
        tail = sum(
            math.comb(n, k) * share**k * (1 - share) ** (n - k)
            for k in range(count, n + 1)
        )
        assert trials.chance(count, n, share) == pytest.approx(tail)
    # Two ties of 32 are chance; twenty are not; nor is what is said of no image.
    found = trials.judged([trials.Trial(0.1, 2, 32)], 0.05, 8, "tie")
    assert found.passed is True and "2 of 32 at 0.1" in found.detail
    assert trials.judged([trials.Trial(0.1, 20, 32)], 0.05, 8, "tie").passed is False
    assert trials.judged([trials.Trial(0.1, 0, 0)], 0.05, 8, "tie").passed is None
    # Each radius and check has its part of the level.
    borderline = trials.Trial(0.1, 6, 32)
    assert trials.judged([borderline], 0.05, 1, "").passed is False
    assert trials.judged([borderline] * 3, 0.05, 8, "").passed is True


def test_two_ties_among_32_images_are_no_sign(network, images, labels):
    """Two images that no attack changes: no gradient there, and nothing to gain."""
    still = [ops.convert_to_tensor(image) for image in images[:2]]

    def with_ties(x):
        same = [ops.max(ops.abs(x - one), axis=(1, 2, 3)) < 0.1 for one in still]
        tied = ops.expand_dims(ops.logical_or(*same), 1)
        return ops.where(tied, ops.stop_gradient(network(still[0][None])), network(x))

    tied = np.where(np.arange(32) < 2, labels[0], labels[:32])
    checks = report(with_ties, images[:32], tied)
    assert not failed(checks), checks
    assert checks["rising loss"].value == pytest.approx(100 * 2 / 32)


@pytest.mark.parametrize("epsilon", [(0.01, 8 / 255), 0.2])
def test_a_gradient_through_half_of_the_pixels_is_found_at_any_radius(
    network, images, labels, epsilon
):
    half = (np.indices((8, 8)).sum(axis=0) % 2).astype("float32")[None, :, :, None]
    half = ops.convert_to_tensor(half)

    def partly(x):
        return network(half * x + (1 - half) * ops.stop_gradient(x))

    checks = report(partly, images, labels, epsilon=epsilon)
    assert "foresight" in failed(checks) and not not_run(checks)
    assert checks["foresight"].value > 50


def test_linear_classifier_passes_everything():
    generator = np.random.default_rng(0)
    weights = generator.standard_normal((4 * 4, 3)).astype("float32")
    images = generator.random((N, 4, 4, 1)).astype("float32")

    def linear(images):
        return ops.matmul(ops.reshape(images, (-1, 16)) - 0.5, weights)

    labels = ((images.reshape(N, 16) - 0.5) @ weights).argmax(axis=1)
    checks = report(linear, images, labels)
    assert not failed(checks) and not not_run(checks)


def test_rounded_input_has_no_gradient(network, images, labels):
    def rounded(images):
        return network(ops.round(images * 16) / 16)

    checks = report(rounded, images, labels)
    assert failed(checks) == {"gradient"}
    assert checks["gradient"].value == 100
    assert not_run(checks) == set(ATTACKED)
    assert checks["monotone"].detail == "not run: no image has a gradient"
    assert verdict(checks.values()) == "signs of gradient masking: gradient"


def test_random_classifier_is_found_and_not_attacked(network, images, labels):
    seed = keras.random.SeedGenerator(0)

    def noisy(images):
        logits = network(images)
        return logits + 0.1 * keras.random.normal(ops.shape(logits), seed=seed)

    checks = report(noisy, images, labels)
    assert failed(checks) == {"deterministic"}
    assert checks["deterministic"].value > 0.1
    assert not_run(checks) == {"gradient", *ATTACKED}
    assert checks["gradient"].detail == "not run: the classifier is random"


def test_softmax_is_found_and_not_attacked(network, images, labels):
    checks = report(lambda images: ops.softmax(network(images)), images, labels)
    assert failed(checks) == {"logits"} and checks["logits"].value == 100
    assert not_run(checks) == {"gradient", *ATTACKED}
    assert "probabilities" in checks["one step"].detail


def test_large_logits_hide_nothing_and_saturated_ones_are_found(
    network, images, labels
):
    """The softmax of the large ones is 1 to the last bit, which no attack looks at."""
    large = report(lambda images: 1e4 * network(images), images, labels)
    assert not failed(large) and not not_run(large)
    found = failed(report(lambda x: ops.tanh(1e4 * network(x)), images, labels))
    assert "gradient" in found


def test_logits_that_are_not_finite_end_the_report(network, images, labels):
    def broken(images):
        return ops.where(images[:, 0, 0, :1] > 0.5, np.nan, network(images))

    bad = int(np.sum(images[:, 0, 0, 0] > 0.5))
    checks = report(broken, images, labels)
    assert failed(checks) == {"finite"} and checks["finite"].value == bad > 0
    assert len(not_run(checks)) == len(checks) - 1


def test_gradient_that_is_not_finite_ends_the_report(network, images, labels):
    images = images.copy()
    images[:5, 0, 0, 0] = 0.5

    def broken(images):
        # The square root has an infinite slope at 0, and the square a slope of 0.
        root = ops.sqrt(ops.square(images[:, 0, 0, :1] - 0.5))
        return network(images) + ops.pad(root, ((0, 0), (0, 3)))

    checks = report(broken, images, labels)
    assert failed(checks) == {"gradient"} and not_run(checks) == set(ATTACKED)
    assert checks["gradient"].detail.endswith(f"not finite for 5 of {N} images")


def test_gradient_that_points_the_wrong_way_is_found(network, images, labels):
    """The forward pass is the network's, the gradient its negative."""

    def reversed_gradient(images):
        logits = network(images)
        return 2.0 * ops.stop_gradient(logits) - logits

    checks = report(reversed_gradient, images, labels, epsilon=0.15)
    assert not not_run(checks)
    wrong = {"foresight", "rising loss", "everything", "random search"}
    assert wrong <= failed(checks)
    assert checks["foresight"].value == 100 and checks["random search"].value > 50


def test_shattered_gradient_is_found(network, images, labels):
    """A ripple too small to see, whose slope drowns that of the network."""

    def rippled(images):
        return network(images + 0.01 * ops.sin(2000.0 * images))

    found = failed(report(rippled, images, labels, epsilon=0.15))
    assert {"foresight", "everything", "random search"} <= found


def test_batch_size_changes_nothing(network, images, labels, honest):
    found = report(network, images, labels, batch_size=35)
    for name in set(found) - {"deterministic"}:  # whose value is rounding error
        assert found[name].passed == honest[name].passed
        assert found[name].value == pytest.approx(honest[name].value)


def test_markdown_has_a_row_for_every_check(honest):
    lines = to_markdown(honest.values()).splitlines()
    assert len(lines) == len(honest) + 2
    assert {line.count("|") for line in lines} == {7}
    assert lines[2].startswith("| finite | Are all logits finite? | yes | 0 |")
    skipped = masking.Check("one step", "?", None, None, "", "not run: random")
    assert "| ? | not run |  |" in to_markdown([skipped])


def test_margins_are_of_the_label_and_broken_where_logits_are_not_finite():
    logits = np.array([[1.0, 4.0, 2.0], [1.0, 4.0, 2.0], [3.0, 1.0, np.inf]])
    assert margins(logits, [1, 0, 0]).tolist() == [2.0, -3.0, -math.inf]
    first, second = margins(np.ones((2, 2)), [0, 1])  # a tie is the first one's
    assert first > 0 == second


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 8.0, np.nan, (0.1, 0.5)])
def test_bad_epsilon_is_refused(network, images, labels, epsilon):
    with pytest.raises(ValueError, match=r"`epsilon` .* Received: \S+$"):
        masking_report(network, images, labels, epsilon=epsilon)


def test_a_classifier_that_is_always_wrong_is_not_judged(network, images, labels):
    checks = masking_report(network, images, (labels + 1) % 4)
    assert {check.passed for check in checks} == {None}
    assert f"none of {N} images" in checks[0].detail
    assert masking.verdict(checks) == "not judged"


def test_bad_images_and_labels_are_refused(network, images, labels):
    with pytest.raises(ValueError, match="Received: values from"):
        masking_report(network, 255 * images, labels)
    with pytest.raises(ValueError, match=r"Received: shape \(3,\)"):
        masking_report(network, images, labels[:3])
    with pytest.raises(ValueError, match="Received: labels from 9 to 9"):
        masking_report(network, images, np.full(N, 9))
    with pytest.raises(ValueError, match=rf"Received: shape \({N}, 8, 8, 3\)"):
        masking_report(lambda images: images, images, labels)
    with pytest.raises(ValueError, match="`batch_size` .* Received: 0"):
        masking_report(network, images, labels, batch_size=0)
