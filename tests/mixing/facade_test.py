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
    x = layers.Activation("linear", name="both")(Sum()(first, second))
    plain = keras.Model([first, second], layers.Dense(2)(x))
    model = nfm.NFMModel(plain, sites=["both"])
    model.compile("sgd", "mse")
    fitted = model.fit([None, X], np.zeros((8, 2)), verbose=0)
    assert np.isfinite(fitted.history["loss"][0])
    for given in ([None, X], [X, X]):
        found, expected = model.classifier(given), plain(given)
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (found, expected)))


def test_a_batch_trained_on_gives_its_numbers_in_the_order_of_compile():
    """Named `mixed_...` they stand in the order of their names else."""
    model = nfm.NFMModel(network(), sites=["first"])
    model.compile("sgd", "mse", metrics=["mse", "mae"])
    y = np.ones((8, 2), "float32")
    logs = model.train_on_batch(X, y, return_dict=True)
    assert logs.keys() == {"loss", "mixed_mse", "mixed_mae"}
    values = model.train_on_batch(X, y)
    expected = model.get_metrics_result()
    expected = [float(expected[k]) for k in ("loss", "mse", "mae")]
    assert list(map(float, values)) == pytest.approx(expected)
    assert expected[1] != pytest.approx(expected[2])


def test_a_frozen_part_with_sites_inside_can_be_thawed():
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="first"), layers.Dense(2)], name="base"
    )
    inner.trainable = False
    inputs = keras.Input((4,))
    plain = keras.Model(inputs, layers.Dense(2)(inner(inputs)))
    model = nfm.NFMModel(plain, sites=["base/first"])
    assert len(model.trainable_variables) == 2
    assert not model.get_layer("base").trainable
    inner.get_layer("first").trainable = True
    assert model.classifier and inner.get_layer("first").trainable  # nothing is set
    model.get_layer("base").trainable = True
    assert len(model.trainable_variables) == 6


def test_inputs_go_to_the_network_as_they_are_whatever_the_policy():
    """In half precision 1001 is 1000, and the row of another word would be trained."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        inputs = keras.Input((1,))
        x = layers.Flatten()(layers.Embedding(1010, 2, name="words")(inputs))
        plain = keras.Model(inputs, layers.Dense(2, dtype="float32")(x))
    finally:
        keras.config.set_dtype_policy(policy)
    model = nfm.NFMModel(plain, QUIET, sites=["words"])
    assert model.dtype_policy.name == "mixed_bfloat16"
    model.compile(keras.optimizers.SGD(1.0), "mse")
    words, labels = (
        np.array([[1001.0], [1003.0]], "float32"),
        np.ones((2, 2), "float32"),
    )
    table = model.get_layer("words")
    before = table.get_weights()[0]
    model.fit(words, labels, verbose=0)
    changed = np.flatnonzero(np.any(table.get_weights()[0] != before, axis=1))
    assert changed.tolist() == [1001, 1003]
    np.testing.assert_array_equal(
        model.predict(words, verbose=0), model.classifier.predict(words, verbose=0)
    )


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_it_trains_in_any_type_that_keras_may_be_set_to(dtype):
    keras.config.set_floatx(dtype)
    try:
        model = nfm.NFMModel(network(), sites=["first"], scheduled=True)
        model.compile("sgd", "mse")
        log = model.fit(X, np.ones((8, 2), dtype), verbose=0).history
    finally:
        keras.config.set_floatx("float32")
    assert np.isfinite(log["loss"]).all()


def test_a_preprocess_to_another_range_is_refused_where_it_would_be_left_out():
    inputs = keras.Input((8, 8, 1))
    outputs = layers.Dense(2)(layers.Flatten(name="flat")(inputs))
    network_ = keras.Model(inputs, outputs)
    scaling = layers.Rescaling(1 / 127.5, offset=-1)
    images = np.zeros((4, 8, 8, 1), "uint8")
    for known in (None, layers.Rescaling(1 / 255), layers.RandomFlip()):
        model = nfm.NFMModel(network_, preprocess=known, sites=["flat"])
        nfm.evaluate(model, (images, np.zeros(4, int)), ["clean"], from_logits=True)
    model = nfm.NFMModel(network_, preprocess=scaling, sites=["flat"])
    with pytest.raises(ValueError, match="first layer.*leads to -1 to 1"):
        nfm.evaluate(model, (images, np.zeros(4, int)), ["clean"])
    with pytest.raises(ValueError, match="clips.*leads to -1 to 1"):
        technique = schemes.technique("adversarial")
        nfm.NFMModel(network_, preprocess=scaling, technique=technique)


def test_a_model_in_a_model_has_its_own_preprocess():
    """What the technique of the outer one prepared is the input of that one alone."""
    inputs = keras.Input((8, 8, 1))
    plain = keras.Model(inputs, layers.Flatten(name="flat")(inputs))
    inner = nfm.NFMModel(plain, QUIET, preprocess=layers.Rescaling(0.0), sites=["flat"])
    outer = keras.Model(inputs, layers.Dense(1, use_bias=False)(inner(inputs)))
    model = nfm.NFMModel(outer, technique=CUTTING[0])
    model.compile("sgd", "mse")
    images, labels = np.ones((4, 8, 8, 1), "float32"), np.full((4, 1), 3, "float32")
    assert model.train_on_batch(images, labels) == 9.0


@pytest.mark.parametrize("technique", CUTTING, ids=lambda t: type(t).__name__)
def test_images_with_their_channels_first_are_not_cut(technique):
    inputs = keras.Input((3, 8, 8))
    plain = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(inputs)))
    keras.config.set_image_data_format("channels_first")
    try:
        model = nfm.NFMModel(plain, technique=technique)
        model.compile("sgd", "mse", run_eagerly=BACKEND != "jax")
        with pytest.raises(ValueError, match="channels_first.*Received: shape"):
            model.fit(np.zeros((2, 3, 8, 8)), np.zeros((2, 2)), verbose=0)
    finally:
        keras.config.set_image_data_format("channels_last")
