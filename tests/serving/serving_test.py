"""An exported model behind a server, as far as that can be shown without the server.

TensorFlow Serving itself is not here. What is: its loader and session, from C and from
TensorFlow's own command, and its wire formats, spoken by `standin.py`.
"""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import keras
import numpy as np
import programs
import pytest

from nfm_keras import networks
from nfm_keras.mixing import sites
from nfm_keras.serving.client import GrpcClient, Names, RestClient, ServingError
from nfm_keras.serving.requests import read_reply, request_body
from nfm_keras.serving.saved_model import export

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="SavedModel is TensorFlow's format"
)

REPOSITORY = pathlib.Path(__file__).parents[2]
QUIET = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)
FLOATS = (IMAGES / 255).astype(np.float32)
CLASSES = [f"class {number}" for number in range(10)]
OUTPUTS = ("classes", "logits", "probabilities")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The version folder, and the Keras model's logits of `IMAGES`."""
    network = networks.build("small_resnet", (8, 8, 1), 10, width=0.25)
    classifier = sites.remove_sites(network)
    generator = np.random.default_rng(0)
    for weight in classifier.trainable_weights:
        weight.assign(generator.normal(size=weight.shape, scale=0.5))
    path = tmp_path_factory.mktemp("models") / "toy"
    path = export(classifier, path, version=3, classes=CLASSES, features=True)
    return path, keras.ops.convert_to_numpy(classifier(FLOATS, training=False))


@pytest.fixture(scope="module")
def files():
    """`IMAGES` as PNG files."""
    import tensorflow as tf

    return [tf.io.encode_png(image).numpy() for image in IMAGES]


def close(found, expected):
    assert np.ptp(expected, axis=0).max() > 0.1  # the images do tell apart
    allowed = 1e-6 * max(1, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=allowed)


@pytest.fixture(scope="module")
def server(exported):
    pytest.importorskip("tensorflow_serving")
    import standin

    with standin.serve(exported[0], "toy") as addresses:
        yield addresses


@pytest.fixture(params=["rest", "grpc"])
def client(request, server):
    rest, grpc = server
    if request.param == "rest":
        return RestClient(f"{rest}/v1/models/toy")
    return GrpcClient(grpc, "toy")


def test_the_server_is_asked_what_it_serves(client):
    assert client.status() == {3: "AVAILABLE"}
    assert client.metadata() == {
        "serving_default": Names(("images",), OUTPUTS),
        "serving_uint8": Names(("images",), OUTPUTS),
        "serving_bytes": Names(("image_bytes",), OUTPUTS),
        "features": Names(("images",), ("features",)),
    }


@pytest.mark.parametrize("signature", ["default", "uint8", "bytes"])
def test_every_signature_answers_through_the_wire(client, signature, exported, files):
    values = {"default": FLOATS, "uint8": IMAGES, "bytes": files}[signature]
    found = client.predict(values, f"serving_{signature}")
    close(found["logits"], exported[1])
    np.testing.assert_allclose(found["probabilities"].sum(1), 1, atol=1e-6)
    best = [CLASSES[k] for k in exported[1].argmax(1)]
    assert found["classes"].tolist() == best


def test_an_only_output_is_named(client):
    assert client.predict(FLOATS, "features")["features"].shape == (4, 16)


def test_the_server_says_what_is_wrong(client, server, files):
    invalid = {RestClient: 400, GrpcClient: "INVALID_ARGUMENT"}[type(client)]
    for values, signature, message in (
        ([files[0], b"text"], "serving_bytes", "must be JPEG or PNG"),
        (FLOATS[:, :, 0], "serving_default", "shape"),
        (FLOATS, "serving_nothing", "serving_nothing"),
    ):
        with pytest.raises(ServingError, match=message) as caught:
            client.predict(values, signature)
        assert caught.value.code == invalid
    assert len(client.predict(files, "serving_bytes")["classes"]) == 4


def test_a_model_not_served_is_not_found(server, files):
    rest, grpc = server
    for client, code in (
        (RestClient(f"{rest}/v1/models/other"), 404),
        (GrpcClient(grpc, "other"), "NOT_FOUND"),
    ):
        for ask in (
            client.status,
            client.metadata,
            lambda client=client: client.predict(files, "serving_bytes"),
        ):
            with pytest.raises(ServingError, match="other") as caught:
                ask()
            assert caught.value.code == code
    with pytest.raises(ServingError, match="No answer from http://127.0.0.1:1/"):
        RestClient("http://127.0.0.1:1/v1/models/toy").status()
    with pytest.raises(ValueError, match="http://host:8501/v1/models/NAME"):
        RestClient("localhost:8501")


def test_bodies_are_the_documented_json(server, files, exported):
    rows = json.loads(request_body(files[:1], "serving_bytes", rows=True))
    assert rows == {
        "signature_name": "serving_bytes",
        "instances": [{"b64": base64.b64encode(files[0]).decode()}],
    }
    columns = json.loads(request_body(IMAGES, "serving_uint8"))
    assert columns == {"signature_name": "serving_uint8", "inputs": IMAGES.tolist()}

    def post(body):
        url = f"{server[0]}/v1/models/toy:predict"
        with urllib.request.urlopen(url, body, timeout=60) as answer:
            return json.loads(answer.read())

    rows = post(request_body(files, "serving_bytes", rows=True))
    assert set(rows) == {"predictions"}
    assert [set(row) for row in rows["predictions"]] == [set(OUTPUTS)] * 4
    columns = post(request_body(files, "serving_bytes"))
    assert set(columns) == {"outputs"} and set(columns["outputs"]) == set(OUTPUTS)
    for reply in rows, columns:
        close(read_reply(reply, OUTPUTS)["logits"], exported[1])
    bare = post(request_body(FLOATS, "features", rows=True))["predictions"]
    assert np.shape(bare) == (4, 16)
    for body in (b"{", b"{}", b'{"instances": ["text"]}', b'{"inputs": {"b64": "="}}'):
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(body)
        assert caught.value.code == 400 and set(json.load(caught.value)) == {"error"}


