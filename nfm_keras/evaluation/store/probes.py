"""The images by whose logits a classifier is recognised, and whether logits agree."""

import numpy as np

from nfm_keras.data.images import as_images, image_generators

COUNT = 16
"""How many images are looked at, as they are and once more perturbed."""

EARLIER_COUNT = 8
"""How many it were, as they are only, in files of before."""

# How far margins may differ, as a share of themselves, and logits as one of theirs:
# within a process by the order of sums alone; between machines, where weights and
# structure say that the classifier is the same, by what half precision makes of it.
ROUNDING, OTHER_MACHINE, SAME_WEIGHTS = (1e-4, 1e-5), (1e-2, 1e-5), (1e-2, 1e-2)

PASSES = 16
"""Over how many passes the logits are averaged of a classifier that stays random."""

_ERRORS = 6.0  # standard errors between two means of one law: never by chance


def probe_images(images):
    """Returns the first images, and the same perturbed.

    By turns a sign of 8/255 a pixel and normal noise of 0.2, drawn once and for all: a
    classifier that answers otherwise to images that are not clean shows it there.

    Args:
        images: `(n, height, width, channels)`, uint8 or float in [0,1].

    Returns:
        float32 `(2 m, height, width, channels)` with m at most `COUNT`.

    Example:

    >>> probe_images(np.zeros((40, 8, 8, 3), "uint8")).shape
    (32, 8, 8, 3)
    """
    clean = as_images(images[:COUNT])
    noisy = clean.copy()
    generators = image_generators(0, "probe", range(len(clean)))
    for index, (image, generator) in enumerate(zip(noisy, generators, strict=True)):
        noise = generator.standard_normal(image.shape, dtype="float32")
        image += 0.2 * noise if index % 2 else np.float32(8 / 255) * np.sign(noise)
    return np.concatenate([clean, np.clip(noisy, 0, 1)])


def alike(logits, others, tolerance, spread=None):
    """Returns whether logits are the same up to rounding.

    Margins are compared, each with itself: how far a class is behind the best one. The
    scale of the logits, what is added to all of them, and classes that are never used
    make no difference.

    Args:
        logits, others: `(images, classes)` arrays.
        tolerance: Two floats: a share of a margin, or of the usual lead of the best
            class over the second where that is more, and a share of the logits.
        spread: `(images, classes)`, the standard deviation of a classifier that stays
            random, of which both are means over `PASSES` passes.

    Example:

    >>> ours = np.array([[1.0, 2.0, -1e9], [3.0, 1.0, -1e9]])
    >>> alike(ours, ours + 5, ROUNDING), alike(ours, ours[:, [1, 0, 2]], ROUNDING)
    (True, False)
    """
    logits, others = (np.asarray(values, "float64") for values in (logits, others))
    if logits.shape != others.shape or not len(logits):
        return False
    best = logits.argmax(axis=1)[:, None]
    first, second = (
        np.take_along_axis(values, best, 1) - values for values in (logits, others)
    )
    leads = np.sort(first, axis=1)[:, 1:2]
    scale = np.maximum(np.abs(first), np.median(leads) if leads.size else 0.0)
    size = np.abs(logits) + np.abs(np.take_along_axis(logits, best, 1))
    allowed = tolerance[0] * scale + tolerance[1] * size
    if spread is not None:
        error = np.maximum(spread, spread.mean()) * np.sqrt(2 / PASSES)
        allowed = allowed + _ERRORS * (error + np.take_along_axis(error, best, 1))
    return bool((np.abs(first - second) <= allowed).all())
