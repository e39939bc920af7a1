import collections
import os
import subprocess
import sys

import keras
import numpy as np
import PIL.Image
import PIL.ImageEnhance
import PIL.ImageOps
import pytest
from conftest import BACKEND

from nfm_keras.data import augmentation, operations, policies

pytestmark = pytest.mark.backends

RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 20, 32
ROW, COLUMN = np.mgrid[:HEIGHT, :WIDTH] / 31
# Smooth, with a narrow range in one channel and none in another; noise; one with few
# pixels beside its brightest level, which equalize leaves alone.
SMOOTH = np.stack(
    [90 + 100 * ROW * COLUMN, 255 * np.sin(3 * ROW) * COLUMN, 77 + 0 * ROW], -1
).astype("uint8")
NOISE = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), "uint8")
FLAT = np.where(RNG.random((HEIGHT, WIDTH, 3)) < 0.2, NOISE, 255).astype("uint8")
IMAGES = {"smooth": SMOOTH, "noise": NOISE, "flat": FLAT, "grey": NOISE[..., :1]}
STRENGTHS = (*(-9, -5, -2, 0), *range(1, 10))
AUTOAUGMENT, RANDAUGMENT = policies.POLICIES.values()


def by_pillow(image, name, magnitude):
    """As the published policy has it, in terms of that library."""
    image = PIL.Image.fromarray(image.squeeze())
    affine, ops = PIL.Image.Transform.AFFINE, PIL.ImageOps
    ninth, largest = magnitude / 9, abs(magnitude)
    across, down = (ninth * size * 150 / 331 for size in image.size)
    matrices = {
        "shear_x": (1, 0.3 * ninth, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, 0.3 * ninth, 1, 0),
        "translate_x": (1, 0, across, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, down),
    }
    fill = {"fillcolor": (128,) * 3 if image.mode == "RGB" else 128}
    if name in matrices:
        return image.transform(image.size, affine, matrices[name], **fill)
    if name in ("color", "contrast", "brightness", "sharpness"):
        enhancer = getattr(PIL.ImageEnhance, name.capitalize())
        return enhancer(image).enhance(1 + 0.9 * ninth)
    bits = np.round(np.linspace(8, 4, 10)).astype(int)[largest]
    return {
        "rotate": lambda: image.rotate(30 * ninth, **fill),
        "posterize": lambda: ops.posterize(image, int(bits)),
        "solarize": lambda: ops.solarize(image, np.linspace(256, 0, 10)[largest]),
        "invert": lambda: ops.invert(image),
        "autocontrast": lambda: ops.autocontrast(image),
        "equalize": lambda: ops.equalize(image),
    }[name]()


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
@pytest.mark.parametrize("name", operations.OPERATIONS)
def test_operations_are_those_of_the_imaging_library(name, image):
    batch = np.stack([image] * len(STRENGTHS))
    found = operations.OPERATIONS[name](batch, np.array(STRENGTHS) / 9)
    expected = [by_pillow(image, name, m) for m in STRENGTHS]
    expected = np.stack(expected).reshape(batch.shape)
    assert found.dtype == np.uint8 and found.shape == batch.shape
    np.testing.assert_array_equal(found, expected)


@pytest.fixture
def counted(monkeypatch):
    """Operations that change nothing but count their images by strength."""
    counts = collections.Counter()

    def count(name, images, strength):
        counts.update((name, round(float(s), 6)) for s in strength)
        return images

    for name in operations.OPERATIONS:
        stub = lambda *batch, name=name: count(name, *batch)  # noqa: E731
        monkeypatch.setitem(operations.OPERATIONS, name, stub)
    return counts


@pytest.mark.parametrize("name", policies.POLICIES)
def test_operations_are_as_frequent_as_the_policy_says(counted, name):
    images, policy = np.zeros((20000, 1, 1, 1), "uint8"), policies.lookup(name)
    augmentation.augment(images, policy, 0, 0, range(len(images)))
    expected = collections.Counter()
    for chain in policy.chains:
        for operation, probability, strength in chain:
            share = policy.rounds * len(images) * probability / len(policy.chains)
            for sign in (-1, 1):
                expected[operation, round(sign * strength, 6)] += share / 2
    assert counted.keys() == {key for key, mean in expected.items() if mean}
    for key, count in counted.items():
        assert abs(count - expected[key]) < 5 * expected[key] ** 0.5, key


def test_the_second_step_follows_the_first_of_the_same_chain(monkeypatch):
    """Of independent steps an image would meet pairs that are in no chain."""
    seen, both = {}, collections.Counter()
    chains = (("invert", "solarize"), ("color", "contrast"))
    steps = [tuple(policies.Step(n, 0.5, 1.0) for n in chain) for chain in chains]
    images = np.arange(200, dtype="uint8").reshape(-1, 1, 1, 1)
    for name in sum(chains, ()):

        def note(batch, strength, name=name):
            for image in batch.ravel():
                seen.setdefault(image, []).append(name)
            return batch

        monkeypatch.setitem(operations.OPERATIONS, name, note)
    augmentation.augment(images, policies.Policy(tuple(steps)), 0, 0, range(200))
    both.update(map(tuple, seen.values()))
    possible = {*chains, *((name,) for name in sum(chains, ()))}
    assert set(both) == possible and min(both.values()) > 10


