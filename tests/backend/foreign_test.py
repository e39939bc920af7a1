"""What is told of classifiers that are none of Keras'."""

import keras
import numpy as np
import pytest
from conftest import BACKEND
from keras import layers, ops

from nfm_keras.attacks import PGD
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.backend.host import call_host
from nfm_keras.evaluation.inputs import pick

pytestmark = pytest.mark.backends

IMAGES = np.random.default_rng(0).random((5, 2, 2, 1), "float32")


class Module:
    """As those of PyTorch are: in training mode when it is made."""

    def __init__(self):
        self.training, self.calls = True, 0

    def eval(self):
        self.training = False

    def __call__(self, images):
        self.calls += 1
        return ops.reshape(images, (-1, 4))


def test_a_module_in_training_mode_is_refused_before_its_first_pass():
    module = Module()
    for makes in (
        lambda: PlainClassifier(module),
        lambda: PlainClassifier(lambda images: images, stand_in=module),
        lambda: PlainClassifier(pick(module, 0)),
    ):
        with pytest.raises(ValueError, match=r"call its \.eval\(\) first.*Received: "):
            makes()
    assert not module.calls
    module.eval()
    plain = PlainClassifier(module)
    plain.logits_of(IMAGES)
    module.training = True  # such as another epoch between two evaluations
    with pytest.raises(ValueError, match="Received: Module in training mode"):
        PlainClassifier(plain)


def test_layers_are_told_to_infer_and_never_refused():
    image = keras.Input((2, 2, 1))
    dropped = layers.Dropout(0.5)(layers.Flatten()(image))

    class Heads(keras.Model):
        def call(self, images, training=None):
            return {"logits": network(images, training=training)}

    network = keras.Model(image, dropped)
    for model in (network, pick(Heads(), "logits")):
        logits = PlainClassifier(model).logits_of(IMAGES)
        np.testing.assert_array_equal(logits, IMAGES.reshape(5, 4))


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_images_reach_a_function_as_float32(kind):
    kinds, images = [], np.round(IMAGES * 8).astype(kind) / 8

    def function(images):
        kinds.append(keras.backend.standardize_dtype(images.dtype))
        return ops.reshape(images, (-1, 4))

    logits = PlainClassifier(function).logits_of(images)
    np.testing.assert_array_equal(logits, images.reshape(5, 4))
    assert set(kinds) == {"float32"}


def in_numpy(images):
    return np.asarray(images).reshape(-1, 4) * np.float32(2)


def test_a_function_of_another_library_is_told_what_it_is_called_with():
    library = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}[BACKEND]

    def stranger(images):
        return images.of_another_library()

    words = rf"float32 tensors of {library}.*call_host.*Received: AttributeError: .*of_"
    with pytest.raises(ValueError, match=words):
        PlainClassifier(stranger).logits_of(IMAGES)
    if BACKEND != "torch":  # whose tensors on a CPU NumPy can read
        with pytest.raises(ValueError, match=rf"float32 tensors of {library}"):
            PlainClassifier(in_numpy).logits_of(IMAGES)


def test_a_numpy_function_is_called_as_the_error_says():
    def classifier(images):
        kinds = [((None, 4), "float32")]
        return call_host(lambda images: (in_numpy(images),), kinds, images)[0]

    logits = PlainClassifier(classifier).logits_of(IMAGES)
    np.testing.assert_array_equal(logits, 2 * IMAGES.reshape(5, 4))
    with pytest.raises(ValueError, match="needs a gradient.*Received: a gradient 0"):
        PGD(0.1)(classifier, IMAGES, logits.argmax(1))


@pytest.mark.skipif(BACKEND != "torch", reason="of modules of PyTorch")
def test_a_module_of_pytorch_keeps_its_statistics_and_is_told_its_type():
    import torch

    parts = torch.nn.Flatten(), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 3)
    module = torch.nn.Sequential(*parts).double()
    for mode, words in ((True, "in training mode"), (False, "weights float32")):
        with pytest.raises(ValueError, match=words):
            PlainClassifier(module.train(mode)).logits_of(IMAGES)
    np.testing.assert_array_equal(module[1].running_mean.numpy(), np.zeros(4))
