import os

import keras
import numpy as np
import pytest
from small_classifier import small_classifier

from nfm_keras import mixing
from nfm_keras.serving import checks, saved_model
from nfm_keras.serving.saved_model import export

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="SavedModel is TensorFlow's format"
)


def test_mixing_layers_are_refused_by_name(tmp_path):
    inner = keras.Sequential([mixing.NoisyFeatureMixup(name="site_inner")])
    model = small_classifier(middle=[mixing.NoisyFeatureMixup(name="site_1"), inner])
    with pytest.raises(ValueError, match="site_1.*site_inner"):
        export(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()


class AlwaysNoisy(keras.layers.Layer):
    def call(self, images):
        return images + keras.random.normal(keras.ops.shape(images), seed=0)


class AlwaysTruncated(keras.layers.Layer):
    def call(self, images):
        noise = keras.random.truncated_normal(keras.ops.shape(images), seed=0)
        return images + noise


@pytest.mark.parametrize("layer", [AlwaysNoisy, AlwaysTruncated])
def test_a_random_op_is_refused(layer, tmp_path):
    with pytest.raises(ValueError, match="must not draw random numbers.*Received"):
        export(small_classifier(middle=[layer()]), tmp_path)
    assert os.listdir(tmp_path) == []


class AsksPython(keras.layers.Layer):
    def call(self, images):
        import tensorflow as tf

        called = tf.numpy_function(lambda x: x + 1, [images], tf.float32)
        return tf.ensure_shape(called, images.shape)


def test_a_python_function_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must not call Python.*PyFunc"):
        export(small_classifier(middle=[AsksPython()]), tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_saved_keras_object_is_refused(tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    file = export(small_classifier(), tmp_path) / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    nodes = proto.meta_graphs[0].object_graph_def.nodes
    nodes[0].user_object.identifier = "_tf_keras_layer"
    file.write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match="must not need Keras.*_tf_keras_layer"):
        checks.check_graph(file.parent)


def test_a_model_served_wrongly_is_refused(tmp_path, monkeypatch):
    classifier, write = small_classifier(), saved_model._write

    def write_then_train(offered, folder):
        write(offered, folder)
        classifier.layers[-1].bias.assign_add(np.full(5, 1e-3))

    monkeypatch.setattr(saved_model, "_write", write_then_train)
    with pytest.raises(RuntimeError, match="difference of 1.0e-03"):
        export(classifier, tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("activation", ["softmax", keras.layers.Softmax()])
def test_a_softmax_is_refused(activation, tmp_path):
    with pytest.raises(ValueError, match="must end in logits"):
        export(small_classifier(activation=activation), tmp_path)


def test_another_shape_or_no_number_is_a_difference():
    right = np.ones((2, 3))
    assert checks.compare("A", right + 0.25, right, 0.5) == 0.25
    for wrong, error in ((np.ones((2, 4)), "inf"), (right * np.nan, "nan")):
        with pytest.raises(
            RuntimeError, match=f"A must equal B.*difference of {error}"
        ):
            checks.compare("A", wrong, right, 0.5, to="B")
