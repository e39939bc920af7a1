"""The sets of photographs by name, and how they are opened."""

import os
import pathlib
import types

import numpy as np

from nfm_keras.checks import check_count
from nfm_keras.data.photographs import caching, folders, order, prepared
from nfm_keras.data.photographs.files import RecordFiles, View
from nfm_keras.data.photographs.imagenet import (
    SUBSETS,
    TEST_SETS,
    restricted,
    subset,
)
from nfm_keras.data.photographs.photographs import (
    Photographs,
    PhotographSplit,
    Reading,
    Skipped,
)
from nfm_keras.data.specs import DatasetSpec

FOLDER, TFDS = "folder:", "tfds:"
"""How names begin that say where photographs are."""

NAMED = types.MappingProxyType(
    {
        "imagenet2012": "imagenet2012",
        "imagenette": "imagenette",
        "restricted_imagenet": "imagenet2012",
        **{name: name for name in TEST_SETS},
    }
)
"""Name of a set -> that of TensorFlow Datasets whose images it has."""

ARCHIVES = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"

# Of ImageNet, and what everyone uses for photographs.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def is_photographs(name: str) -> bool:
    """Returns whether a name is that of a set of photographs.

    Example:

    >>> is_photographs("folder:holiday"), is_photographs("digits")
    (True, False)
    """
    return _base(str(name)) in NAMED or str(name).startswith((FOLDER, TFDS))


def _base(name):
    """The name of a set without its configuration and version."""
    return name.partition("/")[0].partition(":")[0]


def refuse_settings(name: str, given: dict) -> None:
    """Refuses settings of photographs for a set that is none.

    Args:
        name: Of the set.
        given: Dict of settings.

    Raises:
        ValueError: If there is any, naming it.
    """
    for setting, value in given.items():
        raise ValueError(
            f"`{setting}` is a setting of photographs, such as folder:PATH. "
            f"Received: {setting}={value!r} with {name!r}"
        )


def describe(name, classes, image_size, cut=None) -> DatasetSpec:
    """Returns the `DatasetSpec` of photographs of some classes at a size."""
    shape = (image_size, image_size, 3)
    return DatasetSpec(name, shape, tuple(classes), _MEAN, _STD, flip=True, cut=cut)


def classes_of(name, data_dir=None, download=False) -> tuple[str, ...]:
    """Returns the names of the classes of a set, by label.

    Args:
        name: As in `open_splits`.
        data_dir, download: As there.
    """
    return _training_files(name, data_dir, download)["train"].classes


def open_splits(
    name, data_dir=None, download=False, limit=None, validation=0, reading=None
) -> tuple[PhotographSplit, PhotographSplit | None, PhotographSplit]:
    """Opens a set of photographs; nothing is decoded.

    Args:
        name: One of `NAMED`, `folder:PATH` or `tfds:NAME`.
        data_dir: Folder of TensorFlow Datasets; `None` for `TFDS_DATA_DIR`, else
            `~/tensorflow_datasets`.
        download: Whether TensorFlow Datasets may download and prepare the set.
        limit: Train and test on so many images only, all classes alike.
        validation: How many training images to hold out, drawn with a fixed seed. A
            set without images to test on is tested on these.
        reading: `Reading`.

    Returns:
        `(train, validation, test)`; images to test on come in an order in which every
        beginning has all classes alike.

    Raises:
        FileNotFoundError: If the set is not there, or a part of it.
        ValueError: If it is not what its layout says, or leaves nothing to train on.
    """
    files = _training_files(name, data_dir, download)
    return _opened(name, files, limit, validation, reading or Reading())


def _opened(name, files, limit, validation, reading):
    reading.check()
    classes = files["train"].classes
    if len(classes) < 2:
        raise ValueError(
            f"{name} must have two classes at least, a folder each. "
            f"Received: {', '.join(map(str, classes))}"
        )
    train = _some(name, files["train"], limit, reading)
    others = {
        part: _ordered(name, files[part], limit, reading)
        for part in ("test", "val")
        if part in files
    }
    held: PhotographSplit | None = None
    if validation:
        train, held = _hold_out(train, validation)
    elif len(others) == 2:
        held = others["val"]
    test = next(iter(others.values()), held)
    if test is None:
        raise ValueError(
            f"{name} has training images alone: hold some out with --validation "
            f"(validation=1000). Received: {len(train.images)} images, validation=0"
        )
    return train, held, test


