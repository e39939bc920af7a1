import functools

import keras
import numpy as np
import pytest
from conftest import BACKEND, JITS, slow_but
from keras import ops

import nfm_keras as nfm
from nfm_keras.networks import blocks, preact_resnet, resnet


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def stages(width, *numbers):
    return [(width * 2**i, number) for i, number in enumerate(numbers)]


# Name, input side, classes, width; parameters; number of sites; the twin. Without
# the biases of its convolutions WRN-28-10 has the 36,479,194 of Zagoruyko's code;
# the ResNets' numbers are those of PyTorch's model zoo.
PUBLISHED = [
    (
        ("preact_resnet18", 32, 10, 1.0),
        (11_171_146, 4),
        ("PreActResNet", stages(64, 2, 2, 2, 2)),
    ),
    (
        ("preact_resnet18", 32, 100, 2.0),
        (44_749_540, 4),
        ("PreActResNet", stages(128, 2, 2, 2, 2)),
    ),
    (("wide_resnet28_10", 32, 10, 1.0), (36_489_290, 3), ("WideResNet", 28, 10)),
    (("wide_resnet", 32, 10, 10), (36_489_290, 3), ("WideResNet", 28, 10)),
    (
        ("resnet50", 224, 1000, 1.0),
        (25_557_032, 4),
        ("ResNet", stages(64, 3, 4, 6, 3)),
    ),
    (
        ("resnet101", 224, 1000, 1.0),
        (44_549_160, 4),
        ("ResNet", stages(64, 3, 4, 23, 3)),
    ),
    (("vit_lite7_4", 32, 10, 1.0), (3_716_874, 7), ("ViTLite", 32, 7, 4, 256)),
]
published = pytest.mark.parametrize(
    "network, numbers, twin",
    PUBLISHED,
    ids=[f"{name}x{width}" for (name, *_, width), _, _ in PUBLISHED],
)


@published
def test_published_networks_have_their_parameters_and_sites(network, numbers, twin):
    name, side, classes, width = network
    with keras.StatelessScope(initialize_variables=False):  # shapes alone
        model = nfm.networks.build(name, (side, side, 3), classes, width=width)
    assert (trainable(model), len(nfm.find_sites(model))) == numbers
    assert nfm.find_sites(model) == [f"site_{i}" for i in range(numbers[1])]
    assert model.output_shape == (None, classes)


@published
def test_twins_are_the_published_networks(network, numbers, twin):
    twins = pytest.importorskip("twins", reason="needs PyTorch")
    kind, *arguments = twin
    make = functools.partial(getattr(twins, kind), 3, network[2], *arguments)
    assert twins.parameters(make) == numbers[0]


# A small network of each family: how to build it, for which samples, and its twin.
SMALL = {
    "preact_resnet": (
        functools.partial(preact_resnet.preact_resnet, stages=stages(4, 2, 1)),
        (8, 12, 3),
        ("PreActResNet", stages(4, 2, 1)),
    ),
    "input_skip": (
        functools.partial(preact_resnet.small_resnet, identity_skip="input"),
        (8, 8, 1),
        ("PreActResNet", stages(16, 1, 1, 1), "input"),
    ),
    "wide_resnet": (
        functools.partial(nfm.networks.wide_resnet, width=2, depth=16),
        (8, 12, 3),
        ("WideResNet", 16, 2),
    ),
    "resnet": (
        functools.partial(resnet.resnet, stages=stages(4, 2, 1)),
        (32, 24, 3),
        ("ResNet", stages(4, 2, 1)),
    ),
    "vit_lite": (
        functools.partial(nfm.networks.vit_lite, width=1 / 16, depth=3, patch_size=2),
        (8, 8, 3),
        ("ViTLite", 8, 3, 2, 16),
    ),
    "mlp": (
        functools.partial(nfm.networks.build, "mlp", depth=3),
        (2,),
        ("MLP", 3, 64),
    ),
}
small = pytest.mark.parametrize("name", SMALL)


