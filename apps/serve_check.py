"""Asks a running TensorFlow Serving, and compares with the SavedModel it should serve.

    python -m apps.serve_check --rest=http://localhost:8501/v1/models/cifar10_nfm \\
        --images=a.png,b.jpg --savedmodel=savedmodels/cifar10_nfm/1
    python -m apps.serve_check --grpc=localhost:8500 --model=cifar10_nfm \\
        --dataset=cifar10 --limit=8

Files go to the signature `serving_bytes` as they are, test images of a data set to
`serving_uint8`. Prints the class and probability of each, and what the request took,
twice: the first is slow where the model had no warm-up. Ends with exit code 1 and the
server's own message if it refuses, or if it differs from the SavedModel.
"""

import pathlib
import time

import numpy as np
from absl import app, flags, logging

from nfm_keras import data
from nfm_keras.serving import signatures
from nfm_keras.serving.client import GrpcClient, RestClient

from .start import start

_REST = flags.DEFINE_string("rest", None, "Address, http://host:8501/v1/models/NAME.")
_GRPC = flags.DEFINE_string("grpc", None, "Address, host:8500; needs --model.")
_MODEL = flags.DEFINE_string("model", None, "Name of the model, for --grpc.")
_IMAGES = flags.DEFINE_list("images", None, "JPEG or PNG files.")
_DATASET = flags.DEFINE_string("dataset", None, "Test images of a set instead.")
_LIMIT = flags.DEFINE_integer("limit", 8, "So many of them.", lower_bound=1)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where the data sets are.")
_SAVED_MODEL = flags.DEFINE_string("savedmodel", None, "Version folder to compare to.")
flags.mark_flags_as_mutual_exclusive(["images", "dataset"], required=True)
flags.register_multi_flags_validator(
    ["rest", "grpc", "model"],
    lambda given: (
        bool(given["rest"] or given["grpc"])
        and bool(given["grpc"]) == bool(given["model"])
    ),
    "give --rest, or --grpc with --model, or all",
)

TOLERANCE = 1e-4
"""Of a probability: another machine rounds otherwise, another model differs by more."""


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"Unknown arguments. Received: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    names, values, signature = _load()
    expected = _local(values, signature) if _SAVED_MODEL.value else None
    for client in _clients():
        _check(client, names, values, signature, expected)


def _clients():
    if _REST.value:
        yield RestClient(_REST.value)
    if _GRPC.value:
        yield GrpcClient(_GRPC.value, _MODEL.value)


def _load():
    if _IMAGES.value:
        files = [pathlib.Path(name).read_bytes() for name in _IMAGES.value]
        return _IMAGES.value, files, signatures.BYTES
    images = data.load(_DATASET.value, _DATA_DIR.value).test.images[: _LIMIT.value]
    names = [f"{_DATASET.value}[{number}]" for number in range(len(images))]
    return names, images, signatures.UINT8


def _local(values, signature):
    import tensorflow as tf

    servable = tf.saved_model.load(_SAVED_MODEL.value)
    if signature not in servable.signatures:
        raise ValueError(
            f"{_SAVED_MODEL.value} must have the signature `{signature}`. "
            f"Received: {sorted(servable.signatures)}"
        )
    ask = servable.signatures[signature]
    (name,) = ask.structured_input_signature[1]
    return ask(**{name: tf.constant(values)})["probabilities"].numpy()


def _check(client, names, values, signature, expected):
    states = client.status()
    print(f"{client.name}: {', '.join(f'{v} {states[v]}' for v in sorted(states))}")
    print(f"signatures: {', '.join(sorted(client.metadata()))}", flush=True)
    found, first = _timed(client, values, signature)
    _, second = _timed(client, values, signature)
    probabilities, classes = found["probabilities"], found["classes"]
    for name, label, row in zip(names, classes, probabilities, strict=True):
        print(f"{name}: {label} {row.max():.4f}")
    print(f"{len(names)} image(s) in {first:.1f} ms, again in {second:.1f} ms")
    if expected is not None:
        _compare(client, probabilities, expected)


def _timed(client, values, signature):
    begun = time.perf_counter()
    found = client.predict(values, signature)
    return found, 1000 * (time.perf_counter() - begun)


def _compare(client, found, expected):
    same = found.shape == expected.shape
    error = float(np.max(np.abs(found - expected))) if same else np.inf
    if not error <= TOLERANCE:  # written so that NaN fails
        raise RuntimeError(
            f"The probabilities must equal those of {_SAVED_MODEL.value} to "
            f"{TOLERANCE:.0e}. Received: from {client.name} a difference of {error:.1e}"
        )
    print(f"equal to {_SAVED_MODEL.value} to {error:.1e}")


if __name__ == "__main__":
    start(main)
