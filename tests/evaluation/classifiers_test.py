import keras
import numpy as np
import pytest
from conftest import BACKEND

from nfm_keras.attacks import FGSM
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.evaluation import classifiers

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="a SavedModel")


@pytest.fixture
def model():
    inputs = keras.Input((8, 8, 3))
    hidden = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.Dense(5)(keras.layers.Flatten()(hidden)))


@pytest.fixture
def images():
    return np.random.default_rng(0).random((6, 8, 8, 3), "float32")


def test_a_keras_file_and_a_saved_model_are_the_same_classifier(
    model, images, tmp_path
):
    model.save(tmp_path / "mine.keras")
    model.export(tmp_path / "served" / "3", verbose=False)
    expected = model(images).numpy()
    labels = expected.argmax(1)
    attacked = FGSM(0.02)(model, images, labels, batch_size=6)
    for path, name in (("mine.keras", "mine"), ("served/3", "served/3")):
        found = classifiers.load(tmp_path / path)
        assert found.name == name and found.record is None and found.run is None
        plain = PlainClassifier(found.classifier)
        assert plain.input_shape == (8, 8, 3)
        np.testing.assert_allclose(plain.logits(images), expected, atol=1e-5)
        again = FGSM(0.02)(found.classifier, images, labels, batch_size=6)
        np.testing.assert_allclose(again.images, attacked.images, atol=1e-6)


def test_what_is_no_classifier_is_named(model, tmp_path):
    import tensorflow as tf

    with pytest.raises(FileNotFoundError, match="nothing there"):
        classifiers.load(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match="a folder without them"):
        classifiers.load(tmp_path)

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3))])
    def serve(images):
        logits = model(images)
        return {"scores": logits, "classes": tf.argmax(logits, 1)}

    module = tf.Module()
    module.model = model
    tf.saved_model.save(module, str(tmp_path / "two"), {"serving_default": serve})
    with pytest.raises(ValueError, match="outputs .'classes', 'scores'."):
        classifiers.load(tmp_path / "two")
    tf.saved_model.save(module, str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"serving_default`. Received: \[\]"):
        classifiers.load(tmp_path / "none")


def test_a_model_may_be_given_a_name(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model.save("odd=name.keras")
    assert classifiers.named("erm=a/classifier.keras") == ("erm", "a/classifier.keras")
    assert classifiers.named("runs/lr=0.1/mine.keras")[0] is None
    assert classifiers.named("odd=name.keras") == (None, "odd=name.keras")
    assert classifiers.load("odd=name.keras", "mine").name == "mine"
    for wrong in ("=mine.keras", "two words=mine.keras", "mine="):
        with pytest.raises(ValueError, match="NAME=PATH"):
            classifiers.named(wrong)


@pytest.mark.parametrize("kept", [0.5, "middle"])
def test_half_a_file_is_called_that(model, tmp_path, kept):
    model.save(tmp_path / "mine.keras")
    content = bytearray((tmp_path / "mine.keras").read_bytes())
    if kept == "middle":  # the table at the end is whole
        content[60:-400] = bytes(len(content) - 460)
    else:
        content = content[: int(len(content) * kept)]
    (tmp_path / "mine.keras").write_bytes(content)
    with pytest.raises(ValueError, match="mine.keras is not a whole .keras file"):
        classifiers.load(tmp_path / "mine.keras")
