import contextlib
import json
import re
import resource
import shutil

import h5py
import keras
import numpy as np
import pytest

from nfm_keras.registration import load_model
from nfm_keras.training import Config, TrainingDiverged, checkpoints, resolve
from nfm_keras.training.weights.files import save_classifier

pytestmark = pytest.mark.backends

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")


def model():
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    network.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    return network


def fit(network, folder, epochs, state=None, **options):
    callback = checkpoints.Checkpoint(folder, state=state, **options)
    network.fit(
        X,
        X[:, :2],
        epochs=epochs,
        initial_epoch=state["epoch"] if state else 0,
        validation_data=(X, X[:, :2]),
        validation_freq=2,
        shuffle=False,
        callbacks=[callback],
        verbose=0,
    )
    return callback


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def values(network):
    variables = network.variables + network.optimizer.variables
    return [keras.ops.convert_to_numpy(v) for v in variables]


@pytest.mark.parametrize("keep", [1, 2])
def test_the_newest_are_kept_and_the_newest_is_restored(tmp_path, keep):
    trained, fresh = model(), model()
    callback = fit(trained, tmp_path, 4, keep=keep)
    assert names(tmp_path) == ["0003", "0004"][-keep:]
    state = checkpoints.restore(fresh, tmp_path)
    assert state["epoch"] == 4 and state["seconds"] == callback.seconds > 0
    np.testing.assert_equal(state["history"], callback.history)  # with its NaNs
    for a, b in zip(values(trained), values(fresh), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_in_two_parts_is_the_run_in_one(tmp_path):
    whole, first, second = model(), model(), model()
    for part in (first, second):
        part.set_weights(whole.get_weights())
    history = fit(whole, tmp_path / "whole", 5).history
    fit(first, tmp_path / "parts", 3)
    state = checkpoints.restore(second, tmp_path / "parts")
    callback = fit(second, tmp_path / "parts", 5, state)
    np.testing.assert_equal(callback.history, history)
    assert set(history) == {"loss", "val_loss"}
    assert np.isnan(history["val_loss"]).tolist() == [True, False, True, False, True]
    assert callback.seconds > state["seconds"]
    for a, b in zip(values(whole), values(second), strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_a_checkpoint_there_is_nothing_to_restore(tmp_path):
    assert checkpoints.restore(model(), tmp_path / "none") is None
    (tmp_path / ".0001.tmp").mkdir()  # what a killed run may leave
    assert checkpoints.restore(model(), tmp_path) is None


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    fit(model(), folder, 2)
    return folder


def truncate(path):
    path.write_bytes(path.read_bytes()[:-200])


def empty(folder):
    for path in folder.iterdir():
        path.unlink()


DAMAGES = {
    "truncated weights": lambda folder: truncate(folder / "model.weights.h5"),
    "no weights": lambda folder: (folder / "model.weights.h5").unlink(),
    "truncated state": lambda folder: truncate(folder / "state.json"),
    "state of another kind": lambda folder: (folder / "state.json").write_text("[]"),
    "empty folder": empty,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named(tmp_path, trained, damage):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    DAMAGES[damage](tmp_path / "0002")
    damaged = re.escape(str(tmp_path / "0002"))
    restored = model()
    with pytest.warns(UserWarning, match=f"Checkpoint {damaged} is truncated or dam"):
        assert checkpoints.restore(restored, tmp_path)["epoch"] == 1
    assert checkpoints.newest(trained)[1]["epoch"] == 2
    kernel = keras.ops.convert_to_numpy(restored.variables[0])
    with h5py.File(tmp_path / "0001" / "model.weights.h5") as file:
        saved = []
        file["layers"].visititems(lambda _, item: saved.append(item))
        assert any(
            np.array_equal(kernel, item) for item in saved if hasattr(item, "shape")
        )
    DAMAGES[damage](tmp_path / "0001")
    with (
        pytest.warns(),
        pytest.raises(ValueError, match="No checkpoint in .* is whole"),
    ):
        checkpoints.restore(model(), tmp_path)


def test_a_checkpoint_of_another_version_or_config_is_refused(tmp_path, trained):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "0002" / "state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps(state | {"config": {"alpha": 1.0, "seed": 3}}))
    wanted = {"alpha": 0.5, "seed": 3}
    differ = "Expected {'alpha': 1.0}. Received: {'alpha': 0.5}"
    with pytest.raises(ValueError, match=f"0002 is of a run with another.*{differ}"):
        checkpoints.restore(model(), tmp_path, wanted)
    del state["format"]
    path.write_text(json.dumps(state))
    with pytest.raises(ValueError, match="another version.*format 2. Received: 1"):
        checkpoints.restore(model(), tmp_path)


def test_steps_within_an_epoch_are_saved_and_their_metrics_go_on(tmp_path):
    whole, parts = model(), model()
    parts.set_weights(whole.get_weights())
    options = {"batch_size": 1, "shuffle": False, "verbose": 0}
    history = whole.fit(X, X[:, :2], epochs=2, **options).history
    saver = checkpoints.Checkpoint(tmp_path, every=3, steps=8, keep=9)
    parts.fit(X, X[:, :2], epochs=2, callbacks=[saver], **options)
    places = ["0000-000003", "0000-000006", "0001", "0001-000003", "0001-000006"]
    assert names(tmp_path) == [*places, "0002"]
    shutil.rmtree(tmp_path / "0002")
    resumed = model()
    state = checkpoints.restore(resumed, tmp_path)
    assert (state["epoch"], state["step"]) == (1, 6)
    saver = checkpoints.Checkpoint(tmp_path, every=3, steps=8, state=state)
    resumed.fit(
        X[6:], X[6:, :2], initial_epoch=1, epochs=2, callbacks=[saver], **options
    )
    assert saver.history == history
    for a, b in zip(values(whole), values(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    network = model()
    fit(network, tmp_path, 1)
    network.variables[0].assign(np.full((3, 2), np.nan))
    callback = checkpoints.Checkpoint(tmp_path)
    callback.set_model(network)
    callback.on_epoch_begin(1)
    with pytest.raises(TrainingDiverged, match="kernel.*Received: 6 of 6"):
        callback.on_epoch_end(1, {"loss": 0.5})
    assert names(tmp_path) == ["0001"]


def test_the_next_checkpoint_removes_what_a_killed_process_left(tmp_path):
    for name in (".0001.4242.tmp", ".0000-000020.4242.tmp", ".0001.tmp", ".other"):
        (tmp_path / name).mkdir()
    fit(model(), tmp_path, 1)
    assert names(tmp_path) == [".other", "0001"]


def test_the_order_is_that_of_the_numbers_and_other_folders_are_left(tmp_path, trained):
    for name in ("0009", "0009-000002", "10000", "0009.bak"):
        shutil.copytree(trained / "0002", tmp_path / name)
    assert checkpoints.newest(tmp_path)[0].name == "10000"
    truncate(tmp_path / "10000" / "model.weights.h5")
    with pytest.warns(UserWarning, match="10000 is truncated"):
        assert checkpoints.newest(tmp_path)[0].name == "0009-000002"
    callback = checkpoints.Checkpoint(tmp_path, keep=1)
    callback.set_model(model())
    callback.on_epoch_begin(9)
    callback.on_epoch_end(9, {"loss": 0.5})
    assert names(tmp_path) == ["0009.bak", "0010"]


@pytest.mark.parametrize("name", ["keep", "every"])
def test_a_count_below_one_is_refused(tmp_path, name):
    wanted = f"`{name}` must be a positive integer. Received: 0"
    with pytest.raises(ValueError, match=wanted):
        checkpoints.Checkpoint(tmp_path, **{name: 0})


@pytest.fixture
def full_disk():
    """A disk on which no file of more than 4 KB has a place, within a `with` block."""

    @contextlib.contextmanager
    def full():
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return full


def test_a_full_disk_leaves_the_last_whole_checkpoint(tmp_path, full_disk):
    network = model()
    callback = fit(network, tmp_path, 1)
    callback.on_epoch_begin(1)
    wanted = "Cannot write .*0002: File too large. The last whole checkpoint is kept."
    with pytest.raises(OSError, match=wanted) as caught, full_disk():
        callback.on_epoch_end(1, {"loss": 0.5})
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["0001"]
    assert checkpoints.restore(model(), tmp_path)["epoch"] == 1


def test_a_full_disk_leaves_the_classifier_of_before(tmp_path, full_disk):
    path, before = tmp_path / "classifier.keras", b"that of before"
    path.write_bytes(before)
    config, network = resolve(Config(dataset="digits", network="mlp"))
    weights = network.get_weights()
    with pytest.raises(OSError, match=f"Cannot write {path}: File too"), full_disk():
        save_classifier(config, weights, path)
    assert path.read_bytes() == before and names(tmp_path) == [path.name]
    save_classifier(config, weights, path)
    for one, other in zip(weights, load_model(path).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_checkpoint_holds_what_keras_writes(tmp_path):
    network = model()
    fit(network, tmp_path, 1)
    network.save_weights(tmp_path / "keras.weights.h5")
    paths = tmp_path / "keras.weights.h5", tmp_path / "0001" / "model.weights.h5"
    expected, received = map(contents, paths)
    assert expected.keys() == received.keys() and len(expected) > 4
    for name, value in expected.items():
        np.testing.assert_array_equal(value, received[name], err_msg=name)


def contents(path):
    """The arrays of an HDF5 file, by name."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(visit)
    return found
