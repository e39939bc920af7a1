"""Sets of images that somebody else's function gives: `module:function`."""

import functools
from typing import Any

import numpy as np

from nfm_keras.checks import check_count, check_number
from nfm_keras.data.images import as_images, check_channels_last
from nfm_keras.data.specs import SPECS, DatasetSpec, spec
from nfm_keras.imported import imported, is_imported

Arrays = tuple[np.ndarray, np.ndarray]


def spec_of_name(name: str) -> DatasetSpec:
    """Returns the `DatasetSpec` of a name in `SPECS`, or of a function's images.

    Args:
        name: One of `SPECS`, or `"module:function"`.

    Raises:
        ValueError: For an unknown name, or as `own_arrays`.
    """
    return own_arrays(name)[2] if is_own(name) else spec(name)


def is_own(name: Any) -> bool:
    """Returns whether a name is that of somebody's function, `module:function`."""
    return name not in SPECS and is_imported(str(name))


@functools.cache
def own_arrays(name: str) -> tuple[Arrays, Arrays, DatasetSpec]:
    """Returns the images of somebody's own function, which is called once.

    Args:
        name: `"module:function"`. The function takes nothing and returns
            `(train, test)` or `(train, test, spec)`: pairs of images, uint8 or
            multiples of 1/255 in [0, 1], `(n, height, width, channels)` or without
            channels, and integer labels from 0 on, of two classes at least; and a
            `DatasetSpec`. Without one, mean and standard deviation are taken from the
            training images, classes have numbers for names, and nothing is cropped or
            mirrored.

    Returns:
        `(train, test, spec)`, images as uint8 with channels, labels as int64 `(n,)`.

    Raises:
        ValueError: If there is no such function, or it returns something else.
    """
    found = imported("dataset", name)()
    if not isinstance(found, tuple) or len(found) not in (2, 3):
        raise ValueError(
            f"{name!r} must return (train, test) or (train, test, spec). "
            f"Received: {type(found).__name__}"
        )
    train, test = (_pair(name, pair) for pair in found[:2])
    known = (
        found[2] if len(found) == 3 else _described(name, train[0], train[1], test[1])
    )
    _check_spec(name, known)
    for images, labels in (train, test):
        out_of_range = not 0 <= labels.min() <= labels.max() < known.num_classes
        if images.shape[1:] != tuple(known.shape) or out_of_range:
            raise ValueError(
                f"{name!r} must return images of {known.shape} and labels from 0 to "
                f"{known.num_classes - 1}. Received: images {images.shape}, labels "
                f"from {labels.min()} to {labels.max()}"
            )
    return train, test, known


def _pair(name, pair):
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise ValueError(
            f"{name!r} must return pairs of images and labels. "
            f"Received: {type(pair).__name__}"
        )
    images, labels = np.asarray(pair[0]), np.asarray(pair[1])
    if images.ndim == 3:
        images = images[..., None]
    check_channels_last(f"{name!r} must return", images)
    if labels.shape == (len(labels), 1):  # as keras.datasets has them
        labels = labels[:, 0]
    if (
        not images.size
        or labels.shape != (len(images),)
        or not np.issubdtype(labels.dtype, np.integer)
    ):
        raise ValueError(
            f"{name!r} must return images, and an integer label for each. Received: "
            f"images {images.shape}, labels {labels.dtype} {labels.shape}"
        )
    return _bytes(name, images), labels.astype(np.int64)


def _check_spec(name, known):
    if not isinstance(known, DatasetSpec):
        raise ValueError(
            f"What {name!r} returns third must be a DatasetSpec. "
            f"Received: {type(known).__name__}"
        )
    if known.num_classes < 2:
        raise ValueError(
            f"{name!r} must return images of two classes at least. "
            f"Received: {known.classes}"
        )
    check_count("pad", known.pad, least=0)
    for field, least, above in (("mean", 0, None), ("std", None, 0)):
        values = getattr(known, field)
        if np.shape(values) != tuple(known.shape)[-1:]:
            raise ValueError(
                f"{name!r} must return a `{field}` with a number for each channel. "
                f"Received: {values!r}, for images of {known.shape}"
            )
        for value in values:
            check_number(
                f"{field} of images in [0, 1]", value, least=least, above=above, most=1
            )


def _bytes(name, images):
    if images.dtype == np.uint8:
        return images
    levels = np.rint(as_images(images) * 255)
    if np.max(np.abs(levels - images * 255), initial=0) > 1e-3:
        raise ValueError(
            f"{name!r} must return images of 8 bits: uint8, or multiples of 1/255. "
            f"Received: {images.dtype} with values between these"
        )
    return levels.astype(np.uint8)


def _described(name, images, labels, other_labels):
    channels = images.reshape(-1, images.shape[-1])
    values = channels.mean(0, dtype=np.float64) / 255, channels.std(0, dtype=np.float64)
    classes = 1 + max(labels.max(), other_labels.max())
    return DatasetSpec(
        name,
        images.shape[1:],
        tuple(map(str, range(classes))),
        tuple(map(float, values[0])),
        tuple(float(v) / 255 for v in np.maximum(values[1], 1)),
    )
