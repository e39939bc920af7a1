import numpy as np
import photograph_sets
import pytest
from conftest import BACKEND

if BACKEND != "tensorflow":
    pytest.skip("graphs are TensorFlow's", allow_module_level=True)

import tensorflow as tf

import nfm_keras as nfm
from nfm_keras.data.photographs import transforms
from nfm_keras.serving import decoding, resizing, signatures

SIZES = [(375, 500), (500, 375), (64, 64), (40, 300), (700, 61), (33, 57), (9, 12)]
SIZES += [(180, 90), (181, 90), (20, 9)]  # about Pillow's border between two orders


@pytest.mark.parametrize("share", [0.875, 1.0, 0.7])
def test_it_is_pillows_bit_for_bit(share):
    crop = tf.function(lambda x: resizing.centre_crop(x, 56, share), reduce_retracing=1)
    rng = np.random.default_rng(0)
    for size in SIZES:
        pixels = rng.integers(0, 256, (*size, 3), "uint8")
        pixels[: size[0] // 3] = rng.choice([0, 255], (size[0] // 3, size[1], 3))
        image = transforms.Image.fromarray(pixels)
        expected = transforms.centre_crop(image, 56, share)
        np.testing.assert_array_equal(crop(tf.constant(pixels)).numpy(), expected)


def test_files_meet_the_network_as_the_evaluation_has_them(tmp_path):
    """Logits of `serving_bytes` are those of the images that are evaluated."""
    photographs = photograph_sets.write(tmp_path / "photos", classes=2, images=3)
    grey = photographs / "val" / "c0" / "0.jpg"
    photograph_sets.picture(1).convert("L").save(grey)
    test = nfm.data.load(f"folder:{photographs}", image_size=32).test
    network = nfm.remove_sites(nfm.networks.mlp((32, 32, 3), 2))
    path = nfm.serving.export(
        network, tmp_path / "out", eval_crop=0.875, classes=["a", "b"]
    )
    servable = tf.saved_model.load(str(path)).signatures["serving_bytes"]
    files = [test.images.files.read(row)[0] for row in test.images.rows]
    served = servable(image_bytes=tf.constant(files))["logits"].numpy()
    images = nfm.data.as_images(np.asarray(test.images))
    expected = network(images, training=False).numpy()
    np.testing.assert_allclose(served, expected, rtol=0, atol=1e-5)
    decoded = decoding.decode(tf.constant(files), (32, 32, 3), 0.875).numpy()
    np.testing.assert_array_equal(decoded, images)
    card = (path / "model_card.md").read_text()
    assert "the shorter side resized to 37, the centre cut out" in card


def test_a_centre_is_cut_out_for_square_images_alone(tmp_path):
    network = nfm.remove_sites(nfm.networks.mlp((16, 24, 3), 2))
    with pytest.raises(ValueError, match="square.*eval_crop=0.875, images of 16x24"):
        nfm.serving.export(network, tmp_path / "out", eval_crop=0.875)


def test_an_example_has_a_margin_that_is_cut_off():
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)) / 255
    files = signatures.example("serving_bytes", images, 0.875)
    decoded = decoding.decode(files, (32, 32, 3), 0.875).numpy()
    np.testing.assert_allclose(decoded, images, atol=1e-7)
