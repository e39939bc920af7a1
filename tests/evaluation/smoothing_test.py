import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy import stats

from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.evaluation import smoothing
from nfm_keras.evaluation.smoothing import certify, predict

pytestmark = pytest.mark.backends

WEIGHTS = np.random.default_rng(0).standard_normal((2, 2, 3)).astype("float32")
NORM = float(np.linalg.norm(WEIGHTS))


def linear(images):
    """Two classes; class 1 where the projection on WEIGHTS exceeds that of grey."""
    margin = ops.sum((images - 0.5) * WEIGHTS, axis=(1, 2, 3))
    return ops.stack([ops.zeros_like(margin), margin], axis=1)


def images_at(distances):
    """Images at these signed distances from the boundary of `linear`."""
    steps = np.reshape(distances, (-1, 1, 1, 1)) * WEIGHTS / NORM
    images = (0.5 + steps).astype("float32")
    assert images.min() >= 0 and images.max() <= 1
    return images


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((3, 2, 1)), layers.Flatten(), layers.Dense(4)]
    )
    return PlainClassifier(model)


@pytest.mark.parametrize("k, n", [(0, 10), (1, 10), (7, 10), (10, 10), (993, 1000)])
@pytest.mark.parametrize("alpha", [0.001, 0.05])
def test_lower_bound_is_clopper_and_pearsons(k, n, alpha):
    received = smoothing._lower_bound(k, n, alpha)
    test = stats.binomtest(k, n, alternative="greater")
    expected = test.proportion_ci(1 - alpha, method="exact").low
    np.testing.assert_allclose(received, expected, rtol=1e-9, atol=1e-15)
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    expected, _ = proportion.proportion_confint(k, n, 2 * alpha, method="beta")
    np.testing.assert_allclose(received, expected, rtol=1e-9, atol=1e-15)


def test_radius_exceeds_the_exact_one_with_probability_alpha_and_no_more():
    """The exact radius of a linear classifier is its distance from the boundary."""
    distances = np.random.default_rng(1).uniform(0.01, 0.2, 1000)
    settings = {"sigma": 0.15, "n0": 10, "n": 200, "batch_size": 5000}
    found = certify(
        linear, images_at(distances), np.ones(1000, int), alpha=0.05, **settings
    )
    exact = np.where(found.correct, distances, 0.0)
    too_large = np.sum(found.radii > exact)
    assert stats.binom.sf(too_large - 1, 1000, 0.05) > 1e-4
    # Were the bound two-sided or for another alpha, it would be far rarer than alpha.
    assert too_large > 20


def test_default_alpha_never_exceeds_and_many_copies_come_close():
    distances = np.tile([-0.15, -0.1, 0.05, 0.1, 0.15], 4)
    images, labels = images_at(distances), (distances > 0).astype(int)
    found = certify(linear, images, labels, sigma=0.1, n=10000, batch_size=5000)
    ratio = found.radii / np.abs(distances)
    assert found.correct.all() and ratio.max() <= 1
    assert np.median(ratio) > 0.93


def test_radii_scale_with_the_pixels():
    """Half the noise at half the distance: the same copies agree, half the radius."""
    labels = np.ones(3, int)
    far = certify(linear, images_at([0.05, 0.1, 0.2]), labels, sigma=0.1)
    near = certify(linear, images_at([0.025, 0.05, 0.1]), labels, sigma=0.05)
    np.testing.assert_allclose(near.radii, far.radii / 2, rtol=0.02)


@pytest.mark.parametrize("n, factor", [(200, 1.826), (1000, 2.463), (100000, 3.811)])
def test_largest_radius_that_n_copies_can_certify(n, factor):
    empty = np.zeros(0)
    found = smoothing.Certification(0.5, 100, n, 0.001, empty, empty, empty)
    assert found.max_radius == pytest.approx(0.5 * factor, abs=5e-4)


def test_a_classifier_that_noise_cannot_move_gets_the_largest_radius():
    def constant(images):
        return ops.stop_gradient(images[:, 0, 0, :2] * 0.0 + np.float32([0.0, 1.0]))

    found = certify(constant, images_at([0.1, -0.1]), [1, 0], sigma=0.25, n=150)
    np.testing.assert_allclose(found.radii, found.max_radius, rtol=1e-12)
    assert found.predictions.tolist() == [1, 1]
    assert found.certified_accuracy(0.0) == 50.0
    assert found.certified_accuracy(found.max_radius * 1.001) == 0.0


def test_both_abstain_on_the_boundary():
    images = images_at(np.zeros(20))
    found = certify(linear, images, np.ones(20, int), sigma=0.1, n=200)
    assert (found.predictions == -1).all() and not found.radii.any()
    assert not found.correct.any() and found.certified_accuracy(0) == 0.0
    assert (predict(linear, images, sigma=0.1, n=200) == -1).all()


