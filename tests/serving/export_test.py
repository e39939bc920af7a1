import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from nfm_keras import mixing, networks, records
from nfm_keras.mixing import sites
from nfm_keras.serving import checks as export_checks
from nfm_keras.serving import saved_model as export_module
from nfm_keras.serving import signatures
from nfm_keras.serving.saved_model import export

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="SavedModel is TensorFlow's format"
)

# A server has no Keras: to this process it is as if it were not installed.
CLIENT = """
import sys
from importlib.machinery import PathFinder

class WithoutKeras(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        blocked = name.partition(".")[0] in ("keras", "tf_keras", "nfm_keras")
        return None if blocked else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutKeras
try:
    import keras
except ImportError:
    pass
else:
    raise AssertionError("Keras could be imported")

import numpy as np
import tensorflow as tf

model = tf.saved_model.load(sys.argv[1])
images = np.load(sys.argv[2])
served = {}
for batch in (1, 3, 7):
    x = images[:batch]
    files = tf.stack([tf.io.encode_png(image) for image in x])
    for name, given in {
        "serving_default": {"images": (x / 255).astype("float32")},
        "serving_uint8": {"images": x},
        "serving_bytes": {"image_bytes": files},
    }.items():
        given = {key: tf.constant(value) for key, value in given.items()}
        for key, value in model.signatures[name](**given).items():
            value = value.numpy()
            if key == "classes":
                value = np.array([each.decode() for each in value])
            served[f"{name}/{key}/{batch}"] = value
assert not [name for name in sys.modules if name.partition(".")[0] == "keras"]
np.savez(sys.argv[3], **served)
"""


def network(middle=(), activation=None, dtype=None, classes=5):
    """A small classifier with batch statistics and weights that are not the start's."""
    keras.utils.set_random_seed(0)
    dtype = keras.DTypePolicy(dtype or "float32")
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3), name="pixels"),
            layers.Rescaling(4.0, -2.0, dtype=dtype),
            layers.Conv2D(8, 3, use_bias=False, dtype=dtype),
            *middle,
            layers.BatchNormalization(dtype=dtype),
            layers.ReLU(dtype=dtype),
            layers.Dropout(0.5, dtype=dtype),
            layers.GlobalAveragePooling2D(dtype=dtype),
            layers.Dense(classes, activation=activation, dtype=dtype),
        ]
    )
    generator = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(size=weight.shape))
    model.layers[-1].bias.assign(generator.normal(size=classes))
    return model


