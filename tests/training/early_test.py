"""A step that is compiled while the images are read leaves no trace in a run."""

import dataclasses
import functools
import threading

import keras
import numpy as np
import pytest
from conftest import BACKEND, slow_but
from small_run import CONVOLUTIONS, NFM, train

from nfm_keras import data
from nfm_keras.data import from_config, loading
from nfm_keras.mixing.model import NFMModel
from nfm_keras.training import distribution, early

pytestmark = pytest.mark.backends
MLP = dataclasses.replace(NFM, network="mlp", depth=2)
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
    "convolutions": {"network": CONVOLUTIONS.network, "width": 1.0, "depth": None},
    "skipping": {"on_nan": "skip", "noise_schedule": "rise", "steps_per_execution": 2}
    | {"depth": 1},
    "float16": {"scheme": "noisy_mixup", "precision": "mixed_float16", "ema": True},
    "adamw": {"optimizer": "adamw", "gradient_accumulation": 2, "schedule": "cosine"},
}


class Pair:
    """A run that reads its images first, and one that reads them early."""

    def __init__(self, kind, folder):
        config = dataclasses.replace(MLP, epochs=1, **SETTINGS[kind])
        self.folders = folder / "plain", folder / "ahead"
        self.traces, self.first_step = [], threading.Event()
        self.traced_before_read = False
        with pytest.MonkeyPatch.context() as patch:
            self.watch(patch)
            plain = train(config, self.folders[0])
            self.counts = [len(self.traces)]
            outlined(patch)
            self.first_step.clear()
            ahead = train(config, self.folders[1])
            self.counts.append(len(self.traces) - self.counts[0])
        self.histories = plain.history, ahead.history

    def watch(self, patch):
        read, step = from_config.load, NFMModel.train_step

        def train_step(model, *args):
            self.traces.append(model)
            self.first_step.set()
            return step(model, *args)

        def load(*place, **kept):
            if threading.current_thread() is not threading.main_thread():
                self.traced_before_read = self.first_step.wait(120)
            return read(*place, **kept)

        patch.setattr(NFMModel, "train_step", train_step)
        patch.setattr(from_config, "load", load)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A function from a kind to the `Pair` of it."""
    return functools.cache(lambda kind: Pair(kind, tmp_path_factory.mktemp(kind)))


@compiles
@pytest.mark.parametrize("kind", slow_but("convolutions skipping", SETTINGS))
def test_the_run_is_the_same_to_the_bit(kind, pair):
    plain, ahead = pair(kind).histories
    assert ahead == plain
    theirs, ours = map(weights, pair(kind).folders)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@compiles
def test_the_step_is_traced_while_the_images_are_read(pair):
    assert pair("convolutions").traced_before_read


@compiles
def test_the_step_is_traced_once_early_or_not(pair):
    assert pair("convolutions").counts == [1, 1]


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
