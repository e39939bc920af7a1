"""Files at the signature `serving_bytes`, good and bad."""

import io
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from nfm_keras.serving import decoding
from nfm_keras.serving.saved_model import export

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="graphs of TensorFlow"
)

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
LUMA = np.asarray(Image.fromarray(RGB).convert("L"))
DEEP = RNG.integers(0, 65536, (6, 9), dtype=np.uint16)
PALETTE = Image.fromarray(RGB).convert("P")


def encoded(image, kind="PNG", **options):
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(files, channels=3, shape=(6, 9)):
    """In a graph, as a server runs it; on the scale of a byte."""
    import tensorflow as tf

    function = tf.function(decoding.decode, autograph=False)
    return 255 * function(tf.constant(files), (*shape, channels)).numpy()


PICTURES = {
    "colour": (RGB, RGB, LUMA),
    "grey": (GREY, np.stack([GREY] * 3, -1), GREY),
    "colour with alpha": (np.dstack([RGB, ALPHA]), RGB, LUMA),
    "grey with alpha": (np.dstack([GREY, ALPHA]), np.stack([GREY] * 3, -1), GREY),
    "palette": (PALETTE, np.asarray(PALETTE.convert("RGB")), None),
    "16 bits": (DEEP, np.stack([DEEP >> 8] * 3, -1), DEEP >> 8),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_kind_of_png_becomes_the_networks_channels(name):
    picture, colours, grey = PICTURES[name]
    np.testing.assert_allclose(decoded([encoded(picture)])[0], colours, atol=1e-4)
    if grey is not None:
        found = decoded([encoded(picture)], channels=1)[0, ..., 0]
        np.testing.assert_allclose(found, grey, atol=1e-4)


def without_adobes_marker(file):
    place = file.index(b"\xff\xee")
    length = int.from_bytes(file[place + 2 : place + 4])
    return file[:place] + file[place + 2 + length :]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "CMYK without Adobe's marker"])
@pytest.mark.parametrize("picture", ["smooth", "noisy"])
def test_jpegs_are_decoded_as_pillow_does(mode, picture):
    smooth = np.add.outer(np.arange(60), np.arange(90))[..., None] + [0, 40, 80]
    noisy = RNG.integers(0, 256, (60, 90, 3))
    pixels = {"smooth": smooth, "noisy": noisy}[picture]
    image = Image.fromarray(pixels.astype(np.uint8)).convert(mode.split()[0])
    # Of four inks TensorFlow cuts a product off where Pillow rounds it.
    levels = 1 if "CMYK" in mode else 0
    for options in ({}, {"quality": 95}, {"quality": 100, "progressive": True}):
        file = encoded(image, "JPEG", **options)
        file = without_adobes_marker(file) if "marker" in mode else file
        expected = Image.open(io.BytesIO(file))
        for channels, kind in ((3, "RGB"), (1, "L")):
            found = decoded([file], channels, (60, 90))[0].squeeze()
            right = np.asarray(expected.convert(kind)).astype(float)
            np.testing.assert_allclose(found, right, rtol=0, atol=levels + 1e-4)


def test_other_sizes_are_resized_as_pillow_does():
    image = RNG.integers(0, 256, (40, 33, 3), dtype=np.uint8)
    expected = Image.fromarray(image).resize((9, 6), Image.Resampling.BILINEAR)
    files = [encoded(image), encoded(RGB)]  # of two sizes in one batch
    found = decoded(files)
    np.testing.assert_allclose(found[0], np.asarray(expected), atol=1.01)
    np.testing.assert_allclose(found[1], RGB, atol=1e-4)


PNG, JPEG = encoded(RGB), encoded(RGB, "JPEG")


def declared(width, height):
    return PNG[:16] + width.to_bytes(4) + height.to_bytes(4) + PNG[24:]


def jpeg_declared(width, height):
    frame = JPEG.index(b"\xff\xc0") + 5  # behind marker, length and precision
    return JPEG[:frame] + height.to_bytes(2) + width.to_bytes(2) + JPEG[frame + 4 :]


BAD = {
    "empty": (b"", "must be JPEG or PNG"),
    "text": (b"<html>404</html>", "must be JPEG or PNG"),
    "gif": (encoded(RGB, "GIF"), "must be JPEG or PNG"),
    "bmp": (encoded(RGB, "BMP"), "must be JPEG or PNG"),
    "png without its size": (PNG[:20], "must be JPEG or PNG"),
    "png cut short": (PNG[:60], "Invalid PNG"),
    "jpeg cut in its header": (JPEG[:30], "Invalid JPEG"),
    "jpeg cut short": (JPEG[:-20], "Invalid JPEG"),
    "png of 4 GB": (declared(40000, 36000), "must declare 1 to 67108864 pixels"),
    "png of 2^62 pixels": (declared(2**31 - 1, 2**31 - 1), "must declare"),
    "png of -1 pixels": (declared(2**32 - 1, 1), "must declare"),
    "png of no pixels": (declared(0, 6), "must declare"),
    "jpeg of 4 GB": (jpeg_declared(40000, 36000), "must declare"),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    classifier = keras.Sequential(
        [
            keras.Input((6, 9, 3)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    return export(classifier, tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def ask(served):
    import tensorflow as tf

    servable = tf.saved_model.load(str(served))
    signature = servable.signatures["serving_bytes"]
    # The signature does not keep the variables.
    return lambda files, servable=servable: signature(image_bytes=tf.constant(files))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_words_and_the_next_is_not(name, ask):
    import tensorflow as tf

    bad, message = BAD[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message) as caught:
        ask([PNG, bad])
    if message.startswith("must"):
        assert "[Images] [1] [of the batch must" in str(caught.value)
    assert ask([PNG, JPEG])["logits"].shape == (2, 2)


def test_another_rank_is_refused(ask):
    import tensorflow as tf

    for files in (PNG, [[PNG]]):
        with pytest.raises((TypeError, ValueError, tf.errors.InvalidArgumentError)):
            ask(files)
    assert ask([PNG])["logits"].shape == (1, 2)


# A crash, or memory taken for what a header declares, ends this process and no other.
FUZZ = """
import resource, sys
import numpy as np
import tensorflow as tf

servable = tf.saved_model.load(sys.argv[1])
ask = lambda file: servable.signatures["serving_bytes"](
    image_bytes=tf.constant([file]))["logits"].numpy()
seeds = [open(name, "rb").read() for name in sys.argv[3:]]
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

count = int(sys.argv[2])
bad = sum(refused(mutated(good[i % len(good)])) for i in range(count))
for file, logits in zip(good, before):
    np.testing.assert_array_equal(ask(file), logits)
print(bad)
"""


def test_a_thousand_broken_files_break_nothing(served, tmp_path):
    # TensorFlow's decoders refuse 4 GB by themselves, and take 396 MB without asking.
    sides = ((40000, 36000), (12000, 11000))
    seeds = [PNG, JPEG, *(f(*s) for f in (declared, jpeg_declared) for s in sides)]
    paths = [tmp_path / str(number) for number in range(len(seeds))]
    for path, seed in zip(paths, seeds):
        path.write_bytes(seed)
    result = subprocess.run(
        [sys.executable, "-c", FUZZ, served, "1000", *paths],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert 300 < int(result.stdout) < 1000  # some are images still
