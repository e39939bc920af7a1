"""Image sets: uint8 images, integer labels, augmented a batch at a time."""

import dataclasses
import functools
import pathlib
from typing import NamedTuple

import keras
import numpy as np

from nfm_keras.backend.host import call_from_tensorflow
from nfm_keras.checks import unknown
from nfm_keras.data import augmentation


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """What is known of a set before any of it is read.

    Attributes:
        name: Name, as in TensorFlow Datasets.
        shape: `(height, width, channels)`.
        classes: Names of the classes, by label.
        mean: Per channel, of the [0, 1] training images.
        std: Their standard deviation.
        pad: Pixels of zeros around an image, for random crops.
        flip: Whether a mirrored image has the same label.
    """

    name: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad: int = 0
    flip: bool = False

    @property
    def num_classes(self) -> int:
        return len(self.classes)


class Split(NamedTuple):
    """Images uint8 `(n, height, width, channels)`, labels int64 `(n,)`."""

    images: np.ndarray
    labels: np.ndarray
    spec: DatasetSpec


class Splits(NamedTuple):
    """`validation` is `None` unless it was asked for."""

    train: Split
    validation: Split | None
    test: Split


def _digits(n):
    return tuple(str(i) for i in range(n))


def _scaled(*values):
    return tuple(v / 255 for v in values)


_FASHION = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
_CIFAR10 = "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck"

# CIFAR's mean and deviation are those of the authors' code.
SPECS = {
    spec.name: spec
    for spec in (
        DatasetSpec("digits", (8, 8, 1), _digits(10), (0.3054,), (0.3758,), pad=1),
        DatasetSpec("mnist", (28, 28, 1), _digits(10), (0.1307,), (0.3081,), pad=2),
        DatasetSpec(
            "fashion_mnist",
            (28, 28, 1),
            tuple(_FASHION.split(",")),
            (0.2860,),
            (0.3530,),
            pad=2,
            flip=True,
        ),
        DatasetSpec(
            "cifar10",
            (32, 32, 3),
            tuple(_CIFAR10.split(",")),
            _scaled(125.3, 123.0, 113.9),
            _scaled(63.0, 62.1, 66.7),
            pad=4,
            flip=True,
        ),
        DatasetSpec(
            "cifar100",
            (32, 32, 3),
            _digits(100),
            _scaled(129.3, 124.1, 112.4),
            _scaled(68.2, 65.4, 70.4),
            pad=4,
            flip=True,
        ),
    )
}


def spec(name: str) -> DatasetSpec:
    """Returns the `DatasetSpec` of a name.

    Raises:
        ValueError: For an unknown name.
    """
    if name not in SPECS:
        raise unknown("dataset", name, SPECS)
    return SPECS[name]


def load(name, data_dir=None, download=False, limit=None, validation=0) -> Splits:
    """Loads an image set into memory.

    Args:
        name: One of `SPECS`. `digits` (1,797 images of 8x8, scikit-learn's) is
            part of the installation; the others are TensorFlow Datasets.
        data_dir: Folder of TensorFlow Datasets; `None` for `TFDS_DATA_DIR`,
            else `~/tensorflow_datasets`.
        download: Whether a set that is not there may be downloaded.
        limit: Keep only the first `limit` images of training and of test.
        validation: How many training images to hold out, drawn with a fixed seed.

    Returns:
        `Splits` of NumPy arrays.

    Raises:
        ValueError: For an unknown name, or a limit or validation that leaves
            nothing to train on.
        FileNotFoundError: If the set is not there and `download` is false.

    Example:

    >>> load("digits").train.images.shape
    (1297, 8, 8, 1)
    """
    known = spec(name)
    if limit is not None and limit < 1:
        raise ValueError(f"`limit` must be at least 1. Received: {limit}")
    if name == "digits":
        train, test = _load_digits()
    else:
        train, test = _load_tfds(name, data_dir, download)
    train, test = (Split(x[:limit], y[:limit], known) for x, y in (train, test))
    train, held_out = _hold_out(train, validation)
    return Splits(train, held_out, test)


