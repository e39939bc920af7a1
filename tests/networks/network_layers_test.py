"""Layers of the networks: what they draw first, drop, and are saved as."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import BACKEND, compiled
from keras import ops

import nfm_keras as nfm
from nfm_keras.mixing.sites import remove_sites
from nfm_keras.networks import blocks, vision_transformer

pytestmark = pytest.mark.backends


def numpy(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("rate", [0.01, 0.04, 0.5])
def test_dropout_drops_as_much_as_asked_for(rate, dtype):
    layer = blocks.SavedDropout(rate, dtype=dtype, seed=1)
    found = numpy(layer(ops.ones((1000, 400), dtype), training=True))
    error = 5 * (rate * (1 - rate) / found.size) ** 0.5
    assert abs(np.mean(found == 0) - rate) < error
    np.testing.assert_allclose(found.max(), 1 / (1 - rate), rtol=2**-7)


def test_a_mask_is_a_function_of_seed_count_and_replica(monkeypatch, jit):
    def masks(seed, replica=0, calls=2):
        layer = blocks.SavedDropout(0.5, seed=seed)
        monkeypatch.setattr(blocks.replicas, "replica_id", lambda: replica)
        return [numpy(layer(np.ones((8, 50)), training=True)) for _ in range(calls)]

    first, second = masks(3)
    for again, same in ((masks(3)[0], True), (second, False)):
        assert np.array_equal(again, first) == same
    for other in (masks(4)[0], masks(3, replica=1)[0]):
        assert 0.3 < np.mean(other == first) < 0.7
    if BACKEND == "tensorflow":  # on JAX a variable is no part of a plain function
        layer = blocks.SavedDropout(0.5, seed=3)
        monkeypatch.setattr(blocks.replicas, "replica_id", lambda: 0)
        run = compiled(lambda x: layer(x, training=True), jit)
        np.testing.assert_array_equal(numpy(run(np.ones((8, 50), "float32"))), first)


def test_first_weights_of_wide_resnets_follow_pytorchs_rules():
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), biases too."""
    model = nfm.networks.wide_resnet((8, 8, 3), 10, width=4, depth=10)
    for layer in model.layers:
        if not hasattr(layer, "kernel"):
            continue
        bound = np.prod(layer.kernel.shape[:-1]) ** -0.5
        kernel, bias = numpy(layer.kernel), numpy(layer.bias)
        assert 0.9 * bound < np.abs(kernel).max() <= bound
        assert abs(kernel.std() * 3**0.5 / bound - 1) < 0.1
        assert 0.5 * bound < np.abs(bias).max() <= bound


def test_gelu_is_the_exact_one():
    x = np.linspace(-6, 6, 1001, dtype="float32")
    expected = numpy(keras.activations.gelu(x, approximate=False))
    found = numpy(vision_transformer.gelu(ops.convert_to_tensor(x)))
    np.testing.assert_allclose(found, expected, atol=1e-6)


PLAIN = """
import sys, keras, numpy
model = keras.saving.load_model(sys.argv[1], compile=False)
assert "nfm_keras" not in sys.modules
numpy.save(sys.argv[2], model.predict(numpy.load(sys.argv[2]), verbose=0))
"""


@pytest.mark.slow
def test_a_classifier_loads_in_plain_keras(tmp_path):
    network = nfm.networks.build("wide_resnet", (8, 8, 1), 3, width=1, depth=10)
    for weight in network.weights:
        weight.assign(np.random.default_rng(0).uniform(0.5, 1, weight.shape))
    images = np.random.default_rng(0).random((4, 8, 8, 1), "float32")
    saved = blocks.with_keras_layers(remove_sites(network))
    saved.save(tmp_path / "classifier.keras")
    np.save(tmp_path / "images.npy", images)
    files = [tmp_path / "classifier.keras", tmp_path / "images.npy"]
    command = [sys.executable, "-c", PLAIN, *map(str, files)]
    subprocess.run(command, check=True, timeout=300)
    expected = network.predict(images, verbose=0)
    np.testing.assert_allclose(np.load(files[1]), expected, rtol=1e-4)
