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

from absl import app, flags, logging

from nfm_keras import data, serving

from .start import start

_REST = flags.DEFINE_string("rest", None, "Address, http://host:8501/v1/models/NAME.")
_GRPC = flags.DEFINE_string("grpc", None, "Address, host:8500; needs --model.")
_MODEL = flags.DEFINE_string("model", None, "Name of the model, for --grpc.")
_IMAGES = flags.DEFINE_list("images", None, "JPEG or PNG files.")
_DATASET = flags.DEFINE_string("dataset", None, "Test images of a set instead.")
_LIMIT = flags.DEFINE_integer("limit", 8, "So many of them.", lower_bound=1)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", None, "Side of photographs, that of the model's input: 224.", 1
)
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


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"Unknown arguments. Received: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    names, values, signature = _load()
    folder, expected = _SAVED_MODEL.value, None
    if folder:
        expected = serving.server_check.probabilities(folder, values, signature)
    for client in _clients():
        states = client.status()
        print(f"{client.name}: {', '.join(f'{v} {states[v]}' for v in sorted(states))}")
        print(f"signatures: {', '.join(sorted(client.metadata()))}", flush=True)
        answer = serving.server_check.ask(client, values, signature)
        print("\n".join(answer.lines(names)))
        first, second = answer.milliseconds
        print(f"{len(names)} image(s) in {first:.1f} ms, again in {second:.1f} ms")
        if folder:
            error = serving.server_check.compare(client, answer, folder, expected)
            print(f"equal to {folder} to {error:.1e}")


def _clients():
    if _REST.value:
        yield serving.RestClient(_REST.value)
    if _GRPC.value:
        yield serving.GrpcClient(_GRPC.value, _MODEL.value)


def _load():
    """Returns names of the images, the images, and the signature to ask."""
    if _IMAGES.value:
        files = [pathlib.Path(name).read_bytes() for name in _IMAGES.value]
        return _IMAGES.value, files, serving.signatures.BYTES
    side = {"image_size": _IMAGE_SIZE.value} if _IMAGE_SIZE.value else {}
    test = data.load_test(_DATASET.value, {}, _DATA_DIR.value, **side)
    images = test.images[: _LIMIT.value]
    names = [f"{_DATASET.value}[{number}]" for number in range(len(images))]
    return names, images, serving.signatures.UINT8


def run():
    """The command `nfm-serve-check`."""
    start(main)


if __name__ == "__main__":
    run()
