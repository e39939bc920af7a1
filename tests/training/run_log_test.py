import io
import sys

import keras
import numpy as np
import pytest
from conftest import BACKEND
from keras import layers, ops
from PIL import Image

import nfm_keras as nfm
from nfm_keras import data
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.data import labels as metrics
from nfm_keras.evaluation.noise import parse
from nfm_keras.mixing.seen import step_draws
from nfm_keras.records import history
from nfm_keras.training.callbacks import LearningRate, NoisyAccuracy
from nfm_keras.training.tensorboard import TensorBoardLog

pytestmark = pytest.mark.backends

NAN = float("nan")
KEY = "val_accuracy_white_noise@0.5"
SPLITS = data.load("digits", limit=130)
TEST = SPLITS.test
SETTINGS = {"perturbation": "white_noise@0.5", "std": TEST.spec.std, "batch_size": 50}
STEPS, BATCH = 4, 32


class Traced(layers.Layer):
    """Counts how often it is called from Python."""

    calls = 0

    def call(self, x):
        self.calls += 1
        return x


class Kept(keras.callbacks.Callback):
    """What a callback sees in the logs, and the accuracy by other means."""

    def __init__(self):
        super().__init__()
        self.logs, self.accuracies = [], []

    def on_test_end(self, logs=None):
        self.accuracies.append(accuracy(self.model))

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append(dict(logs))


def accuracy(model):
    """The accuracy under the noise of all images as one batch."""
    noisy = parse("white_noise@0.5")(
        TEST.images, protocol="reference", std=TEST.spec.std
    )
    logits = ops.convert_to_numpy(PlainClassifier(model.classifier)(noisy))
    return metrics.hits(logits, TEST.labels).mean()


def model_of(rate=0.1, spy=None, **optimizer):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = nfm.NoisyFeatureMixup(name="site_0")(inputs)
    x = spy(x) if spy else x
    x = layers.Dense(16, activation="relu")(layers.Flatten()(x))
    x = nfm.NoisyFeatureMixup(name="site_1")(x)
    rescale = layers.Rescaling(1 / 255)
    model = nfm.NFMModel(keras.Model(inputs, layers.Dense(10)(x)), preprocess=rescale)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate, **optimizer), loss, metrics=["accuracy"])
    return model


def fit(model, callbacks, epochs=4, initial_epoch=0, **settings):
    model.fit(
        SPLITS.train.images[: STEPS * BATCH],
        SPLITS.train.labels[: STEPS * BATCH],
        batch_size=BATCH,
        epochs=epochs,
        initial_epoch=initial_epoch,
        validation_data=(TEST.images, TEST.labels),
        validation_freq=2,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
        **settings,
    )


def test_accuracy_under_noise_of_the_epochs_that_are_validated():
    kept = Kept()
    model = model_of()
    fit(model, [NoisyAccuracy(TEST.images, TEST.labels, **SETTINGS), kept])
    assert [KEY in logs for logs in kept.logs] == [False, True, False, True]
    assert [kept.logs[i][KEY] for i in (1, 3)] == pytest.approx(kept.accuracies)
    assert kept.logs[3][KEY] != kept.logs[3]["val_accuracy"]
    assert model.history.history[KEY] == [kept.logs[1][KEY], kept.logs[3][KEY]]


def test_the_averages_are_measured_where_the_validation_measures_them():
    kept, raw = Kept(), Kept()
    model = model_of(0.5, use_ema=True, ema_momentum=0.98)
    noisy = NoisyAccuracy(TEST.images, TEST.labels, **SETTINGS)
    fit(model, [noisy, kept, keras.callbacks.SwapEMAWeights(), raw])
    assert [kept.logs[i][KEY] for i in (1, 3)] == pytest.approx(kept.accuracies)
    assert abs(kept.accuracies[0] - raw.accuracies[0]) > 0.05  # swapped back by then


def test_nothing_is_traced_again():
    spy = Traced()
    model = model_of(spy=spy)
    noisy = NoisyAccuracy(TEST.images, TEST.labels, **SETTINGS)
    fit(model, [noisy], epochs=4)
    calls = spy.calls
    fit(model, [], epochs=2)  # what Keras itself traces again in each `fit`
    keras_own = spy.calls - calls
    calls = spy.calls
    fit(model, [noisy], epochs=8)
    per_epoch = 8 * STEPS + 4 * (16 + 10) if BACKEND == "torch" else 0
    assert spy.calls - calls <= (per_epoch or keras_own + 2)


def test_bad_settings_are_refused_before_training():
    with pytest.raises(ValueError, match="one of white_noise, .*Received: 'pgd@0.1'"):
        NoisyAccuracy(TEST.images, TEST.labels, "pgd@0.1")
    with pytest.raises(ValueError, match="give `std`"):
        NoisyAccuracy(TEST.images, TEST.labels)
    with pytest.raises(ValueError, match="must lie in \\[0,1\\]"):
        NoisyAccuracy(TEST.images.astype("float32"), TEST.labels, std=[0.3])


def test_the_learning_rate_is_that_of_the_last_step_of_the_epoch():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay
    kept = Kept()
    # The third epoch's first step is number 8.
    fit(model_of(schedule([2 * STEPS - 1], [0.5, 0.25])), [LearningRate(), kept])
    assert [logs["learning_rate"] for logs in kept.logs] == [0.5, 0.5, 0.25, 0.25]
    kept = Kept()
    fit(model_of(0.125), [LearningRate(), kept], epochs=1)
    assert kept.logs[0]["learning_rate"] == 0.125


