import itertools

import keras
import numpy as np
import pytest
from conftest import BACKEND
from scipy import stats

from nfm_keras import data
from nfm_keras.data import augmentation, policies

pytestmark = pytest.mark.backends


N = 150
SPEC = data.DatasetSpec("x", (4, 5, 3), ("a",), (0.5,), (0.2,), pad=2, flip=True)


def numbered(n=N, spec=SPEC):
    """Image i has pixels that are all different and labels[i] = i."""
    height, width, channels = spec.shape
    pixels = 1 + np.arange(height * width * channels).reshape(spec.shape)
    images = (pixels + np.arange(n)[:, None, None, None]).astype("uint8")
    return data.Split(images, np.arange(n), spec)


def epochs(stream, steps, count=1):
    """The first epochs of a stream, each a list of batches."""
    if BACKEND == "tensorflow":
        flat = list(stream.take(steps * count).as_numpy_iterator())
        return [flat[i * steps : (i + 1) * steps] for i in range(count)]
    flat = itertools.islice(stream, steps * count)
    return [list(itertools.islice(flat, steps)) for _ in range(count)]


def orders(split=None, batch_size=32, count=1, **options):
    """The labels of each epoch in order; images must go with them."""
    split = split or numbered()
    steps = data.steps_per_epoch(split, batch_size, options.get("drop_last", False))
    stream = data.batches(split, batch_size, augment=False, **options)
    result = []
    for epoch in epochs(stream, steps, count):
        for images, labels in epoch:
            np.testing.assert_array_equal(images, split.images[labels])
        result.append([labels for _, labels in epoch])
    return result


def crops(split):
    """Every crop of the padded images, then every mirror image of one."""
    (height, width, _), pad = split.spec.shape, split.spec.pad
    padded = np.pad(split.images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    offsets = range(2 * pad + 1)
    upright = [
        padded[:, y : y + height, x : x + width] for y in offsets for x in offsets
    ]
    return np.stack(upright + [c[:, :, ::-1] for c in upright], axis=1)


@pytest.mark.parametrize("batch_size", [32, 50, N, 400])
def test_an_epoch_is_a_permutation_of_the_set(batch_size):
    seen = orders(batch_size=batch_size, count=3)
    for epoch in seen:
        assert [len(b) for b in epoch[:-1]] == [batch_size] * (len(epoch) - 1)
        assert len(epoch[-1]) == (N % batch_size or batch_size)
        np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), np.arange(N))
    flat = [np.concatenate(epoch) for epoch in seen] + [np.arange(N)]
    for i, a in enumerate(flat):
        for b in flat[:i]:
            # Two random orders agree in one place on average.
            assert np.sum(a == b) < 8


def test_drop_last_leaves_out_the_smaller_batch():
    ((*whole, last),) = orders(batch_size=32)
    (dropped,) = orders(batch_size=32, drop_last=True)
    assert len(last) == N % 32 and len(dropped) == len(whole)
    np.testing.assert_array_equal(dropped, whole)
    assert data.steps_per_epoch(numbered(), 32) == 5
    assert data.steps_per_epoch(numbered(), 32, drop_last=True) == 4
    assert data.steps_per_epoch(numbered(), 50, drop_last=True) == 3


def test_the_stream_is_a_function_of_seed_and_epoch():
    split = numbered()

    def stream(**options):
        return data.batches(split, 32, **options)

    whole = epochs(stream(seed=7), 5, 3)
    same = epochs(stream(seed=7), 5, 3)
    resumed = epochs(stream(seed=7, start_epoch=2), 5)
    for a, b in zip(whole + whole[2:], same + resumed, strict=True):
        for (images, labels), (other_images, other_labels) in zip(a, b, strict=True):
            np.testing.assert_array_equal(images, other_images)
            np.testing.assert_array_equal(labels, other_labels)
    first, other = whole[0][0][1], epochs(stream(seed=8), 5)[0][0][1]
    assert np.sum(first == other) < 8


def test_the_stream_has_no_end():
    split, count = numbered(), 0
    per_epoch = data.steps_per_epoch(split, 64)
    batches = iter(data.batches(split, 64, seed=2, start_epoch=1))
    held = [next(batches) for _ in range(2 * per_epoch)]
    later = iter(data.batches(split, 64, seed=2, start_epoch=2))
    for images, labels in held[per_epoch:]:
        expected = next(later)
        np.testing.assert_array_equal(images, expected[0])
        np.testing.assert_array_equal(labels, expected[1])
        count += len(labels)
    assert count == len(split.images)


