"""Views of ImageNet's 1,000 classes: fewer of them, or groups of them."""

import functools
import pathlib
import types

import numpy as np

from nfm_keras.data.photographs.files import Files, RecordFiles, View
from nfm_keras.data.specs import Cut
from nfm_keras.records.files import read_json

TOTAL = 1000
"""Classes of ImageNet, in the order of their WordNet ids."""

RESTRICTED = types.MappingProxyType(
    {
        "dog": (151, 268),
        "cat": (281, 285),
        "frog": (30, 32),
        "turtle": (33, 37),
        "bird": (80, 100),
        "primate": (365, 382),
        "fish": (389, 397),
        "crab": (118, 121),
        "insect": (300, 319),
    }
)
"""Restricted ImageNet: class -> the first and the last of ImageNet's labels in it, of
[Tsipras et al., 2019](https://arxiv.org/abs/1805.12152), table 2."""

SUBSETS = "imagenet_a", "imagenet_r"
"""Sets with images of 200 of the classes, labelled 0 to 999 all the same."""

TEST_SETS = ("imagenet_v2", *SUBSETS)
"""Sets that are there to evaluate classifiers of ImageNet, not to train any."""


@functools.cache
def wordnet_ids(name: str) -> tuple[str, ...]:
    """Returns the WordNet ids of the classes of one of `SUBSETS`, in their order.

    Example:

    >>> wordnet_ids("imagenet_a")[0], len(wordnet_ids("imagenet_a"))
    ('n01498041', 200)

    Reference:
        ImageNet-A: [Hendrycks et al., 2021](https://arxiv.org/abs/1907.07174);
        ImageNet-R: [Hendrycks et al., 2021](https://arxiv.org/abs/2006.16241). The ids
        are those of the folders that they published.
    """
    return tuple(read_json(pathlib.Path(__file__).with_name("subsets.json"))[name])


def subset(name: str, files: Files) -> View:
    """Returns the files of ImageNet-A or -R under labels from 0 to 199.

    Args:
        name: One of `SUBSETS`.
        files: `Files` whose 1,000 classes are WordNet ids, in any order.

    Raises:
        ValueError: If the classes are others, or an image is of none of the 200.
    """
    place = {name: label for label, name in enumerate(files.classes)}
    classes = wordnet_ids(name)
    if len(place) != TOTAL or not place.keys() >= set(classes):
        raise ValueError(
            f"{name} must name its labels by ImageNet's 1,000 WordNet ids. Received: "
            f"{len(place)} classes, {', '.join(files.classes[:3])} ..."
        )
    places = [place[name] for name in classes]
    labels = np.full(TOTAL, -1)
    labels[places] = range(len(places))
    names, given = files.names_and_labels()
    alien = np.flatnonzero(labels[given] < 0)
    if len(alien):
        raise ValueError(
            f"{name} must have images of its 200 classes alone. Received: {len(alien)} "
            f"of others, such as {files.name(alien[0])} of "
            f"{files.classes[given[alien[0]]]}"
        )
    # A classifier has its outputs in the order of the ids, whatever the files' is.
    order = {name: output for output, name in enumerate(sorted(files.classes))}
    cut = Cut(tuple(order[name] for name in classes), TOTAL)
    return View(files, classes, labels, cut)


def restricted(files: RecordFiles) -> View:
    """Returns ImageNet's files under the nine classes of Restricted ImageNet.

    Args:
        files: `Files` with ImageNet's 1,000 labels.

    Raises:
        ValueError: For another number of classes.
    """
    if len(files.classes) != TOTAL:
        raise ValueError(
            "Restricted ImageNet is a view of ImageNet's 1,000 classes. "
            f"Received: {len(files.classes)} classes"
        )
    labels = np.full(TOTAL, -1)
    for label, (first, last) in enumerate(RESTRICTED.values()):
        labels[first : last + 1] = label
    return View(files, tuple(RESTRICTED), labels)
