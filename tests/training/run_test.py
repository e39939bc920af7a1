import dataclasses
import json

import keras
import numpy as np
import pytest
from conftest import BACKEND
from small_run import LAYERED, NFM, VIT, arrays, train

from nfm_keras import data, records, training
from nfm_keras.records import history
from nfm_keras.training import checkpoints
from nfm_keras.training import fit as fitting

pytestmark = pytest.mark.backends

# A set that the batch size does not divide, held-out images, a single site.
EMA = dataclasses.replace(
    NFM,
    scheme="noisy_mixup",
    network="mlp",
    depth=2,
    epochs=3,
    optimizer="adamw",
    learning_rate=1e-3,
    schedule="cosine",
    warmup_epochs=1,
    ema=True,
    validation=50,
    eval_every=2,
)
# NumPy inside the step, coins, levels that change, smoothed labels.
PUZZLE = dataclasses.replace(
    NFM,
    scheme="puzzlemix",
    network="mlp",
    depth=2,
    grids=(2, 4),
    attack_probability=0.5,
    label_smoothing=0.1,
    alpha_schedule="rise",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of `NFM`: its folder and its record."""
    folder = tmp_path_factory.mktemp("runs") / "nfm"
    return folder, train(NFM, folder, command="a command")


@pytest.fixture(scope="module")
def layered(tmp_path_factory):
    """The same of `LAYERED`."""
    folder = tmp_path_factory.mktemp("runs") / "layered"
    return folder, train(LAYERED, folder)


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    """The same of `EMA`."""
    folder = tmp_path_factory.mktemp("runs") / "ema"
    return folder, train(EMA, folder)


@pytest.fixture(scope="module")
def puzzled(tmp_path_factory):
    """The same of `PUZZLE`."""
    folder = tmp_path_factory.mktemp("runs") / "puzzle"
    return folder, train(PUZZLE, folder)


@pytest.fixture(scope="module")
def vision(tmp_path_factory):
    """The same of `VIT`."""
    folder = tmp_path_factory.mktemp("runs") / "vit"
    return folder, train(VIT, folder)


def accuracy(folder, split):
    classifier = keras.saving.load_model(folder / training.CLASSIFIER, compile=False)
    logits = classifier.predict(split.images.astype("float32") / 255, verbose=0)
    return np.mean(logits.argmax(1) == split.labels)


def test_a_run_leaves_config_checkpoints_record_and_classifier(finished):
    folder, record = finished
    left = {"config.json", "checkpoints", "record.json", "classifier.keras"}
    left |= {"history.csv"}
    assert {p.name for p in folder.iterdir()} == left
    assert records.load(folder / "record.json") == record
    assert json.loads((folder / "config.json").read_text()) == record.config
    test = data.load("digits", limit=256).test
    expected = record.history["val_accuracy"][-1]
    assert accuracy(folder, test) == pytest.approx(expected, abs=1e-6)


def test_a_run_learns(tmp_path):
    settings = {"scheme": "erm", "network": "mlp", "depth": 2, "width": 1.0}
    settings |= {"schedule": "constant", "augment": False}
    config = dataclasses.replace(NFM, epochs=10, **settings)
    curves = train(config, tmp_path).history
    assert curves["val_accuracy"][-1] > 0.8  # 0.1 is chance, of 256 images
    assert curves["val_loss"][-1] < 0.5 * curves["val_loss"][0]


def test_the_record_says_what_was_done(finished):
    _, record = finished
    config = dataclasses.asdict(NFM)
    mixing = {"alpha": 1.0, "sigma_add": 0.4, "sigma_mult": 0.2}
    mixing |= {"noise": "beta_scaled", "sites": ["site_0", "site_1", "site_2"]}
    mixing |= {"rate_drops": [2.0, 2.0, 2.0]}  # so late that there is none
    assert record.config == config | mixing
    assert record.sites == ("site_0", "site_1", "site_2")
    named = (record.name, record.scheme, record.dataset, record.network)
    assert named == ("nfm", "nfm", "digits", "small_resnet")
    assert record.command == "a command" and record.scores == ()
    assert record.versions["backend"] == BACKEND and record.hardware["cores"] >= 1
    assert record.seconds > 0 and record.started.endswith("+00:00")
    curves = {"loss", "mixed_accuracy", "val_loss", "val_accuracy", "learning_rate"}
    assert set(record.history) == curves
    assert all(len(v) == 2 and np.isfinite(v).all() for v in record.history.values())


def test_a_field_that_the_scheme_decides_is_in_the_record(puzzled):
    _, record = puzzled
    assert record.config["grids"] == [2, 4]
    assert record.config["attack_epsilon"] == pytest.approx(10 / 255)
    assert record.config["jsd_weight"] is None
    assert np.isfinite(record.history["loss"]).all()


def test_the_config_is_written_before_the_first_step(tmp_path, monkeypatch):
    def stop(*args):
        assert (tmp_path / "x" / "config.json").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "_fit", stop)
    with pytest.raises(KeyboardInterrupt):
        train(EMA, tmp_path / "x")


class Stopped(Exception):
    pass


def test_the_policy_reaches_the_batches(tmp_path, monkeypatch):
    def stop(*args, policy, **place):
        assert policy == "autoaugment"
        raise Stopped

    monkeypatch.setattr(data, "batches", stop)
    with pytest.raises(Stopped):
        train(VIT, tmp_path)


def stop_after(monkeypatch, epoch):
    """As a kill would, once the checkpoint of an epoch is written."""
    end = checkpoints.Checkpoint.on_epoch_end

    def stopping(self, index, logs=None):
        end(self, index, logs)
        if index + 1 == epoch:
            raise Stopped

    monkeypatch.setattr(checkpoints.Checkpoint, "on_epoch_end", stopping)


def _assert_same(ours, expected):
    assert ours.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(ours[name], expected[name], err_msg=name)


@pytest.mark.parametrize(
    "run, config, epoch",
    [
        pytest.param("layered", LAYERED, 1, id="nfm"),
        pytest.param("averaged", EMA, 1, id="ema", marks=pytest.mark.slow),
        pytest.param("puzzled", PUZZLE, 1, id="puzzlemix", marks=pytest.mark.slow),
        pytest.param("vision", VIT, 1, id="vit", marks=pytest.mark.slow),
        pytest.param(
            "averaged", EMA, 3, id="ema_all_epochs_done", marks=pytest.mark.slow
        ),
    ],
)
def test_a_resumed_run_is_the_undisturbed_one_bit_for_bit(
    tmp_path, monkeypatch, request, run, config, epoch
):
    whole, expected = request.getfixturevalue(run)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(patch, epoch)
        train(config, tmp_path)
    left = {p.name for p in tmp_path.iterdir()} - {"history.csv"}
    assert left == {"config.json", "checkpoints"}
    resumed = train(config, tmp_path, resume=True)
    _assert_same(resumed.history, expected.history)
    table = history.read_history(tmp_path / "history.csv")
    assert min(table.pop("seconds")) > 0
    _assert_same(table, expected.history)
    a, b = arrays(whole), arrays(tmp_path)
    assert a.keys() == b.keys() and len(a) > 10
    _assert_same(a, b)
    a, b = (
        keras.saving.load_model(f / training.CLASSIFIER, compile=False).get_weights()
        for f in (whole, tmp_path)
    )
    _assert_same(dict(enumerate(a)), dict(enumerate(b)))


def test_the_averages_are_what_is_measured_and_saved(averaged):
    folder, record = averaged
    held_out = data.load("digits", limit=256, validation=50).validation
    measured = record.history["val_accuracy"]  # at every second epoch and the last
    assert np.isnan(measured).tolist() == [True, False, False]
    assert accuracy(folder, held_out) == pytest.approx(measured[-1], abs=1e-6)
    saved = keras.saving.load_model(folder / training.CLASSIFIER, compile=False)
    kernel = keras.ops.convert_to_numpy(saved.trainable_variables[0])
    # The last checkpoint has the averages with the optimiser, the weights apart.
    holders = [n for n, a in arrays(folder).items() if np.array_equal(a, kernel)]
    assert len(holders) == 1 and holders[0].startswith("optimizer/")


def test_a_finished_run_is_returned_as_it_is(finished, monkeypatch):
    folder, record = finished
    monkeypatch.setattr(data, "load", None)  # neither data nor steps are needed
    assert train(NFM, folder, resume=True) == record
    with pytest.raises(FileExistsError, match="already holds this run: pass --resume"):
        train(NFM, folder)


def test_a_folder_with_another_config_is_refused(finished):
    folder, record = finished
    other = dataclasses.replace(NFM, sigma_add=0.7, epochs=5)
    with pytest.raises(ValueError) as caught:
        train(other, folder, resume=True)
    assert str(caught.value).startswith(f"{folder} holds a run with another config")
    expected, received = str(caught.value).split("Expected ")[1].split("Received: ")
    assert "'epochs': 2" in expected and "'sigma_add': 0.4" in expected
    assert "'epochs': 5" in received and "'sigma_add': 0.7" in received
    assert records.load(folder / "record.json") == record
