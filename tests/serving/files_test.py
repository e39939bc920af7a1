import os

import keras
import numpy as np
import pytest
from small_classifier import small_classifier

from nfm_keras import networks
from nfm_keras.mixing import sites
from nfm_keras.serving import files

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="converted from TensorFlow"
)


def classifier(name="small_resnet"):
    return sites.remove_sites(networks.build(name, (8, 8, 1), 10, width=0.25))


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter")
@pytest.mark.parametrize("format", files.SUFFIXES)
def test_a_file_gives_the_models_logits(format, tmp_path):
    model, path = classifier(), tmp_path / "new" / "toy"
    file = files.export_file(model, path, format)
    assert file == path.with_suffix(files.SUFFIXES[format])
    assert os.listdir(path.parent) == [file.name]
    images = np.random.default_rng(1).random((5, 8, 8, 1), dtype=np.float32)
    expected = model(images, training=False)
    np.testing.assert_allclose(files._RUN[format](file, images), expected, atol=1e-6)
    before = file.read_bytes()
    with pytest.raises(FileExistsError, match="never overwritten"):
        files.export_file(model, path, format)
    assert file.read_bytes() == before


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter")
@pytest.mark.parametrize("format", files.SUFFIXES)
def test_a_file_of_another_model_is_refused(format, tmp_path, monkeypatch):
    model = classifier("mlp")

    def train_then_export(*given, export=model.export, **options):
        model.layers[-1].bias.assign_add(np.full(10, 1e-3))
        export(*given, **options)

    monkeypatch.setattr(model, "export", train_then_export)
    with pytest.raises(RuntimeError, match="difference of 1.0e-03"):
        files.export_file(model, tmp_path / "wrong", format)
    assert os.listdir(tmp_path) == []


# As small as each of them is built, with images of one channel.
SMALL = {
    "small_resnet": {"width": 0.25},
    "preact_resnet18": {"width": 1 / 32},
    "resnet50": {"width": 1 / 64},
    "resnet101": {"width": 1 / 64},
    "wide_resnet28_10": {"width": 1 / 80},
    "wide_resnet": {"width": 1, "depth": 10},
    "vit_lite7_4": {"width": 1 / 16},
    "vit_lite": {"width": 1 / 16, "depth": 1},
    "vit_s16": {"width": 1 / 16},
    "mlp": {"width": 0.25},
}


# The converters take their time; a residual network and an MLP are converted above.
QUICK = {"vit_lite-onnx", "vit_lite-litert"}
NAMES = [
    pytest.param(
        name,
        format,
        marks=[] if f"{name}-{format}" in QUICK else pytest.mark.slow,
        id=f"{name}-{format}",
    )
    for name in networks.NETWORKS
    for format in files.SUFFIXES
]


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter")
@pytest.mark.parametrize("name, format", NAMES)
def test_every_network_is_written(name, format, tmp_path):
    side = 32 if name in ("resnet50", "resnet101", "vit_s16") else 8
    network = networks.build(name, (side, side, 1), 3, **SMALL[name])
    assert files.export_file(sites.remove_sites(network), tmp_path / name, format)


def test_an_operator_that_a_format_lacks_is_named(tmp_path):
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(2)(keras.ops.erfinv(inputs))
    with pytest.raises(
        RuntimeError, match="as litert.*Received: the operators .*Erfinv"
    ):
        files.export_file(keras.Model(inputs, outputs), tmp_path / "a", "litert")
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(2)(keras.activations.gelu(inputs))
    with pytest.raises(RuntimeError, match="as onnx.*Received: the operators .'Erfc'"):
        files.export_file(keras.Model(inputs, outputs), tmp_path / "a", "onnx")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_half_precision_is_refused_before_it_is_converted(policy, tmp_path):
    model = small_classifier(dtype=policy)
    for format in files.SUFFIXES:
        with pytest.raises(ValueError, match=f"in float32.*Received: {policy}$"):
            files.export_file(model, tmp_path / "toy", format)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(files._NEEDS, "onnx", ("onnx_that_is_not_there",))
    with pytest.raises(RuntimeError, match="pip install onnx_that_is_not_there"):
        files.export_file(classifier("mlp"), tmp_path / "toy", "onnx")
    assert os.listdir(tmp_path) == []