def test_a_history_comes_back_from_its_table(tmp_path):
    path = tmp_path / "history.csv"
    measured = {
        KEY: [NAN, 0.1],
        "val_loss": [NAN, NAN],  # diverged in the second epoch
        "loss": [1 / 3, NAN],
        "learning_rate": [0.1, 1e-7],
        "seconds": [1.5, 2.5],
    }
    history.write_history(path, measured)
    assert path.read_text() == (
        "epoch,seconds,learning_rate,loss,val_accuracy_white_noise@0.5,val_loss\n"
        "1,1.5,0.1,0.3333333333333333,,\n2,2.5,1e-07,nan,0.1,nan\n"
    )
    found = history.read_history(path)
    assert found.keys() == measured.keys()
    for name, values in measured.items():
        np.testing.assert_array_equal(found[name], values)
    assert [p.name for p in tmp_path.iterdir()] == ["history.csv"]
    history.write_history(path, {})
    assert history.read_history(path) == {}


def test_a_broken_history_is_refused(tmp_path):
    path = tmp_path / "history.csv"
    with pytest.raises(ValueError, match="Received: {'a': 1, 'b': 2}"):
        history.write_history(path, {"a": [1.0], "b": [1.0, 2.0]})
    assert not path.exists()
    for text in ("", "loss\n1\n", "epoch,loss\n1,0.5\n1,0.5\n", "epoch,loss\n2,0.5\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match="the epochs 1, 2, 3"):
            history.read_history(path)
    for text in ("epoch,loss\n1,x\n", "epoch,loss\n1\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match="a number, or nothing"):
            history.read_history(path)


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "history.csv"
    history.write_history(path, {"loss": [1.0]})

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        history.write_history(path, {"loss": [1.0, 2.0]})
    assert history.read_history(path) == {"loss": [1.0]}
    assert [p.name for p in tmp_path.iterdir()] == ["history.csv"]


def events_of(folder):
    """What TensorBoard itself reads."""
    module = "tensorboard.backend.event_processing.plugin_event_accumulator"
    accumulator = pytest.importorskip(module)
    kept = {name: 100 for name in ("scalars", "images", "histograms")}
    events = accumulator.EventAccumulator(str(folder), tensor_size_guidance=kept)
    return events.Reload()


def arrays(events, name):
    from tensorboard.util import tensor_util

    return {
        event.step: tensor_util.make_ndarray(event.tensor_proto)
        for event in events.Tensors(name)
    }


def scalars(events, name):
    return {step: float(array) for step, array in arrays(events, name).items()}


def test_tensorboard_has_logs_draws_and_images(tmp_path):
    pytest.importorskip("tensorboard")
    asked = []

    def first_batch(epoch):
        asked.append(epoch)
        return SPLITS.train.images[:BATCH], SPLITS.train.labels[:BATCH]

    def log():
        return TensorBoardLog(tmp_path, STEPS, BATCH, first_batch)

    kept, model = Kept(), model_of()
    noisy = NoisyAccuracy(TEST.images, TEST.labels, **SETTINGS)
    fit(model, [noisy, LearningRate(), log(), kept])
    assert asked == [0, 2]  # at first, and after a validation
    fit(model, [noisy, LearningRate(), log(), kept], epochs=5, initial_epoch=4)
    events = events_of(tmp_path)
    for name in ("loss", "mixed_accuracy", "learning_rate", KEY, "val_accuracy"):
        logged = {e + 1: logs[name] for e, logs in enumerate(kept.logs) if name in logs}
        assert scalars(events, name) == pytest.approx(logged), name
    sites, lam = step_draws(model, BATCH)(range(5 * STEPS))
    means = np.mean(lam.reshape(5, STEPS), axis=1)
    assert [*scalars(events, "mixing/lam_mean").values()] == pytest.approx(means)
    shares = np.mean(sites.reshape(5, STEPS) == 1, axis=1)
    assert [*scalars(events, "mixing/share/site_1").values()] == pytest.approx(shares)
    for name in ("mixing/site", "mixing/lam"):
        counts = {k: h[:, 2].sum() for k, h in arrays(events, name).items()}
        assert counts == {step: STEPS for step in range(1, 6)}
    images = arrays(events, "mixing/images")
    assert [*images] == [0, 2, 4]
    width, height, png = images[0]
    assert Image.open(io.BytesIO(png)).size == (int(width), int(height))


def test_what_is_written_again_replaces_what_was(tmp_path):
    pytest.importorskip("tensorboard")
    for epochs, first in ((3, 0), (3, 1)):  # killed after the third, went on from one
        log = TensorBoardLog(tmp_path, STEPS, BATCH)
        fit(model_of(), [log], epochs=epochs, initial_epoch=first)
    losses = events_of(tmp_path).Tensors("loss")
    assert [event.step for event in losses] == [1, 2, 3]


def test_without_tensorboard_the_error_says_what_to_install(monkeypatch, tmp_path):
    for name in [n for n in sys.modules if n.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        TensorBoardLog(tmp_path, STEPS, BATCH)
    assert not list(tmp_path.iterdir())


def test_a_run_without_mixing_has_no_draws(tmp_path):
    pytest.importorskip("tensorboard")
    model = model_of()
    model.mixing = nfm.Mixing(alpha=0.0, sigma_add=0.0, sigma_mult=0.0)
    fit(model, [TensorBoardLog(tmp_path, STEPS, BATCH)], epochs=1)
    tags = events_of(tmp_path).Tags()["tensors"]
    assert "loss" in tags and not [tag for tag in tags if "mixing" in tag]
