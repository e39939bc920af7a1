"""What holds for every scheme, through `fit`."""

import functools

import keras
import numpy as np
import pytest
from conftest import BACKEND, JITS, QUICK, slow_but
from keras import layers

import nfm_keras as nfm
from nfm_keras.backend import keras_private
from nfm_keras.mixing import schemes
from nfm_keras.mixing.techniques.base import Batch, Technique
from nfm_keras.mixing.techniques.losses import SmoothedCrossentropy

pytestmark = pytest.mark.backends

RNG = np.random.default_rng(0)
N = 32
LABELS = np.arange(N) % 3
IMAGES = RNG.integers(0, 90, (N, 8, 8, 3), dtype=np.uint8)
IMAGES[np.arange(N), :, :, LABELS] += 120
SETTINGS = {
    "puzzlemix": {"grids": (2, 4), "attack_probability": 0.5, "clean_lam": 0.5},
    "adversarial": {"attack_steps": 2},
}
TECHNIQUES = [name for name, row in schemes.SCHEMES.items() if row.technique]
IN_GRAPH = [name for name in schemes.SCHEMES if name != "puzzlemix"]


def model_of(scheme, seed=0, **kwargs):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = nfm.NoisyFeatureMixup(name="site_0")(inputs)
    x = layers.AveragePooling2D(4)(x)
    x = layers.BatchNormalization(momentum=0.5)(layers.Flatten()(x))
    x = nfm.NoisyFeatureMixup(name="site_1")(layers.Dense(8, activation="relu")(x))
    model = nfm.NFMModel(
        keras.Model(inputs, layers.Dense(3)(x)),
        schemes.mixing(scheme, ["site_0", "site_1"]),
        seed=seed,
        preprocess=layers.Rescaling(1 / 255),
        technique=schemes.technique(scheme, **SETTINGS.get(scheme, {})),
    )
    smoothing = schemes.lookup(scheme).label_smoothing
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss = SmoothedCrossentropy(smoothing) if smoothing else loss
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"], **kwargs)
    return model


def fit(model, epochs=1, labels=LABELS):
    return model.fit(
        IMAGES, labels, batch_size=16, epochs=epochs, shuffle=False, verbose=0
    ).history


@functools.cache
def first_loss(scheme, jit=QUICK):
    """Of an epoch. Compiling takes the time: several tests look at one."""
    return fit(model_of(scheme, jit_compile=jit))["loss"][0]


@functools.cache
def trained(scheme):
    """A model, what it was before it was trained, and its losses."""
    model = model_of(scheme)
    before = model.evaluate(IMAGES, LABELS, verbose=0)
    return model, before, fit(model, epochs=8)["loss"]


@pytest.mark.parametrize("scheme", slow_but("nfm cutmix noisymix", schemes.SCHEMES))
def test_training_lowers_the_loss_of_clean_images(scheme):
    model, before, losses = trained(scheme)
    after, accuracy = model.evaluate(IMAGES, LABELS, verbose=0)
    assert after < before[0] and accuracy > 0.6
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("scheme", slow_but("cutmix", TECHNIQUES))
def test_steps_are_functions_of_seed_and_step(scheme, tmp_path):
    """A run that is saved and loaded on its way goes on as if left alone."""
    model = model_of(scheme)
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.technique == model.technique and loaded.mixing == model.mixing
    assert fit(loaded)["loss"] == fit(model)["loss"]
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="compiled with XLA or not")
@pytest.mark.parametrize("scheme", slow_but("nfm", IN_GRAPH))
def test_what_does_not_leave_the_graph_runs_under_xla(scheme):
    losses = [first_loss(scheme, jit) for jit in JITS]
    assert losses == pytest.approx([losses[0]] * len(losses), rel=1e-3)


@pytest.mark.parametrize("scheme", slow_but("cutmix", ["cutmix", "adversarial"]))
def test_integer_and_one_hot_labels_give_the_same_loss(scheme):
    integer = first_loss(scheme)
    model = model_of(scheme)
    model.compile(keras.optimizers.SGD(0.1), keras.losses.CategoricalCrossentropy(True))
    one_hot = fit(model, labels=np.eye(3, dtype="float32")[LABELS])["loss"][0]
    assert one_hot == pytest.approx(integer, rel=1e-4)


def test_evaluation_and_prediction_are_those_of_the_classifier():
    model = trained("cutmix")[0]
    expected = model.classifier.predict(IMAGES / np.float32(255), verbose=0)
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), expected, atol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a graph that made variables")
def test_a_step_is_traced_once(monkeypatch):
    """Though Keras leaves the variables of optimiser and metrics to the first one."""
    traced = []
    step = nfm.NFMModel.train_step
    spy = lambda *args: traced.append(1) or step(*args)  # noqa: E731
    monkeypatch.setattr(nfm.NFMModel, "train_step", spy)
    model = model_of("erm")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    fit(model, epochs=2)
    assert len(traced) == 1


def test_a_step_whose_variables_cannot_be_made_before_it_makes_them(monkeypatch):
    def fails(model, batch):
        raise ValueError("No tensor of unknown rank.")

    monkeypatch.setattr(keras_private, "build_state", fails)
    assert np.isfinite(fit(model_of("erm"))["loss"]).all()


def test_a_technique_of_ones_own_is_one_method():
    """It sees images after `preprocess`, which then is not applied again."""

    class Darker(Technique):
        def prepare(self, model, images, labels, draw):
            return Batch(0.5 * self.as_images(images), draw)

    losses = []
    for technique, images in ((Darker(), IMAGES), (None, 0.5 * IMAGES)):
        model = model_of("erm", run_eagerly=BACKEND == "tensorflow")
        model.technique = technique
        history = model.fit(images, LABELS, batch_size=N, shuffle=False, verbose=0)
        losses.append(history.history["loss"][0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("technique", [None, "cutmix"])
def test_a_random_preprocess_acts_in_training_alone_and_anew_each_step(technique):
    inputs = keras.Input((8, 8, 3))
    network = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(inputs)))
    noise = layers.GaussianNoise(0.5, seed=1)
    model = nfm.NFMModel(
        nfm.insert_sites(network, ["input"]),
        nfm.Mixing(1e3, 0, 0, beta=1e-8),  # lam is 1: nothing is mixed
        preprocess=keras.Sequential([layers.Rescaling(1 / 255), noise]),
        technique=technique and schemes.technique(technique),
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    eager = BACKEND == "tensorflow"
    model.compile(keras.optimizers.SGD(0.0), loss, run_eagerly=eager)
    losses = {float(model.train_on_batch(IMAGES, LABELS)) for _ in range(3)}
    clean = float(model.test_on_batch(IMAGES, LABELS))
    assert len(losses) == 3 and min(abs(loss - clean) for loss in losses) > 1e-4
    found = model.predict(IMAGES, verbose=0)
    expected = model.classifier.predict(IMAGES / np.float32(255), verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_tables_are_refused():
    inputs = keras.Input((5,))
    network = keras.Model(inputs, layers.Dense(3)(inputs))
    model = nfm.NFMModel(network, technique=schemes.technique("cutmix"))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="CutMix must be given images.*\\(5,\\)"):
        model.fit(np.zeros((4, 5)), np.zeros((4, 3)), verbose=0)
