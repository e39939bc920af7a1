import keras
import numpy as np
import pytest

import nfm_keras as nfm
from nfm_keras.networks import plain_vit, resnet
from nfm_keras.networks.vision_transformer import SelfAttention

pytestmark = pytest.mark.backends


@pytest.fixture
def tiny(monkeypatch):
    """A third of the blocks, which a step is traced through."""
    monkeypatch.setattr(plain_vit, "DEPTH", 4)
    return plain_vit.vit_s16((32, 48, 3), 5, width=1 / 16)


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_it_has_the_published_parameters_and_its_sites():
    with keras.StatelessScope(initialize_variables=False):
        model = nfm.networks.build("vit_s16", (224, 224, 3), 1000)
    assert model.count_params() == 21_974_632
    assert nfm.find_sites(model) == [f"site_{i}" for i in range(4)]
    shapes = [layer.output.shape for layer in nfm.site_layers(model)]
    assert shapes == [(None, 224, 224, 3), *[(None, 196, 384)] * 3]


def test_it_starts_undecided_and_every_weight_is_reached(tiny):
    model = tiny
    assert np.abs(keras.ops.convert_to_numpy(model(normal((2, 32, 48, 3))))).max() == 0
    whole = nfm.NFMModel(model, nfm.Mixing(sites=["site_2"]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    whole.compile(keras.optimizers.SGD(0.5), loss)
    before = model.get_weights()
    images, labels = np.abs(normal((8, 32, 48, 3))) % 1, np.arange(8) % 5
    whole.fit(images, labels, batch_size=4, epochs=2, verbose=0)
    still = [
        weight.path
        for weight, old in zip(model.weights, before)
        if np.array_equal(keras.ops.convert_to_numpy(weight), old)
    ]
    assert all(path.endswith("qkv/bias") for path in still)


def test_attention_with_biases_is_that_of_keras():
    ours = SelfAttention(2, use_bias=True, kernel_initializer="glorot_uniform")
    theirs = keras.layers.MultiHeadAttention(2, 4)
    x = normal((3, 5, 8))
    ours(x), theirs(x, x)
    kernel, bias = normal((8, 24), 1), normal((24,), 2)
    out, last = normal((8, 8), 3), normal((8,), 4)
    ours.set_weights([kernel, bias, out, last])
    split = [
        values.reshape(shape)
        for k, b in zip(np.split(kernel, 3, 1), np.split(bias, 3))
        for values, shape in ((k, (8, 2, 4)), (b, (2, 4)))
    ]
    theirs.set_weights([*split, out.reshape(2, 4, 8), last])
    a, b = (keras.ops.convert_to_numpy(y) for y in (ours(x), theirs(x, x)))
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_positions_are_sines_of_column_and_row():
    table = plain_vit.positions(3, 4, 16).reshape(3, 4, 16)
    omega = 10_000.0 ** -(np.arange(4) / 3)
    np.testing.assert_allclose(table[1, 2, :4], np.sin(2 * omega), rtol=1e-6)
    np.testing.assert_allclose(table[1, 2, 4:8], np.cos(2 * omega), rtol=1e-6)
    np.testing.assert_allclose(table[1, 2, 8:12], np.sin(omega), rtol=1e-6)
    np.testing.assert_allclose(table[1, 2, 12:], np.cos(omega), rtol=1e-6)
    with pytest.raises(ValueError, match="multiple of 4. Received: 6"):
        plain_vit.positions(2, 2, 6)


def test_it_is_saved_and_loaded(tiny, tmp_path):
    model = nfm.remove_sites(tiny)
    model.layers[-1].set_weights([normal((24, 5)), normal((5,))])
    model.save(tmp_path / "vit.keras")
    again, x = nfm.load_model(tmp_path / "vit.keras"), normal((2, 32, 48, 3))
    a, b = (keras.ops.convert_to_numpy(m(x)) for m in (model, again))
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    assert np.abs(a).max() > 0.01


def test_zero_init_starts_every_block_as_the_identity():
    stages = [(4, 2), (8, 1)]
    model = resnet.resnet((32, 32, 3), 10, stages, zero_init=True)
    last = [layer for layer in model.layers if layer.name.endswith("_3_norm")]
    assert len(last) == 3
    x = normal((2, 32, 32, 3))
    inner = keras.Model(
        model.input,
        [model.get_layer(f"stage1_block{i}_out").output for i in (1, 2)],
    )
    first, second = (keras.ops.convert_to_numpy(y) for y in inner(x))
    np.testing.assert_array_equal(first, second)  # a block on a ReLU's output
    plain = resnet.resnet((32, 32, 3), 10, stages)
    assert plain.count_params() == model.count_params()
    config = nfm.training.Config(network="resnet50", zero_init=True)
    assert config.to_json()["zero_init"] is True


@pytest.mark.parametrize(
    "name, side, message",
    [
        ("resnet50", 16, "at least 17 pixels a side. Received: .*16, 16, 3"),
        ("vit_s16", 40, "`patch_size` must divide .*patch_size=16.*40, 40, 3"),
    ],
)
def test_images_too_small_for_a_network_are_refused(name, side, message):
    with pytest.raises(ValueError, match=message):
        nfm.networks.build(name, (side, side, 3), 10)


@pytest.mark.parametrize("width", [0.05, 0.3])
def test_any_width_leaves_room_for_positions_in_every_head(width, monkeypatch):
    monkeypatch.setattr(plain_vit, "DEPTH", 4)
    model = plain_vit.vit_s16((32, 16, 3), 5, width=width)
    assert model(normal((1, 32, 16, 3))).shape == (1, 5)
    size = model.get_layer("patches").filters
    assert size % 12 == 0 and abs(size - 384 * width) <= 6
