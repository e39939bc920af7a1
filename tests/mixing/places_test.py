"""Sites inside of layers and wrappers, and places that some path goes around."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

import nfm_keras as nfm

pytestmark = pytest.mark.backends

X = np.random.default_rng(0).normal(size=(8, 6, 4)).astype("float32")


class Block(layers.Layer):
    """A dense layer and a site, as somebody writes them."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.parts = [layers.Dense(4), nfm.NoisyFeatureMixup(name="site")]

    def build(self, shape):
        self.parts[0].build(shape)

    def call(self, x):
        return self.parts[1](self.parts[0](x))

    def compute_output_shape(self, shape):
        return shape


@keras.saving.register_keras_serializable(package="places_test")
class Recurrent(layers.SimpleRNN):
    """A recurrent layer that mixes what comes in."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.site = nfm.NoisyFeatureMixup(name="site")

    def call(self, sequences, initial_state=None, mask=None, training=False):
        given = {"initial_state": initial_state, "mask": mask, "training": training}
        return super().call(self.site(sequences), **given)


def part():
    site = nfm.NoisyFeatureMixup(name="site")
    return keras.Sequential([keras.Input((4,)), layers.Dense(4), site], name="part")


def subclassed():
    class Network(keras.Model):
        def __init__(self):
            super().__init__(name="network")
            self.block, self.head = Block(name="block"), layers.Dense(4)

        def call(self, x):
            return self.head(self.block(x))

    return Network()


HELD = {
    "a layer": (lambda: Block(name="block"), "block/site"),
    "a wrapper": (
        lambda: layers.TimeDistributed(nfm.NoisyFeatureMixup(name="site"), name="each"),
        "each/site",
    ),
    "a layer in a wrapper": (
        lambda: layers.TimeDistributed(Block(name="block"), name="each"),
        "each/block/site",
    ),
    "a model in a wrapper": (
        lambda: layers.TimeDistributed(part(), name="each"),
        "each/part/site",
    ),
    "a recurrent layer": (
        lambda: Recurrent(4, return_sequences=True, name="recurrent"),
        "recurrent/site",
    ),
    "a model in code": (subclassed, "network/block/site"),
}


def around(layer, steps=6):
    inputs = keras.Input((steps, 4))
    x = layers.GlobalAveragePooling1D()(layer(inputs))
    return keras.Model(inputs, layers.Dense(3, name="head")(x))


@pytest.mark.parametrize("steps", [6, None])
@pytest.mark.parametrize("holder", HELD)
def test_a_site_is_found_and_mixes_wherever_it_is_held(holder, steps):
    make, path = HELD[holder]
    model = around(make(), steps)
    assert nfm.find_sites(model) == [path]
    mixing = nfm.Mixing(sigma_add=0, sigma_mult=0, sites=path)
    trained = nfm.NFMModel(model, mixing)
    draw = mixing.draw(0, 0, len(X), 1)._replace(lam=0.0)
    plain = ops.convert_to_numpy(model(X))
    with nfm.mixing_scope(mixing, draw, trained.site_layers):
        swapped = ops.convert_to_numpy(model(X))
    partner = ops.convert_to_numpy(draw.partner)
    np.testing.assert_allclose(swapped, plain[partner], atol=1e-5)
    assert np.abs(plain[partner] - plain).max() > 0.1
    np.testing.assert_array_equal(ops.convert_to_numpy(trained.classifier(X)), plain)


def test_a_held_site_trains():
    model = nfm.NFMModel(around(Block(name="block")), nfm.Mixing(noise="gaussian"))
    model.compile("sgd", "mse")
    assert np.isfinite(model.fit(X, X[:, 0, :3], verbose=0).history["loss"][0])


def test_a_site_that_is_called_and_not_found_is_named():
    class Hidden(layers.Layer):
        def __init__(self):
            super().__init__()
            site = nfm.NoisyFeatureMixup(name="hidden")
            self.function = lambda x: site(x)

        def call(self, x):
            return self.function(x)

    inputs = keras.Input((4,))
    x = nfm.NoisyFeatureMixup(name="seen")(Hidden()(inputs))
    model = nfm.NFMModel(keras.Model(inputs, layers.Dense(2)(x)))
    model.compile("sgd", "mse", run_eagerly=True)
    with pytest.raises(ValueError, match="'hidden', which is called but not found"):
        model.fit(X[:, 0], X[:, 0, :2], verbose=0)


def test_two_sites_of_one_path_or_one_site_at_two_are_refused():
    def model(*blocks):
        inputs = x = keras.Input((4,))
        for number, block in enumerate(blocks):
            holder = layers.TimeDistributed(block, name=f"each{number}")
            x = layers.Flatten()(holder(layers.Reshape((1, 4))(x)))
        return keras.Model(inputs, x)

    shared = nfm.NoisyFeatureMixup(name="site")
    with pytest.raises(ValueError, match="one layer as 'each0/site' and as 'each1/"):
        nfm.find_sites(model(shared, shared))
    twins = Block(name="block")
    twins.parts.append(nfm.NoisyFeatureMixup(name="site"))
    with pytest.raises(ValueError, match="'each0/block/site' twice"):
        nfm.find_sites(model(twins))


def residual():
    inputs = keras.Input((4,), name="data")
    x = layers.Dense(4, name="stem")(inputs)
    y = layers.Dense(4, name="branch")(x)
    x = layers.Add(name="sum")([layers.Dense(4, name="last")(y), x])
    return keras.Model(
        inputs, layers.Dense(2, name="head")(layers.ReLU(name="relu")(x))
    )


def within():
    inputs = keras.Input((4,))
    x = residual()
    x.name = "inner"
    return keras.Model(inputs, layers.Dense(2, name="outer")(x(inputs)))


def skip_past_a_model():
    inputs = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="d")], name="m")
    x = layers.Add(name="sum")([inner(inputs), inputs])
    return keras.Model(inputs, layers.Dense(2)(x))


def two_outputs():
    inputs = keras.Input((4,))
    x = layers.Dense(4, name="shared")(inputs)
    y = layers.Dense(4, name="deep")(x)
    return keras.Model(inputs, [layers.Dense(2)(x), layers.Dense(2)(y)])


def two_inputs():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    x = layers.Dense(4, name="of_a")(a)
    return keras.Model([a, b], layers.Dense(2)(layers.Add(name="sum")([x, b])))


# Model, place, where those that went around come in and a place near by; None if good.
PLACES = {
    "stem": (residual, "stem", None),
    "branch": (residual, "branch", ("'sum'", "sum")),
    "end of a branch": (residual, "last", ("'sum'", "sum")),
    "sum": (residual, "sum", None),
    "input": (residual, "input", None),
    "branch within": (within, "inner/branch", ("'inner/sum'", "inner/sum")),
    "sum within": (within, "inner/sum", None),
    "past a model": (skip_past_a_model, "m/d", ("'sum'", "sum")),
    "the model passed": (skip_past_a_model, "m", ("'sum'", "sum")),
    "into a model passed": (skip_past_a_model, "m/input", ("'sum'", "sum")),
    "into a model": (within, "inner/input", None),
    "one of two outputs": (two_outputs, "deep", ("the outputs", "shared")),
    "both outputs": (two_outputs, "shared", None),
    "one of two inputs": (two_inputs, "of_a", None),
}


@pytest.mark.parametrize("case", PLACES)
def test_a_place_that_a_path_goes_around_is_refused(case):
    build, place, wrong = PLACES[case]
    if wrong is None:
        assert len(nfm.find_sites(nfm.insert_sites(build(), place))) == 1
        return
    joint, near = wrong
    message = f"'{place}' come together at {joint} .*near by is '{near}'.*: after="
    with pytest.raises(ValueError, match=message):
        nfm.insert_sites(build(), [place])
    nfm.insert_sites(build(), [near])
    model = nfm.insert_sites(build(), [place], allow_bypass=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nfm.NFMModel(model)


def own_residual(together=False, **settings):
    inputs = keras.Input((4,))
    x, y = inputs, layers.Dense(4)(inputs)
    site = nfm.NoisyFeatureMixup(name="site", **settings)
    x, y = site([x, y]) if together else (x, site(y))
    return keras.Model(inputs, layers.Dense(2)(layers.Add(name="sum")([x, y])))


def test_a_site_of_ones_own_that_a_path_goes_around_is_warned_of():
    with pytest.warns(UserWarning, match="around the site 'site' .* at 'sum'"):
        nfm.NFMModel(own_residual())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nfm.NFMModel(own_residual(), nfm.Mixing(alpha=0))  # noise may go anywhere
        nfm.NFMModel(own_residual(together=True))
        model = nfm.NFMModel(own_residual(allow_bypass=True))
        nfm.NFMModel.from_config(model.get_config())


def test_a_site_that_leaves_an_input_as_it_is_is_warned_of():
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    x = layers.Add(name="sum")([layers.Dense(4, name="left")(a), layers.Dense(4)(b)])
    model = keras.Model([a, b], layers.Dense(2)(x))
    for place in ("left", "a"):
        with pytest.warns(UserWarning, match=r"inputs \['b'\] unmixed, not the label"):
            nfm.NFMModel(model, sites=[place])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nfm.NFMModel(model, sites=["input"])
        nfm.NFMModel(model, sites=["sum"])
        nfm.NFMModel(model, nfm.Mixing(alpha=0), sites=["left"])


def test_the_two_ways_of_a_bidirectional_layer_are_warned_of():
    model = around(
        layers.Bidirectional(Recurrent(4, return_sequences=True, name="r"), name="both")
    )
    with pytest.warns(UserWarning, match="'both/.*_r/site' .* at 'both'") as caught:
        nfm.NFMModel(model)
    said = "".join(str(warning.message) for warning in caught)
    assert "'both/forward_r/site'" in said and "'both/backward_r/site'" in said
