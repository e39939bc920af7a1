"""The sets of photographs by name, and how they are opened."""

import os
import pathlib
import types
import warnings

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

_TESTS = "test", "val"

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
        validation: How many training images to hold out, the same share of every
            class, chosen by their names alone. A set without images to test on is
            tested on these.
        reading: `Reading`.

    Returns:
        `(train, validation, test)`; images to test on come in an order in which every
        beginning has all classes alike.

    Raises:
        FileNotFoundError: If the set is not there, or a part of it.
        ValueError: If it is not what its layout says, or leaves nothing to train on.
    """
    files, reading = _training_files(name, data_dir, download), reading or Reading()
    _check(name, files, reading)
    train = _some(name, files["train"], limit, reading)
    others = dict(_labelled(name, files, _TESTS, limit, reading))
    held: PhotographSplit | None = None
    if validation:
        train, held = order.hold_out(train, validation)
    elif len(others) == 2:
        held = others["val"]
    test = next(iter(others.values()), held)
    if test is None:
        raise _without_test(name, files["train"])
    return train, held, test


def open_test(
    name, data_dir=None, download=False, held_out=(), reading=None
) -> PhotographSplit:
    """Opens the images of a set that are there to test on.

    Args:
        name, data_dir, download, reading: As in `open_splits`; or a set without images
            to train on, such as `imagenet_a` or a folder with `test` alone.
        held_out: `limit` and `validation` of each training whose result is tested, for
            a set that has no other images to test on. Of class folders alone none says
            that nothing was trained on them: all their images are tested on.

    Raises:
        FileNotFoundError, ValueError: As there; or if these held out other images.
    """
    files, reading = _files(name, data_dir, download), reading or Reading()
    _check(name, files, reading)
    is_training = "train" in files or (folders.ALL in files and bool(held_out))
    parts = _TESTS if is_training else dict.fromkeys((*_TESTS, *files))
    for part, test in _labelled(name, files, parts, None, reading):
        if part == folders.ALL:
            warnings.warn(
                f"{name} has class folders alone, and is tested on all their "
                f"{len(test.labels)} images; if some were trained on, name the run, or "
                "what it held out.",
                stacklevel=2,
            )
        return test
    if not is_training:
        counts = {part: some.lengths.sum() for part, some in files.items()}
        raise ValueError(
            f"{name} must have images with a label to test on. Received: none of "
            + ", ".join(f"{count} in {part!r}" for part, count in counts.items())
        )
    train = files.get("train") or files[folders.ALL]
    if not held_out:
        raise _without_test(name, train)
    if len(set(held_out)) > 1:
        raise ValueError(
            f"{name} is tested on images that were held out, which must be the same "
            "ones for all that are tested together. Received: (limit, validation) of "
            f"{sorted(set(held_out), key=str)}"
        )
    ((limit, validation),) = set(held_out)
    return order.hold_out(_some(name, train, limit, reading), validation)[1]


def _check(name, files, reading):
    reading.check()
    classes = next(iter(files.values())).classes
    if len(classes) < 2:
        raise ValueError(
            f"{name} must have two classes at least, a folder each. "
            f"Received: {', '.join(map(str, classes))}"
        )


def _without_test(name, train):
    return ValueError(
        f"{name} has training images alone: hold some out with --validation "
        f"(validation=1000). Received: {train.lengths.sum()} images, validation=0"
    )


def _training_files(name, data_dir, download):
    files = _files(name, data_dir, download)
    if folders.ALL in files:
        return {"train": files[folders.ALL]}
    if "train" not in files:
        raise ValueError(
            f"{name} must have the split 'train'; sets without it are there to "
            "evaluate, with nfm-evaluate --model (data.load_test). "
            f"Received: {', '.join(files)}"
        )
    return files


def _files(name, data_dir, download):
    """The files of each split of a set, by name: `train`, `val`, `test`; or all."""
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


def _labelled(name, files, parts, limit, reading):
    """Yields name and images of the parts that have labels, in the order to test on.

    The images of a contest have none, -1 in TensorFlow Datasets."""
    for part in parts:
        if part not in files:
            continue
        names, labels = files[part].names_and_labels()
        rows = np.flatnonzero(labels >= 0)
        rows = rows[order.spread(labels[rows], names[rows])]
        if len(rows):
            yield part, _split(name, files[part], rows[:limit], reading)


def _split(name, files, rows, reading):
    cut = getattr(files, "cut", None)
    known = describe(name, files.classes, reading.image_size, cut)
    files = caching.cached(files, reading.cache, reading.cache_dir)
    images = Photographs(files, rows, reading, Skipped(reading.strict))
    return PhotographSplit(images, known)
