import keras
import pytest
from conftest import BACKEND
from keras import layers, ops

import nfm_keras as nfm
from nfm_keras import data
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.data import hits
from nfm_keras.evaluation.noise import parse
from nfm_keras.training.callbacks import (
    LearningRate,
    NoisyAccuracy,
    TimeLeft,
    progress_callbacks,
)

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
    return hits(logits, TEST.labels).mean()


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
        **{"verbose": 0} | settings,
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


def test_the_time_left_is_that_of_the_epochs_so_far(monkeypatch, capsys):
    clock = iter([0.0, 10.0, 10.0, 50.0, 230.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    callback = TimeLeft(epochs=8, steps=4)
    for steps, epochs in ((1, (2,)), (4, (3, 4))):  # goes on at the last step of one
        callback.set_params({"steps": steps})
        callback.on_train_begin()
        for epoch in epochs:
            callback.on_epoch_end(epoch)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "epoch 3/8 done, 3 min left",
        "epoch 4/8 done, 3 min left",
        "epoch 5/8 done, 6 min left",
    ]


def test_the_bar_calls_what_test_images_measure_test(capsys):
    model = model_of()
    for verbose, on, name in ((1, "test", "test_"), (2, "validation", "val_")):
        fit(model, progress_callbacks(2, 4, on), epochs=2, verbose=verbose)
        shown = capsys.readouterr().out
        assert f"{name}loss" in shown and f"{name}accuracy" in shown
        assert ("val_" in shown) == (name == "val_")
        assert shown.count("Epoch 2/2") == 1  # Keras adds no bar of its own