def batches(
    split,
    batch_size,
    seed=0,
    augment=True,
    start_epoch=0,
    drop_last=False,
    policy=None,
    start_step=0,
    part=slice(None),
):
    """Returns an endless stream of shuffled training batches, for `fit`.

    Each epoch's order and augmentation are a pure function of `(seed, epoch)`, so that
    a run resumed with `start_epoch` and `start_step` sees what it would have seen.
    Images stay uint8; crops and mirror images are gathered a whole batch at a time,
    then the policy does to each image what it draws for it.

    Args:
        split: A `Split`.
        batch_size: Images in a batch; the last of an epoch may be smaller.
        seed: Integer.
        augment: Whether to crop and flip, as the set's `DatasetSpec` allows.
        start_epoch: The epoch to begin with.
        drop_last: Leave out the smaller last batch.
        policy: One of `augmentation.POLICIES`; `None` for none. It runs in NumPy, which
            a `tf.data` stream can be neither saved nor sent to another machine with.
        start_step: The batch of `start_epoch` to begin with.
        part: Which rows of each batch to make, where several processes make a batch
            together (`distribution.Engine.part`).

    Returns:
        `tf.data.Dataset` on the TensorFlow backend, else a
        `keras.utils.PyDataset` that needs no TensorFlow. Pass
        `steps_per_epoch(...)` to `fit` with it.

    Raises:
        ValueError: For an unknown policy.
    """
    stream = _tf_batches if keras.backend.backend() == "tensorflow" else _ArrayBatches
    vary = _variation(policy, seed)
    start = start_epoch, start_step
    return stream(split, batch_size, seed, augment, start, drop_last, vary, part)


def steps_per_epoch(split, batch_size, drop_last=False) -> int:
    """Returns how many batches an epoch has."""
    whole, rest = divmod(len(split.images), batch_size)
    steps = whole + bool(rest and not drop_last)
    if not steps:
        raise ValueError(
            f"A batch of {batch_size} must fit into the training set. "
            f"Received: {len(split.images)} images"
        )
    return steps


@functools.cache
def _load_digits():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], bunch.target.astype(np.int64)[order]
    return (images[:-500], labels[:-500]), (images[-500:], labels[-500:])


def _load_tfds(name, data_dir, download):
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise FileNotFoundError(
            f"Dataset '{name}' is read with TensorFlow Datasets, which is not "
            'installed: pip install "nfm-keras[tensorflow]", or take "digits".'
        ) from None

    builder = tfds.builder(name, data_dir=data_dir)
    if not builder.is_prepared():
        if not download:
            # TFDS itself would try to download, and hang for minutes offline.
            folder = pathlib.Path(builder.data_dir).parents[1]
            raise FileNotFoundError(
                f"Dataset '{name}' is not in {folder}. Give its folder with "
                "--data_dir or TFDS_DATA_DIR, or let it be downloaded with "
                "--download (download=True)."
            )
        builder.download_and_prepare()
    return tuple(
        (part["image"], part["label"].astype(np.int64))
        for part in (
            tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
            for split in ("train", "test")
        )
    )


def _hold_out(train, count):
    if not 0 <= count < len(train.images):
        raise ValueError(
            f"`validation` must be at least 0 and leave some of the "
            f"{len(train.images)} training images. Received: {count}"
        )
    if not count:
        return train, None
    order = np.random.default_rng(0).permutation(len(train.images))
    held, kept = np.sort(order[:count]), np.sort(order[count:])
    images, labels, known = train
    return Split(images[kept], labels[kept], known), Split(
        images[held], labels[held], known
    )


def _padded(split, augment):
    known = split.spec
    pad, flip = (known.pad, known.flip) if augment else (0, False)
    borders = ((0, 0), (pad, pad), (pad, pad), (0, 0))
    return np.pad(split.images, borders), pad, flip


def _variation(policy, seed):
    """The function `(images, epoch, index) -> images` of a policy, in NumPy."""
    if policy is None:
        return None
    found = augmentation.lookup(policy)
    return lambda images, *place: augmentation.augment(images, found, seed, *place)


