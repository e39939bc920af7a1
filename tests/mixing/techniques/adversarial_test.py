import keras
import numpy as np
import pytest
import scipy.stats
from keras import layers, ops

import nfm_keras as nfm
from nfm_keras.backend import random
from nfm_keras.mixing import schemes
from nfm_keras.mixing.techniques.adversarial import Adversarial

pytestmark = pytest.mark.backends

RNG = np.random.default_rng(0)
IMAGES = RNG.random((6, 4, 4, 2)).astype("float32")
LABELS = np.arange(6) % 2
QUIET = nfm.Mixing(alpha=0.0, sigma_add=0.0, sigma_mult=0.0)


def linear(technique, mixing=QUIET):
    """Two classes: the gradient of the loss has the same direction everywhere."""
    inputs = keras.Input((4, 4, 2))
    x = nfm.NoisyFeatureMixup(name="site_0")(inputs)
    x = layers.BatchNormalization(name="norm")(layers.Flatten()(x))
    network = keras.Model(inputs, layers.Dense(2, name="last")(x))
    model = nfm.NFMModel(network, mixing, technique=technique)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    return model


def prepared(model, step=0, images=IMAGES):
    draw = model.mixing.draw(0, step, 6, 1)
    images, labels = ops.convert_to_tensor(images), ops.convert_to_tensor(LABELS)
    batch = model.technique.prepare(model, images, labels, draw)
    return ops.convert_to_numpy(batch.images)


def directions(model):
    """Where the loss of each image grows."""
    kernel = ops.convert_to_numpy(model.model.get_layer("last").kernel)
    towards = (kernel[:, 1] - kernel[:, 0]).reshape(4, 4, 2)
    return np.where(LABELS == 0, 1, -1).reshape(-1, 1, 1, 1) * towards


def test_linf_ends_in_the_corner_of_the_ball():
    model = linear(Adversarial(attack_epsilon=0.1))
    before = model.get_weights()
    expected = np.clip(IMAGES + 0.1 * np.sign(directions(model)), 0, 1)
    np.testing.assert_allclose(prepared(model), expected, atol=1e-5)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_l2_ends_where_the_loss_grows_fastest():
    model = linear(Adversarial(0.2, "l2", attack_steps=40))
    grey = 0.3 + 0.4 * IMAGES  # so that no border is met
    moved = prepared(model, images=grey) - grey
    unit = directions(model)
    unit = unit / np.sqrt(np.square(unit).sum((1, 2, 3), keepdims=True))
    assert (np.sqrt(np.square(moved).sum((1, 2, 3))) <= 0.2 + 1e-5).all()
    assert ((moved * unit).sum((1, 2, 3)) > 0.19).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_starts_are_uniform_in_the_ball(norm):
    technique, shape = Adversarial(0.5, norm), (500, 2, 2, 1)
    start = ops.convert_to_numpy(technique.start(random.key(0), shape)).reshape(500, 4)
    if norm == "linf":
        law = scipy.stats.uniform(-0.5, 1).cdf
        assert scipy.stats.kstest(start.ravel(), law).pvalue > 1e-4
        return
    shares = (np.linalg.norm(start, axis=1) / 0.5) ** 4  # of the volume
    assert scipy.stats.kstest(shares, "uniform").pvalue > 1e-4
    assert abs(start.mean(0)).max() < 0.1


def test_steps_differ_and_repeat():
    model = linear(Adversarial(0.3, "l2", attack_steps=1))
    assert np.array_equal(prepared(model, 1), prepared(model, 1))
    assert not np.allclose(prepared(model, 1), prepared(model, 2))


def test_sites_mix_what_was_attacked_and_inactive_batches_stay():
    technique = Adversarial(0.1, attack_steps=1)
    mixing = nfm.Mixing(sigma_add=0.0, sigma_mult=0.0)
    histories = [
        linear(technique, m).fit(IMAGES, LABELS, batch_size=6, verbose=0).history
        for m in (mixing, QUIET)
    ]
    assert histories[0]["loss"] != histories[1]["loss"]
    never = linear(
        technique, schemes.mixing("adversarial", ["site_0"], probability=0.0)
    )
    np.testing.assert_array_equal(prepared(never), IMAGES)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"attack_norm": "l1"}, "`attack_norm` must be one of.*Received: 'l1'"),
        ({"attack_epsilon": 0.0}, "`attack_epsilon` must be .*above 0.*: 0.0"),
        ({"attack_epsilon": 8}, "`attack_epsilon` must be at most 1 .*8/255.*: 8"),
        ({"attack_steps": 0}, "`attack_steps` must be a positive.*Received: 0"),
    ],
)
def test_bad_settings_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Adversarial(**fields)


def test_the_size_of_the_gradient_does_not_matter():
    """The squares of a small one are 0 in float32."""
    model = linear(Adversarial(attack_epsilon=0.1, attack_norm="l2", attack_steps=3))
    kernel, bias = model.get_layer("last").get_weights()
    expected = prepared(model)
    model.get_layer("last").set_weights([1e-25 * kernel, bias])
    np.testing.assert_allclose(prepared(model), expected, atol=1e-5)
    assert np.abs(expected - IMAGES).max() > 0.01
