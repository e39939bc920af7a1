import warnings

import keras
import numpy as np
import pytest
from conftest import BACKEND
from keras import layers, ops

import nfm_keras as nfm
from nfm_keras import networks
from nfm_keras.backend import keras_private, wrong_gradients
from nfm_keras.networks import blocks

pytestmark = pytest.mark.backends


def compile_with(channels, strides, kernel=1):
    inputs = keras.Input((8, 8, channels))
    branch = keras.Sequential([layers.Conv2D(4, kernel, strides, name="skip")])
    x = layers.GlobalAveragePooling2D(name="global")(branch(inputs))
    nfm.NFMModel(keras.Model(inputs, x), sites=["global"])


@pytest.mark.parametrize("arguments", [(8, 2), (3, 1), (3, 2, 3)])
def test_a_convolution_that_is_trained_rightly_needs_no_word(arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compile_with(*arguments)


SAID = {"torch": "wrong gradients", "tensorflow": "may end a process of one core"}


@pytest.mark.skipif(BACKEND == "jax", reason="of oneDNN, which JAX does not use")
def test_a_convolution_that_is_not_is_named(monkeypatch):
    monkeypatch.setattr(keras_private, "tensorflow_uses_onednn", lambda: True)
    with pytest.warns(UserWarning, match=f"{SAID[BACKEND]} .*Received: skip"):
        compile_with(3, 2)


@pytest.mark.parametrize("name", ["small_resnet", "preact_resnet18", "wide_resnet"])
def test_our_narrow_networks_have_none(name):
    options = {"depth": 10} if name == "wide_resnet" else {"width": 1 / 16}
    options |= {"width": 1 / 4} if name == "wide_resnet" else {}
    network = networks.build(name, (9, 8, 3), 2, **options)
    assert not any(wrong_gradients._concerned(x) for x in network.layers)


def test_spectral_normalisation_is_named_where_fit_does_not_keep_it():
    start = keras.initializers.RandomNormal(stddev=1.0, seed=0)
    dense = layers.Dense(6, kernel_initializer=start)
    normed = layers.SpectralNormalization(dense, power_iterations=20, name="normed")
    network = keras.Sequential([keras.Input((6,)), normed, layers.Dense(3)])
    said = pytest.warns(UserWarning, match="training=True after `fit`.*: normed")
    with said if BACKEND == "jax" else warnings.catch_warnings():
        if BACKEND != "jax":
            warnings.simplefilter("error")
        model = nfm.NFMModel(network, sites=["normed"])
    eager = BACKEND == "tensorflow"
    model.compile(keras.optimizers.SGD(0.01), "mse", run_eagerly=eager)
    x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
    model.fit(x, x[:, :3], verbose=0)

    def norm():
        kernel = model.model.get_layer("normed").layer.kernel
        return np.linalg.norm(ops.convert_to_numpy(kernel), 2)

    if BACKEND == "jax":
        assert norm() > 2
        model(x, training=True)
    assert norm() == pytest.approx(1, abs=0.05)


def test_every_so_many_pixels_is_the_convolution_with_strides():
    images = np.random.default_rng(0).normal(size=(2, 7, 8, 3)).astype("float32")
    inputs = keras.Input((7, 8, 3))
    ours = keras.Model(inputs, blocks.conv(inputs, 5, 1, 2))
    assert len(ours.layers) == 3
    theirs = layers.Conv2D(5, 1, 2, use_bias=False)
    theirs.build((None, 7, 8, 3))
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(
        *(ops.convert_to_numpy(f(images)) for f in (ours, theirs)), rtol=1e-4, atol=1e-5
    )
