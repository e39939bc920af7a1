"""An `NFMModel` is to its user the model that it wraps."""

import keras
import numpy as np
import pytest
from conftest import BACKEND
from keras import layers, ops

import nfm_keras as nfm
from nfm_keras.mixing import schemes

pytestmark = pytest.mark.backends

QUIET = nfm.Mixing(0.0, 0.0, 0.0)
X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")


def network():
    inputs = keras.Input((4,), name="data")
    x = layers.BatchNormalization(name="norm")(layers.Dense(3, name="first")(inputs))
    return keras.Model(inputs, layers.Dense(2, name="last")(x), name="network")


def test_it_answers_as_the_model_inside():
    plain = network()
    model = nfm.NFMModel(plain, sites=["first"])
    assert (model.input_shape, model.output_shape) == ((None, 4), (None, 2))
    assert [x.name for x in model.inputs] == ["data"] and len(model.outputs) == 1
    assert model.count_params() == plain.count_params()
    assert model.get_layer("last") is plain.get_layer("last")
    assert model.get_layer("site_first").name == "site_first"
    assert [a is b for a, b in zip(model.weights, plain.weights, strict=True)]
    lines = []
    model.summary(print_fn=lambda text, **_: lines.append(text))
    for text in ("\n".join(lines), repr(model)):
        assert "network" in text and "site_first" in text and "alpha=1.0" in text


@pytest.mark.parametrize("seed", [None, 1.5, "1", True], ids=repr)
def test_a_seed_that_is_no_integer_is_refused_when_made(seed):
    with pytest.raises(ValueError, match="`seed` must be an integer.*Received: seed="):
        nfm.NFMModel(network(), sites=["first"], seed=seed)
    with pytest.raises(ValueError, match="`mixing` must be a Mixing"):
        nfm.NFMModel(network(), "mixup", sites=["first"])
    assert nfm.NFMModel(network(), sites=["first"], seed=np.int64(3)).seed == 3


def test_weights_that_are_restored_leave_the_step_alone():
    model = nfm.NFMModel(network(), sites=["first"])
    model.compile("sgd", "mse")
    stop = keras.callbacks.EarlyStopping(
        "loss", min_delta=1e9, patience=1, restore_best_weights=True
    )
    best = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: best.append(model.get_weights())
    )
    fitted = model.fit(X, X[:, :2], 4, epochs=9, verbose=0, callbacks=[note, stop])
    steps = 2 * len(fitted.history["loss"])
    assert int(ops.convert_to_numpy(model.step.value)) == steps == 4
    for now, then in zip(model.get_weights(), best[0], strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="SavedModel is its format")
def test_export_is_that_of_the_classifier(tmp_path):
    import tensorflow as tf

    model = nfm.NFMModel(network(), sites=["first"])
    model.compile("sgd", "mse")
    model.fit(X, X[:, :2], verbose=0)
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    found = loaded.serve(X)
    np.testing.assert_allclose(found, model.predict(X, verbose=0), atol=1e-6)


def of_images(*first):
    rest = nfm.NoisyFeatureMixup(), layers.Flatten(), layers.Dense(2)
    return keras.Sequential([keras.Input((16, 16, 1)), *first, *rest])


CUTTING = schemes.technique("cutmix"), schemes.technique("puzzlemix")


@pytest.mark.parametrize("technique", CUTTING, ids=lambda t: type(t).__name__)
def test_noise_that_would_not_be_added_is_refused(technique):
    network = of_images()
    assert nfm.NFMModel(network, technique=technique).mixing.sigma_add == 0
    with pytest.raises(ValueError, match="adds no noise.*Received: sigma_add=0.4"):
        nfm.NFMModel(network, nfm.Mixing(), technique=technique)
    # One that was saved before this was refused had none either.
    config = nfm.NFMModel(network, technique=technique).get_config()
    config["mixing"] |= {"sigma_add": 0.4}
    assert nfm.NFMModel.from_config(config).mixing.sigma_add == 0


@pytest.mark.parametrize("scheme", ["adversarial", "noisymix"])
def test_images_that_would_be_clipped_are_refused(scheme):
    technique = schemes.technique(scheme)
    scaling = layers.Rescaling(1 / 255)
    with pytest.raises(
        ValueError, match="clips images to .0, 1.*preprocess=.*Received"
    ):
        nfm.NFMModel(of_images(scaling), QUIET, technique=technique)
    nfm.NFMModel(of_images(), QUIET, technique=technique, preprocess=scaling)
    nfm.NFMModel(of_images(scaling), QUIET, technique=CUTTING[0])


def test_a_name_that_is_no_sites_is_refused_whatever_else_is_given():
    for technique in (None, schemes.technique("adversarial")):
        mixing = nfm.Mixing(0.0, 0.0, 0.0, sites=("sight",))
        with pytest.raises(ValueError, match="No site of that name.*'sight'"):
            nfm.NFMModel(of_images(), mixing, technique=technique)


class Sum(layers.Layer):
    """The sum of two inputs, of which the first may be missing."""

    def call(self, first, second):
        return second if first is None else first + second

    def compute_output_shape(self, first_shape, second_shape):
        return second_shape


def test_an_optional_input_may_be_left_out():
    first, second = keras.Input((4,), name="a", optional=True), keras.Input((4,))
    x = nfm.NoisyFeatureMixup()(Sum()(first, second))
    model = nfm.NFMModel(keras.Model([first, second], layers.Dense(2)(x)))
    model.compile("sgd", "mse")
    fitted = model.fit([None, X], np.zeros((8, 2)), verbose=0)
    assert np.isfinite(fitted.history["loss"][0])
