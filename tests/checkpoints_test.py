import errno
import re
import shutil

import keras
import numpy as np
import pytest

from nfm_keras import checkpoints

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
    with pytest.raises(ValueError, match=f"Checkpoint {damaged} is truncated or dam"):
        checkpoints.restore(model(), tmp_path)
    # As the message says, the one before still serves.
    empty(tmp_path / "0002")
    (tmp_path / "0002").rmdir()
    assert checkpoints.restore(model(), tmp_path)["epoch"] == 1


def test_a_full_disk_leaves_the_last_whole_checkpoint(tmp_path, monkeypatch):
    save = keras.Model.save_weights

    def full(self, path, **kwargs):
        save(self, path, **kwargs)
        if ".0002" in str(path):
            truncate(path)
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(keras.Model, "save_weights", full)
    with pytest.raises(OSError, match="epoch 2 to .*: No space left") as caught:
        fit(model(), tmp_path, 3)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["0001"]
    assert checkpoints.restore(model(), tmp_path)["epoch"] == 1
