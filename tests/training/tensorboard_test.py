import io
import sys

import numpy as np
import pytest
from callbacks_test import (
    BATCH,
    KEY,
    SETTINGS,
    SPLITS,
    STEPS,
    TEST,
    Kept,
    fit,
    model_of,
)
from PIL import Image

import nfm_keras as nfm
from nfm_keras.mixing.seen import step_draws
from nfm_keras.training.callbacks import LearningRate, NoisyAccuracy
from nfm_keras.training.tensorboard import TensorBoardLog

pytestmark = pytest.mark.backends


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


@pytest.mark.slow
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
