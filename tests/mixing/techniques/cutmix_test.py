import keras
import numpy as np
import pytest
from conftest import BACKEND, compiled
from keras import layers, ops

import nfm_keras as nfm
from nfm_keras.backend import random
from nfm_keras.mixing import schemes
from nfm_keras.mixing.techniques.cutmix import CutMix, box_mask, boxes, remaining

pytestmark = pytest.mark.backends

N = 4000


def numpy(values):
    return [ops.convert_to_numpy(v) for v in values]


def some_lam(count):
    return np.random.default_rng(0).random(count).astype("float32")


@pytest.mark.parametrize("height, width", [(32, 32), (7, 12)])
def test_the_box_is_the_published_one(height, width):
    lam, key = some_lam(N), random.key(3)
    top, bottom, left, right = numpy(
        boxes(ops.convert_to_tensor(lam), key, height, width)
    )
    u = ops.convert_to_numpy(random.uniform(key, (2, N)))
    for i in range(0, N, 7):
        ratio = np.sqrt(1 - lam[i])
        tall, wide = int(height * ratio), int(width * ratio)
        y, x = int(u[0, i] * height), int(u[1, i] * width)
        expected = (
            *np.clip([y - tall // 2, y + tall // 2], 0, height),
            *np.clip([x - wide // 2, x + wide // 2], 0, width),
        )
        assert expected == (top[i], bottom[i], left[i], right[i])


def test_area_has_its_mean_and_lam_is_exactly_what_remains():
    lam, key, size = ops.convert_to_tensor(some_lam(N)), random.key(1), 16
    box = boxes(lam, key, size, size)
    masks = ops.convert_to_numpy(box_mask(box, size, size))
    left = ops.convert_to_numpy(remaining(box, size, size))
    np.testing.assert_array_equal(left, 1 - masks.mean((1, 2, 3), dtype="float32"))
    # Over all centres, a side of 2h covers on average as many pixels as this:
    half = (np.floor(np.sqrt(1 - some_lam(N)) * size) // 2).astype(int)
    centre = np.arange(size)
    cover = [
        (np.minimum(centre + h, size) - np.maximum(centre - h, 0)).mean() for h in half
    ]
    expected = np.square(np.array(cover) / size)
    assert abs((1 - left).mean() - expected.mean()) < 4.5 * left.std() / np.sqrt(N)


@pytest.mark.parametrize("per_sample", [False, True])
def test_pixels_are_the_images_own_or_the_partners_in_the_same_place(per_sample, jit):
    images = np.random.default_rng(0).random((9, 8, 8, 3)).astype("float32")
    mixing = schemes.mixing("cutmix", ["input"], per_sample=per_sample)

    def prepare(images, step):
        batch = CutMix().prepare(None, images, None, mixing.draw(0, step, 9, 1))
        return batch.images, batch.draw.lam, batch.draw.partner

    run = compiled(prepare, jit)
    changed = 0
    for step in range(4):
        mixed, lam, partner = numpy(run(images, ops.convert_to_tensor(step)))
        own = (mixed == images).all(-1)
        assert ((mixed == images[partner]).all(-1) | own).all()
        differ = (partner != np.arange(9))[:, None] & np.ones((9, 64), bool)
        share = own.reshape(9, -1).mean(1)
        expected = np.where(differ[:, 0], lam, 1.0)
        np.testing.assert_allclose(share, expected, atol=1e-6)
        assert lam.shape == ((9,) if per_sample else ())
        changed += (share < 1).any()
    assert changed >= 3


def shades(count, size):
    """Images of one shade each, and one-hot labels that name it."""
    values = np.arange(count, dtype="float32").reshape(-1, 1, 1, 1)
    return np.tile(values, (1, size, size, 1)), np.eye(count, dtype="float32")


def label_error(images, labels):
    """How far a label's weights are from the shares of the pixels."""
    levels = np.arange(len(images)).reshape(1, 1, -1)
    shares = (np.asarray(images).reshape(len(images), -1, 1) == levels).mean(1)
    return abs(shares - np.asarray(labels)).max()


@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_labels_are_mixed_by_what_is_seen(jit):
    """The mean shade of an image is the mixed label only if they are."""
    images, _ = shades(8, 6)
    inputs = keras.Input((6, 6, 1))
    network = keras.Model(inputs, layers.GlobalAveragePooling2D()(inputs))
    mixing = nfm.Mixing(sigma_add=0, sigma_mult=0, per_sample=True)
    model = nfm.NFMModel(network, mixing, technique=CutMix())
    model.compile("sgd", "mse", jit_compile=jit)
    history = model.fit(images, images[:, 0, 0], batch_size=8, epochs=4, verbose=0)
    assert max(history.history["loss"]) < 1e-9


@pytest.mark.skipif(BACKEND != "tensorflow", reason="their layers, once")
def test_others_label_the_area_of_another_box():
    images, labels = shades(16, 8)
    draw = schemes.mixing("cutmix", ["input"], per_sample=True).draw(0, 1, 16, 1)
    batch = CutMix().prepare(None, ops.convert_to_tensor(images), None, draw)
    lam, partner = numpy([batch.draw.lam[:, None], batch.draw.partner])
    ours = lam * labels + (1 - lam) * labels[partner]
    assert label_error(batch.images, ours) < 1e-6
    keras_s = keras.layers.CutMix(factor=1.0, seed=1)
    theirs = keras_s({"images": images, "labels": labels}, training=True)
    assert label_error(theirs["images"], theirs["labels"]) > 0.02
    keras_cv = pytest.importorskip("keras_cv")
    theirs = keras_cv.layers.CutMix(alpha=1.0, seed=1)(
        {
            "images": ops.convert_to_tensor(images),
            "labels": ops.convert_to_tensor(labels),
        },
        training=True,
    )
    assert label_error(theirs["images"], theirs["labels"]) > 0.02


def test_what_it_cannot_take_is_refused_by_name():
    with pytest.raises(ValueError, match="CutMix must be given images.*shape \\(5,\\)"):
        CutMix().prepare(None, ops.zeros((4, 5)), None, None)
    with pytest.raises(ValueError, match="CutMix must be given one batch.*a dict"):
        CutMix().prepare(None, {"a": ops.zeros((4, 5))}, None, None)
    with pytest.raises(ValueError, match="'cutmix' cuts images.*sites=\\['site_1'\\]"):
        schemes.mixing("cutmix", ["site_0", "site_1"], sites=["site_1"])
    with pytest.raises(ValueError, match="'cutmix' adds no noise.*sigma_add=0.4"):
        schemes.mixing("cutmix", ["site_0"], sigma_add=0.4)