def open_test(
    name, data_dir=None, download=False, validation=0, reading=None
) -> PhotographSplit:
    """Opens the images of a set that are there to test on.

    Args:
        name, data_dir, download, validation, reading: As in `open_splits`; or a set of
            TensorFlow Datasets that has no images to train on, such as `imagenet_a`.

    Raises:
        FileNotFoundError, ValueError: As there.
    """
    files = _files(name, data_dir, download)
    reading = reading or Reading()
    if "train" in files:
        return _opened(name, files, None, validation, reading)[2]
    reading.check()
    part = next(part for part in ("test", "val", *files) if part in files)
    return _ordered(name, files[part], None, reading)


def _training_files(name, data_dir, download):
    files = _files(name, data_dir, download)
    if "train" not in files:
        raise ValueError(
            f"{name} must have the split 'train'; sets without it are there to "
            "evaluate, with nfm-evaluate --model (data.load_test). "
            f"Received: {', '.join(files)}"
        )
    return files


def _files(name, data_dir, download):
    """The files of each split of a set, by name: `train`, `val`, `test`."""
    if name.startswith(FOLDER):
        return folders.splits(name.removeprefix(FOLDER))
    known = NAMED.get(name) or name.removeprefix(TFDS)
    if not known:
        raise ValueError(
            f"{TFDS} must be followed by the name of a set, such as tfds:tf_flowers. "
            f"Received: {name!r}"
        )
    files = _prepared(known, data_dir, download)
    if name == "restricted_imagenet":
        return {split: restricted(part) for split, part in files.items()}
    if (base := _base(known)) in SUBSETS:
        return {split: subset(base, part) for split, part in files.items()}
    return files


def _prepared(name, data_dir, download):
    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    folder = pathlib.Path(folder).expanduser()
    files = prepared.splits(name, folder)
    if files is None:
        _prepare(name, folder, download)
        files = prepared.splits(name, folder)
    return files


def _prepare(name, folder, download):
    """Lets TensorFlow Datasets prepare a set, or says what is missing."""
    by_hand = name.partition(":")[0] == "imagenet2012"
    archives = folder / "downloads" / "manual"
    if by_hand and not (download and all((archives / a).exists() for a in ARCHIVES)):
        raise FileNotFoundError(
            f"Dataset '{name}' is not in {folder}. Put {' and '.join(ARCHIVES)}, from "
            f"image-net.org, into {archives} and prepare it with --download "
            "(download=True), or give its folder with --data_dir or TFDS_DATA_DIR."
        )
    if not download:
        raise FileNotFoundError(
            f"Dataset '{name}' is not in {folder}. Give its folder with --data_dir or "
            "TFDS_DATA_DIR, or let it be downloaded with --download (download=True)."
        )
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise FileNotFoundError(
            f"Dataset '{name}' is prepared by TensorFlow Datasets, which is not "
            'installed: pip install "nfm-keras[tensorflow]".'
        ) from None
    tfds.builder(name, data_dir=folder).download_and_prepare()


def _some(name, files, limit, reading):
    """The images to train on: the first ones, of a folder all classes alike."""
    if limit is not None:
        check_count("limit", limit)
    rows = np.arange(files.lengths.sum())
    if isinstance(files, View):
        rows = rows[files.names_and_labels()[1] >= 0]
    if limit is not None and not isinstance(files, RecordFiles):
        names, labels = files.names_and_labels()
        rows = np.sort(rows[order.spread(labels[rows], names[rows])][:limit])
    return _split(name, files, rows[:limit], reading)


def _ordered(name, files, limit, reading):
    names, labels = files.names_and_labels()
    rows = np.flatnonzero(labels >= 0)
    rows = rows[order.spread(labels[rows], names[rows])]
    return _split(name, files, rows[:limit], reading)


def _split(name, files, rows, reading):
    cut = getattr(files, "cut", None)
    known = describe(name, files.classes, reading.image_size, cut)
    files = caching.cached(files, reading.cache, reading.cache_dir)
    images = Photographs(files, rows, reading, Skipped(reading.strict))
    return PhotographSplit(images, known)


def _hold_out(train, count):
    total = len(train.images)
    if not 0 < count < total:
        raise ValueError(
            f"`validation` must be at least 0 and leave some of the {total} training "
            f"images. Received: {count}"
        )
    chosen = np.random.default_rng(0).permutation(total)
    kept, held = train.subset(np.sort(chosen[count:])), train.subset(chosen[:count])
    return kept, held
