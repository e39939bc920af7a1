import keras
import numpy as np
import pytest
from conftest import BACKEND

import nfm_keras as nfm
from nfm_keras.networks import blocks, preact_resnet


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def preact_resnet18_parameters(width, classes):
    """The published definition, summed by hand."""
    channels = width
    count = 27 * channels
    for filters, first_stride in zip(
        (width, 2 * width, 4 * width, 8 * width), (1, 2, 2, 2)
    ):
        for stride in (first_stride, 1):
            count += 2 * channels + 2 * filters  # two batch norms
            count += 9 * channels * filters + 9 * filters * filters
            if stride != 1 or channels != filters:
                count += channels * filters
            channels = filters
    return count + channels * classes + classes


@pytest.mark.parametrize(
    "width, classes, millions",
    [(1.0, 10, 11.17), (2.0, 10, 44.6), (2.0, 100, 44.6)],
    ids=["preact_resnet18", "wide_resnet18", "wide_resnet18_cifar100"],
)
def test_published_parameter_counts(width, classes, millions):
    model = nfm.networks.build("preact_resnet18", (32, 32, 3), classes, width=width)
    assert trainable(model) == preact_resnet18_parameters(int(64 * width), classes)
    assert trainable(model) / 1e6 == pytest.approx(millions, rel=0.005)
    assert nfm.find_sites(model) == ["site_0", "site_1", "site_2", "site_3"]


def test_sites_see_the_shapes_of_the_paper():
    model = nfm.networks.build("preact_resnet18", (32, 32, 3), 10, width=0.25)
    shapes = [layer.output.shape[1:] for layer in nfm.site_layers(model)]
    assert shapes == [(32, 32, 3), (32, 32, 16), (16, 16, 32), (8, 8, 64)]


@pytest.mark.backends
@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1)])
def test_small_resnet_takes_small_images(shape):
    model = nfm.networks.build("small_resnet", shape, 10)
    assert model(np.zeros((2, *shape), "float32")).shape == (2, 10)
    assert nfm.find_sites(model) == ["site_0", "site_1", "site_2"]


@pytest.mark.backends
def test_mlp_has_a_site_before_every_layer_but_the_last():
    model = nfm.networks.build("mlp", (2,), 2)
    assert nfm.find_sites(model) == ["site_0", "site_1", "site_2", "site_3"]
    assert model(np.zeros((3, 2), "float32")).shape == (3, 2)


def test_network_normalises_inside():
    options = {"mean": (0.2, 0.4, 0.6), "std": (0.1, 0.2, 0.3)}
    model = nfm.networks.build("preact_resnet18", (8, 8, 3), 10, width=0.1, **options)
    x = np.random.default_rng(0).random((4, 8, 8, 3), "float32")
    site = keras.Model(model.input, model.get_layer("site_0").output)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(site(x)),
        (x - options["mean"]) / options["std"],
        atol=1e-5,
    )


@pytest.mark.backends
def test_identity_skip_carries_the_preactivation_unless_told_otherwise():
    """One block whose convolutions are 0 is its skip: relu(bn(x)), or x."""
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
    for skip, expected in (("preact", np.maximum(x, 0)), ("input", x)):
        inputs = keras.Input((4, 4, 3))
        block = preact_resnet._block(inputs, 3, 1, skip, "block")
        model = keras.Model(inputs, block)
        model.get_layer("block_conv2").set_weights([np.zeros((3, 3, 3, 3))])
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(model(x)), expected, rtol=1e-4, atol=1e-6
        )
    with pytest.raises(ValueError, match="`identity_skip` must be"):
        nfm.networks.build("small_resnet", (8, 8, 1), 10, identity_skip="x")


@pytest.mark.backends
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_fused_batch_norm_is_the_plain_layer(dtype, jit):
    """Outputs, gradients and moving statistics, over three steps."""
    x = 3 * np.random.default_rng(0).normal(size=(6, 5, 5, 4)).astype("float32") + 1
    y = np.random.default_rng(1).normal(size=x.shape).astype("float32")
    results = []
    for layer in (
        blocks.BatchNormalization(dtype=dtype),
        keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=dtype),
    ):
        model = keras.Sequential([keras.Input(x.shape[1:]), layer])
        model.compile("sgd", "mse", jit_compile=jit)
        losses = model.fit(x, y, batch_size=6, epochs=3, verbose=0).history["loss"]
        results.append((losses, *layer.get_weights(), model.predict(x, verbose=0)))
    tolerance = 1e-5 if dtype == "float32" else 2e-2
    for fused, plain in zip(*results, strict=True):
        np.testing.assert_allclose(fused, plain, rtol=tolerance, atol=tolerance)


def test_fused_batch_norm_weights_load_into_the_plain_layer():
    ours, plain = blocks.BatchNormalization(), keras.layers.BatchNormalization()
    for layer in (ours, plain):
        layer.build((None, 4, 4, 3))
    plain.set_weights([w + 1 for w in ours.get_weights()])
    ours.set_weights(plain.get_weights())
    names = [[w.name for w in layer.weights] for layer in (ours, plain)]
    assert names[0] == names[1]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the kernel is TensorFlow's")
def test_training_uses_the_fused_kernel():
    import tensorflow as tf

    layer = blocks.BatchNormalization()
    layer.build((None, 4, 4, 3))
    graph = tf.function(lambda x: layer(x, training=True)).get_concrete_function(
        tf.TensorSpec((2, 4, 4, 3))
    )
    assert "FusedBatchNormV3" in {op.type for op in graph.graph.get_operations()}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("preact", (8, 8, 1), 10), "Unknown network.*Received: 'preact'"),
        (("mlp", (2,), 2, 0.0), "`width` must be positive. Received: width=0.0"),
    ],
)
def test_bad_networks_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        nfm.networks.build(*arguments)
