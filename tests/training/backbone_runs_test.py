"""A backbone of each family: trained, resumed, loaded, attacked, exported."""

import numpy as np
import photograph_sets
import pytest
from conftest import BACKEND

import nfm_keras as nfm
from nfm_keras import data, training
from nfm_keras.networks import backbones


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return photograph_sets.write(tmp_path_factory.mktemp("photos"), classes=2, images=4)


@pytest.mark.backends
def test_a_run_of_a_small_backbone(folder, tmp_path, monkeypatch):
    """Of two stages of the four, the second of which is narrow."""
    pytest.importorskip("keras_cv")
    stages = {"filters": (64, 8), "strides": (1, 2), "blocks": (2, 2)}
    settings = {f"stackwise_{name}": each for name, each in stages.items()}
    small = {"block_type": "basic_block", **settings}
    monkeypatch.setattr(
        backbones, "KERAS_CV", {"resnet18_v2": ("ResNetV2Backbone", small)}
    )
    check_run("keras_cv/resnet18_v2", folder, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["applications/vgg16", "keras_cv/resnet18_v2"])
def test_a_run_of_a_backbone(network, folder, tmp_path):
    pytest.importorskip(network.partition("/")[0].replace("applications", "keras"))
    check_run(network, folder, tmp_path)


def check_run(network, folder, tmp_path):
    config = training.Config(
        dataset=f"folder:{folder}",
        image_size=32,
        network=network,
        epochs=1,
        batch_size=8,
        schedule="constant",
        learning_rate=1e-3,
    )
    run = tmp_path / "run"
    record = training.train(config, run, verbose=0)
    first, *levels = record.config["sites"]
    assert first == "site_input" and len(levels) > 0
    assert training.train(config, run, resume=True) == record
    classifier = nfm.load_model(run / training.CLASSIFIER, compile=False)
    test = data.load(config.dataset, image_size=32).test
    scores = nfm.evaluate(classifier, test, perturbations=["clean", "fgsm@8/255"])
    clean, attacked = (score.value for score in scores)
    assert attacked <= clean == 100 * record.history["val_accuracy"][-1]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        path = nfm.serving.export(classifier, tmp_path / "served")
        served = tf.saved_model.load(str(path))
        images = np.asarray(test.images[:2], "float32") / 255
        outputs = served.signatures["serving_default"](tf.constant(images))
        expected = classifier.predict(images, verbose=0)
        np.testing.assert_allclose(outputs["logits"], expected, atol=1e-4, rtol=1e-4)
