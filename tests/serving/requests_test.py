"""What clients take, send and get: all else is one ValueError or ServingError."""

import contextlib
import http.server
import socketserver
import threading

import keras
import numpy as np
import pytest
from serving_test import FLOATS, IMAGES, client, close, exported, server

from nfm_keras.serving.client import GrpcClient, RestClient, ServingError
from nfm_keras.serving.requests import request_values

__all__ = ["client", "exported", "server"]  # fixtures

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="SavedModel is TensorFlow's format"
)


FORMS = {
    "float64": ("default", lambda: FLOATS.astype("float64")),
    "a list of arrays": ("default", lambda: list(FLOATS)),
    "nested lists": ("default", lambda: FLOATS.tolist()),
    "int64": ("uint8", lambda: IMAGES.astype("int64")),
    "whole floats": ("uint8", lambda: IMAGES.astype("float32")),
    "lists of uint8": ("uint8", lambda: tuple(IMAGES)),
    "a tuple of files": ("bytes", lambda: tuple(png_files())),
    "an array of files": ("bytes", lambda: np.array(png_files(), object)),
    "bytearrays": ("bytes", lambda: [bytearray(file) for file in png_files()]),
}


def png_files():
    import tensorflow as tf

    return [tf.io.encode_png(image).numpy() for image in IMAGES]


@pytest.mark.parametrize("form", FORMS)
def test_values_of_every_form_are_sent_as_the_server_takes_them(client, form, exported):
    signature, make = FORMS[form]
    close(client.predict(make(), f"serving_{signature}")["logits"], exported[1])


def test_one_file_is_a_batch_of_one(client, exported):
    found = client.predict(png_files()[1], "serving_bytes")["logits"]
    np.testing.assert_allclose(found, exported[1][1:2], atol=1e-4)


MISFORMED = {
    "paths": (["a.png"], "bytes", "takes files, as bytes.*a list of str"),
    "images for files": (FLOATS, "bytes", "takes files, as bytes"),
    "files for images": ([b"text"], "default", "takes images, as numbers"),
    "both": ([b"text", FLOATS[0]], "bytes", "files or images, not both"),
    "text": ([["a"]], "default", "must be numbers"),
    "two sizes": ([FLOATS[0], FLOATS[0, :4]], "default", "all of one shape"),
    "none": ([], "default", "one at least"),
    "halves for bytes": (FLOATS, "uint8", "integers from 0 to 255"),
    "too large": (IMAGES.astype(int) + 1, "uint8", "integers from 0 to 255.*256"),
    "negative": (-IMAGES.astype(int), "uint8", "integers from 0 to 255"),
    "bytes for floats": (IMAGES, "default", "must be in .0, 1.*serving_uint8"),
    "floats of bytes": (IMAGES.astype("float32"), "default", "must be in .0, 1"),
    "not finite": (FLOATS + np.float32("nan"), "default", "must be finite"),
    "an array that cut zeros": (np.array([b"a"]), "bytes", "an array of dtype object"),
}


@pytest.mark.parametrize("form", MISFORMED)
def test_values_that_no_signature_takes_are_refused(client, form):
    values, signature, message = MISFORMED[form]
    with pytest.raises(ValueError, match=message):
        client.predict(values, f"serving_{signature}")


def test_tables_and_signals_have_units_of_their_own():
    for shape in ((2, 3), (2, 5, 3)):
        table = np.full(shape, 40_000.0)
        sent = request_values(table, "serving_default")
        assert sent.dtype == np.float32
        np.testing.assert_array_equal(sent, table)
    with pytest.raises(ValueError, match="must be finite. Received: float64"):
        request_values([[1.0, np.inf]], "serving_default")


def test_a_grpc_answer_may_be_larger_than_4_mb(server, exported):
    many = np.zeros((60_000, 8, 8, 1), np.uint8)
    found = GrpcClient(server[1], "toy").predict(many, "serving_uint8")
    assert sum(value.nbytes for value in found.values()) > 2**22
    assert found["logits"].shape == (60_000, 10)


class Speaks(http.server.BaseHTTPRequestHandler):
    """Answers all requests alike, whatever `body` is."""

    body = b""
    more = 0  # bytes that are promised and never come

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body) + self.more))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


class Mumbles(socketserver.BaseRequestHandler):
    """Answers as gRPC does: in HTTP/2, of which HTTP/1 knows nothing."""

    def handle(self):
        self.request.recv(1000)
        self.request.sendall(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03")


@contextlib.contextmanager
def client_of(handler):
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        port = server.server_address[1]
        yield RestClient(f"http://127.0.0.1:{port}/v1/models/toy", timeout=20)
    finally:
        server.shutdown()
        server.server_close()


BODIES = (
    *(b"{}", b"[]", b"null", b"3", b'{"error": "busy"}', b"<html>"),
    *(b'{"predictions": []}', b'{"predictions": 3}', b'{"predictions": [{}]}'),
    *(b'{"predictions": [{"a": 1}, {"b": 2}]}', b'{"outputs": {}}'),
    *(b'{"outputs": {"a": 1}}', b'{"outputs": {"a": [1, [2]]}}'),
    *(b'{"metadata": []}', b'{"model_version_status": [{"state": "START"}]}'),
)


def test_answers_of_another_form_are_one_error_that_shows_them():
    with client_of(Speaks) as client:
        for Speaks.body in BODIES:
            for ask in (
                client.status,
                client.metadata,
                lambda: client.predict(FLOATS, "serving_default"),
            ):
                with pytest.raises(ServingError, match="must answer with .*Received: "):
                    ask()


def test_what_is_no_http_is_one_error_that_asks_for_the_port(monkeypatch):
    with (
        client_of(Mumbles) as client,
        pytest.raises(ServingError, match="is this the REST port.*Received: .*Bad"),
    ):
        client.status()
    monkeypatch.setattr(Speaks, "more", 50)
    with client_of(Speaks) as client, pytest.raises(ServingError, match="Incomplete"):
        client.status()


ADDRESSES = (
    *(
        "http://host:port/v1/models/toy",
        "http:///v1/models/toy",
        "http://[/v1/models/a",
    ),
    *(
        "http://host/v1/models/my toy",
        "http://host/v1/models/",
        "http://host/v1/models",
    ),
    *("http://host/v1/models/tö", "http://host/v1/models/toy:predict", None, 8501),
    *("ftp://host/v1/models/toy", "http://host/v1/models/toy?a=b"),
)


def test_addresses_and_names_that_cannot_be_are_refused_at_once():
    for address in ADDRESSES:
        with pytest.raises(ValueError, match="/v1/models/NAME. Received: "):
            RestClient(address)
    for address, name in (
        ("", "a"),
        ("http://a:8500", "a"),
        ("a:8500", ""),
        ("a", None),
    ):
        with pytest.raises(ValueError, match="like host:8500, .*Received: "):
            GrpcClient(address, name)
    for kind, given in (RestClient, ["http://h/v1/models/m"]), (GrpcClient, ["h", "m"]):
        with pytest.raises(ValueError, match="`timeout` must be .*above 0"):
            kind(*given, timeout=0)
    for end in ("", "/", "/versions/2", "/labels/stable"):
        assert RestClient(f"https://host:1/proxy/v1/models/m%20n{end}").name
