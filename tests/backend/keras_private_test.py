"""One test for each private name of Keras and TensorFlow: what breaks without it."""

import keras
import numpy as np
import pytest
from conftest import BACKEND
from keras import layers, ops

from nfm_keras.backend import keras_compiled, keras_private

pytestmark = pytest.mark.backends

X = np.arange(12.0, dtype="float32").reshape(6, 2)
Y = np.arange(6) % 3


def linear(**options):
    inputs = keras.Input((2,), name="inputs")
    outputs = layers.Dense(3, name="last")(inputs)
    model = keras.Model(inputs, outputs, **options)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.5, 0.25])
    optimizer = keras.optimizers.SGD(schedule)
    metrics = {"metrics": ["accuracy"], "weighted_metrics": ["accuracy"]}
    model.compile(optimizer, loss, **metrics)
    return model


def test_masks():
    """Padded time steps of mixed batches would count in loss and metrics."""
    tokens = np.array([[3, 1, 0], [2, 0, 0]])
    embedded = layers.Embedding(4, 5, mask_zero=True)(tokens)
    np.testing.assert_array_equal(keras_private.mask_of(embedded), tokens > 0)
    other = ops.concatenate([embedded, embedded])
    assert keras_private.mask_of(other) is None
    mask = ops.convert_to_tensor(np.concatenate([tokens, tokens]) > 0)
    keras_private.set_mask(other, mask)
    np.testing.assert_array_equal(keras_private.mask_of(other), mask)


def test_jit_compile():
    """An `NFMModel` could not refuse XLA for what runs on the host."""

    class Refusing(keras.Model):
        @property
        def jit_compile(self):
            return super().jit_compile

        @jit_compile.setter
        def jit_compile(self, value):
            keras_private.set_jit_compile(self, value)

    model = Refusing()
    for value in (True, False):
        model.jit_compile = value
        assert model.jit_compile is value


def test_additional_loss():
    """The loss that a technique adds would be scaled otherwise than Keras' own."""
    total = keras_compiled.additional_loss(linear(), ops.convert_to_tensor([1.0, 2.0]))
    assert float(ops.convert_to_numpy(total)) == 3.0


def test_compiled_metrics():
    """Metrics of mixed batches would not be weighted by lam, nor renamed."""
    model = linear()
    metrics = keras_compiled.compiled_metrics(model)
    assert not metrics.built
    logits = model(X)
    metrics.build(Y, logits)
    weights = np.array([1, 1, 0, 0, 0, 0], "float32")
    for weighted in (False, True):
        ((metric, labels, output, weight),) = keras_compiled.flat_metrics(
            metrics, weighted, Y, logits, weights
        )
        metric.update_state(labels, output, weight)
    right = np.argmax(ops.convert_to_numpy(logits), -1) == Y
    result = {name: float(value) for name, value in metrics.result().items()}
    assert result == {
        "accuracy": pytest.approx(right[:2].mean()),
        "weighted_accuracy": pytest.approx(right[:2].mean()),
    }
    without = keras.Sequential([layers.Dense(1)])
    without.compile("sgd", "mse")
    assert keras_compiled.compiled_metrics(without) is None


def test_metric_values():
    """A metric that returns a scalar would end a fit where samples have a lam each."""
    metric = keras.metrics.MeanMetricWrapper(lambda y, p: ops.mean(y - p))
    values = keras_compiled.metric_values(metric, ops.ones((4,)), ops.zeros((4,)))
    assert tuple(values.shape) == () and float(values) == 1
    area = keras.metrics.AUC()
    assert keras_compiled.metric_values(area, ops.ones((4,)), ops.ones((4,))) is None


def test_count_in_floats():
    """The confusion matrix of mixed labels would be one of zeros."""
    metric, mean = keras.metrics.MeanIoU(2), keras.metrics.Mean()
    for one in (metric, metric, mean):
        keras_compiled.count_in_floats(one)
    metric.update_state([0, 1, 1], [0, 1, 0], sample_weight=[0.5, 0.5, 0.25])
    assert float(metric.result()) == pytest.approx((0.5 / 0.75 + 0.5 / 0.75) / 2)
    assert len(metric.variables) == 1 and len(mean.variables) == 2
    metric.reset_state()
    assert float(ops.sum(metric.total_cm)) == 0


