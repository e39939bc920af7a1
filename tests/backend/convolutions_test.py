import warnings

import keras
import pytest
from conftest import BACKEND
from keras import layers

import nfm_keras as nfm

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


@pytest.mark.skipif(BACKEND != "torch", reason="of PyTorch")
def test_a_convolution_that_is_not_is_named():
    with pytest.warns(UserWarning, match="wrong gradients .*Received: skip"):
        compile_with(3, 2)
