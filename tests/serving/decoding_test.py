"""Files at the signature `serving_bytes`, good and bad."""

import functools
import io
import itertools

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


@functools.cache
def graph(shape):
    """Decodes as a server does; traced once a shape."""
    import tensorflow as tf

    files = tf.TensorSpec((None,), tf.string)
    decode = functools.partial(decoding.decode, shape=shape)
    return tf.function(decode, [files], autograph=False)


def decoded(files, channels=3, shape=(6, 9)):
    """On the scale of a byte."""
    return 255 * graph((*shape, channels))(files).numpy()


PICTURES = {
    "colour": (RGB, RGB, LUMA),
    "grey": (GREY, np.stack([GREY] * 3, -1), GREY),
    "colour with alpha": (np.dstack([RGB, ALPHA]), RGB, LUMA),
    "grey with alpha": (np.dstack([GREY, ALPHA]), np.stack([GREY] * 3, -1), GREY),
    "palette": (PALETTE, np.asarray(PALETTE.convert("RGB")), None),
    "16 bits": (DEEP, np.stack([DEEP >> 8] * 3, -1), DEEP >> 8),
}


# A graph that ran in a test before is prepared once more in the next, which takes
# longer than to decode: tests go through their cases themselves.


def test_every_kind_of_png_becomes_the_networks_channels():
    for name, (picture, colours, grey) in PICTURES.items():
        close = {"rtol": 0, "atol": 1e-4, "err_msg": name}
        np.testing.assert_allclose(decoded([encoded(picture)])[0], colours, **close)
        if grey is not None:
            found = decoded([encoded(picture)], channels=1)[0, ..., 0]
            np.testing.assert_allclose(found, grey, **close)


def without_adobes_marker(file):
    place = file.index(b"\xff\xee")
    length = int.from_bytes(file[place + 2 : place + 4])
    return file[:place] + file[place + 2 + length :]


SMOOTH = np.add.outer(np.arange(60), np.arange(90))[..., None] + [0, 40, 80]
NOISY = RNG.integers(0, 256, (60, 90, 3))
MODES = ["RGB", "L", "CMYK", "CMYK without Adobe's marker"]
OPTIONS = [{}, {"quality": 95}, {"quality": 100, "progressive": True}]


def test_jpegs_are_decoded_as_pillow_does():
    for mode, pixels, options in itertools.product(MODES, (SMOOTH, NOISY), OPTIONS):
        image = Image.fromarray(pixels.astype(np.uint8)).convert(mode.split()[0])
        file = encoded(image, "JPEG", **options)
        file = without_adobes_marker(file) if "marker" in mode else file
        expected = Image.open(io.BytesIO(file))
        # Of four inks TensorFlow cuts a product off where Pillow rounds it.
        close = {"rtol": 0, "atol": ("CMYK" in mode) + 1e-4}
        for channels, kind in ((3, "RGB"), (1, "L")):
            found = decoded([file], channels, (60, 90))[0].squeeze()
            right = np.asarray(expected.convert(kind)).astype(float)
            about = f"{mode}, {'noisy' if pixels is NOISY else 'smooth'}, {options}"
            np.testing.assert_allclose(found, right, **close, err_msg=about)


def test_other_sizes_are_resized_as_pillow_does():
    image = RNG.integers(0, 256, (40, 33, 3), dtype=np.uint8)
    expected = Image.fromarray(image).resize((9, 6), Image.Resampling.BILINEAR)
    files = [encoded(image), encoded(RGB)]  # of two sizes in one batch
    found = decoded(files)
    np.testing.assert_allclose(found[0], np.asarray(expected), atol=1.01)
    np.testing.assert_allclose(found[1], RGB, atol=1e-4)


PNG, JPEG = encoded(RGB), encoded(RGB, "JPEG")


def declared(width, height, file=PNG):
    return file[:16] + width.to_bytes(4) + height.to_bytes(4) + file[24:]


def jpeg_declared(width, height, file=JPEG):
    frame = file.index(b"\xff\xc0") + 5  # behind marker, length and precision
    return file[:frame] + height.to_bytes(2) + width.to_bytes(2) + file[frame + 4 :]


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


def test_a_bad_file_is_refused_in_words_and_the_next_is_not(ask, subtests):
    import tensorflow as tf

    for name, (bad, message) in BAD.items():
        with subtests.test(name):
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