def test_warm_up_requests_run(exported):
    import tensorflow as tf

    apis = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    file = exported[0] / "assets.extra" / "tf_serving_warmup_requests"
    model, asked = tf.saved_model.load(str(exported[0])), []
    for record in tf.data.TFRecordDataset(str(file)):
        log = apis.PredictionLog.FromString(record.numpy())
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        asked.append(request.model_spec.signature_name)
        inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        given = {key: tf.constant(value) for key, value in inputs.items()}
        answer = model.signatures[asked[-1]](**given)
        assert all(value.shape[0] == 1 for value in answer.values())
        assert request.model_spec.name == "toy"
    assert sorted(asked) == sorted(model.signatures)


def test_no_stubs_no_warm_up_but_a_warning(tmp_path, monkeypatch):
    from nfm_keras.serving import warmup

    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    with pytest.warns(UserWarning, match="pip install tensorflow-serving-api"):
        assert warmup.write(tmp_path, "toy", {}) is None
    assert os.listdir(tmp_path) == []
    with pytest.raises(RuntimeError, match="pip install tensorflow-serving-api"):
        GrpcClient("localhost:1", "toy")


@pytest.fixture(scope="module")
def run_model(tmp_path_factory):
    """The C program, compiled."""
    import tensorflow as tf

    compiler = shutil.which("cc") or shutil.which("gcc")
    library = pathlib.Path(tf.sysconfig.get_lib())
    names = ["libtensorflow_cc.so.2", "libtensorflow_framework.so.2"]
    if not compiler or not all((library / name).exists() for name in names):
        pytest.skip("needs a C compiler and TensorFlow's shared libraries")
    program = tmp_path_factory.mktemp("bin") / "run_model"
    source = REPOSITORY / "tests" / "serving" / "run_model.c"
    command = [compiler, source, "-o", program, f"-I{tf.sysconfig.get_include()}"]
    command += [f"-L{library}", *(f"-l:{name}" for name in names)]
    if shutil.which("ld.gold"):  # a tenth of the time, over libraries of a gigabyte
        command += ["-fuse-ld=gold"]
    subprocess.run([*command, f"-Wl,-rpath,{library}", "-Wall", "-Werror"], check=True)

    def run(folder, signature, *arguments):
        import standin

        found = standin.meta_graph(folder).signature_def[signature]
        ((_, taken),) = found.inputs.items()
        ends = taken.name.split(":")[:1] + found.outputs["logits"].name.split(":")
        command = [program, folder, *ends, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, env=QUIET)
        assert result.returncode == 0, result.stderr
        return [line.split(maxsplit=2) for line in result.stdout.splitlines()]

    return run


def test_a_c_program_gets_the_models_outputs(run_model, exported, tmp_path):
    path, logits = exported
    FLOATS.tofile(tmp_path / "floats")
    (line,) = run_model(
        path, "serving_default", "float", "4,8,8,1", tmp_path / "floats"
    )
    assert line[0] == "ok"
    found = np.array(" ".join(line[1:]).split(), float).reshape(4, 10)
    close(found, logits)


def test_a_c_program_gets_errors_and_goes_on(run_model, exported, files, tmp_path):
    path, logits = exported
    for number, content in enumerate([files[0], b"text", files[0][:60], files[1]]):
        (tmp_path / str(number)).write_bytes(content)
    paths = [tmp_path / str(number) for number in range(4)]
    lines = run_model(path, "serving_bytes", "string", "1", *paths)
    assert [line[0] for line in lines] == ["ok", "error", "error", "ok"]
    numbers = [" ".join(lines[k][1:]).split() for k in (0, 3)]
    close(np.array(numbers, float), logits[:2])
    for line, message in ((lines[1], "must be JPEG or PNG"), (lines[2], "PNG")):
        assert line[1] == "3" and message in line[2]  # INVALID_ARGUMENT
    for rank in ("0", "2"):
        (line,) = run_model(path, "serving_bytes", "string", rank, paths[0])
        assert line[:2] == ["error", "3"]


def test_serve_check_compares_server_and_folder(server, exported):
    rest, grpc = server
    both = [f"--rest={rest}/v1/models/toy", f"--grpc={grpc}", "--model=toy"]
    digits = ["--dataset=digits", "--limit=3"]
    given = [*both, *digits, f"--savedmodel={exported[0]}"]
    done = programs.run("apps.serve_check", *given)
    assert done.returncode == 0, done.stderr
    same = done.stdout
    assert same.count("3 AVAILABLE") == 2 and same.count("digits[2]: class ") == 2
    assert same.count("3 image(s) in") == same.count(f"equal to {exported[0]} to") == 2


def test_serve_check_ends_where_they_differ(server, tmp_path, files):
    (tmp_path / "a.png").write_bytes(files[0])
    classifier = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    other = export(classifier, tmp_path / "other")
    given = [f"--grpc={server[1]}", "--model=toy", f"--images={tmp_path / 'a.png'}"]
    done = programs.run("apps.serve_check", *given, f"--savedmodel={other}")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert f"must equal those of {other}" in last and "a difference of" in last