def test_augmented_images_are_crops_and_mirror_images():
    """Each is one of the 50 possible ones, and all 50 are equally frequent."""
    split = numbered()
    candidates = crops(split)
    choices = np.zeros((12, N), int)
    for e, epoch in enumerate(epochs(data.batches(split, 64, seed=1), 3, 12)):
        for images, labels in epoch:
            assert images.dtype == np.uint8 and images.shape[1:] == SPEC.shape
            same = (candidates[labels] == images[:, None]).all((2, 3, 4))
            np.testing.assert_array_equal(same.sum(1), 1)
            choices[e, labels] = same.argmax(1)
    assert stats.chisquare(np.bincount(choices.ravel(), minlength=50)).pvalue > 1e-3
    # Drawn for each image and each epoch anew.
    assert np.mean(choices[0] == choices[1]) < 0.1
    assert len(np.unique(choices[0])) > 40


def test_digits_are_shifted_but_never_mirrored():
    images, _, spec = data.load("digits", limit=300).train
    assert spec.pad == 1 and not spec.flip
    split = data.Split(images, np.arange(300), spec)
    ((shifted, labels),) = epochs(data.batches(split, 300), 1)[0]
    same = (crops(split)[labels, :9] == shifted[:, None]).all((2, 3, 4))
    assert same.any(1).all()
    assert same[:, 4].mean() == pytest.approx(1 / 9, abs=0.06)  # not moved at all


@pytest.mark.parametrize("policy", policies.POLICIES)
def test_a_policy_acts_on_the_crops_and_mirror_images(policy):
    """By seed, epoch and index; the stream is else the one without it."""
    split = numbered()
    plain, varied = (
        epochs(data.batches(split, 64, seed=4, start_epoch=1, policy=p), 3, 2)
        for p in (None, policy)
    )
    for epoch, (before, after) in enumerate(zip(plain, varied, strict=True), 1):
        for (images, labels), (found, same) in zip(before, after, strict=True):
            expected = augmentation.augment(
                np.array(images), policies.lookup(policy), 4, epoch, labels
            )
            np.testing.assert_array_equal(labels, same)
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == np.uint8
            assert (found != images).any((1, 2, 3)).mean() > 0.3


def test_a_resumed_stream_with_a_policy_goes_on_as_before():
    split, options = numbered(), {"seed": 7, "policy": "autoaugment"}
    whole = epochs(data.batches(split, 32, **options), 5, 3)
    (resumed,) = epochs(data.batches(split, 32, start_epoch=2, **options), 5)
    for (images, labels), (same, other) in zip(whole[2], resumed, strict=True):
        np.testing.assert_array_equal(images, same)
        np.testing.assert_array_equal(labels, other)


def test_an_unknown_policy_is_refused_by_name():
    with pytest.raises(ValueError, match="Unknown policy.*Received: 'augmix'"):
        data.batches(numbered(), 32, policy="augmix")


@pytest.mark.filterwarnings("ignore:.shuffle=True. was passed")
def test_fit_goes_through_the_epochs_of_the_stream():
    """SGD depends on the order: fit must do what a loop over the epochs does."""
    split = numbered(40)

    def model():
        keras.utils.set_random_seed(0)
        layers = [keras.Input(SPEC.shape), keras.layers.Rescaling(1 / 255)]
        layers += [keras.layers.Flatten(), keras.layers.Dense(1)]
        linear = keras.Sequential(layers)
        linear.compile(keras.optimizers.SGD(1e-2), "mse")
        return linear

    fitted, looped = model(), model()
    stream = data.batches(split, 16, seed=2)
    assert isinstance(stream, keras.utils.PyDataset) == (BACKEND != "tensorflow")
    fitted.fit(stream, epochs=3, steps_per_epoch=3, verbose=0)
    for epoch in epochs(data.batches(split, 16, seed=2), 3, 3):
        for images, labels in epoch:
            looped.train_on_batch(images, labels)
    for a, b in zip(fitted.get_weights(), looped.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [0, -3, 2.5])
def test_a_batch_of_no_images_is_refused(size):
    with pytest.raises(ValueError, match=f"`batch_size` must be .*Received: {size}"):
        data.batches(numbered(), size)


def test_a_batch_larger_than_the_set_is_refused_with_drop_last():
    with pytest.raises(ValueError, match="batch of 400 must fit.*Received: 150 images"):
        data.batches(numbered(), 400, drop_last=True)
