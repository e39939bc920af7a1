"""What a run needs of a GPU, seen without one: nothing in a step asks the host."""

import dataclasses

import keras
import numpy as np
import pytest
from conftest import BACKEND
from small_run import NFM, train

from nfm_keras import networks, training
from nfm_keras.mixing import schemes

MLP = dataclasses.replace(NFM, network="mlp", depth=2)
SETTINGS = {"puzzlemix": {"grids": (2, 4)}}
HOST = "puzzlemix"
"""The scheme that solves on the host: it shows that the tests below can fail."""


def model_of(scheme):
    """The compiled model of a scheme, of a small network."""
    settings = SETTINGS.get(scheme, {})
    config = dataclasses.replace(MLP, scheme=scheme, **settings)
    config, network = training.resolve(config)
    return training.compile_model(config, network, steps=4)


def batch():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, 8, 8, 1), dtype=np.uint8)
    return images, rng.integers(0, 10, 16)


def calls_the_host(model):
    """Whether an operation of a step runs in Python."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        step = tf.function(lambda *data: model.train_step(data), autograph=False)
        graph = step.get_concrete_function(*map(tf.constant, batch())).graph
        definition = graph.as_graph_def()
        nodes = [*definition.node]
        for function in definition.library.function:
            nodes += function.node_def
        return any("PyFunc" in node.op for node in nodes)
    import jax

    from nfm_keras.experiments.resident import state_of

    return "callback" in str(jax.make_jaxpr(model.train_step)(state_of(model), batch()))


@pytest.mark.backends
@pytest.mark.skipif(BACKEND == "torch", reason="no step is compiled")
@pytest.mark.parametrize("scheme", schemes.SCHEMES)
def test_a_compiled_step_never_asks_the_host(scheme):
    assert calls_the_host(model_of(scheme)) == (scheme == HOST)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="counts reads of its tensors")
def test_no_value_is_read_back_in_a_step_but_for_keras_own(monkeypatch, tmp_path):
    """Each read waits for the device. `fit` itself asks once a step for the end."""
    from tensorflow.python.framework import ops

    reads, read = [], ops._EagerTensorBase._numpy

    def counted(self):
        reads.append(self)
        return read(self)

    monkeypatch.setattr(ops._EagerTensorBase, "_numpy", counted)

    def reads_a_step(fit):
        counts = []
        for images in (2 * 64, 10 * 64):
            reads.clear()
            fit(images)
            counts.append(len(reads))
        return (counts[1] - counts[0]) / 8

    def ours(images):
        config = dataclasses.replace(MLP, limit=images, epochs=1)
        train(config, tmp_path / str(images), save_best=None)

    def plain(images):
        inputs = keras.Input((8, 8, 1))
        outputs = keras.layers.Dense(10)(keras.layers.Flatten()(inputs))
        model = keras.Model(inputs, outputs)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, metrics=["accuracy"])
        x, y = np.zeros((images, 8, 8, 1), "float32"), np.zeros(images, "int64")
        test = x[:200], y[:200]
        model.fit(x, y, batch_size=64, validation_data=test, verbose=0)

    counts = reads_a_step(ours), reads_a_step(plain)
    assert 0 < counts[0] <= counts[1]


@pytest.mark.parametrize(
    "name, precision",
    [
        ("preact_resnet18", "mixed_bfloat16"),
        ("preact_resnet18", "mixed_float16"),
        ("wide_resnet", "mixed_bfloat16"),
        pytest.param("wide_resnet", "mixed_float16", marks=pytest.mark.slow),
        ("resnet50", "mixed_bfloat16"),
        pytest.param("resnet50", "mixed_float16", marks=pytest.mark.slow),
    ],
)
def test_kernels_are_of_shapes_and_dtypes_that_tensor_cores_take(name, precision):
    """Half precision, channels in eights; not those of images and of classes."""
    keras.config.set_dtype_policy(precision)
    network = networks.build(name, (64, 64, 3), 10)
    kernels = [x for x in network.layers if hasattr(x, "kernel")]
    assert len(kernels) > 17
    first, *inner, last = kernels
    assert first.kernel.shape[2] == 3 and last.kernel.shape[-1] == 10
    for layer in (first, *inner):
        assert layer.kernel.shape[-1] % 8 == 0, layer.name
        assert layer is first or layer.kernel.shape[-2] % 8 == 0, layer.name
    for layer in inner:
        assert layer.compute_dtype == precision.removeprefix("mixed_"), layer.name
