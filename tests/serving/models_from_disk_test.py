"""A classifier comes back from whatever it was kept in."""

import dataclasses
import shutil

import keras
import numpy as np
import pytest
from conftest import BACKEND, run

import nfm_keras as nfm
from nfm_keras import records, training
from nfm_keras.mixing.sites import remove_sites
from nfm_keras.serving import half_weights
from nfm_keras.training.weights.files import initialise

IMAGES = np.random.default_rng(0).random((3, 8, 8, 1), "float32")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A record with its classifier, and both forms of its weights."""
    folder = tmp_path_factory.mktemp("models")
    config = training.Config(scheme="nfm", dataset="digits", network="mlp")
    config, network = training.resolve(config)
    for weight in network.weights:
        weight.assign(0.1 * np.random.default_rng(1).normal(size=weight.shape))
    record = run("nfm", dataset="digits")
    record = dataclasses.replace(
        record, network="mlp", config=dataclasses.asdict(config), scores=()
    )
    records.save(record, folder / "run" / records.FILE)
    half_weights.save_weights(network, folder / "run" / half_weights.FILE)
    return folder, record, remove_sites(network)


def logits(model):
    return keras.ops.convert_to_numpy(model(IMAGES, training=False))


@pytest.mark.backends
def test_weights_in_half_precision_beside_a_record_are_enough(kept):
    folder, _, classifier = kept
    expected = logits(classifier)
    for given in ({"path": folder / "run"}, {"path": "run", "folder": folder}):
        model = nfm.load_model(**given)
        assert isinstance(model, keras.Model) and not nfm.find_sites(model)
        np.testing.assert_allclose(logits(model), expected, rtol=0.02, atol=0.05)
    assert np.abs(logits(model) - expected).max() > 0  # they were rounded


@pytest.mark.parametrize("kind", ["cut", "damaged", "an_array", "empty"])
def test_weights_that_are_not_whole_are_named(kept, tmp_path, kind):
    whole = (kept[0] / "run" / half_weights.FILE).read_bytes()
    path = tmp_path / half_weights.FILE
    if kind == "an_array":
        np.save(tmp_path / "x.npy", np.zeros(3))
        (tmp_path / "x.npy").rename(path)
    else:
        middle = len(whole) // 2
        damaged = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
        path.write_bytes({"cut": whole[:1000], "damaged": damaged, "empty": b""}[kind])
    shutil.copy(kept[0] / "run" / records.FILE, tmp_path)
    for load in (nfm.load_model, lambda _: initialise(kept[2], path)):
        with pytest.raises(ValueError, match="float16.npz must be a whole .npz file"):
            load(tmp_path)


def test_a_weight_beyond_half_precision_is_kept_as_it_is(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    kernel = np.array([[65504.0, 0.1, -1.0], [1e6, 2.0, 3.0]], "float32")
    half_weights.save_weights(model, tmp_path / "small.npz")
    model.layers[0].kernel.assign(kernel)
    half_weights.save_weights(model, tmp_path / "large.npz")
    types = [np.load(tmp_path / f"{n}.npz")["0000"].dtype for n in ("small", "large")]
    assert types == ["float16", "float32"]
    model.layers[0].kernel.assign(0 * kernel)
    half_weights.load_weights(model, tmp_path / "large.npz")
    np.testing.assert_array_equal(model.get_weights()[0], kernel)


@pytest.mark.parametrize("kind", ["half", "saved_model"])
def test_a_record_of_a_newer_version_is_refused_in_words(kept, tmp_path, kind):
    if kind == "half":
        shutil.copy(kept[0] / "run" / half_weights.FILE, tmp_path)
    elif BACKEND == "tensorflow":
        (tmp_path / "saved_model.pb").touch()
    else:
        pytest.skip("SavedModels are TensorFlow's")
    newer = dataclasses.replace(kept[1], config=kept[1].config | {"brightness": 1})
    records.save(newer, tmp_path / records.FILE)
    with pytest.raises(ValueError, match="fields of `Config`. Received: .*brightness"):
        nfm.load_model(tmp_path)


@pytest.mark.backends
def test_a_classifier_file_comes_first_and_nothing_is_said_plainly(kept, tmp_path):
    classifier = kept[2]
    classifier.save(tmp_path / "classifier.keras")
    assert np.array_equal(logits(nfm.load_model(tmp_path)), logits(classifier))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="Received: an empty folder"):
        nfm.load_model("empty", folder=tmp_path)
    with pytest.raises(FileNotFoundError, match="nothing there"):
        nfm.load_model(tmp_path / "no.keras")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="SavedModels are TensorFlow's")
@pytest.mark.parametrize("float16", [False, True])
def test_an_exported_model_comes_back_in_its_newest_version(kept, tmp_path, float16):
    _, record, classifier = kept
    (tmp_path / "mine" / "9").mkdir(parents=True)  # nothing that could be loaded
    path = nfm.serving.export(
        classifier, tmp_path / "mine", record=record, float16=float16
    )
    assert path.name == "10"
    model = nfm.load_model("mine", folder=tmp_path)
    close = {"rtol": 0.02, "atol": 0.05} if float16 else {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(logits(model), logits(classifier), **close)
    # Of another run: its network has these weights, and answers otherwise.
    other = dataclasses.replace(record, config=record.config | {"width": 2.0})
    records.save(other, path / records.FILE)
    with pytest.raises((ValueError, RuntimeError), match="Received"):
        nfm.load_model(path)