def test_wrap_losses():
    """The labels of no output could be mixed by what its own loss takes."""

    def loss_of(model):
        return float(ops.convert_to_numpy(model.compute_loss(X, Y, model(X))))

    def wrap(loss, labels, outputs, weight):
        seen.append(loss.name)
        return 2 * loss(labels, outputs, weight)

    model, seen, plain = linear(), [], linear()
    plain.set_weights(model.get_weights())
    for _ in range(2):
        keras_compiled.wrap_losses(model, wrap)
        twice = loss_of(model)
    assert twice == pytest.approx(2 * loss_of(plain))
    assert len(seen) == 2
    keras_compiled.wrap_losses(plain, wrap)  # which has been built
    assert loss_of(plain) == pytest.approx(twice)
    keras_compiled.wrap_losses(keras.Sequential([layers.Dense(1)]), wrap)


def test_build_state():
    """A run resumed within an epoch would lose what its metrics had counted."""
    model = linear()
    assert not model.optimizer.built
    before = len(model.metrics_variables)
    keras_private.build_state(model, (X[:2], Y[:2]))
    assert model.optimizer.built and len(model.metrics_variables) > before
    assert int(ops.convert_to_numpy(keras_compiled.step_count(model.optimizer))) == 0


@pytest.mark.parametrize("accumulate", [None, 2])
def test_step_count(accumulate):
    """A skipped step would set the schedule of the learning rate back."""
    model = linear()
    model.optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=accumulate)
    model.fit(X, Y, batch_size=2, verbose=0)
    scaled = keras.optimizers.LossScaleOptimizer(model.optimizer)
    for optimizer in (model.optimizer, scaled):
        count = keras_compiled.step_count(optimizer)
        assert isinstance(count, keras.Variable)
        assert int(ops.convert_to_numpy(count)) == 3


def test_learning_rate():
    """Records and errors would name the rate of another step."""
    optimizer = linear().optimizer
    rates = [keras_compiled.learning_rate_at(optimizer, step) for step in range(4)]
    assert rates == [0.5, 0.5, 0.25, 0.25]
    constant = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.125))
    assert keras_compiled.learning_rate_at(constant, 7) == 0.125


def test_trained_variables():
    """The L2 term of our SGD would have no weights to be taken of."""
    model = linear()
    model.optimizer.build(model.trainable_variables)
    variables = keras_compiled.trained_variables(model.optimizer)
    assert [id(v) for v in variables] == [id(v) for v in model.trainable_variables]


def test_graph():
    """Sites would go where a graph passes twice, or into a model without one."""

    class Plain(keras.Model):
        pass

    inputs = keras.Input((4,))
    once, twice = layers.Dense(4), layers.Dense(4)
    model = keras.Model(inputs, twice(once(twice(inputs))))
    sequential = keras.Sequential([keras.Input((4,)), once])
    assert keras_private.has_graph(model) and not keras_private.has_graph(Plain())
    calls = keras_private.number_of_calls
    assert (calls(model, twice), calls(model, once)) == (2, 1)
    assert calls(sequential, once) == 1 and calls(Plain(), once) == 0


def test_source():
    """A softmax at the end would be exported, and features not be found."""
    inputs = keras.Input((4,))
    shared = layers.Dense(4)
    first = shared(inputs)
    layer, sources = keras_private.source(shared(first))
    assert layer is shared and sources[0] is first
    assert keras_private.source(inputs)[1] == []


def test_nested_layers():
    """A site in a nested model would be exported."""
    inner = keras.Sequential([keras.Input((2,)), layers.Dense(3, name="deep")])
    inputs = keras.Input((2,))
    model = keras.Model(inputs, inner(inputs))
    nested = keras_private.nested_layers(model)
    assert nested[0] is model
    assert {inner, inner.get_layer("deep")} <= set(nested)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow")
@pytest.mark.parametrize("jit", [False, True])
def test_under_xla(jit):
    """PuzzleMix and corruptions under XLA would fail deep within TensorFlow."""
    import tensorflow as tf

    traced = []

    @tf.function(jit_compile=jit)
    def run(x):
        traced.append(keras_private.under_xla())
        return x + 1

    run(tf.constant(1.0))
    assert traced == [jit] and not keras_private.under_xla()


@pytest.mark.parametrize("wrapped", [False, True])
def test_accumulators(wrapped):
    weight = keras.Variable([1.0, 2.0])
    for given, expected in ((None, (0, 1)), (3, (1, 3))):
        optimizer = keras.optimizers.SGD(gradient_accumulation_steps=given)
        if wrapped:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build([weight])
        found, steps = keras_compiled.accumulators(optimizer)
        assert (len(found), steps) == expected


def test_keep_trainable():
    inputs = keras.Input((2,))
    layer = keras.layers.Dense(1)
    model = keras.Model(inputs, layer(inputs))
    model.trainable = False
    layer.trainable = True
    made = keras_compiled.keep_trainable(keras.Model(inputs, layer(inputs)), model)
    assert not made.trainable and layer.trainable
    made.trainable = True
    assert len(made.trainable_variables) == 2
