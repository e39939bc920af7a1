import numpy as np
import pytest

from nfm_keras.records import history

NAN = float("nan")
KEY = "val_accuracy_white_noise@0.5"


def test_a_history_comes_back_from_its_table(tmp_path):
    path = tmp_path / "history.csv"
    measured = {
        KEY: [NAN, 0.1],
        "val_loss": [NAN, NAN],  # diverged in the second epoch
        "loss": [1 / 3, NAN],
        "learning_rate": [0.1, 1e-7],
        "seconds": [1.5, 2.5],
    }
    history.write_history(path, measured)
    assert path.read_text() == (
        "epoch,seconds,learning_rate,loss,val_accuracy_white_noise@0.5,val_loss\n"
        "1,1.5,0.1,0.3333333333333333,,\n2,2.5,1e-07,nan,0.1,nan\n"
    )
    found = history.read_history(path)
    assert found.keys() == measured.keys()
    for name, values in measured.items():
        np.testing.assert_array_equal(found[name], values)
    assert [p.name for p in tmp_path.iterdir()] == ["history.csv"]
    history.write_history(path, {})
    assert history.read_history(path) == {}


def test_a_broken_history_is_refused(tmp_path):
    path = tmp_path / "history.csv"
    with pytest.raises(ValueError, match="Received: {'a': 1, 'b': 2}"):
        history.write_history(path, {"a": [1.0], "b": [1.0, 2.0]})
    assert not path.exists()
    for text in ("", "loss\n1\n", "epoch,loss\n1,0.5\n1,0.5\n", "epoch,loss\n2,0.5\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match="the epochs 1, 2, 3"):
            history.read_history(path)
    for text in ("epoch,loss\n1,x\n", "epoch,loss\n1\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match="a number, or nothing"):
            history.read_history(path)


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "history.csv"
    history.write_history(path, {"loss": [1.0]})

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        history.write_history(path, {"loss": [1.0, 2.0]})
    assert history.read_history(path) == {"loss": [1.0]}
    assert [p.name for p in tmp_path.iterdir()] == ["history.csv"]
