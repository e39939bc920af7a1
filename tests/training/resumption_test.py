"""What a run that goes on must share with its checkpoints, besides the config."""

import dataclasses
import json
import shutil

import numpy as np
import photograph_sets
import pytest
from small_run import NFM, train

from nfm_keras import data, records, training
from nfm_keras.training import resumption

CONFIG = dataclasses.replace(
    NFM, scheme="erm", network="mlp", depth=1, schedule="constant", limit=128
)
HELD_OUT = dataclasses.replace(CONFIG, epochs=3, validation=32)
CHOSEN = {"save_best": "val_loss", "keep": 9}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A config of 16 photographs, 4 steps an epoch, and its run."""
    root = tmp_path_factory.mktemp("photographs")
    folder = photograph_sets.write(root / "set", classes=2, images=8)
    settings = {"dataset": f"folder:{folder}", "image_size": 16, "batch_size": 4}
    config = dataclasses.replace(CONFIG, limit=None, **settings)
    train(config, root / "run", save_every=1, keep=99)
    return folder, config, root / "run"


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    """A run of `HELD_OUT` that keeps its best, and its record."""
    folder = tmp_path_factory.mktemp("runs") / "held_out"
    return folder, train(HELD_OUT, folder, **CHOSEN)


def back(run, to, name, **state):
    """A copy of a run as it was at a checkpoint; None takes an entry out of it."""
    shutil.copytree(run, to)
    (to / records.FILE).unlink()
    for path in (to / "checkpoints").iterdir():
        if path.name > name:
            shutil.rmtree(path)
    path = to / "checkpoints" / name / "state.json"
    content = json.loads(path.read_text()) | state
    content = {key: value for key, value in content.items() if value is not None}
    path.write_text(json.dumps(content))
    return to


def listing(folder):
    return sorted(
        (str(path), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    )


OLD = {"images": None, "backend": None, "save_best": None}


@pytest.mark.parametrize(
    "name, state, change, said",
    [
        ("0001", {}, "fewer", "16 images, 4 steps.*Received: 8 images, 2 steps"),
        ("0001-000003", {}, "fewer", "16 images, 4 steps.*Received: 8 images, 2"),
        ("0001", {}, "renamed", "16 images, 4 steps.*Received: 16 images, 4 steps"),
        ("0001-000003", OLD, "fewer", "at step 3.*Received: 8 images, 2 steps"),
        ("0001", OLD, "fewer", None),
    ],
)
def test_a_run_goes_on_with_the_photographs_that_it_began_with(
    photographs, tmp_path, name, state, change, said
):
    folder, config, run = photographs
    place = back(run, tmp_path / "run", name, **state)
    moved = shutil.copytree(folder, tmp_path / "kept")
    before = listing(place)
    try:
        for i in range(4 if change == "fewer" else 0):
            for label in range(2):
                (folder / "train" / f"c{label}" / f"{i}.jpg").unlink()
        if change == "renamed":
            path = folder / "train" / "c0" / "0.jpg"
            path.rename(path.with_name("00.jpg"))
        if said is None:
            assert train(config, place, resume=True).history
            return
        with pytest.raises(ValueError, match=f"{name} is .*{said}"):
            train(config, place, resume=True)
        with pytest.raises(ValueError, match=said):
            longer = dataclasses.replace(config, epochs=3)
            train(longer, place, resume=True)
        assert listing(place) == before
    finally:
        shutil.rmtree(folder)
        moved.rename(folder)


def test_arrays_are_known_by_their_labels_and_their_shape():
    split = data.load("digits", limit=64).train
    known = resumption.images(split, 4)
    assert known == resumption.images(split.subset(slice(None)), 4)
    others = (
        split.subset(np.r_[1:64, 0]),
        split.subset(slice(63)),
        split._replace(images=split.images[:, :7]),
    )
    for other in others:
        now = resumption.images(other, 4)
        with pytest.raises(ValueError, match="other training images"):
            resumption.check_images("0001", {"images": known}, now)


def test_the_best_is_that_of_all_epochs(held_out, tmp_path):
    run, record = held_out
    for number, state in enumerate(({}, OLD)):  # of before `save_best` was kept
        folder = back(run, tmp_path / str(number), "0002", **state)
        for other in (None, "val_accuracy"):
            said = f"Expected: val_loss, as in .*0002. Received: {other}"
            with pytest.raises(ValueError, match=said):
                train(HELD_OUT, folder, resume=True, save_best=other)
    assert train(HELD_OUT, folder, resume=True, **CHOSEN).best == record.best


def test_a_best_is_chosen_from_the_first_validation_on(held_out, tmp_path):
    run, _ = held_out
    without = {"save_best": None, "best": None}  # as of a run that kept none
    folder = back(run, tmp_path / "run", "0001", **without)
    with pytest.raises(ValueError, match="Expected: None.*Received: val_loss"):
        train(HELD_OUT, folder, resume=True, **CHOSEN)
    nothing = {"history": {"loss": [1.0], "val_loss": ["NaN"]}}
    folder = back(run, tmp_path / "sooner", "0001", **without, **nothing)
    record = train(HELD_OUT, folder, resume=True, **CHOSEN)
    assert record.best["value"] == np.nanmin(record.history["val_loss"])


def test_an_epoch_is_finished_under_the_backend_that_began_it(photographs, tmp_path):
    _, config, run = photographs
    folder = back(run, tmp_path / "middle", "0001-000002", backend="mxnet")
    with pytest.raises(ValueError, match="middle of an epoch.*KERAS_BACKEND=mxnet"):
        train(config, folder, resume=True)
    folder = back(run, tmp_path / "end", "0001", backend="mxnet")
    with pytest.warns(UserWarning, match="0001 was written under KERAS_BACKEND=mxnet"):
        train(config, folder, resume=True)
    assert (folder / training.CLASSIFIER).exists()
