"""What clients take and send: values of every form, or one ValueError."""

import keras
import numpy as np
import pytest
from serving_test import FLOATS, IMAGES, client, close, exported, server

from nfm_keras.serving.client import GrpcClient

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
    "not finite": (FLOATS + np.float32("nan"), "default", "must be in .0, 1"),
    "an array that cut zeros": (np.array([b"a"]), "bytes", "an array of dtype object"),
}


@pytest.mark.parametrize("form", MISFORMED)
def test_values_that_no_signature_takes_are_refused(client, form):
    values, signature, message = MISFORMED[form]
    with pytest.raises(ValueError, match=message):
        client.predict(values, f"serving_{signature}")


def test_a_grpc_answer_may_be_larger_than_4_mb(server, exported):
    many = np.zeros((60_000, 8, 8, 1), np.uint8)
    found = GrpcClient(server[1], "toy").predict(many, "serving_uint8")
    assert sum(value.nbytes for value in found.values()) > 2**22
    assert found["logits"].shape == (60_000, 10)