def _tf_batches(split, batch_size, seed, augment, start, drop_last, vary, part):
    import tensorflow as tf

    images, pad, flip = _padded(split, augment)
    (count, tall, wide, channels), (height, width, _) = images.shape, split.spec.shape
    with tf.device("CPU:0"):
        pixels = tf.constant(images.reshape(-1, channels))
        labels = tf.constant(split.labels)
    steps = steps_per_epoch(split, batch_size, drop_last)
    root = tf.random.split(tf.constant([seed & 0x7FFFFFFF, 0], tf.int32), 2)

    def key(root, a, b=0):
        fold = tf.random.experimental.stateless_fold_in
        return fold(fold(root, tf.cast(a, tf.int32)), tf.cast(b, tf.int32))

    def order(epoch):
        ranks = tf.random.stateless_uniform((count,), key(root[0], epoch))
        return tf.data.Dataset.from_tensors((epoch, tf.argsort(ranks)))

    def slices(epoch, shuffled):
        first = tf.where(epoch == start[0], tf.constant(start[1], tf.int64), 0)
        starts = tf.data.Dataset.range(first, steps)
        return starts.map(
            lambda i: (epoch, i, shuffled[i * batch_size : (i + 1) * batch_size])
        )

    def gather(epoch, step, index):
        size = (tf.shape(index)[0], 1)
        draw = tf.random.stateless_uniform
        dy, dx, mirror = tf.unstack(tf.random.split(key(root[1], epoch, step), 3))
        dy = draw(size, dy, maxval=2 * pad + 1, dtype=tf.int32)
        dx = draw(size, dx, maxval=2 * pad + 1, dtype=tf.int32)
        mirror = draw(size, mirror, maxval=1 + flip, dtype=tf.int32)
        index, dy, dx, mirror = (rows[part] for rows in (index, dy, dx, mirror))
        rows = index[:, None] * tall + dy + tf.range(height)
        ascending = tf.range(width)
        columns = dx + tf.where(mirror > 0, width - 1 - ascending, ascending)
        at = rows[:, :, None] * wide + columns[:, None, :]
        return varied(tf.gather(pixels, at), epoch, index), tf.gather(labels, index)

    def varied(images, *place):
        if vary is None:
            return images
        kinds = [((None, *split.spec.shape), "uint8")]
        (images,) = call_from_tensorflow(
            lambda *arrays: (vary(*arrays),), kinds, (images, *place)
        )
        return images

    epochs = tf.data.Dataset.range(start[0], np.iinfo(np.int64).max)
    stream = epochs.flat_map(order).flat_map(slices)
    return stream.map(gather, num_parallel_calls=2).prefetch(4)


class _ArrayBatches(keras.utils.PyDataset):
    """The same stream in NumPy, for backends that come without TensorFlow."""

    def __init__(self, split, batch_size, seed, augment, start, drop_last, vary, part):
        super().__init__()
        self.images, self.pad, self.flip = _padded(split, augment)
        self.split, self.batch_size, self.seed = split, batch_size, seed
        (self.epoch, self.first), self.vary, self.part = start, vary, part
        self.steps = steps_per_epoch(split, batch_size, drop_last)
        self.ended = False
        self._shuffle()

    def __len__(self):
        return self.steps - self.first

    def __getitem__(self, step):
        step += self.first
        self.ended = step == self.steps - 1
        batch = slice(step * self.batch_size, (step + 1) * self.batch_size)
        index = self.order[batch]
        rng = np.random.default_rng((self.seed, 1, self.epoch, step))
        height, width, channels = self.split.spec.shape
        dy, dx = rng.integers(0, 2 * self.pad + 1, (2, len(index), 1))
        mirror = rng.integers(0, 1 + self.flip, (len(index), 1))
        drawn = index, dy, dx, mirror
        index, dy, dx, mirror = (rows[self.part] for rows in drawn)
        ascending = np.arange(width)
        columns = dx + np.where(mirror > 0, width - 1 - ascending, ascending)
        rows = dy + np.arange(height)
        images = self.images[
            index[:, None, None], rows[:, :, None], columns[:, None, :]
        ]
        if self.vary is not None:
            images = self.vary(images, self.epoch, index)
        return images, self.split.labels[index]

    def __iter__(self):
        while True:
            yield from (self[step] for step in range(len(self)))
            self.on_epoch_end()

    def on_epoch_end(self):
        # Keras calls this before the first epoch too.
        if self.ended:
            self.ended = False
            self.epoch, self.first = self.epoch + 1, 0
            self._shuffle()

    def _shuffle(self):
        rng = np.random.default_rng((self.seed, 0, self.epoch))
        self.order = rng.permutation(len(self.split.images))
