"""What is known of the image sets before any of them is read."""

import dataclasses
import types
from typing import NamedTuple

from nfm_keras.checks import unknown


class Cut(NamedTuple):
    """Which outputs of a classifier of more classes those of a set are.

    Attributes:
        places: For each class, the output that is its own.
        total: How many outputs such a classifier has.
    """

    places: tuple[int, ...]
    total: int


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """An image set, without its images.

    Attributes:
        name: Name, as in TensorFlow Datasets.
        shape: `(height, width, channels)`.
        classes: Names of the classes, by label.
        mean: Per channel, of the [0, 1] training images.
        std: Their standard deviation.
        pad: Pixels of zeros around an image, for random crops.
        flip: Whether a mirrored image has the same label.
        cut: `Cut`, where classifiers of more classes are evaluated on the set too, as
            those of ImageNet are on 200 of its classes; `None`.
    """

    name: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad: int = 0
    flip: bool = False
    cut: Cut | None = None

    @property
    def num_classes(self) -> int:
        return len(self.classes)


def spec(name: str) -> DatasetSpec:
    """Returns the `DatasetSpec` of a name.

    Args:
        name: One of `SPECS`.

    Raises:
        ValueError: For an unknown name.

    Example:

    >>> spec("digits").shape
    (8, 8, 1)
    """
    if name not in SPECS:
        raise unknown("dataset", name, SPECS)
    return SPECS[name]


def _digits(n):
    return tuple(str(i) for i in range(n))


def _scaled(*values):
    return tuple(v / 255 for v in values)


_FASHION = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
_CIFAR10 = "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck"

# CIFAR's mean and deviation are those of the authors' code.
_ALL = (
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

SPECS = types.MappingProxyType({known.name: known for known in _ALL})
"""Name -> `DatasetSpec`."""
