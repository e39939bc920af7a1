import keras
import numpy as np
import pytest
from conftest import BACKEND, compiled
from keras import layers, ops

from nfm_keras.backend import gradients
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.backend.wrong_gradients import soft_label_gradients

pytestmark = pytest.mark.backends


def small_network(dropout=0.0):
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(dropout),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def test_gradient_is_per_sample_and_analytic():
    def values(points, weights):
        return ops.sum(ops.power(points, 3), axis=1), points * weights

    points = np.array([[1.0, -2.0], [0.5, 3.0]], "float32")
    function = gradients.compiled(gradients.value_and_grad(values))
    value, aux, gradient = map(ops.convert_to_numpy, function(points, 2.0))
    np.testing.assert_allclose(value, [-7.0, 27.125], rtol=1e-6)
    np.testing.assert_allclose(aux, 2 * points)
    np.testing.assert_allclose(gradient, 3 * points**2, rtol=1e-6)


def test_compiled_classifier_sees_new_weights():
    """The weights must not be baked into the compiled function."""
    network = small_network()
    classifier = PlainClassifier(network)
    images = np.ones((2, 6, 6, 2), "float32")
    before = ops.convert_to_numpy(classifier.logits(images))
    network.layers[-1].bias.assign([1.0, 2.0, 3.0])
    after = ops.convert_to_numpy(classifier.logits(images))
    np.testing.assert_allclose(after - before, [[1.0, 2.0, 3.0]] * 2, atol=1e-5)


def test_classifier_runs_in_inference_mode_inside_a_training_scope():
    network = small_network(dropout=0.9)
    classifier = PlainClassifier(network)
    images = np.random.default_rng(0).random((8, 6, 6, 2), "float32")
    moving = [np.array(v) for v in network.non_trainable_variables]
    logits = [ops.convert_to_numpy(classifier.logits(images)) for _ in range(2)]
    np.testing.assert_array_equal(*logits)
    for before, after in zip(moving, network.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(before, np.array(after))


def test_a_function_is_compiled_once_and_shared_by_wrappers():
    traces = []

    def network(images):
        traces.append(images.shape)
        return ops.sum(images, axis=(1, 2))

    classifier = PlainClassifier(network)
    for size in (4, 4, 4):
        PlainClassifier(classifier).logits(np.ones((size, 2, 2, 3)))
    if keras.backend.backend() != "torch":  # which compiles nothing
        assert len(traces) == 1


def test_half_precision_classifiers_give_float32_logits():
    network = keras.Sequential([keras.Input((4,)), layers.Dense(2, dtype="float16")])
    logits = PlainClassifier(network).logits(np.ones((1, 4), "float32"))
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="Received: 3"):
        PlainClassifier(3)


SOFT = np.array([[0, 0, 0], [2, 0, 1], [0.2, 0.5, 0.3], [1, 0, 0]], "float32")


@pytest.mark.parametrize("outputs", ["logits", "softmax", "smoothed"])
def test_cross_entropy_has_the_gradient_of_any_labels(outputs, jit):
    """softmax * sum(label) - label, and TensorFlow is as it was afterwards."""
    smoothing = 0.1 if outputs == "smoothed" else 0.0
    loss = keras.losses.CategoricalCrossentropy(
        outputs != "softmax", label_smoothing=smoothing, reduction="none"
    )
    logits = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")

    def values(logits, labels):
        found = ops.softmax(logits) if outputs == "softmax" else logits
        with soft_label_gradients(), soft_label_gradients():
            value = loss(labels, found)
        return value, value

    run = compiled(gradients.value_and_grad(values), jit)
    _, value, gradient = run(*map(ops.convert_to_tensor, (logits, SOFT)))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = SOFT * (1 - smoothing) + smoothing / 3
    expected = p * labels.sum(1, keepdims=True) - labels
    np.testing.assert_allclose(ops.convert_to_numpy(gradient), expected, atol=1e-5)
    wanted = -(labels * np.log(p)).sum(1)
    np.testing.assert_allclose(ops.convert_to_numpy(value), wanted, 1e-5, 1e-6)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        assert not hasattr(tf.nn.softmax_cross_entropy_with_logits, "__self__")


@pytest.mark.parametrize("norm", ["LayerNormalization", "GroupNormalization"])
def test_what_normalises_by_its_own_moments_has_its_second_derivatives(norm, jit):
    """TensorFlow's moments hold the mean within the variance constant."""
    layer = getattr(layers, norm)(**({"groups": 2} if norm[0] == "G" else {}))
    random = np.random.default_rng(0)
    x, u = random.normal(size=(2, 5, 8)).astype("float32")
    w = ops.convert_to_tensor(np.array([1.0, -2.0, 0.5, 3.0] * 2, "float32"))
    layer.build(x.shape)

    def values(x):
        return ops.sum(ops.tanh(layer(x)) * w, axis=1)

    def slopes(x):
        return gradients.value_and_grad(lambda x: (values(x), x))(x)[2]

    product = compiled(gradients.hessian_product(values), jit)
    received = product(*map(ops.convert_to_tensor, (x, u)))
    received = ops.convert_to_numpy(ops.stop_gradient(received))
    ends = [gradients.compiled(slopes)(x + step * u) for step in (5e-3, -5e-3)]
    expected = np.subtract(*map(ops.convert_to_numpy, ends)) / 1e-2
    scale = np.abs(expected).max()
    np.testing.assert_allclose(received, expected, atol=1e-2 * scale)
