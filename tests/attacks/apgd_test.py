import keras
import numpy as np
import pytest
from keras import layers, ops
from published import walk

from nfm_keras import attacks
from nfm_keras.attacks import APGD, apgd, checkpoints, losses
from nfm_keras.backend.classifier import PlainClassifier

pytestmark = pytest.mark.backends

NORMS = pytest.mark.parametrize("norm", attacks.NORMS)


def test_checkpoints():
    assert checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)
    assert checkpoints(50) == (11, 21, 30, 38, 45)
    for steps in (1, 2, 7, 50, 99, 1000):
        found = checkpoints(steps)
        gaps = np.diff((0, *found))
        assert found[-1] <= steps and (gaps >= 1).all()
        assert (np.diff(gaps) <= 0).all()


def test_dlr_ignores_shift_and_positive_scale():
    random = np.random.default_rng(0)
    logits = random.normal(size=(20, 6)).astype("float32")
    labels = random.integers(0, 6, 20).astype("int32")
    targets = ((labels + random.integers(1, 6, 20)) % 6).astype("int32")
    for loss in (losses.dlr, losses.targeted_dlr):
        value = ops.convert_to_numpy(loss(logits, labels, targets))
        scaled = ops.convert_to_numpy(loss(7 * logits + 3, labels, targets))
        np.testing.assert_allclose(scaled, value, atol=1e-4)
        ahead = targets if loss is losses.targeted_dlr else logits.argmax(1)
        rows = np.arange(20)
        leads = logits[rows, ahead] > logits[rows, labels]
        np.testing.assert_array_equal(value > 0, leads)


def test_losses_by_hand():
    logits = np.array([[5.0, 3.0, 2.0, 1.0, -9.0]], "float32")

    def value(loss, label, target=None):
        found = loss(logits, np.array([label]), np.array([target or 0]))
        return ops.convert_to_numpy(found).item()

    assert value(losses.margin, 0) == -2 and value(losses.margin, 2) == 3
    assert value(losses.dlr, 0) == pytest.approx(-2 / 3)
    assert value(losses.dlr, 1) == pytest.approx(2 / 3)
    # (z_t - z_y) / (z_1 - (z_3 + z_4) / 2) = (1 - 5) / (5 - 1.5)
    assert value(losses.targeted_dlr, 0, 3) == pytest.approx(-4 / 3.5)
    cross_entropy = np.log(np.exp(logits).sum()) - 3
    assert np.log1p(np.exp(value(losses.log_odds, 1))) == pytest.approx(cross_entropy)
    logits = logits[:, :3]
    assert value(losses.targeted_dlr, 0, 2) == -3
    logits = logits[:, :2]
    assert value(losses.dlr, 0) == -2


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(8, 3, activation="tanh"),
            layers.Flatten(),
            layers.Dense(16, activation="tanh"),
            layers.Dense(4),
        ]
    )


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((4, 6, 6, 3), "float32")


@pytest.fixture(scope="module")
def labels(network, images):
    return ops.convert_to_numpy(network(images)).argmax(1)


@NORMS
def test_starts_lie_on_the_surface_of_the_ball(norm, network, images, labels):
    grey = np.full_like(images, 0.5)
    given = PlainClassifier(network), grey, labels, np.arange(4), 0, 4
    search = apgd._APGDSearch(APGD(0.1, norm), *given)
    starts = search.starts(np.arange(4), np.zeros(4, int))
    delta = (starts - grey).reshape(4, -1)
    order = np.inf if norm == "linf" else 2
    np.testing.assert_allclose(np.linalg.norm(delta, order, axis=1), 0.1, rtol=1e-5)
    others = search.starts(np.arange(4), np.ones(4, int))
    assert (others != starts).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize(
    "norm, loss, rho", [("linf", "dlr", 0.75), ("l2", "dlr", 0.75), ("l2", "ce", 0.1)]
)
def test_iterates_are_those_of_the_published_algorithm(
    norm, loss, rho, network, images, labels, monkeypatch
):
    seen = []
    evaluate = apgd._APGDSearch.evaluate

    def spy(self, state):
        seen.append(ops.convert_to_numpy(state.points)[:4])
        return evaluate(self, state)

    monkeypatch.setattr(apgd._APGDSearch, "evaluate", spy)
    epsilon = {"linf": 0.02, "l2": 0.1}[norm]
    attack = APGD(epsilon, norm, loss, steps=60, rho=rho, early_stop=False)
    attack(network, images, labels, batch_size=4)
    compiled = PlainClassifier(network).compiled(apgd.EVALUATIONS[loss])
    halvings = 0
    for row in range(4):

        def loss_and_gradient(point, row=row):
            label = labels[row : row + 1].astype("int32")
            value, gradient, *_ = compiled(point[None], label, label)
            value = float(value[0])
            if loss == "ce":  # the published algorithm sees the cross-entropy itself
                value = np.logaddexp(0, value)
            return value, ops.convert_to_numpy(gradient)[0]

        given = images[row], seen[0][row], epsilon, norm, 60, rho
        points, halved = walk(loss_and_gradient, *given)
        halvings += len(halved)
        assert len(points) == len(seen) == 61
        found = np.stack([points[row] for points in seen])
        np.testing.assert_allclose(found, np.stack(points), rtol=0, atol=1e-4)
    assert halvings > 4


def test_more_restarts_and_steps_break_no_fewer(network):
    random = np.random.default_rng(1)
    images = random.random((60, 6, 6, 3), "float32")
    labels = ops.convert_to_numpy(network(images)).argmax(1)
    plain = PlainClassifier(network)
    epsilon = 0.03
    one = APGD(epsilon, steps=5)(plain, images, labels).success
    many = APGD(epsilon, steps=5, restarts=3)(plain, images, labels).success
    assert (many >= one).all() and 0 < one.sum() < 60


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="ART runs TensorFlow models"
)
def test_success_is_that_of_art():
    """Adversarial Robustness Toolbox: AutoProjectedGradientDescent, cross-entropy."""
    estimators = pytest.importorskip("art.estimators.classification")
    pytest.importorskip("multiprocess")
    import tensorflow as tf
    from art.attacks.evasion import AutoProjectedGradientDescent
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = (digits.images / 16).astype("float32")[..., None]
    network = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(True))
    network.fit(pixels[200:], digits.target[200:], epochs=5, verbose=0)
    images, labels = pixels[:200], digits.target[:200]
    estimator = estimators.TensorFlowV2Classifier(
        model=network,
        nb_classes=10,
        input_shape=(8, 8, 1),
        loss_object=tf.keras.losses.CategoricalCrossentropy(from_logits=True),
        clip_values=(0, 1),
    )
    epsilon = 0.1
    theirs = AutoProjectedGradientDescent(
        *(estimator, np.inf, epsilon, 2 * epsilon),
        max_iter=40,
        nb_random_init=1,
        batch_size=200,
        loss_type=None,
        verbose=False,
    ).generate(images, labels)
    logits = ops.convert_to_numpy(network(theirs, training=False))
    broken = (logits.argmax(1) != labels).sum()
    ours = APGD(epsilon, steps=40)(network, images, labels).success.sum()
    assert 20 < broken < 180
    assert abs(int(ours) - int(broken)) <= 2
