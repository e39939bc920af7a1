import keras
import numpy as np
import pytest
import scipy.stats
from conftest import BACKEND
from keras import layers, ops

import nfm_keras as nfm
from nfm_keras.mixing import schemes
from nfm_keras.mixing.schedule import MixingSchedule
from nfm_keras.mixing.seen import mixed_images, site_names, step_draws

pytestmark = pytest.mark.backends

MEAN, STD = np.float32(0.4), np.float32(0.3)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 8, 8, 1), "uint8")
LABELS = np.array([0, 1, 2, 2, 1, 0])
ONE_HOT = np.eye(3, dtype="float32")[LABELS]


@keras.saving.register_keras_serializable()
class Spy(layers.Layer):
    """Keeps what goes through it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = []

    def call(self, x):
        self.seen.append(x)
        return x


class SpiedLoss(keras.losses.CategoricalCrossentropy):
    """Keeps the labels."""

    def call(self, y_true, y_pred):
        self.seen = y_true
        return super().call(y_true, y_pred)


def model_of(scheme="nfm", spy=None, technique=None, seed=0, scheduled=False, **mixing):
    """8x8 images, normalised inside, a site at the input and one behind a layer."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Rescaling(1 / STD, -MEAN / STD)(inputs)
    x = nfm.NoisyFeatureMixup(name="site_0")(x)
    x = spy(x) if spy else x
    x = layers.Conv2D(1, 3, padding="same")(x)
    x = nfm.NoisyFeatureMixup(name="site_1")(x)
    network = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    model = nfm.NFMModel(
        network,
        schemes.mixing(scheme, ["site_0", "site_1"], **mixing),
        seed=seed,
        preprocess=layers.Rescaling(1 / 255),
        technique=technique or schemes.technique(scheme),
        scheduled=scheduled,
    )
    model.compile(keras.optimizers.SGD(0.0), SpiedLoss(from_logits=True))
    model.run_eagerly = BACKEND == "tensorflow"
    return model


def expected_features(shown):
    return (shown.images - MEAN) / STD


def first_steps(model):
    """The first steps that draw one site, and the other."""
    sites, _ = step_draws(model, len(IMAGES))(range(64))
    return [int(np.argmax(sites == site)) for site in range(2)]


TECHNIQUES = ("nfm", "noisy_mixup", "mixup", "cutmix", "puzzlemix", "adversarial")


@pytest.mark.skipif(BACKEND == "jax", reason="a compiled step has nothing to look at")
@pytest.mark.parametrize("scheme", [*TECHNIQUES, "noisymix", "erm", "noise"])
def test_images_and_labels_are_those_of_a_train_step(scheme):
    spy = Spy()
    technique = None
    if scheme == "puzzlemix":
        technique = schemes.technique(scheme, grids=(2, 4), attack_probability=0.5)
    model = model_of(scheme, spy, technique)
    for step in range(4):
        before = mixed_images(model, IMAGES, ONE_HOT, step)
        assert int(model.step) == step  # nothing moved
        spy.seen.clear()
        model.train_on_batch(IMAGES, ONE_HOT)
        # The last pass is the one that trains; a technique's own come before it.
        features = ops.convert_to_numpy(spy.seen[-1])[: len(IMAGES)]
        np.testing.assert_allclose(expected_features(before), features, atol=2e-5)
        labels = ops.convert_to_numpy(model.loss.seen)[: len(IMAGES)]
        np.testing.assert_allclose(before.labels, labels, atol=1e-6)
    if scheme in ("cutmix", "puzzlemix", "adversarial"):
        assert before.site.lower() == f"input ({scheme})"
    elif scheme == "erm":
        assert before.site is None and before.lam == 1


def test_the_site_that_is_drawn_decides():
    model = model_of()
    plain = IMAGES / np.float32(255)
    first, deeper = first_steps(model)
    shown = mixed_images(model, IMAGES, LABELS, deeper)
    assert shown.site == "site_1"
    np.testing.assert_allclose(shown.images, plain, atol=1e-6)
    assert not np.array_equal(shown.labels, ONE_HOT)
    at_input = mixed_images(model, IMAGES, LABELS, deeper, at_input=True)
    assert at_input.site == "site_1" and np.abs(at_input.images - plain).max() > 0.1
    np.testing.assert_array_equal(at_input.labels, shown.labels)
    for flag in (False, True):
        shown = mixed_images(model, IMAGES, LABELS, first, at_input=flag)
        assert shown.site == "site_0" and np.abs(shown.images - plain).max() > 0.1


