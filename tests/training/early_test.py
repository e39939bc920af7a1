"""A step that is compiled while the images are read leaves no trace in a run."""

import dataclasses
import threading

import keras
import numpy as np
import pytest
from conftest import BACKEND, slow_but
from small_run import NFM, train

from nfm_keras import data
from nfm_keras.data import from_config, loading
from nfm_keras.mixing.model import NFMModel
from nfm_keras.training import distribution, early

pytestmark = pytest.mark.backends
MLP = dataclasses.replace(NFM, network="mlp")
compiles = pytest.mark.skipif(BACKEND == "torch", reason="no step is compiled")


def black(splits):
    """As `from_config.outline` gives it."""

    def like(split):
        if split is None:
            return None
        images, labels = split.images, split.labels
        zeros = (np.zeros((), x.dtype) for x in (images, labels))
        filled = map(np.broadcast_to, zeros, (images.shape, labels.shape))
        return data.Split(*filled, split.spec)

    return data.Splits(*map(like, splits))


def outlined(monkeypatch):
    """Lets the digits be read early."""

    def outline(config, *place):
        return black(from_config.load(config, *place))

    monkeypatch.setattr(from_config, "outline", outline)


def weights(folder):
    return keras.saving.load_model(folder / "classifier.keras").get_weights()


SETTINGS = {
    "convolutions": {"network": "small_resnet"},
    "skipping": {"on_nan": "skip", "noise_schedule": "rise", "steps_per_execution": 2},
    "float16": {"scheme": "noisy_mixup", "precision": "mixed_float16", "ema": True},
    "adamw": {"optimizer": "adamw", "gradient_accumulation": 2, "schedule": "cosine"},
}


@compiles
@pytest.mark.parametrize("kind", slow_but("convolutions skipping", SETTINGS))
def test_the_run_is_the_same_to_the_bit(kind, monkeypatch, tmp_path):
    config = dataclasses.replace(MLP, epochs=1, **SETTINGS[kind])
    plain = train(config, tmp_path / "plain")
    outlined(monkeypatch)
    ahead = train(config, tmp_path / "ahead")
    assert ahead.history == plain.history
    for ours, theirs in zip(
        weights(tmp_path / "ahead"), weights(tmp_path / "plain"), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@compiles
def test_the_step_is_traced_while_the_images_are_read(monkeypatch, tmp_path):
    outlined(monkeypatch)
    traced, read, step = threading.Event(), from_config.load, NFMModel.train_step

    def train_step(self, *args):
        traced.set()
        return step(self, *args)

    def load(*place, **kept):
        if threading.current_thread() is not threading.main_thread():
            assert traced.wait(120), "no step was traced before they were read"
        return read(*place, **kept)

    monkeypatch.setattr(NFMModel, "train_step", train_step)
    monkeypatch.setattr(from_config, "load", load)
    train(dataclasses.replace(MLP, epochs=1), tmp_path)


@compiles
@pytest.mark.parametrize("is_early", [False, True])
def test_the_step_is_traced_once(is_early, monkeypatch, tmp_path):
    traces, step = [], NFMModel.train_step

    def train_step(self, *args):
        traces.append(self)
        return step(self, *args)

    monkeypatch.setattr(NFMModel, "train_step", train_step)
    if is_early:
        outlined(monkeypatch)
    train(MLP, tmp_path)
    assert len(traces) == 1


def test_what_the_reader_raises_is_raised_and_the_folder_is_free(monkeypatch, tmp_path):
    outlined(monkeypatch)
    read = from_config.load

    def load(*place, **kept):
        if kept or threading.current_thread() is not threading.main_thread():
            raise OSError("the disk is gone")
        return read(*place)

    monkeypatch.setattr(from_config, "load", load)
    with pytest.raises(OSError, match="the disk is gone"):
        train(MLP, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_small_sets_are_read_at_once(monkeypatch):
    monkeypatch.setattr(from_config, "load", lambda *place: threading.current_thread())
    outline, images = early.read(NFM, distribution.start(None), None, False)
    assert outline is None and images() is threading.main_thread()


def test_the_outline_of_a_set_has_its_sizes_and_takes_no_memory(monkeypatch):
    counts = {"train": 5000, "test": 1000}

    class Builder:
        class info:
            splits = {
                name: type("Split", (), {"num_examples": count})
                for name, count in counts.items()
            }

    monkeypatch.setattr(loading, "_builder", lambda *place: Builder)
    for limit, validation in ((None, 0), (300, 40), (3000, 0)):
        train_, held_out, test = loading.outline(
            "cifar10", limit=limit, validation=validation
        )
        most = limit or 10_000
        assert len(train_.images) == min(5000, most) - validation
        assert len(train_.labels) == len(train_.images)
        assert len(test.images) == min(1000, most)
        assert (held_out is None) == (not validation)
        assert validation == 0 or len(held_out.images) == validation
        assert train_.images.shape[1:] == (32, 32, 3) and not any(train_.images.strides)
        assert train_.images.dtype == np.uint8 and train_.labels.dtype == np.int64
    assert loading.outline("cifar10", limit=300, validation=300) is None
    assert loading.outline("digits") is None
