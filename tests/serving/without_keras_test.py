"""An exported model in a process that has no Keras, as a server has none.

It is one process, since each takes seconds to start: what has come out of it before it
ended is there for every test.
"""

import os
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
from decoding_test import declared, encoded, jpeg_declared
from small_classifier import small_classifier

from nfm_keras.serving.saved_model import export

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="SavedModel is TensorFlow's format"
)

# To this process Keras is as if it were not installed.
BLOCK = """
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
folder, model = sys.argv[1:]
"""

ASK = """
import numpy as np
import tensorflow as tf

servable = tf.saved_model.load(model)
images = np.load(f"{folder}/images.npy")
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
        for key, value in servable.signatures[name](**given).items():
            value = value.numpy()
            if key == "classes":
                value = np.array([each.decode() for each in value])
            served[f"{name}/{key}/{batch}"] = value
np.savez(f"{folder}/served.npz", **served)
"""

# TensorFlow's own command, which reads flags and ends the process.
COMMAND = """
import contextlib
from tensorflow.python.tools import saved_model_cli

images = f"--inputs=images={folder}/images.npy"
run = ["--tag_set=serve", "--signature_def=serving_uint8", f"--outdir={folder}/out"]
with open(f"{folder}/shown", "w") as file, contextlib.redirect_stdout(file):
    for given in (["show", "--all"], ["run", *run, images]):
        sys.argv = ["saved_model_cli", given[0], "--dir", model, *given[1:]]
        try:
            saved_model_cli.main()
        except SystemExit as end:
            assert not end.code, given
assert not [name for name in sys.modules if name.partition(".")[0] == "keras"]
"""

FUZZ = """
import resource

ask = lambda file: servable.signatures["serving_bytes"](
    image_bytes=tf.constant([file]))["logits"].numpy()
seeds = [open(f"{folder}/{number}", "rb").read() for number in range(6)]
good, big = seeds[:2], seeds[2:]
before = [ask(file) for file in good]
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()

def allow(more):
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (taken + more, hard))

def refused(file):
    try:
        ask(file)
    except tf.errors.InvalidArgumentError:
        return True
    return False

allow(2**28)
assert all([refused(file) for file in big])
allow(2**30)
rng = np.random.default_rng(0)

def mutated(file):
    file = bytearray(file)
    kind, at = rng.integers(5), rng.integers(len(file))
    if kind == 0:
        return bytes(file[:at])
    if kind == 1:
        return bytes(file[:at] + rng.bytes(rng.integers(1, 9)) + file[at:])
    if kind == 2:
        return bytes(file[:at] + file[at + rng.integers(1, 9):])
    ends = min(len(file), 60 if kind == 3 else len(file))  # headers, anywhere
    for at in rng.integers(0, ends, rng.integers(1, 9)):
        file[at] = rng.integers(256)
    return bytes(file)

bad = sum(refused(mutated(good[i % len(good)])) for i in range(1000))
for file, logits in zip(good, before):
    np.testing.assert_array_equal(ask(file), logits)
print(bad)
"""

NAMES = [*"abcd", "\N{LATIN SMALL LETTER E WITH ACUTE}"]
IMAGES = np.random.default_rng(1).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """What the process left in its folder, how it ended, and what was expected."""
    folder = tmp_path_factory.mktemp("asked")
    classifier = small_classifier()
    path = export(classifier, folder / "model", classes=NAMES)
    np.save(folder / "images.npy", IMAGES)
    # TensorFlow's decoders refuse 4 GB by themselves, and take 396 MB without asking.
    png, jpeg = encoded(IMAGES[0]), encoded(IMAGES[0], "JPEG")
    sides = ((40000, 36000), (12000, 11000))
    broken = [
        f(*s, file)
        for f, file in ((declared, png), (jpeg_declared, jpeg))
        for s in sides
    ]
    for number, file in enumerate([png, jpeg, *broken]):
        (folder / str(number)).write_bytes(file)
    process = subprocess.run(
        [sys.executable, "-c", BLOCK + ASK + COMMAND + FUZZ, folder, path],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    expected = classifier.predict((IMAGES / 255).astype("float32"), verbose=0)
    assert np.ptp(expected, axis=0).min() > 0.01  # the images do tell apart
    return types.SimpleNamespace(folder=folder, process=process, expected=expected)


def left(asked, name):
    """The path of a file that the process wrote."""
    assert (asked.folder / name).exists(), asked.process.stderr[-3000:]
    return asked.folder / name


def probabilities(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_served_without_keras_gives_the_models_outputs(asked):
    served = np.load(left(asked, "served.npz"))
    for batch in (1, 3, 7):
        expected = asked.expected[:batch]
        for name in ("serving_default", "serving_uint8", "serving_bytes"):
            logits = served[f"{name}/logits/{batch}"]
            assert logits.dtype == np.float32
            np.testing.assert_allclose(logits, expected, rtol=1e-6, atol=1e-6)
            best = [NAMES[k] for k in expected.argmax(1)]
            assert served[f"{name}/classes/{batch}"].tolist() == best
            np.testing.assert_allclose(
                served[f"{name}/probabilities/{batch}"],
                probabilities(expected),
                atol=1e-6,
            )


def test_tensorflows_command_shows_and_runs_it(asked):
    found = np.load(left(asked, "out/logits.npy"))
    text = left(asked, "shown").read_text()
    assert "signature_def['serving_bytes']" in text
    assert "inputs['image_bytes'] tensor_info" in text
    np.testing.assert_allclose(found, asked.expected, rtol=1e-6, atol=1e-6)


def test_a_thousand_broken_files_break_nothing(asked):
    # A crash, or memory taken for what a header declares, ends that process.
    assert asked.process.returncode == 0, asked.process.stderr[-3000:]
    assert 300 < int(asked.process.stdout) < 1000  # some are images still
