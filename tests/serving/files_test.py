import importlib.util
import os

import keras
import numpy as np
import pytest

from nfm_keras import networks
from nfm_keras.mixing import sites
from nfm_keras.serving import files

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="converted from TensorFlow"
)


def classifier():
    network = networks.build("small_resnet", (8, 8, 1), 10, width=0.25)
    return sites.remove_sites(network)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter")
@pytest.mark.parametrize("format", files.SUFFIXES)
def test_a_file_gives_the_models_logits(format, tmp_path, monkeypatch):
    if format == "onnx" and not importlib.util.find_spec("tf2onnx"):
        pytest.skip("tf2onnx is not installed")
    model, path = classifier(), tmp_path / "new" / "toy"
    file = files.export_file(model, path, format)
    assert file == path.with_suffix(files.SUFFIXES[format])
    assert os.listdir(path.parent) == [file.name]
    images = np.random.default_rng(1).random((5, 8, 8, 1), dtype=np.float32)
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(files._RUN[format](file, images), expected, atol=1e-6)
    before = file.read_bytes()
    with pytest.raises(FileExistsError, match="never overwritten"):
        files.export_file(model, path, format)
    assert file.read_bytes() == before

    def train_then_export(*given, export=model.export, **options):
        model.layers[-1].bias.assign_add(np.full(10, 1e-3))
        export(*given, **options)

    monkeypatch.setattr(model, "export", train_then_export)
    with pytest.raises(RuntimeError, match="difference of 1.0e-03"):
        files.export_file(model, tmp_path / "wrong", format)
    assert os.listdir(tmp_path) == ["new"]


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(files._NEEDS, "onnx", ("onnx_that_is_not_there",))
    with pytest.raises(RuntimeError, match="pip install onnx_that_is_not_there"):
        files.export_file(classifier(), tmp_path / "toy", "onnx")
    assert os.listdir(tmp_path) == []