def test_the_policies_name_the_operations_that_there_are():
    assert tuple(operations.OPERATIONS) == policies.NAMES


def test_the_published_policy_is_the_table_of_25():
    assert len(AUTOAUGMENT.chains) == 25
    first, last = AUTOAUGMENT.chains[0], AUTOAUGMENT.chains[-1]
    assert first == (("invert", 0.1, 7 / 9), ("contrast", 0.2, 6 / 9))
    assert last == (("translate_y", 0.7, 1.0), ("autocontrast", 0.9, 1 / 9))
    steps = [step for chain in AUTOAUGMENT.chains for step in chain]
    # Sums of the two columns of the published table.
    assert sum(p for _, p, _ in steps) == pytest.approx(26.5)
    assert sum(s for *_, s in steps) * 9 == pytest.approx(267)


def photographs(count, channels=3):
    coarse = RNG.integers(0, 256, (count, 4, 4, channels))
    return coarse.repeat(4, 1).repeat(4, 2).astype("uint8")


@pytest.mark.parametrize("policy", [AUTOAUGMENT, RANDAUGMENT], ids=["auto", "rand"])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_depends_on_seed_epoch_and_index_alone(policy, channels):
    images = photographs(60, channels)
    whole = augmentation.augment(images, policy, 3, 5, range(60))
    order = RNG.permutation(60)
    for batch in (order[:7], order[7:8], order[8:]):
        part = augmentation.augment(images[batch], policy, 3, 5, batch)
        np.testing.assert_array_equal(part, whole[batch])
    for seed, epoch in ((4, 5), (3, 6), (3, 2**31)):
        other = augmentation.augment(images, policy, seed, epoch, range(60))
        assert (other != whole).any((1, 2, 3)).mean() > 0.6
    before = images.copy()
    augmentation.augment(images, policy, 3, 5, range(60))
    np.testing.assert_array_equal(images, before)


def changed_shares(augment, batches):
    """The share of images of one shade that change, for each batch of them."""
    images = np.full((32, 8, 8, 3), 100, "uint8")
    found = (np.asarray(augment(i, images), "float32") for i in range(batches))
    return [np.mean(abs(f - 100).max((1, 2, 3)) > 1) for f in found]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="does not depend on the backend")
def test_every_image_draws_for_itself_other_than_with_keras():
    """Why `keras.layers.RandAugment` is not used: it draws once for a batch.

    A turn or a shift does nothing to an image of one shade, solarize does.
    """
    layer = keras.layers.RandAugment(num_ops=1, seed=0)
    once = RANDAUGMENT._replace(rounds=1)
    theirs = changed_shares(lambda i, x: layer(x, training=True), 20)
    ours = changed_shares(
        lambda i, x: augmentation.augment(x, once, 0, i, range(32)), 20
    )
    assert set(theirs) == {0.0, 1.0}
    assert all(0 < share < 1 for share in ours)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="does not depend on the backend")
def test_keras_turns_further_than_the_published_policies():
    """Its strength is a share of a whole turn, not of 30 degrees."""
    layer = keras.layers.RandAugment()
    assert layer.random_rotation.factor == (0, 0.5)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 4, 4, 2), "uint8"),
        np.zeros((2, 4, 4, 3)),
        np.zeros((4, 3), "uint8"),
    ],
    ids=["2 channels", "float64", "2 axes"],
)
def test_other_images_are_refused(images):
    with pytest.raises(ValueError, match="uint8 images of 1 or 3.*Received: .*shape"):
        augmentation.augment(images, AUTOAUGMENT, 0, 0, range(len(images)))


def test_an_unknown_policy_is_refused_by_name():
    with pytest.raises(ValueError, match="policy.*'autoaugment'.*Received: 'autoaug'"):
        policies.lookup("autoaug")


@pytest.mark.skipif(BACKEND != "jax", reason="JAX comes without TensorFlow")
def test_a_stream_with_a_policy_needs_no_tensorflow():
    program = """
import sys
sys.modules["tensorflow"] = None
import numpy as np
from nfm_keras import data
train = data.load("digits", limit=32).train
plain, varied = (data.batches(train, 32, policy=p)[0][0] for p in (None, "randaugment"))
print(plain.shape == varied.shape, plain.dtype == varied.dtype, (plain != varied).any())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ, capture_output=True, text=True
    )
    assert done.stdout.split() == ["True"] * 3, done.stderr[-2000:]
