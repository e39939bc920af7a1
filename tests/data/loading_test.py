import time

import numpy as np
import pytest
from conftest import BACKEND

from nfm_keras import data
from nfm_keras.data import loading

pytestmark = pytest.mark.backends

needs_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="reads with TFDS")


def test_digits_are_what_their_spec_says():
    train, validation, test = data.load("digits")
    assert train.images.shape == (1297, 8, 8, 1) and test.images.shape == (500, 8, 8, 1)
    assert validation is None and train.spec == test.spec == data.SPECS["digits"]
    for split in (train, test):
        assert split.images.dtype == np.uint8 and split.labels.dtype == np.int64
        assert split.images.min() == 0 and split.images.max() == 255
        shares = np.bincount(split.labels, minlength=10) / len(split.labels)
        assert shares.shape == (10,) and np.all(np.abs(shares - 0.1) < 0.025)
    pixels = train.images / 255
    assert pixels.mean() == pytest.approx(train.spec.mean[0], abs=1e-3)
    assert pixels.std() == pytest.approx(train.spec.std[0], abs=1e-3)


def rows(split):
    """Images and labels as a set."""
    flat = split.images.reshape(len(split.images), -1)
    return {(tuple(x), y) for x, y in zip(flat.tolist(), split.labels.tolist())}


def test_the_splits_are_fixed_and_share_no_image():
    loading._load_digits.cache_clear()
    first = data.load("digits", validation=200)
    loading._load_digits.cache_clear()
    again = data.load("digits", validation=200)
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.labels, b.labels)
    train, validation, test = map(rows, first)
    assert [len(s) for s in (train, validation, test)] == [1097, 200, 500]
    assert not (train & validation or train & test or validation & test)
    whole = data.load("digits")
    assert rows(whole.train) == train | validation and rows(whole.test) == test


def test_limit_keeps_the_first_images_of_training_and_of_test():
    whole, few = data.load("digits"), data.load("digits", limit=60, validation=10)
    assert rows(few.train) | rows(few.validation) == rows(
        data.Split(whole.train.images[:60], whole.train.labels[:60], None)
    )
    np.testing.assert_array_equal(few.test.labels, whole.test.labels[:60])
    assert len(few.train.labels) == 50


@pytest.mark.parametrize(
    "options, message",
    [
        ({"name": "cifar"}, "dataset. Did you mean 'cifar10' or 'cifar100'.*: 'cifar'"),
        (
            {"name": "imagenet"},
            "Unknown dataset.*Known: digits, .*: 'imagenet'",
        ),
        ({"limit": 0}, "`limit` must be a positive integer. Received: 0"),
        ({"validation": 1297}, "some of the 1297 training images. Received: 1297"),
        ({"limit": 5, "validation": 5}, "some of the 5 training images. Received: 5"),
        ({"validation": -1}, "`validation` must be at least 0.*Received: -1"),
    ],
    ids=str,
)
def test_what_leaves_nothing_to_train_on_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        data.load(**{"name": "digits"} | options)


@needs_tensorflow
def test_a_set_that_is_not_there_is_said_to_be_missing_at_once(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    started = time.monotonic()
    with pytest.raises(FileNotFoundError) as caught:
        data.load("cifar10", data_dir=tmp_path)
    assert time.monotonic() - started < 20  # TFDS would try the network for minutes
    for part in ("cifar10", str(tmp_path), "--data_dir", "--download"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@needs_tensorflow
def test_a_prepared_set_is_read_offline(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("importlib_resources")
    with tfds.core.registered.skip_registration():

        class Cifar10(tfds.core.GeneratorBasedBuilder):
            """CIFAR-10 in small: image i is filled with i, its label i % 10."""

            VERSION = tfds.core.Version("3.0.2")

            def _info(self):
                image = tfds.features.Image(shape=(32, 32, 3))
                label = tfds.features.ClassLabel(num_classes=10)
                features = {"id": tfds.features.Text(), "image": image, "label": label}
                return tfds.core.DatasetInfo(
                    builder=self, features=tfds.features.FeaturesDict(features)
                )

            def _split_generators(self, dl_manager):
                return {"train": self._images(0, 30), "test": self._images(30, 42)}

            def _images(self, first, last):
                for i in range(first, last):
                    image = np.full((32, 32, 3), i, "uint8")
                    yield i, {"id": str(i), "image": image, "label": i % 10}

            _generate_examples = _images

    Cifar10(data_dir=tmp_path).download_and_prepare()
    train, validation, test = data.load("cifar10", data_dir=tmp_path, validation=10)
    assert train.images.shape == (20, 32, 32, 3) and train.images.dtype == np.uint8
    assert train.spec.num_classes == 10 and train.labels.dtype == np.int64
    for split in (train, validation, test):
        number = split.images[:, 0, 0, 0]
        assert (split.images == number[:, None, None, None]).all()
        np.testing.assert_array_equal(split.labels, number % 10)
    kept = {*train.images[:, 0, 0, 0], *validation.images[:, 0, 0, 0]}
    assert kept == set(range(30)) and set(test.images[:, 0, 0, 0]) == set(range(30, 42))
