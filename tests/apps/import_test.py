"""Classifiers with layers of their own, at the commands."""

import keras
import programs
import pytest

from nfm_keras.evaluation import classifiers
from nfm_keras.registration import load_model

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="SavedModel is TensorFlow's format"
)

LAYERS = """
import keras

class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


def test_layers_of_ones_own_are_imported(tmp_path, monkeypatch):
    (tmp_path / "my_layers.py").write_text(LAYERS)
    monkeypatch.syspath_prepend(tmp_path)
    import my_layers

    model = keras.Sequential([keras.Input((8, 8, 1)), my_layers.Doubled()])
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(3))
    model.save(tmp_path / "mine.keras")
    command = ["apps.export", "--model=mine=mine.keras", "--format=litert"]
    found = programs.run(*command, "--import=my_layers", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "savedmodels" / "mine.tflite").exists()


def test_a_file_with_layers_that_nobody_imported_is_refused(tmp_path):
    class Unknown(keras.layers.Layer):
        def call(self, x):
            return x

    keras.Sequential([keras.Input((2,)), Unknown()]).save(tmp_path / "mine.keras")
    for load in (classifiers.load, load_model):
        with pytest.raises(ValueError, match="--import=MODULE.*'Unknown'"):
            load(tmp_path / "mine.keras")
