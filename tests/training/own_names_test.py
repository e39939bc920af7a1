"""Sets of images and networks of one's own, by the names of their functions."""

import sys
import types

import keras
import numpy as np
import pytest

import nfm_keras as nfm
from nfm_keras import data, networks, records, training

RANDOM = np.random.default_rng(0)


def pair(n, classes=3, shape=(8, 8)):
    images = RANDOM.integers(0, 256, (n, *shape)).astype("uint8")
    return images, (np.arange(n) % classes)[:, None]


def network(input_shape, num_classes, depth=1):
    images = keras.Input(input_shape)
    x = nfm.NoisyFeatureMixup(name="first")(keras.layers.Flatten()(images))
    for _ in range(depth):
        x = keras.layers.Dense(8, "relu")(x)
    return keras.Model(images, keras.layers.Dense(num_classes)(x))


SETS = {
    "arrays": lambda: (pair(40), pair(10)),
    "described": lambda: (
        pair(8),
        pair(4),
        data.DatasetSpec("mine", (8, 8, 1), ("a", "b", "c"), (0.5,), (0.2,), pad=1),
    ),
    "one": lambda: pair(4),
    "floats": lambda: ((np.full((4, 8, 8), 0.3), np.arange(4)), pair(4)),
    "labels": lambda: ((pair(4)[0], np.ones(3, int)), pair(4)),
    "shapes": lambda: (pair(4), pair(4, shape=(9, 8))),
    "number": 3,
}


@pytest.fixture(autouse=True)
def project(monkeypatch):
    module = types.ModuleType("my_project")
    vars(module).update(SETS, network=network, wrong=lambda *_: "no model")
    monkeypatch.setitem(sys.modules, "my_project", module)
    data.own_arrays.cache_clear()


def test_a_run_on_ones_own_set_and_network(tmp_path):
    config = training.Config(
        dataset="my_project:arrays",
        network="my_project:network",
        depth=2,
        epochs=1,
        batch_size=10,
        schedule="constant",
        augment=False,
        learning_rate=0.01,
    )
    record = training.train(config, tmp_path, verbose=0)
    assert record.config["sites"] == ["first"]
    assert records.load(tmp_path / records.FILE).dataset == "my_project:arrays"
    classifier = nfm.load_model(tmp_path / training.CLASSIFIER, compile=False)
    assert [layer.name for layer in classifier.layers if "dense" in layer.name][2:]
    test = data.load("my_project:arrays").test
    (score,) = nfm.evaluate(classifier, test, perturbations=["clean"])
    assert score.value == pytest.approx(100 * record.history["val_accuracy"][-1])


def test_what_is_not_said_of_a_set_is_measured():
    splits = data.load("my_project:arrays", validation=5, limit=20)
    images, known = data.load("my_project:arrays").train.images, splits.train.spec
    assert known.shape == (8, 8, 1) and known.classes == ("0", "1", "2")
    assert known.mean == pytest.approx([images.mean() / 255])
    assert known.std == pytest.approx([images.std() / 255])
    assert (known.pad, known.flip) == (0, False)
    assert len(splits.train.labels) == 15 and splits.test.labels.shape == (10,)
    assert data.load("my_project:described").test.spec.classes == ("a", "b", "c")


@pytest.mark.parametrize(
    "name, words",
    [
        ("my_project:none", "no attribute 'none'"),
        ("no_project:arrays", "No module named 'no_project'"),
        ("my_project:number", "is a int"),
        ("my_project:one", "pairs of images and labels"),
        ("my_project:floats", "8 bits"),
        ("my_project:labels", "a integer label|integer label for each image"),
        ("my_project:shapes", r"images of \(8, 8, 1\)"),
    ],
)
def test_a_set_that_is_none_is_refused(name, words):
    with pytest.raises(ValueError, match=words) as error:
        data.load(name)
    assert "Received: " in str(error.value)


def test_a_network_that_is_none_is_refused():
    with pytest.raises(ValueError, match="a keras.Model with 3 logits. Received: str"):
        networks.build("my_project:wrong", (8, 8, 1), 3)
    with pytest.raises(ValueError, match="no attribute 'netwrk'"):
        networks.build("my_project:netwrk", (8, 8, 1), 3)
    with pytest.raises(ValueError, match="options"):
        networks.build("my_project:network", (8, 8, 1), 3, dropout=0.5)
