import keras
import numpy as np
import pytest
from keras import layers, ops

import nfm_keras as nfm

pytestmark = pytest.mark.backends

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def mlp():
    inputs = keras.Input((4,), name="features")
    x = layers.Dense(8, activation="relu", name="first")(inputs)
    x = layers.Dense(8, activation="relu", name="second")(x)
    return keras.Model(inputs, layers.Dense(3, name="last")(x), name="mlp")


def nested():
    backbone = mlp()
    inputs = keras.Input((4,))
    x = backbone(inputs)
    return keras.Model(inputs, layers.Dense(2, name="head")(x))


def unet():
    inputs = keras.Input((8, 8, 1))
    down = layers.Conv2D(4, 3, padding="same", name="down")(inputs)
    low = layers.Conv2D(4, 3, 2, padding="same", name="low")(down)
    up = layers.UpSampling2D(name="up")(low)
    x = layers.Concatenate(name="join")([down, up])  # a skip across the sites
    return keras.Model(inputs, layers.Conv2D(1, 1, name="mask")(x))


def text():
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    x = layers.Embedding(20, 5, name="embedding")(tokens)
    return keras.Model(tokens, layers.Dense(2)(layers.Flatten()(x)))


def two_inputs():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    return keras.Model({"a": a, "b": b}, layers.Add()([a, b]))


CASES = {
    "mlp": (mlp, ["input", "first", "second"], ["input", "first", "second"]),
    "any_order": (mlp, ["second", "first"], ["first", "second"]),
    "nested": (nested, ["backbone/first"], None),
    "unet": (unet, ["down", "low", "join"], ["down", "low", "join"]),
    "text": (text, ["embedding"], ["embedding"]),
    "two_inputs": (two_inputs, ["input"], ["input"]),
    "input_by_name": (mlp, ["features"], ["features"]),
}


def batch(model):
    rng = np.random.default_rng(0)

    def one(x):
        shape = (6, *x.shape[1:])
        if "int" in str(x.dtype):
            return rng.integers(0, 20, shape)
        return rng.normal(size=shape).astype("float32")

    return keras.tree.map_structure(one, model.input)


def predict(model, x):
    return ops.convert_to_numpy(model(x))


@pytest.mark.parametrize("case", CASES)
def test_inserting_and_removing_sites_leaves_weights_and_outputs_alone(case):
    build, after, expected = CASES[case]
    plain = build()
    if case == "nested":
        after, expected = ["mlp/first", "head"], ["mlp/site_first", "site_head"]
    else:
        expected = [f"site_{name}" for name in expected]
    x = batch(plain)
    before = predict(plain, x)
    # The U-Net has a place that its skip goes around.
    mixed = nfm.insert_sites(plain, after, allow_bypass=case == "unet")
    assert nfm.find_sites(mixed) == expected
    assert nfm.find_sites(plain) == []
    np.testing.assert_array_equal(predict(mixed, x), before)
    removed = nfm.remove_sites(mixed)
    assert nfm.find_sites(removed) == []
    np.testing.assert_array_equal(predict(removed, x), before)
    for a, b, c in zip(plain.weights, mixed.weights, removed.weights, strict=True):
        assert a is b is c


@pytest.mark.parametrize("case", [c for c in CASES if c != "nested"])
def test_every_inserted_site_reaches_the_output(case):
    """The site is on the only path: with its features zeroed the outputs change."""
    build, after, _ = CASES[case]
    model = nfm.insert_sites(build(), after, allow_bypass=case == "unet")
    x = batch(model)
    mixing = nfm.Mixing(alpha=0.0, sigma_add=3.0, noise="gaussian")
    sites = nfm.site_layers(model)
    for index in range(len(sites)):
        draw = mixing.draw(0, 0, 6, len(sites))._replace(
            site=ops.convert_to_tensor(index)
        )
        with nfm.mixing_scope(mixing, draw, sites):
            assert not np.allclose(
                predict(model, x), predict(nfm.remove_sites(model), x)
            )


def test_applications_network_takes_sites():
    plain = keras.applications.MobileNetV2(
        (32, 32, 3), alpha=0.35, weights=None, classes=5
    )
    mixed = nfm.insert_sites(
        plain, ["input", "block_3_expand_relu", "block_6_project_BN"]
    )
    assert len(nfm.find_sites(mixed)) == 3
    x = np.random.default_rng(0).random((2, 32, 32, 3), "float32")
    np.testing.assert_array_equal(predict(mixed, x), predict(plain, x))


def test_a_sequential_model_takes_sites():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="only")])
    assert nfm.find_sites(nfm.insert_sites(model, ["input", "only"])) == [
        "site_input",
        "site_only",
    ]


def test_a_sequential_model_may_hold_sites():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            nfm.NoisyFeatureMixup(name="first"),
            layers.Dense(3),
            nfm.NoisyFeatureMixup(name="second"),
        ]
    )
    assert nfm.find_sites(model) == ["first", "second"]
    inputs = keras.Input((4,))
    outer = keras.Model(inputs, layers.Dense(2)(model(inputs)))
    assert nfm.find_sites(outer) == [f"{model.name}/first", f"{model.name}/second"]
    for held in (model, outer):
        plain = nfm.NFMModel(held).classifier
        assert nfm.find_sites(plain) == []
        np.testing.assert_array_equal(predict(plain, X), predict(held, X))


@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_a_subclassed_model_may_hold_sites():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.site = nfm.NoisyFeatureMixup(name="own")

        def call(self, x):
            return self.site(x)

    model = nfm.NFMModel(Subclassed(), nfm.Mixing(noise="gaussian"))
    model.compile("sgd", "mse")
    history = model.fit(X, X, verbose=0).history
    assert nfm.find_sites(model) == ["own"] and history["loss"][0] > 0.01
    with pytest.raises(ValueError, match="Sites need a functional model"):
        model.classifier  # noqa: B018


def shared_layer():
    inputs = keras.Input((4,))
    dense = layers.Dense(4, name="shared")
    return keras.Model(inputs, dense(dense(inputs)))


def shared_site():
    inputs = keras.Input((4,))
    site = nfm.NoisyFeatureMixup(name="twice")
    return keras.Model(inputs, site(layers.Dense(4)(site(inputs))))


@pytest.mark.parametrize(
    "build, after, message",
    [
        (mlp, ["frist"], "No layer of that name.*'first'.*Received: 'frist'"),
        (mlp, ["first", "first"], r"different names.*\['first'\] twice"),
        (mlp, [], "non-empty"),
        (mlp, ["first/second"], "'first' must be a nested functional model"),
        (nested, ["mlp/frist"], "No layer of that name.*Received: 'mlp/frist'"),
        (shared_layer, ["shared"], "'shared', which is called 2 times"),
    ],
)
def test_bad_sites_are_refused(build, after, message):
    with pytest.raises(ValueError, match=message):
        nfm.insert_sites(build(), after)


def test_other_bad_models_are_refused():
    with pytest.raises(ValueError, match="'twice', which is called 2 times"):
        nfm.find_sites(shared_site())
    with pytest.raises(ValueError, match="Received: Sequential"):
        nfm.insert_sites(keras.Sequential([layers.Dense(2)]), ["dense"])
    with pytest.raises(ValueError, match="Received: a_string|Received: str"):
        nfm.insert_sites("a_string", ["dense"])
    with pytest.raises(ValueError, match="No site of that name.*'site_first'"):
        nfm.site_layers(nfm.insert_sites(mlp(), ["first"]), ["site_frist"])
