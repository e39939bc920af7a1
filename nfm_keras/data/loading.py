"""Image sets: small ones in memory, photographs on disk."""

import functools
import pathlib
from typing import Any, NamedTuple

import numpy as np

from nfm_keras.checks import check_count
from nfm_keras.data import own
from nfm_keras.data.photographs import catalogue
from nfm_keras.data.photographs.photographs import PhotographSplit, Reading
from nfm_keras.data.specs import DatasetSpec
from nfm_keras.types import StrPath

_SLICE = 1000
"""Images that are read at once."""


class Split(NamedTuple):
    """Images with their labels.

    Attributes:
        images: uint8 `(n, height, width, channels)`.
        labels: int64 `(n,)`.
        spec: `DatasetSpec` of the set that they are from.
    """

    images: np.ndarray
    labels: np.ndarray
    spec: DatasetSpec

    def subset(self, index: Any) -> "Split":
        """Returns the images of an index: a slice, integers or booleans."""
        return Split(self.images[index], self.labels[index], self.spec)

    def sound(self) -> "Split":
        """Returns the images that can be read: of arrays, all."""
        return self


class Splits(NamedTuple):
    """The parts of an image set; `validation` is `None` unless it was asked for."""

    train: Split | PhotographSplit
    validation: Split | PhotographSplit | None
    test: Split | PhotographSplit


def load(
    name: str,
    data_dir: StrPath | None = None,
    download: bool = False,
    limit: int | None = None,
    validation: int = 0,
    **reading: Any,
) -> Splits:
    """Loads a small image set into memory, or opens photographs, which stay on disk.

    Both kinds have `images`, an array or what is read like one, slice by slice,
    `labels`, a `spec`, `subset(index)` and `sound()`.

    Args:
        name: One of `SPECS`: `digits` (1,797 images of 8x8, scikit-learn's) is
            part of the installation; the others are TensorFlow Datasets. Or
            photographs: `folder:PATH`, a folder of class folders or one with such in
            `train` and `val`; `tfds:NAME`, a set of TensorFlow Datasets;
            `imagenet2012`, `imagenette`, `restricted_imagenet`. Or a function of
            your own, `module:function`, such as `keras.datasets.cifar10:load_data`: see
            `nfm_keras.data.own.own_arrays`.
        data_dir: Folder of TensorFlow Datasets; `None` for `TFDS_DATA_DIR`,
            else `~/tensorflow_datasets`.
        download: Whether a set that is not there may be downloaded.
        limit: Keep only the first `limit` images of training and of test.
        validation: How many training images to hold out, drawn with a fixed seed; of
            photographs the same share of every class, chosen by their names, and where
            there are none to test on they are tested on these.
        **reading: Of photographs, the fields of `Reading`: `image_size`, by default
            224; `eval_crop`, `antialias`, `strict`, `cache`, `cache_dir`.

    Returns:
        `Splits` of `Split`s, NumPy arrays, or of `PhotographSplit`s.

    Raises:
        ValueError: For an unknown name, a setting of photographs for a set that is
            none, or a limit or validation that leaves
            nothing to train on.
        FileNotFoundError: If the set is not there and `download` is false.

    Example:

    >>> load("digits").train.images.shape
    (1297, 8, 8, 1)
    """
    if catalogue.is_photographs(name):
        place = data_dir, download, limit, validation
        return Splits(*catalogue.open_splits(name, *place, Reading(**reading)))
    known = own.spec_of_name(name)
    catalogue.refuse_settings(name, reading)
    if limit is not None:
        check_count("limit", limit)
    if name == "digits":
        train, test = _load_digits()
    elif own.is_own(name):
        train, test, _ = own.own_arrays(name)
    else:
        train, test = _load_tfds(name, data_dir, download)
    train, test = (Split(x[:limit], y[:limit], known) for x, y in (train, test))
    train, held_out = _hold_out(train, validation)
    return Splits(train, held_out, test)


def outline(
    name: str,
    data_dir: StrPath | None = None,
    download: bool = False,
    limit: int | None = None,
    validation: int = 0,
) -> Splits | None:
    """Returns black images in the place of those that `load` takes seconds to read.

    Args:
        name, data_dir, download, limit, validation: As in `load`.

    Returns:
        `Splits` of as many images as `load` gives, which take no memory; `None` for a
        set that is not one of TensorFlow Datasets, or has no validation of that size.

    Raises:
        ValueError: For an unknown name.
        FileNotFoundError: If the set is not there and `download` is false.

    Example:

    >>> outline("digits")
    """
    if catalogue.is_photographs(name) or own.is_own(name) or name == "digits":
        return None
    known = own.spec_of_name(name)
    splits = _builder(name, data_dir, download).info.splits
    sizes = (splits[part].num_examples for part in ("train", "test"))
    trained, tested = (len(range(count)[:limit]) for count in sizes)
    if not 0 <= validation < trained:
        return None

    def black(count):
        images = np.broadcast_to(np.uint8(0), (count, *known.shape))
        return Split(images, np.broadcast_to(np.int64(0), count), known)

    held_out = black(validation) if validation else None
    return Splits(black(trained - validation), held_out, black(tested))


@functools.cache
def _load_digits():
    """Images and labels for training and for test, scikit-learn's, shuffled."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], bunch.target.astype(np.int64)[order]
    return (images[:-500], labels[:-500]), (images[-500:], labels[-500:])


def _load_tfds(name, data_dir, download):
    """Images and labels for training and for test, by TensorFlow Datasets."""
    builder = _builder(name, data_dir, download)
    return tuple(_read_tfds(builder, split) for split in ("train", "test"))


def _builder(name, data_dir, download):
    """The builder of a set of TensorFlow Datasets that is there."""
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
    return builder


def _read_tfds(builder, split):
    """Images and labels of a split, read in slices: one batch would be there twice."""
    import tensorflow_datasets as tfds

    count = builder.info.splits[split].num_examples
    shape = builder.info.features["image"].shape
    images, labels = np.empty((count, *shape), np.uint8), np.empty(count, np.int64)
    first = 0
    wanted = tfds.decode.PartialDecoding({"image": True, "label": True})
    parts = builder.as_dataset(split=split, batch_size=_SLICE, decoders=wanted)
    for part in tfds.as_numpy(parts):
        rows = slice(first, first + len(part["label"]))
        images[rows], labels[rows] = part["image"], part["label"]
        first = rows.stop
    if first != count:
        raise ValueError(
            f"{builder.name} must have {count} images of {split}, as its dataset_info "
            f"says. Received: {first}"
        )
    return images, labels


def _hold_out(train, count):
    """The training images without so many, and those: `None` for 0."""
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
    return tuple(Split(images[rows], labels[rows], known) for rows in (kept, held))
