"""Runs that go on after their end, start from weights, and keep their best."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
from small_run import NFM, arrays, train

from nfm_keras import data, records, training
from nfm_keras.networks import mlp
from nfm_keras.serving import half_weights
from nfm_keras.training import run
from nfm_keras.training.folder import extended
from nfm_keras.training.weights.best import BestClassifier
from nfm_keras.training.weights.files import first_weights, initialise

SHORT = dataclasses.replace(
    NFM, network="mlp", depth=1, schedule="constant", epochs=1, validation=60
)
LONG = dataclasses.replace(SHORT, epochs=2)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run of `LONG` that keeps its best: folder and record."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    return folder, train(LONG, folder, save_best="val_loss", keep=9)


@pytest.fixture(scope="module")
def longer(tmp_path_factory, straight):
    """A run of `SHORT`, scored, then extended to `LONG`."""
    folder = tmp_path_factory.mktemp("runs") / "longer"
    train(SHORT, folder, save_best="val_loss")
    (folder / records.EVALUATION_FILE).write_text("that of 1 epoch")
    (folder / half_weights.FILE).write_text("of 1 epoch too")
    return folder, train(LONG, folder, resume=True, save_best="val_loss")


def test_an_extended_run_at_a_constant_rate_is_the_long_one(straight, longer):
    (folder, record), (other, after) = straight, longer
    expected, received = arrays(folder), arrays(other)
    assert expected.keys() == received.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(value, received[name], err_msg=name)
    assert after.history == record.history and after.best == record.best
    assert after.extended == (1,) and record.extended == ()
    assert after.config == record.config


def test_what_was_left_before_is_kept_beside(longer):
    folder, record = longer
    before = records.load(folder / "record.1_epochs.json")
    assert before.config["epochs"] == 1 and before.extended == ()
    assert (folder / "classifier.1_epochs.keras").exists()
    text = (folder / "evaluation.1_epochs.json").read_text()
    assert text == "that of 1 epoch"
    assert not (folder / records.EVALUATION_FILE).exists()
    assert (folder / "weights_float16.1_epochs.npz").read_text() == "of 1 epoch too"
    assert not (folder / half_weights.FILE).exists()
    assert records.find(folder) == [record]


def test_a_run_only_grows_and_only_in_length(longer):
    folder, _ = longer
    with pytest.raises(ValueError, match="2 epochs can be extended, not shortened"):
        train(SHORT, folder, resume=True)
    longest = dataclasses.replace(LONG, epochs=9)
    with pytest.raises(FileExistsError, match="of 2 epochs: pass --resume .* to ext"):
        train(longest, folder)
    other = dataclasses.replace(longest, batch_size=32)
    with pytest.raises(ValueError, match="another config"):
        train(other, folder, resume=True)
    assert json.loads((folder / "config.json").read_text())["epochs"] == 2


def test_the_drops_of_a_schedule_are_those_of_the_new_length_unless_chosen():
    def resolved(epochs, drops):
        given = {"schedule": "step", "epochs": epochs, "rate_drops": drops}
        return dataclasses.replace(SHORT, **given).to_json()

    short, long = resolved(20, (11, 16, 19)), resolved(200, (101, 151, 181))
    assert extended(short, long) == long
    chosen = resolved(20, (5,))
    assert extended(chosen, long) == chosen  # that is another run
    assert extended(chosen, resolved(200, (5,))) == resolved(200, (5,))
    with pytest.raises(ValueError, match="averages the weights of its last epochs"):
        extended(short | {"swa_epochs": 2}, long | {"swa_epochs": 2})


def test_a_run_starts_from_weights_of_every_kind(straight, tmp_path):
    classifier = keras.saving.load_model(straight[0] / "classifier.keras")
    expected = classifier.get_weights()
    classifier.save_weights(tmp_path / "of.weights.h5")
    half_weights.save_weights(classifier, tmp_path / half_weights.FILE)
    files = straight[0] / "classifier.keras", tmp_path / "of.weights.h5"
    for path, atol in (*((file, 0) for file in files), (tmp_path / "*.npz", 1e-3)):
        path = next(path.parent.glob(path.name))
        _, network = training.resolve(LONG)
        initialise(network, path)
        for one, other in zip(expected, network.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, atol=atol)


def test_a_run_begins_where_its_weights_are(straight, tmp_path, monkeypatch):
    path = straight[0] / "classifier.keras"

    def stop(job):
        begun = keras.saving.load_model(path).get_weights()
        for one, other in zip(begun, job.network.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "train_to_end", stop)
    with pytest.raises(KeyboardInterrupt):
        train(dataclasses.replace(LONG, init_from=str(path)), tmp_path / "still")


@pytest.mark.parametrize("kind", ["of.keras", "of.weights.h5", "checkpoint", "cut"])
def test_weights_of_another_network_are_refused_in_a_line(straight, tmp_path, kind):
    path = tmp_path / kind
    if kind == "checkpoint":
        path = max(straight[0].glob("checkpoints/*")) / "model.weights.h5"
    elif kind == "cut":
        path = tmp_path / "cut.weights.h5"
        path.write_bytes(b"half")
    else:
        other = mlp((8, 8, 1), 10, width=0.5, depth=1)
        other.save(path) if kind == "of.keras" else other.save_weights(path)
    config = dataclasses.replace(LONG, init_from=str(path))
    with pytest.raises(ValueError, match=r"Received: [^\n]*\Z") as refused:
        train(config, tmp_path / "run")
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize("name", ["gone.keras", "there.pt"])
def test_first_weights_that_cannot_be_read_are_told_before_images_are(
    tmp_path, name, monkeypatch
):
    monkeypatch.setattr(run.early, "read", None)
    (tmp_path / "there.pt").touch()
    config = dataclasses.replace(LONG, init_from=str(tmp_path / name))
    with pytest.raises((FileNotFoundError, ValueError), match=name):
        train(config, tmp_path / "run")


def test_the_best_by_images_held_out_is_kept(straight, tmp_path):
    folder, record = straight
    losses = record.history["val_loss"]
    epoch = int(np.argmin(losses)) + 1
    assert record.best == {"metric": "val_loss", "value": min(losses), "epoch": epoch}
    held_out = data.load("digits", limit=256, validation=60).validation
    best = keras.saving.load_model(folder / "best.keras", compile=False)
    logits = best.predict(held_out.images / np.float32(255), verbose=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert float(loss(held_out.labels, logits)) == pytest.approx(min(losses), rel=1e-4)


def test_the_first_of_the_best_is_kept_and_no_number_never(tmp_path):
    saved = []
    callback = BestClassifier("val_accuracy", None, None, {}, writes=False)
    callback._validated = None
    for epoch, value in enumerate([float("nan"), 0.5, None, 0.5, 0.7, 0.6]):
        callback._validated = []
        callback.on_epoch_end(epoch, {} if value is None else {"val_accuracy": value})
        saved.append(callback.best.get("epoch"))
    assert saved == [None, 2, 2, 2, 5, 5]
    with pytest.raises(ValueError, match="save_best"):
        BestClassifier("val_acuracy", None, None, {})


def test_nothing_is_chosen_on_test_images(tmp_path):
    config = dataclasses.replace(LONG, validation=0)
    with pytest.raises(ValueError, match="never on those of the test"):
        train(config, tmp_path / "run", save_best="val_accuracy")
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_finished_run_has_the_best_that_it_kept_and_no_other(straight):
    folder, record = straight
    again = train(LONG, folder, resume=True, save_best="val_loss")
    assert again.best == record.best
    with pytest.raises(ValueError, match="finished.*Received: val_loss"):
        train(LONG, folder, resume=True, save_best="val_accuracy")


def test_a_run_that_died_in_its_first_checkpoint_begins_again_where_it_did(
    straight, tmp_path
):
    path, checkpoints = straight[0] / "classifier.keras", tmp_path / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / ".0001.7.tmp").mkdir()
    network = mlp((8, 8, 1), 10, width=0.25, depth=1)
    first_weights(network, training.Config(init_from=str(path)), checkpoints)
    for one, other in zip(
        keras.saving.load_model(path).get_weights(), network.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_a_run_without_checkpoints_is_not_extended(straight, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(straight[0], folder)
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(FileNotFoundError, match="no checkpoint to go on from"):
        train(dataclasses.replace(LONG, epochs=3), folder, resume=True)
    assert records.load(folder / records.FILE) == straight[1]
