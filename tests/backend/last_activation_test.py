"""The activation at the end of a classifier, and the logits that it hides."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.backend.heads import ends_in_logits, head

pytestmark = pytest.mark.backends

IMAGES = np.random.default_rng(0).random((4, 2, 2, 1), "float32")


def functions(kind):
    """Those of Keras, and of the library behind it."""
    yield from (getattr(keras.activations, kind), getattr(ops, kind))
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        yield getattr(tf.nn, kind)
    elif backend == "jax":
        import jax

        yield getattr(jax.nn, kind)
    elif kind == "sigmoid":  # its softmax wants an axis
        import torch

        yield torch.sigmoid


def classifier(*last):
    return keras.Sequential([keras.Input((2, 2, 1)), layers.Flatten(), *last])


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_an_activation_is_known_whichever_library_it_is_from(kind):
    for function in functions(kind):
        for model in (
            classifier(layers.Dense(3, activation=function)),
            classifier(layers.Dense(3), layers.Activation(function)),
        ):
            assert head(model) == kind and not ends_in_logits(model)
            answer = ops.convert_to_numpy(model(IMAGES))
            logits = PlainClassifier(model).logits(IMAGES)
            found = ops.convert_to_numpy(getattr(ops, kind)(logits))
            np.testing.assert_allclose(found, answer, atol=1e-5)


@pytest.mark.parametrize("kind", ["hard_sigmoid", "sparse_sigmoid", "sparsemax"])
def test_other_probabilities_are_taken_for_what_they_are(kind):
    model = classifier(layers.Dense(3, activation=kind))
    assert head(model) == kind
    answer = ops.convert_to_numpy(model(IMAGES))
    logits = PlainClassifier(model).logits(IMAGES)
    back = ops.sigmoid(logits)
    np.testing.assert_allclose(ops.convert_to_numpy(back), answer, atol=1e-5)


def test_logits_are_known_by_what_comes_last():
    for last, known in (
        ([layers.Dense(3)], True),
        ([layers.Dense(3), layers.Activation("linear"), layers.Dropout(0.5)], True),
        ([layers.Dense(3, activation="tanh")], False),
        ([layers.Dense(3), layers.BatchNormalization()], False),
        ([layers.Dense(3), layers.BatchNormalization(), layers.Activation(None)], True),
    ):
        model = classifier(*last)
        assert head(model) == "" and ends_in_logits(model) == known
    assert head(ops.softmax) == "" and not ends_in_logits(ops.softmax)
