"""Weights that are there already: which are taken, which learn, and how fast."""

import sys

import keras
import numpy as np
import pytest

import nfm_keras as nfm
from nfm_keras import networks, training
from nfm_keras.mixing.sites import remove_sites
from nfm_keras.training import optimizers
from nfm_keras.training.weights.files import initialise
from nfm_keras.training.weights.layers import freeze, rate_factors

VGG = "applications/vgg16"  # few layers, and so quick


def arrays(variables):
    return [np.array(v) for v in variables]


@pytest.mark.parametrize("kind", ["keras", "npz", "weights.h5"])
def test_the_last_layer_stays_new_for_other_classes(tmp_path, capsys, kind):
    first, network = networks.mlp((8, 8, 1), 10), networks.mlp((8, 8, 1), 3)
    path = tmp_path / f"first.{kind}"
    if kind == "keras":
        first.save(path)
    elif kind == "weights.h5":
        remove_sites(first).save_weights(path)
    else:
        names = [f"{i:03}" for i in range(len(first.weights))]
        np.savez(path, **dict(zip(names, first.get_weights())))
    head = arrays(network.layers[-1].weights)
    initialise(network, path)
    for one, other in zip(first.layers[:-1], network.layers[:-1]):
        for expected, received in zip(arrays(one.weights), arrays(other.weights)):
            np.testing.assert_array_equal(expected, received)
    np.testing.assert_array_equal(head[0], arrays(network.layers[-1].weights)[0])
    assert f"{path} has 10 classes" in capsys.readouterr().err


def test_a_last_layer_counts_as_such_with_an_activation_behind_or_where_it_lacks(
    tmp_path, capsys
):
    def network(classes):
        image = keras.Input((4, 4, 1))
        x = keras.layers.Dense(5)(keras.layers.Flatten()(image))
        features = keras.Model(image, x)
        x = keras.layers.Dense(classes, name="logits")(x)
        return keras.Model(image, keras.layers.Activation("linear")(x)), features

    (first, features), (other, _) = network(3), network(4)
    first.save(tmp_path / "first.keras")
    features.save(tmp_path / "features.keras")
    for file, words in (("first", "3 classes"), ("features", "none")):
        initialise(other, tmp_path / f"{file}.keras")
        assert f"{file}.keras has {words}" in capsys.readouterr().err
        for expected, received in zip(features.weights, other.weights[:2]):
            np.testing.assert_array_equal(np.array(expected), np.array(received))
        other.set_weights([0 * weight for weight in other.get_weights()])


@pytest.mark.slow
def test_published_weights_of_efficientnet_give_the_features_that_keras_computes(
    tmp_path, monkeypatch
):
    """They hold deviations for variances, and Keras adds a layer for them."""
    shape = (32, 32, 3)
    source = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=shape
    )
    rng = np.random.default_rng(0)
    for variable in source.weights:
        if "moving_variance" in variable.path:
            variable.assign(rng.uniform(0.01, 0.05, variable.shape))
    deviations = np.float32([0.229, 0.224, 0.225])
    (normalization,) = [
        layer
        for layer in source.layers
        if isinstance(layer, keras.layers.Normalization)
    ]
    means = np.float32([0.485, 0.456, 0.406])
    normalization.set_weights([means, deviations, np.int32(0)])
    path = tmp_path / "published.h5"
    source.save(path)
    module = sys.modules["keras.src.applications.efficientnet"]
    monkeypatch.setattr(module.file_utils, "get_file", lambda *_, **__: str(path))
    published = keras.applications.EfficientNetB0(include_top=False, input_shape=shape)
    network = networks.build("applications/efficientnet_b0", shape, 3)
    initialise(network, path)
    images = rng.uniform(size=(4, *shape)).astype("float32")
    expected = np.mean(published.predict(255 * images, verbose=0), (1, 2))
    (backbone,) = [one for one in network.layers if one.name == "backbone"]
    features = keras.Sequential([keras.Input(shape), backbone])
    received = np.mean(features.predict(255 * images, verbose=0), (1, 2))
    np.testing.assert_allclose(received, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_a_backbone_takes_weights_without_a_head(tmp_path, capsys, kind):
    published = keras.applications.VGG16(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    path = tmp_path / f"vgg16.{kind}"
    published.save(path)
    network = networks.build(VGG, (32, 32, 3), 512)
    initialise(network, path)
    network.layers[-1].set_weights([np.eye(512), np.zeros(512)])
    images = np.random.default_rng(0).uniform(size=(2, 32, 32, 3)).astype("float32")
    own = keras.applications.vgg16.preprocess_input(255 * images)
    expected = published.predict(own, verbose=0).mean((1, 2))
    np.testing.assert_allclose(
        network.predict(images, verbose=0),
        expected,
        atol=1e-4 * float(np.max(np.abs(expected))),
    )
    assert f"{path} has none" in capsys.readouterr().err


def test_a_backbones_file_is_not_for_other_networks(tmp_path):
    (tmp_path / "some.h5").write_bytes(b"")
    with pytest.raises(ValueError, match="goes into a backbone"):
        initialise(networks.mlp((8, 8, 1), 3), tmp_path / "some.h5")


def fitted(network, optimizer, images, labels):
    before = arrays(network.trainable_variables)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizer, loss)
    network.fit(images, labels, verbose=0)  # one step, or a layer moves the others
    return [b - a for a, b in zip(before, arrays(network.trainable_variables))]


@pytest.mark.backends
@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_a_stage_moves_by_its_part_of_the_rate(name):
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(8, 4)), np.arange(8) % 3
    moves = []
    for decay in (1.0, 0.5):
        keras.utils.set_random_seed(1)
        network = networks.mlp((4,), 3, depth=2)
        factors = rate_factors(network, decay)
        optimizer = optimizers.build(
            name, 1e-3, weight_decay=0.1, rate_factors=factors if decay < 1 else None
        )
        moves.append(fitted(network, optimizer, images, labels))
    parts = [0.25, 0.25, 0.5, 0.5, 1.0, 1.0]
    for full, slowed, part in zip(*moves, parts, strict=True):
        size = np.max(np.abs(full))
        np.testing.assert_allclose(slowed, part * full, atol=1e-3 * size)


