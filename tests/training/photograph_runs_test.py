"""Training on photographs: resumed within an epoch, broken files, bad settings."""

import numpy as np
import photograph_sets
import pytest

import nfm_keras as nfm
from nfm_keras import training

pytestmark = pytest.mark.backends


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return photograph_sets.write(tmp_path_factory.mktemp("photos"), classes=2, images=8)


def config(folder, **changes):
    settings = {
        "dataset": f"folder:{folder}",
        "image_size": 16,
        "scheme": "erm",  # the quickest to compile
        "network": "mlp",
        "width": 0.25,
        "epochs": 2,
        "batch_size": 4,
        "schedule": "constant",
        "learning_rate": 0.01,
    }
    return training.Config(**settings | changes)


def weights(run):
    return nfm.load_model(run / training.CLASSIFIER, compile=False).get_weights()


def test_a_run_says_what_it_was_trained_on(folder, tmp_path):
    record = training.train(config(folder), tmp_path / "run", verbose=0)
    assert record.config["classes"] == ["c0", "c1"] and record.skipped == ()
    assert (record.config["image_size"], record.config["eval_crop"]) == (16, 0.875)
    assert len(record.history["val_accuracy"]) == 2
    again = training.train(config(folder), tmp_path / "run", resume=True)
    assert again == record


def test_a_run_stopped_within_an_epoch_goes_on_bit_for_bit(
    folder, tmp_path, monkeypatch
):
    whole, part = tmp_path / "whole", tmp_path / "part"
    training.train(config(folder), whole, verbose=0)
    save = training.checkpoints.Checkpoint.on_train_batch_end

    class Killed(Exception):
        pass

    def killed(self, batch, logs=None):
        save(self, batch, logs)
        if batch == 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(training.checkpoints.Checkpoint, "on_train_batch_end", killed)
        with pytest.raises(Killed):
            training.train(config(folder), part, verbose=0, save_every=1)
    assert not (part / training.CLASSIFIER).exists()
    training.train(config(folder), part, verbose=0, resume=True)
    for a, b in zip(weights(whole), weights(part), strict=True):
        np.testing.assert_array_equal(a, b)


def test_broken_files_are_in_the_record_or_end_the_run(tmp_path):
    folder = photograph_sets.write(tmp_path / "photos", classes=2, images=8)
    (folder / "train" / "c1" / "3.jpg").write_bytes(b"no image")
    (folder / "val" / "c0" / "1.jpg").write_bytes(b"no image")
    record = training.train(config(folder), tmp_path / "run", verbose=0)
    assert record.skipped == ("c1/3.jpg",)
    assert (
        nfm.records.load(tmp_path / "run" / nfm.records.FILE).skipped == record.skipped
    )
    with pytest.raises(ValueError, match="c1/3.jpg cannot be read .strict.*Received"):
        training.train(config(folder), tmp_path / "other", verbose=0, strict=True)
    for path in (folder / "val").rglob("*.jpg"):
        path.write_bytes(b"no image")
    with pytest.raises(ValueError, match="An image of each batch must be readable"):
        training.train(config(folder), tmp_path / "third", verbose=0)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"batch_size": 17}, "batch of 17 must fit .*Received: 16 images"),
        ({"image_size": 16, "network": "resnet50"}, "at least 17 pixels a side"),
        ({"classes": ["a", "b"]}, "must have the 2 classes of the run, a, b"),
        ({"image_size": -1}, "`image_size` must be a positive integer"),
        ({"eval_crop": 0}, "`eval_crop` must be"),
    ],
    ids=str,
)
def test_bad_settings_are_refused_at_once(folder, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        training.train(config(folder, **changes), tmp_path / "run", verbose=0)
    assert not (tmp_path / "run" / training.CONFIG).exists()


def test_settings_of_photographs_are_refused_for_other_sets(tmp_path):
    with pytest.raises(ValueError, match="setting of photographs.*image_size=64"):
        training.resolve(training.Config(image_size=64))


def test_what_watches_a_run_passes_over_broken_files_too(tmp_path):
    folder = photograph_sets.write(tmp_path / "photos", classes=2, images=4)
    for path in ("train/c1/3.jpg", "val/c0/0.jpg", "val/c1/2.jpg"):
        (folder / path).write_bytes(b"no image")
    settings = config(folder, epochs=1, smoothness_every=1)
    options = {"verbose": 0, "watch": "white_noise@0.1"}
    record = training.train(settings, tmp_path / "run", **options)
    watched = record.history["val_accuracy_white_noise@0.1"]
    assert watched[0] * 6 == pytest.approx(round(watched[0] * 6))  # of six of eight


def test_images_that_a_set_validates_on_are_not_called_the_tests(tmp_path):
    splits = "train", "val", "test"
    folder = photograph_sets.write(tmp_path / "photos", 2, 4, splits)
    run = tmp_path / "run"
    record = training.train(config(folder, epochs=1), run, verbose=0)
    assert record.measured_on == "validation"
    assert nfm.records.load(run / nfm.records.FILE) == record
    head = (run / "history.csv").read_text().splitlines()[0]
    assert "val_loss" in head and "test_loss" not in head
    held = training.train(
        config(folder, epochs=1, validation=2), tmp_path / "held", verbose=0
    )
    assert held.measured_on == ""  # its config says so


def test_nothing_is_chosen_on_images_that_are_the_tests_too(tmp_path):
    flat = photograph_sets.write(tmp_path / "flat", 2, 4, ("train",)) / "train"
    chosen = {"save_best": "val_accuracy", "verbose": 0}
    with pytest.raises(ValueError, match="tested on the same ones.*Received: folder:"):
        training.train(config(flat, validation=2), tmp_path / "run", **chosen)
    assert not (tmp_path / "run" / training.CONFIG).exists()
    folder = photograph_sets.write(tmp_path / "tested", 2, 4, ("train", "test"))
    settings = config(folder, epochs=1, validation=2)
    assert training.train(settings, tmp_path / "run", **chosen).best["epoch"] == 1