def test_without_noise_images_and_labels_are_mixed_alike():
    model = model_of("mixup")
    shown = mixed_images(model, IMAGES, LABELS, 3)
    draw = model.mixing.draw(0, 3, len(IMAGES), 1)
    lam, partner = float(draw.lam), ops.convert_to_numpy(draw.partner)
    plain = IMAGES / np.float32(255)
    np.testing.assert_allclose(
        shown.images, lam * plain + (1 - lam) * plain[partner], atol=1e-6
    )
    np.testing.assert_allclose(
        shown.labels, lam * ONE_HOT + (1 - lam) * ONE_HOT[partner], atol=1e-6
    )
    assert float(shown.lam) == lam


def test_images_of_half_precision_are_floats():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = model_of("mixup")
    finally:
        keras.config.set_dtype_policy(policy)
    exact, shown = (
        mixed_images(m, IMAGES, LABELS, 3) for m in (model_of("mixup"), model)
    )
    assert shown.images.dtype == np.float32
    np.testing.assert_allclose(shown.images, exact.images, atol=0.02)


def test_a_model_without_a_site_at_its_input():
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(1, 3, padding="same")(inputs)
    x = nfm.NoisyFeatureMixup(name="deep")(x)
    network = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    model = nfm.NFMModel(network)
    plain = IMAGES / np.float32(255)
    shown = mixed_images(model, plain, LABELS, 0)
    assert shown.site == "deep" and np.array_equal(shown.images, plain)
    with pytest.raises(ValueError, match="a site at the input.*Received: .*'deep'"):
        mixed_images(model, plain, LABELS, 0, at_input=True)


@pytest.mark.parametrize("per_sample", [False, True])
def test_many_draws_are_those_of_the_steps(per_sample):
    model = model_of(per_sample=per_sample, seed=5)
    steps = [0, 7, 391, 100_000]
    sites, lam = step_draws(model, 6)(steps)
    one_by_one = [model.mixing.draw(5, step, 6, 2) for step in steps]
    assert sites.tolist() == [int(draw.site) for draw in one_by_one]
    expected = [ops.convert_to_numpy(draw.lam) for draw in one_by_one]
    np.testing.assert_allclose(lam, np.stack(expected), rtol=1e-5)
    assert lam.shape == (4, 6) if per_sample else (4,)


def test_draws_follow_their_law_and_the_levels():
    model = model_of(scheduled=True, alpha=2.0)
    draws = step_draws(model, 6)
    sites, lam = draws(range(600))
    assert scipy.stats.kstest(lam, scipy.stats.beta(2, 2).cdf).pvalue > 1e-4
    assert abs(np.mean(sites == 0) - 0.5) < 0.1
    levels = np.repeat([[1.0, 1, 1], [1, 1, 0]], 300, axis=0)
    off, off_lam = draws(range(600), levels)
    np.testing.assert_array_equal(off[:300], sites[:300])
    assert (off[300:] == -1).all() and (off_lam[300:] == 1).all()
    schedule = MixingSchedule(off_epoch=1)
    schedule.set_model(model)
    schedule.on_epoch_begin(1)
    assert (draws(range(5))[0] == -1).all()
    shown = mixed_images(model, IMAGES, LABELS, 0)
    assert shown.site is None and np.array_equal(shown.labels, ONE_HOT)


def test_names_of_the_sites_are_those_that_mix():
    assert site_names(model_of()) == ["site_0", "site_1"]
    model = model_of(sites=("site_1",))
    assert site_names(model) == ["site_1"]
    assert mixed_images(model, IMAGES, LABELS, 0).site == "site_1"
    at_input = mixed_images(model, IMAGES, LABELS, 0, at_input=True)
    assert np.abs(at_input.images - IMAGES / np.float32(255)).max() > 0.1
