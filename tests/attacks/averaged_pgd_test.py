"""PGD over several passes, and towards classes."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import nfm_keras as nfm
from nfm_keras.attacks import APGD, PGD, from_perturbation
from nfm_keras.evaluation import adversaries

pytestmark = pytest.mark.backends

IMAGES = np.random.default_rng(0).random((24, 6, 6, 1), "float32")


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 1))
    hidden = layers.Dense(16, "tanh")(layers.Flatten()(image))
    model = keras.Model(image, layers.Dense(5)(hidden))
    random = np.random.default_rng(0)  # the same numbers on every backend
    model.set_weights([0.3 * random.normal(size=w.shape) for w in model.weights])
    return model


@pytest.fixture(scope="module")
def labels(network):
    return ops.convert_to_numpy(network(IMAGES)).argmax(1)


class Random(keras.layers.Layer):
    """Two logits with a gradient that is noise in every pass and 1 in the mean.

    The second is ahead by so much that nothing is broken.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.seeds = keras.random.SeedGenerator(0)

    def call(self, images):
        weights = 1 + 4 * keras.random.normal(ops.shape(images), seed=self.seeds)
        total = 0.05 * ops.sum((images - 0.5) * weights, axis=(1, 2, 3))
        return ops.stack([total, 10 - total], axis=1)


def test_passes_of_a_classifier_that_is_not_random_change_nothing(network, labels):
    one, two = (PGD(0.12, steps=4, eot=n)(network, IMAGES, labels) for n in (1, 2))
    assert np.array_equal(one.success, two.success) and 0 < one.success.mean() < 1
    np.testing.assert_allclose(one.images, two.images, atol=1e-6)
    assert two.gradients == 2 * one.gradients


def test_the_mean_gradient_goes_further_on_a_random_classifier():
    image = keras.Input((6, 6, 1))
    noisy = keras.Model(image, Random()(image))
    labels, images = np.ones(24, int), 0.2 + 0.6 * IMAGES
    moved = {}
    for eot in (2, 24):
        attack = PGD(0.1, steps=1, step_size=0.1, random_start=False, eot=eot)
        found = attack(noisy, images, labels, seed=1)
        moved[eot] = float((found.images - images).mean()) / 0.1
    # The share of steps in the true direction, of noise four times as large.
    assert 0 < moved[2] < 0.5 < 0.6 < moved[24] <= 1
    rows = [PGD(0.06, steps=3, eot=8), APGD(0.06, steps=3, eot=8)]
    scores = nfm.evaluate(noisy, (images, labels), rows, allow_stochastic=True)
    assert [score.settings["eot"] for score in scores] == [8, 8]
    with pytest.raises(ValueError, match="an `eot` above 1. Received: 'pgd@0.06'"):
        nfm.evaluate(
            noisy, (images, labels), [PGD(0.06, steps=3)], allow_stochastic=True
        )


def test_a_targeted_attack_reaches_the_classes_ranked_next(network, labels):
    attack = from_perturbation("pgd_t@0.2", steps=20)
    assert attack.id == "pgd_t@0.2" and attack.settings["targets"] == 9
    assert "targets" not in PGD().settings and "eot" not in PGD().settings
    result = PGD(0.2, steps=20, targets=1, early_stop=False)(network, IMAGES, labels)
    logits = ops.convert_to_numpy(network(IMAGES))
    second = np.argsort(-logits, axis=1)[:, 1]
    reached = ops.convert_to_numpy(network(result.images)).argmax(1)
    assert result.success.mean() > 0.7
    assert (reached == second)[result.success].mean() > 0.9


def test_a_class_that_is_ranked_third_is_reached_through_its_own_target():
    def classifier(images):  # the way to the second class leads away from the third
        mean = ops.mean(images, axis=(1, 2, 3))
        return 10 * ops.stack([0 * mean + 0.5, 0.45 - mean / 100, mean], axis=1)

    images, labels = np.full((3, 4, 4, 1), 0.3, "float32"), np.zeros(3, int)
    one, two = (PGD(0.25, targets=n)(classifier, images, labels) for n in (1, 2))
    assert not one.success.any() and two.success.all()


def test_images_of_one_classifier_are_scored_on_another(network, labels):
    other = keras.models.clone_model(network)
    blind = lambda x: network(x) + ops.stop_gradient(40 * network(x))  # noqa: E731
    given = {"a": network, "b": other}
    # Labels of the first: the second is wrong of most images anyway.
    found = adversaries.transfer(given, (IMAGES, labels), "pgd@0.08")
    right = ops.convert_to_numpy(other(IMAGES)).argmax(1) == labels
    assert (found.right[:, 1] <= right).all()
    attacked = PGD(0.08)(network, IMAGES, labels)
    assert np.array_equal(found.right[0, 0], ~attacked.success)
    assert found.unmasked() == [] and "No model is broken" in found.to_markdown()

    def masked(images):  # a gradient that points away from the truth
        smooth = network(images)
        return ops.stop_gradient(2 * smooth) - smooth

    given = {"masked": masked, "open": network, "blind": blind}
    found = adversaries.transfer(given, (IMAGES, labels), "pgd@0.25")
    assert {model for model, _ in found.unmasked()} == {"masked"}
    assert "**masked** is broken more often" in found.to_markdown()
    with pytest.raises(ValueError, match="at least two"):
        adversaries.transfer({"a": network}, (IMAGES, labels))


def test_the_smallest_radius_is_that_of_a_linear_classifier():
    # Wrong from a mean of 0.45 on: the distance is 0.45 - mean in l-infinity.
    def classifier(images):
        mean = ops.mean(images, axis=(1, 2, 3))
        return 10 * ops.stack([mean, 0.9 - mean], axis=1)

    means = np.array([0.5, 0.44, 0.4, 0.3, 0.1], "float32")
    images = np.broadcast_to(means[:, None, None, None], (5, 4, 4, 1))
    data, radii = (images, np.ones(5, int)), [0.2, 0.02, 0.06]
    found = adversaries.breaking_radii(classifier, data, "pgd", radii)
    assert found.smallest.tolist() == [0, 0.02, 0.06, 0.2, np.inf]
    values = [accuracy for _, accuracy, *_ in found.curve()]
    assert found.tried == (0.02, 0.06, 0.2) and values == [80, 60, 40, 20]
    again = adversaries.breaking_radii(classifier, data, PGD(0.1, steps=3), radii)
    assert again.smallest.tolist() == found.smallest.tolist()
    with pytest.raises(ValueError, match="radii"):
        adversaries.breaking_radii(classifier, data, radii=[0.0])
    with pytest.raises(ValueError, match=r"at least one. Received: \[\]"):
        adversaries.breaking_radii(classifier, data, radii=[])
    with pytest.raises(ValueError, match="`limit`.*Received: -1"):
        adversaries.breaking_radii(classifier, data, limit=-1)
    assert (
        adversaries.breaking_radii(classifier, data, "pgd@0.3", [0.1]).attack == "pgd"
    )