@pytest.mark.backends
@small
def test_same_weights_give_the_logits_of_the_published_definition(name):
    twins = pytest.importorskip("twins", reason="needs PyTorch")
    builder, shape, (kind, *arguments) = SMALL[name]
    model, twin = builder(shape, 10), getattr(twins, kind)(shape[-1], 10, *arguments)
    twins.share_weights(model, twin)
    x = normal((4, *shape))
    expected = twins.logits(twin, x)
    assert expected.std() > 0.1
    np.testing.assert_allclose(numpy(model(x)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.backends
@small
def test_every_site_carries_the_whole_features(name):
    """Whichever site swaps the features of two samples, their logits are swapped."""
    builder, shape, _ = SMALL[name]
    model, x = builder(shape, 10), normal((4, *shape))
    mixing, layers = nfm.Mixing(sigma_add=0, sigma_mult=0), nfm.site_layers(model)
    plain, partner = numpy(model(x)), np.array([2, 0, 3, 1], "int32")
    for site in range(len(layers)):
        draw = mixing.draw(0, 0, len(x), len(layers))
        draw = draw._replace(site=site, lam=0.0, partner=partner)
        with nfm.mixing_scope(mixing, draw, layers):
            swapped = numpy(model(x))
        np.testing.assert_allclose(swapped, plain[partner], rtol=1e-4, atol=1e-5)
    assert np.abs(plain[partner] - plain).max() > 1e-3


@small
def test_sites_are_silent_at_inference(name):
    builder, shape, _ = SMALL[name]
    model, x = builder(shape, 10), normal((4, *shape))
    plain = nfm.remove_sites(model)
    assert not nfm.find_sites(plain)
    np.testing.assert_array_equal(numpy(model(x)), numpy(plain(x)))


# As small as they get, since a step is compiled. XLA takes longest, and the
# transformer is the one with layers that no other test compiles with it.
TINY = {
    "wide_resnet": {"depth": 10, "width": 0.25},
    "resnet": {"stages": stages(4, 1, 1)},
    "vit_lite": {"depth": 2, "width": 1 / 16, "stochastic_depth": 0.5},
}


@pytest.mark.backends
@pytest.mark.parametrize("name", slow_but("vit_lite", TINY))
def test_a_compiled_step_in_mixed_precision_reaches_every_weight(name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    builder = resnet.resnet if name == "resnet" else getattr(nfm.networks, name)
    network = builder((8, 8, 3), 10, **TINY[name])
    model = nfm.NFMModel(network, nfm.Mixing(1.0, 0, 0, sites=["site_1"]))
    model.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=JITS[-1 if name == "vit_lite" else 0],
    )
    before = {v.path: numpy(v) for v in model.trainable_variables}
    x, y = normal((16, 8, 8, 3)), np.arange(16) % 10
    (loss,) = model.fit(x, y, batch_size=16, verbose=0).history["loss"]
    assert 1 < loss < 10
    for variable in model.trainable_variables:
        assert "float32" in str(variable.dtype)
        assert np.abs(numpy(variable) - before[variable.path]).max() > 0, variable.path
    logits = network(x)
    assert "float32" in str(logits.dtype) and np.isfinite(numpy(logits)).all()


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
        numpy(site(x)),
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
        np.testing.assert_allclose(numpy(model(x)), expected, rtol=1e-4, atol=1e-6)
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


@pytest.mark.backends
def test_mlp_learns_the_two_circles_of_the_paper():
    from sklearn.datasets import make_circles

    x, y = make_circles(500, factor=0.05, noise=0.3, random_state=0)
    x = x.astype("float32")
    model = nfm.NFMModel(nfm.networks.build("mlp", (2,), 2, dropout=0.2))
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(x[:300], y[:300], batch_size=50, epochs=10, verbose=0)
    guess = numpy(model.classifier(x[300:])).argmax(-1)
    assert np.mean(guess == y[300:]) > 0.8


@pytest.mark.backends
def test_vit_lite_is_saved_whole(tmp_path):
    builder, shape, _ = SMALL["vit_lite"]
    model, x = builder(shape, 10), normal((4, *shape))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(numpy(loaded(x)), numpy(model(x)))
    assert loaded.get_layer("block1_attention").dropout.rate == 0.1


def test_vit_lite_drops_branches_more_the_deeper_they_are():
    model = nfm.networks.vit_lite((8, 8, 1), 10, 1 / 16, depth=3, stochastic_depth=0.4)
    rates = [x.rate for x in model.layers if isinstance(x, blocks.SavedDropout)]
    assert rates == [0.2, 0.2, 0.4, 0.4]


@pytest.mark.backends
def test_stochastic_depth_drops_whole_samples():
    layer = blocks.SavedDropout(0.25, noise_shape=(None, 1, 1))
    kept = numpy(layer(np.ones((400, 3, 2), "float32"), training=True))
    np.testing.assert_array_equal(kept, np.broadcast_to(kept[:, :1, :1], kept.shape))
    np.testing.assert_allclose(np.unique(kept), [0, 4 / 3], rtol=1e-6)
    assert abs(np.mean(kept > 0) - 0.75) < 0.1


@pytest.mark.backends
def test_dropout_goes_on_where_it_was_saved(tmp_path):
    x, path = np.ones((4, 50), "float32"), tmp_path / "model.weights.h5"
    model, resumed = (
        keras.Sequential([keras.Input((50,)), blocks.SavedDropout(0.5)])
        for _ in range(2)
    )
    model(x, training=True)
    model.save_weights(path)
    expected = numpy(model(x, training=True))
    resumed.load_weights(path)
    np.testing.assert_array_equal(numpy(resumed(x, training=True)), expected)
    assert np.abs(numpy(model(x, training=True)) - expected).max() > 0


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        (("preact", (8, 8, 1), 10), {}, "Unknown network.*Received: 'preact'"),
        (("mlp", (2,), 2, 0.0), {}, "`width` must be .* above 0. Received: 0.0"),
        (("mlp", (2,), 2), {"depth": 0}, "`depth` must be a positive integer.*: 0"),
        (
            ("mlp", (2,), 2),
            {"dropout": 1.0},
            "`dropout` must be .*below 1. .*: 1.0",
        ),
        (("resnet50", (32, 32, 3), 2, float("nan")), {}, "`width` must be .*: nan"),
        (("resnet50", (8,), 2), {}, "`input_shape` must be .height.*=.8,."),
        (("wide_resnet", (8, 8, 3), 2), {"depth": 18}, "`depth` must be 6n.*=18"),
        (
            ("wide_resnet", (8, 8, 3), 2),
            {"depth": 4},
            "`depth` must be .* 10 or more.*: 4",
        ),
        (("wide_resnet", (8, 8, 3), 2), {"depth": 16.0}, "`depth` must be an int"),
        (("wide_resnet28_10", (8, 8, 3), 2), {"dropout": -1}, "`dropout` must be"),
        (("wide_resnet28_10", (8, 8, 3), 2), {"depth": 16}, "must have the options"),
        (("vit_lite7_4", (30, 32, 3), 2), {}, "`patch_size` must divide.*=4.*30"),
        (("vit_lite7_4", (32, 32, 3), 2), {"depth": 6}, "must have the options"),
        (("vit_lite7_4", (32, 32), 2), {}, "`input_shape` must be"),
        (("vit_lite", (None, 32, 3), 2), {}, "`patch_size` must divide.*None"),
        (("vit_lite", (32, 32, 3), 2), {"patch_size": 0}, "`patch_size` must be a"),
        (("vit_lite", (32, 32, 3), 2), {"depth": True}, "`depth` must be a positive"),
        (("vit_lite", (8, 8, 3), 2), {"stochastic_depth": 1}, "`stochastic_depth`"),
        (("vit_lite", (8, 8, 3), 2), {"attention_dropout": 2}, "`attention_dropout`"),
    ],
)
def test_bad_networks_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        nfm.networks.build(*arguments, **options)


def test_channels_first_is_refused_whatever_the_network():
    """Its rows would be taken for channels."""
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="channels last.*Received: 'channels_fir"):
            nfm.networks.build("small_resnet", (8, 8, 1), 10)
    finally:
        keras.config.set_image_data_format("channels_last")
