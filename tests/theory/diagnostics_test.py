"""The callback that logs smoothness, and calibration by one temperature."""

import keras
import numpy as np
import pytest
from keras import layers

from nfm_keras import NFMModel
from nfm_keras.mixing import Mixing, NoisyFeatureMixup
from nfm_keras.theory import (
    SmoothnessLogger,
    calibrate,
    fit_temperature,
    margins,
    regularizers,
)
from nfm_keras.theory.calibration import debiased_error


@pytest.mark.backends
def test_norms_of_a_linear_network_are_its_kernel():
    inputs = keras.Input((3,))
    x = NoisyFeatureMixup(name="site")(inputs)
    model = keras.Model(inputs, layers.Dense(2, use_bias=False)(x))
    x, y = np.eye(3).repeat(8, axis=0), np.arange(24) % 2
    wrapped = NFMModel(model, Mixing())
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    wrapped.compile(keras.optimizers.SGD(0.0), loss)
    logger = SmoothnessLogger(x, y, probes=32, every=2)
    given = x.astype("float32"), keras.ops.convert_to_numpy(keras.ops.one_hot(y, 2))
    history = wrapped.fit(*given, epochs=3, callbacks=[logger], verbose=0).history
    kernel = model.layers[-1].get_weights()[0]
    norms = history["jacobian_norm/site"]
    np.testing.assert_allclose(norms, [np.linalg.norm(kernel)] * 3, rtol=0.05)
    assert history["hessian_norm/site"] == [0.0] * 3
    f = x @ kernel
    gap = np.maximum(f[range(24), y] - f[range(24), 1 - y], 0)
    np.testing.assert_allclose(history["score"][0], np.sqrt(2) * np.median(gap))
    slope = np.linalg.norm(kernel[:, 0] - kernel[:, 1])
    np.testing.assert_allclose(history["margin"][0], np.median(gap) / slope, rtol=1e-4)


@pytest.mark.backends
def test_images_come_as_a_model_that_trains_takes_them():
    inputs = keras.Input((3,))
    x = NoisyFeatureMixup(name="site")(inputs)
    network = keras.Model(inputs, layers.Dense(2)(x))
    scale = layers.Rescaling(1 / 255)
    model = NFMModel(network, Mixing(), preprocess=scale)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (16, 3)).astype("uint8"), np.arange(16) % 2
    for site in ("input", "site"):
        given = regularizers(model, site, x, y)
        expected = regularizers(network, site, x / 255, y)
        np.testing.assert_allclose(given.loss, expected.loss, rtol=1e-5)
        np.testing.assert_allclose(given.r1.value, expected.r1.value, rtol=1e-5)


@pytest.mark.parametrize("images, labels", [(0, 0), (4, 3)])
def test_images_without_labels_are_refused_before_the_training(images, labels):
    given = np.zeros((images, 3)), np.zeros(labels, int)
    with pytest.raises(ValueError, match=f"Received: {images} images, {labels} labels"):
        SmoothnessLogger(*given)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="Received: (none|labels of shape .3,., 4)"):
        margins(model, *given)
    logger = SmoothnessLogger(np.zeros((2, 3)), [0, 1], sites="nowhere")
    logger.set_model(model)
    with pytest.raises(ValueError, match="Received: .*'nowhere'"):
        logger.on_train_begin()


def test_a_temperature_of_what_is_all_right_is_the_end_or_none():
    logits, labels = 5 * np.eye(10), np.arange(10)
    assert fit_temperature(logits, labels) == pytest.approx(0.01)
    assert calibrate((logits, labels), (logits, labels)).temperature == 1.0
    with pytest.raises(ValueError, match="Received: "):
        calibrate((logits[:0], labels[:0]), (logits, labels))
    with pytest.raises(ValueError, match="Received: "):
        calibrate((logits, labels[:5]), (logits, labels))


def test_a_temperature_undoes_a_factor_and_keeps_the_predictions():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(8000, 3)) * 2
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.uniform(size=(8000, 1)) > chances.cumsum(axis=1)).sum(axis=1)
    shrunk = logits / 3  # underconfident
    assert abs(fit_temperature(shrunk, labels) - 1 / 3) < 0.02
    halves = (shrunk[:4000], labels[:4000]), (shrunk[4000:], labels[4000:])
    found = calibrate(*halves)
    assert found.confidence_before < found.accuracy - 10
    assert abs(found.confidence_after - found.accuracy) < 2
    assert found.ece_before > 0.1 > 0.01 > abs(found.ece_after)
    assert found.nll_after < found.nll_before


def test_a_calibrated_network_has_no_debiased_error():
    rng = np.random.default_rng(1)
    errors = []
    for _ in range(20):
        logits = rng.normal(size=(200, 2))
        chance = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
        labels = (rng.uniform(size=200) < chance).astype(int)
        errors.append(debiased_error(logits, labels, draws=40))
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(20)
