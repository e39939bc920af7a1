import keras
import numpy as np
import pytest
from small_classifier import small_classifier

from nfm_keras.serving import signatures
from nfm_keras.serving.saved_model import export

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="SavedModel is TensorFlow's format"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A classifier, exported and loaded again."""
    import tensorflow as tf

    path = export(small_classifier(), tmp_path_factory.mktemp("models"))
    return tf.saved_model.load(str(path))


def test_signatures_are_what_clients_are_told(model):
    import tensorflow as tf

    pixels = (None, 8, 8, 3)
    inputs = {
        "serving_default": tf.TensorSpec(pixels, tf.float32, name="images"),
        "serving_uint8": tf.TensorSpec(pixels, tf.uint8, name="images"),
        "serving_bytes": tf.TensorSpec((None,), tf.string, name="image_bytes"),
    }
    assert set(model.signatures) == set(inputs)
    for name, spec in inputs.items():
        signature = model.signatures[name]
        assert signature.structured_input_signature[1] == {spec.name: spec}
        outputs = signature.structured_outputs
        assert {key: (o.shape.as_list(), o.dtype) for key, o in outputs.items()} == {
            "logits": ([None, 5], tf.float32),
            "probabilities": ([None, 5], tf.float32),
            "classes": ([None], tf.string),
        }


def test_features_are_what_the_last_layer_sees(tmp_path):
    import tensorflow as tf

    classifier = small_classifier()
    path = export(classifier, tmp_path, features=True)
    model = tf.saved_model.load(str(path))
    images = tf.random.stateless_uniform((3, 8, 8, 3), (0, 1))
    found = model.signatures["features"](images=images)
    assert list(found) == ["features"] and found["features"].shape == (3, 8)
    logits = classifier.layers[-1](found["features"])
    np.testing.assert_allclose(logits, classifier(images), rtol=1e-5, atol=1e-5)
    softly = keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(-1.0)])
    with pytest.raises(ValueError, match="last Dense layer.*Received: InputLayer"):
        export(softly, tmp_path, features=True)


def test_features_of_a_network_with_an_activation_behind_its_last_dense_layer():
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, activation="relu")(inputs)
    scores = keras.layers.Dense(2)(hidden)
    tempered = keras.layers.Rescaling(0.5)(keras.layers.Activation("tanh")(scores))
    model = signatures.with_features(keras.Model(inputs, tempered))
    expected = keras.Model(inputs, [tempered, hidden])
    images = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    for a, b in zip(model(images), expected(images), strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_images_are_refused_and_the_next_are_not(model):
    import tensorflow as tf

    for name, key, dtype, shape in (
        ("serving_default", "images", tf.float32, (8, 8, 3)),
        ("serving_uint8", "images", tf.uint8, (8, 8, 3)),
        ("serving_bytes", "image_bytes", tf.string, ()),
    ):
        none = tf.zeros((0, *shape), dtype)
        with pytest.raises(tf.errors.InvalidArgumentError, match="must hold an image"):
            model.signatures[name](**{key: none})
    one = model.signatures["serving_uint8"](images=tf.zeros((1, 8, 8, 3), tf.uint8))
    assert one["logits"].shape == (1, 5)


def test_of_free_size_are_no_files(tmp_path):
    import tensorflow as tf

    images = keras.Input((None, None, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(images)
    classifier = keras.Model(images, keras.layers.Dense(2)(pooled))
    model = tf.saved_model.load(str(export(classifier, tmp_path)))
    assert set(model.signatures) == {"serving_default", "serving_uint8"}


def test_points_have_no_uint8_signature(tmp_path):
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    classifier = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model = tf.saved_model.load(str(export(classifier, tmp_path)))
    assert list(model.signatures) == ["serving_default"]