def probabilities(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_served_without_keras_gives_the_models_outputs(tmp_path):
    classifier, names = network(), [*"abcd", "\N{LATIN SMALL LETTER E WITH ACUTE}"]
    path = export(classifier, tmp_path / "model", classes=names)
    images = np.random.default_rng(1).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    arguments = [path, tmp_path / "images.npy", tmp_path / "served.npz"]
    command = [sys.executable, "-c", CLIENT, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    served = np.load(tmp_path / "served.npz")
    expected = classifier.predict((images / 255).astype("float32"), verbose=0)
    assert np.ptp(expected, axis=0).min() > 0.01  # the images do tell apart
    for batch in (1, 3, 7):
        for name in ("serving_default", "serving_uint8", "serving_bytes"):
            logits = served[f"{name}/logits/{batch}"]
            assert logits.dtype == np.float32
            np.testing.assert_allclose(logits, expected[:batch], rtol=1e-6, atol=1e-6)
            best = [names[k] for k in expected[:batch].argmax(1)]
            assert served[f"{name}/classes/{batch}"].tolist() == best
            np.testing.assert_allclose(
                served[f"{name}/probabilities/{batch}"],
                probabilities(expected[:batch]),
                atol=1e-6,
            )


def test_signatures_are_what_clients_are_told(tmp_path):
    import tensorflow as tf

    model = tf.saved_model.load(str(export(network(), tmp_path)))
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

    classifier = network()
    path = export(classifier, tmp_path, features=True)
    model = tf.saved_model.load(str(path))
    images = tf.random.stateless_uniform((3, 8, 8, 3), (0, 1))
    found = model.signatures["features"](images=images)
    assert list(found) == ["features"] and found["features"].shape == (3, 8)
    logits = classifier.layers[-1](found["features"])
    np.testing.assert_allclose(logits, classifier(images), rtol=1e-5, atol=1e-5)
    softly = keras.Sequential([keras.Input((2,)), keras.layers.ReLU(name="soft")])
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


def test_half_precision_halves_the_weights_and_says_what_it_changes(tmp_path):
    import tensorflow as tf

    network = networks.build("small_resnet", (8, 8, 1), 10, width=1)
    classifier = sites.remove_sites(network)
    sizes, differences = {}, {}
    images = np.random.default_rng(0).random((50, 8, 8, 1), dtype=np.float32)
    expected = classifier.predict(images, verbose=0)
    for half in (False, True):
        path = export(classifier, tmp_path, float16=half)
        (stored,) = path.glob("variables/variables.data*")
        sizes[half] = stored.stat().st_size
        model = tf.saved_model.load(str(path))
        answer = model.signatures["serving_default"](images=tf.constant(images))
        assert answer["logits"].dtype == tf.float32
        differences[half] = np.abs(answer["logits"] - expected).max()
        card = (path / "model_card.md").read_text()
        assert ("half precision" in card) == half
    assert sizes[True] < 0.52 * sizes[False]
    assert differences[False] < 1e-5 < differences[True] < 2**-8
    classifier.layers[-1].bias.assign(np.full(10, 1e5))
    with pytest.raises(ValueError, match="65504. Received: .*bias with 1e"):
        export(classifier, tmp_path, float16=True)


def test_no_images_are_refused_and_the_next_are_not(tmp_path):
    import tensorflow as tf

    model = tf.saved_model.load(str(export(network(), tmp_path)))
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


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_gives_float32(dtype, tmp_path):
    import tensorflow as tf

    classifier = network(dtype=dtype)
    assert classifier.outputs[0].dtype != "float32"
    model = tf.saved_model.load(str(export(classifier, tmp_path)))
    images = tf.random.stateless_uniform((3, 8, 8, 3), (0, 1))
    served = model.signatures["serving_default"](images=images)
    assert served["logits"].dtype == tf.float32
    expected = keras.ops.cast(classifier(images), "float32")
    np.testing.assert_allclose(served["logits"], expected, rtol=0.02, atol=0.05)
    sums = tf.reduce_sum(served["probabilities"], -1)
    np.testing.assert_allclose(sums, 1, atol=1e-5)  # the softmax is in float32


def test_versions_count_up_and_are_never_overwritten(tmp_path):
    classifier = network()
    assert export(classifier, tmp_path) == tmp_path / "1"
    assert export(classifier, tmp_path, version=7) == tmp_path / "7"
    before = (tmp_path / "7" / "saved_model.pb").read_bytes()
    with pytest.raises(FileExistsError, match="never changed"):
        export(classifier, tmp_path, version=7)
    assert (tmp_path / "7" / "saved_model.pb").read_bytes() == before
    assert export(classifier, tmp_path) == tmp_path / "8"
    assert sorted(os.listdir(tmp_path)) == ["1", "7", "8"]
    for version in (0, -1, 1.5, "2", True):
        with pytest.raises(ValueError, match="version"):
            export(classifier, tmp_path, version=version)


def test_of_two_exports_of_one_version_the_first_wins(tmp_path, monkeypatch):
    def other_process_is_faster(*_):
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "saved_model.pb").write_text("theirs")

    monkeypatch.setattr(export_module.warmup, "write", other_process_is_faster)
    with pytest.raises(FileExistsError, match="appeared meanwhile"):
        export(network(), tmp_path)
    assert os.listdir(tmp_path) == ["1"]
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "theirs"


@pytest.mark.parametrize("step", ["check_graph", "check_outputs", "_publish"])
def test_an_interrupted_export_leaves_nothing(step, tmp_path, monkeypatch):
    def interrupt(*_):
        (hidden,) = os.listdir(tmp_path)
        assert hidden.startswith(".")  # a server looks for numbers only
        raise KeyboardInterrupt

    module = export_checks if step.startswith("check") else export_module
    monkeypatch.setattr(module, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(network(), tmp_path)
    assert os.listdir(tmp_path) == []


def test_mixing_layers_are_refused_by_name(tmp_path):
    inner = keras.Sequential([mixing.NoisyFeatureMixup(name="site_inner")])
    model = network(middle=[mixing.NoisyFeatureMixup(name="site_1"), inner])
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
        export(network(middle=[layer()]), tmp_path)
    assert os.listdir(tmp_path) == []


class AsksPython(keras.layers.Layer):
    def call(self, images):
        import tensorflow as tf

        called = tf.numpy_function(lambda x: x + 1, [images], tf.float32)
        return tf.ensure_shape(called, images.shape)


def test_a_python_function_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must not call Python.*PyFunc"):
        export(network(middle=[AsksPython()]), tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_saved_keras_object_is_refused(tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    file = export(network(), tmp_path) / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    nodes = proto.meta_graphs[0].object_graph_def.nodes
    nodes[0].user_object.identifier = "_tf_keras_layer"
    file.write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match="must not need Keras.*_tf_keras_layer"):
        export_checks.check_graph(file.parent)


def test_a_model_served_wrongly_is_refused(tmp_path, monkeypatch):
    classifier, write = network(), export_module._write

    def write_then_train(offered, folder):
        write(offered, folder)
        classifier.layers[-1].bias.assign_add(np.full(5, 1e-3))

    monkeypatch.setattr(export_module, "_write", write_then_train)
    with pytest.raises(RuntimeError, match="difference of 1.0e-03"):
        export(classifier, tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("activation", ["softmax", keras.layers.Softmax()])
def test_a_softmax_is_refused(activation, tmp_path):
    with pytest.raises(ValueError, match="must end in logits"):
        export(network(activation=activation), tmp_path)


def test_record_and_classes_lie_inside(tmp_path):
    score = records.Score("fog@1", 1, "pixel", 50.0, 9.5, 90.5, 2, 1, 0, 1.0, {})
    record = records.Record(
        *("nfm-0", "nfm", "cifar10", "toy", {"alpha": 1.5}, ("input",), 1234),
        *({"keras": "3.15.1"}, {}, "", 1.0, "", {"loss": [1.0]}, (score,)),
    )
    names = ["plane", "car", "bird", "cat", "deer"]
    path = export(network(), tmp_path, record=record, classes=names)
    assert records.load(path / "record.json") == record
    assert (path / "assets.extra" / "classes.txt").read_text().splitlines() == names
    card = (path / "model_card.md").read_text()
    assert card.startswith(f"# {tmp_path.name}, version 1\n")
    for text in (
        "1,234 weights",
        "scheme `nfm`",
        "plane, car, bird, cat, deer",
        "| `serving_bytes` | `image_bytes` | string | (batch,) |",
        "| `fog@1` | pixel | 50.00 | 9.50 to 90.50 | 2 |",
        "| `alpha` | `1.5` |",
        "keras 3.15.1",
    ):
        assert text in card
    with pytest.raises(ValueError, match="5 names.*Received: 1"):
        export(network(), tmp_path, classes=["plane"])


def test_weights_are_stored_once_and_without_the_optimizer(tmp_path):
    import tensorflow as tf

    classifier = network()
    classifier.compile("adam", "mse")
    classifier.fit(np.zeros((2, 8, 8, 3)), np.zeros((2, 5)), verbose=0)
    path = export(classifier, tmp_path)
    variables = tf.train.list_variables(str(path / "variables" / "variables"))
    stored = sum(np.prod(shape, dtype=int) for _, shape in variables if shape)
    assert stored == classifier.count_params()


def test_command_exports_a_run(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    network(classes=10).save(run / "classifier.keras")
    record = records.Record(
        *("nfm-0", "nfm", "cifar10", "toy", {}, (), 1, {}, {}, "", 1.0, "", {}),
    )
    records.save(record, run / records.FILE)
    flags = [f"--run_dir={run}", f"--output={tmp_path / 'served'}", "--name=toy"]
    command = [sys.executable, "-m", "apps.export", *flags]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    path = tmp_path / "served" / "toy" / "1"
    assert result.stdout.strip() == str(path)
    assert records.load(path / "record.json") == record
    classes = (path / "assets.extra" / "classes.txt").read_text().split()
    assert classes[:2] == ["airplane", "automobile"]
