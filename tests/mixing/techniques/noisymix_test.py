import keras
import numpy as np
import pytest
from conftest import BACKEND, compiled
from keras import layers, ops

import nfm_keras as nfm
from nfm_keras.backend import random
from nfm_keras.mixing import schemes
from nfm_keras.mixing.techniques.noisymix import NoisyMix, view_draw

pytestmark = pytest.mark.backends

RNG = np.random.default_rng(0)
N = 8
IMAGES = RNG.random((N, 6, 6, 1)).astype("float32")
LABELS = RNG.integers(0, 3, N)
QUIET = {"sigma_add": 0.0, "sigma_mult": 0.0}


def network():
    inputs = keras.Input((6, 6, 1))
    x = nfm.NoisyFeatureMixup(name="site_0")(inputs)
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


def model_of(technique, mixing):
    keras.utils.set_random_seed(0)
    model = nfm.NFMModel(network(), mixing, technique=technique)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss, metrics=["accuracy"])
    # Of a single step: a graph takes seconds to trace.
    model.run_eagerly = BACKEND == "tensorflow"
    return model


def test_views_share_lam_and_partners_and_their_noise_grows():
    mixing = nfm.Mixing(sigma_add=1.0, sigma_mult=0.0, noise="gaussian")
    count = 400
    draw = mixing.draw(0, 0, count, 1)
    views = view_draw(mixing, draw, random.key(0))
    x = ops.concatenate(3 * [ops.convert_to_tensor(RNG.normal(size=(count, 16)))])
    x = ops.cast(x, "float32")
    mixed = ops.convert_to_numpy(mixing.mix(x, views)).reshape(3, count, 16)
    np.testing.assert_array_equal(mixed[0], mixed[1])
    expected = ops.convert_to_numpy(mixing.mix(x[:count], draw))
    np.testing.assert_allclose(mixed[2], expected, rtol=1e-6)
    noise = ops.convert_to_numpy(mixing.perturb(ops.zeros((3 * count, 16)), views))
    np.testing.assert_allclose(noise.reshape(3, -1).std(1), [1, 2, 3], rtol=0.05)


def test_multiplicative_noise_does_not_grow_and_scales_are_drawn_for_each_view():
    mixing = nfm.Mixing(sigma_add=0.0, sigma_mult=1.0)

    def scale(step):
        draw = mixing.draw(0, step, 2, 1)
        return view_draw(mixing, draw, random.fold(draw.key, 9)).scale

    run = compiled(scale)
    found = [run(ops.convert_to_tensor(step)) for step in range(150)]
    scales = [[ops.convert_to_numpy(s)[::2] for s in pair] for pair in found]
    add, mult = np.moveaxis(scales, 1, 0)
    np.testing.assert_allclose(mult.mean(0), 2 / 7, rtol=0.2)  # Beta(2, 5)
    np.testing.assert_allclose(add.mean(0), np.array([2, 4, 6]) / 7, rtol=0.2)
    assert abs(np.corrcoef(mult.T) - np.eye(3)).max() < 0.35


def test_sparse_noise_leaves_its_share_alone():
    mixing = nfm.Mixing(sigma_add=1.0, sigma_mult=0.5, noise="gaussian", sparsity=0.65)
    draw = mixing.draw(0, 0, 200, 1)
    still = ops.convert_to_numpy(mixing.perturb(ops.ones((200, 100)), draw)) == 1
    assert still.mean() == pytest.approx(0.65**2, abs=0.02)  # of two noises
    with pytest.raises(ValueError, match="`sparsity` must be .*Received: 1.5"):
        nfm.Mixing(sparsity=1.5)


def test_loss_is_that_of_the_clean_view_and_the_divergence_of_all():
    mixing = nfm.Mixing(**QUIET)

    def history(technique):
        fit = model_of(technique, mixing).fit(IMAGES, LABELS, shuffle=False, verbose=0)
        return fit.history

    plain, *found = (history(t) for t in (None, NoisyMix(0.0), NoisyMix(12.0)))
    assert found[0]["loss"][0] == pytest.approx(plain["loss"][0], rel=1e-5)
    for one in found:
        assert one["mixed_accuracy"] == pytest.approx(plain["mixed_accuracy"])
    model = model_of(NoisyMix(), mixing)
    draw = mixing.draw(0, 0, N, 1)
    labels = ops.convert_to_tensor(LABELS)
    batch = model.technique.prepare(model, ops.convert_to_tensor(IMAGES), labels, draw)
    mixed = mixing.mix(batch.images, batch.site_draw)
    logits = ops.convert_to_numpy(model.classifier(mixed)).reshape(3, N, 3)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    divergence = (p * np.log(p / p.mean(0))).sum(-1).mean()
    assert divergence > 1e-5
    difference = found[1]["loss"][0] - found[0]["loss"][0]
    assert difference == pytest.approx(12 * divergence, rel=0.01)


def test_the_first_view_is_the_image_itself():
    model = model_of(NoisyMix(), schemes.mixing("noisymix", ["site_0"]))
    draw = model.mixing.draw(0, 0, N, 1)
    images = ops.convert_to_tensor(IMAGES)
    batch = model.technique.prepare(model, images, None, draw)
    views = ops.convert_to_numpy(batch.images).reshape(3, N, 6, 6, 1)
    np.testing.assert_array_equal(views[0], IMAGES)
    assert abs(views[1] - views[2]).max() > 0.01


def test_a_network_of_probabilities_is_refused():
    headed = keras.Sequential([network(), layers.Softmax()])
    model = nfm.NFMModel(headed, nfm.Mixing(), technique=NoisyMix())
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="by their logits.*Received: a softmax"):
        model.train_on_batch(IMAGES, LABELS)


def test_a_bad_weight_is_refused():
    with pytest.raises(ValueError, match="`jsd_weight` must be .*Received: -1"):
        NoisyMix(-1)