def test_what_is_frozen_does_not_move():
    network = networks.mlp((8, 8, 1), 3)
    freeze(network, ["dense"])
    frozen = arrays(network.non_trainable_variables)
    moved = fitted(network, "sgd", np.ones((8, 8, 8, 1)), np.arange(8) % 3)
    for one, other in zip(frozen, arrays(network.non_trainable_variables)):
        np.testing.assert_array_equal(one, other)
    assert all(np.any(move) for move in moved) and len(moved) == 2
    model = networks.build(VGG, (32, 32, 3), 3)
    freeze(model, ["backbone/"])
    assert [v.path for v in model.trainable_variables] == [
        "logits/kernel",
        "logits/bias",
    ]


def held_and_branching():
    """Layers that hold a site, a shortcut, and variables of a model with a graph."""

    class Block(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = keras.layers.Dense(4, use_bias=False, name="dense")
            self.site = nfm.NoisyFeatureMixup(name="site")

        def call(self, x):
            return self.site(self.dense(x))

    class Scaled(keras.Model):
        def __init__(self, name):
            image = keras.Input((4,))
            x = keras.layers.Dense(4, use_bias=False, name="inner")(image)
            super().__init__(image, x, name=name)
            self.scale = self.add_weight(shape=(4,), name="scale")

    image = keras.Input((4,))
    x = Scaled("scaled")(Block(name="first")(image))
    x = Block(name="second")(x)
    skip = keras.layers.Dense(4, use_bias=False, name="skip")(x)
    x = keras.layers.Dense(4, use_bias=False, name="branch")(x)
    x = keras.layers.Add()([x, skip])
    return keras.Model(image, keras.layers.Dense(3, use_bias=False, name="logits")(x))


@pytest.mark.backends
def test_sites_within_layers_are_borders_and_a_models_own_variables_count():
    network = held_and_branching()
    freeze(network, ["logits"])
    factors = rate_factors(network, 0.5)
    assert {v.path: factors.get(id(v), 1.0) for v in network.trainable_variables} == {
        "first/dense/kernel": 0.125,
        "scaled/scale": 0.25,
        "inner/kernel": 0.25,
        "second/dense/kernel": 0.25,
        "branch/kernel": 0.5,
        "skip/kernel": 0.5,
    }
    freeze(network, ["scaled/"])
    paths = [v.path for v in network.trainable_variables]
    assert "scaled/scale" not in paths and "inner/kernel" not in paths
    assert len(paths) == 4


@pytest.mark.parametrize(
    "prefixes, words",
    [(["dens_1"], "Did you mean 'dense_1'"), (["dense", "logits"], "leave a layer")],
)
def test_what_cannot_be_frozen_is_named(prefixes, words):
    with pytest.raises(ValueError, match=words):
        freeze(networks.mlp((8, 8, 1), 3), prefixes)


@pytest.mark.parametrize("settings", [{"layer_decay": 0.0}, {"layer_decay": 1.5}])
def test_a_decay_that_is_none_is_refused(settings):
    with pytest.raises(ValueError, match="layer_decay"):
        training.Config(**settings)
    with pytest.raises(ValueError, match="swa_epochs"):
        training.Config(layer_decay=0.5, ema=True)