def test_the_copies_that_choose_a_class_do_not_certify_it():
    """On the boundary a certificate is wrong, which happens with probability alpha;
    with the same copies, twice as often, since they prefer the class they chose."""
    images = images_at(np.zeros(500))
    settings = {"sigma": 0.1, "n0": 101, "n": 101, "alpha": 0.2, "batch_size": 5000}
    found = certify(linear, images, np.ones(500, int), **settings)
    assert 0.1 < np.mean(found.predictions >= 0) < 0.27


def test_prediction_is_the_binomial_test():
    """At every distance the prediction is that of the counts of its copies."""
    images = images_at(np.linspace(-0.06, 0.06, 25))
    # sigma, alpha, seed, batch_size (which leaves a last batch of 1) and indices
    settings = (0.1, 0.001, 0, 17, None)
    sampler = smoothing._Sampler(linear, images, *settings)
    expected = []
    for row in sampler.counts("smoothing/predict", 100):
        assert row.sum() == 100
        certain = stats.binomtest(row.max(), 100).pvalue <= 0.001
        expected.append(row.argmax() if certain else -1)
    assert set(expected) == {-1, 0, 1}
    assert predict(linear, images, sigma=0.1, n=100).tolist() == expected


def test_batch_size_and_order_change_nothing(network):
    images = np.random.default_rng(0).random((9, 3, 2, 1)).astype("float32")
    labels, order = np.arange(9) % 4, np.random.default_rng(1).permutation(9)
    settings = {"sigma": 0.2, "n0": 7, "n": 60, "alpha": 0.2}
    expected = certify(network, images, labels, **settings)
    assert len(set(expected.radii)) > 3
    for batch_size in (1, 13, 1000):
        found = certify(network, images, labels, batch_size=batch_size, **settings)
        np.testing.assert_array_equal(found.radii, expected.radii)
        np.testing.assert_array_equal(found.predictions, expected.predictions)
    found = certify(network, images[order], labels[order], indices=order, **settings)
    np.testing.assert_array_equal(found.radii, expected.radii[order])
    settings = {"sigma": 0.2, "n": 30}
    received = predict(network, images[order], indices=order, batch_size=4, **settings)
    expected = predict(network, images, **settings)
    np.testing.assert_array_equal(received, expected[order])


def test_noise_is_standard_normal_and_fresh_for_every_use():
    sampler = smoothing._Sampler(
        linear, np.zeros((2, 200, 200, 3)), 0.1, 0.001, 0, 250, [5, 6]
    )
    streams = ("smoothing/choose", "smoothing/certify", "smoothing/predict")
    noises = np.stack([list(sampler.noises(name, 2)) for name in streams])
    vectors = noises.reshape(12, -1)
    correlations = vectors @ vectors.T / vectors.shape[1]
    np.testing.assert_allclose(correlations, np.eye(12), atol=0.02)


def test_seed_changes_the_radii(network):
    images = np.random.default_rng(0).random((9, 3, 2, 1)).astype("float32")
    labels = np.zeros(9, int)
    found = [
        certify(network, images, labels, sigma=0.2, alpha=0.2, seed=seed).radii
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"sigma": 0.0}, "`sigma` must be .* Received: 0.0"),
        ({"sigma": np.nan}, "Received: nan"),
        ({"n": 0}, "`n` must be .* Received: 0"),
        ({"alpha": 1.0}, "`alpha` must lie .* Received: 1.0"),
        ({"batch_size": 0}, "`batch_size` must be .* Received: 0"),
        ({"indices": [1]}, "for each of the 2 images. Received: 1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_settings_are_refused(settings, message):
    settings = {"sigma": 0.1} | settings
    with pytest.raises(ValueError, match=message):
        certify(linear, images_at([0.1, 0.2]), [1, 1], **settings)
    with pytest.raises(ValueError, match=message):
        predict(linear, images_at([0.1, 0.2]), **settings)


def test_bad_images_labels_and_logits_are_refused():
    images = images_at([0.1, 0.2])
    with pytest.raises(ValueError, match="`n0` must be .* Received: 2.5"):
        certify(linear, images, [1, 1], sigma=0.1, n0=2.5)
    with pytest.raises(ValueError, match=r"Received: shape \(3,\)"):
        certify(linear, images, [1, 1, 1], sigma=0.1)
    with pytest.raises(ValueError, match="must lie between 0 and 1.*from 1 to 99"):
        certify(linear, images, [1, 99], sigma=0.1)
    with pytest.raises(ValueError, match=r"must lie in \[0,1\]"):
        certify(linear, 255 * images, [1, 1], sigma=0.1)
    with pytest.raises(ValueError, match="Received: NaN or infinite logits"):
        predict(lambda images: linear(images) * np.nan, images, sigma=0.1)
    with pytest.raises(ValueError, match="two classes or more"):
        predict(lambda images: linear(images)[:, :1], images, sigma=0.1)
    found = certify(linear, images, [1, 1], sigma=0.1, n=20)
    with pytest.raises(ValueError, match="`radius` .* Received: -1"):
        found.certified_accuracy(-1)
