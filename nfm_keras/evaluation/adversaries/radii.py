"""The smallest radius at which an attack breaks each image, and the curve of it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from nfm_keras.attacks import from_perturbation
from nfm_keras.attacks.attack import prepared
from nfm_keras.attacks.watch import Watch
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.checks import check_count, check_number
from nfm_keras.data.images import as_images
from nfm_keras.data.labels import check_labels
from nfm_keras.evaluation.adversaries.matrix import checked, hits_of
from nfm_keras.evaluation.inputs import cut_to, first, pick, read
from nfm_keras.evaluation.statistics import wilson_interval
from nfm_keras.types import Classifier, PerturbationLike

RADII = tuple(level / 255 for level in (0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16))
"""What is tried by default, in units of [0,1] pixels."""


@dataclasses.dataclass(frozen=True)
class BreakingRadii:
    """How far each image is from being broken, at most.

    Args:
        attack: str, the kind of attack.
        tried: tuple of float, the radii that were tried, rising.
        smallest: `(n,)` floats: the smallest of them at which the attack broke the
            image; 0 where the image itself is misclassified, infinite where no radius
            was enough. The true distance is not larger, and may be smaller.
    """

    attack: str
    tried: tuple[float, ...]
    smallest: np.ndarray

    def curve(self) -> list[tuple[float, float, float, float]]:
        """Returns `(radius, accuracy, low, high)` at 0 and at each radius tried.

        Accuracies are in percent with Wilson 95 % intervals, and never rise: an image
        that a radius breaks counts as broken at every larger one.
        """
        points, n = [], len(self.smallest)
        for radius in (0.0, *self.tried):
            held = int((self.smallest > radius).sum())
            points.append((radius, 100.0 * held / n, *wilson_interval(held, n)))
        return points


def breaking_radii(
    classifier: Classifier,
    dataset: Any,
    attack: PerturbationLike = "pgd",
    radii: Sequence[float] = RADII,
    *,
    limit: int | None = None,
    seed: int = 0,
    batch_size: int = 250,
    from_logits: bool | None = None,
    output: str | int | None = None,
) -> BreakingRadii:
    """Finds the smallest of some radii at which an attack breaks each image.

    That is the norm of its minimum adversarial perturbation, on a grid of radii.

    The radii are tried in rising order, each on the images that still stand.

    Args:
        classifier, dataset: As for `nfm.evaluate`.
        attack: str, the kind of an attack, such as `"pgd"` or `"apgd_ce_l2"`, or its
            id; or an attack, whose radius is replaced, and whose step size too where
            it has one in proportion.
        radii: floats above 0, in units of [0,1] pixels.
        limit: int, how many images.
        seed, batch_size: Ints.
        from_logits, output: As for `nfm.evaluate`.

    Returns:
        `BreakingRadii`.

    Raises:
        ValueError: For an unknown attack, a radius that is not above 0 or as large as
            the images, bad images or labels, or a classifier that changes between two
            passes.

    Example:

    >>> from keras import ops
    >>> def classifier(x):
    ...     mean = ops.mean(x, axis=(1, 2, 3))
    ...     return 10 * ops.stack([mean, 0.9 - mean], axis=1)
    >>> images = np.full((3, 2, 2, 1), [[[[0.5]]], [[[0.4]]], [[[0.1]]]], "float32")
    >>> breaking_radii(classifier, (images, [1] * 3), radii=[0.02, 0.1]).smallest
    array([0. , 0.1, inf])
    """
    tried = tuple(sorted(map(float, radii)))
    if not tried:
        raise ValueError(f"`radii` must be at least one. Received: {radii!r}")
    for radius in tried:
        check_number("radii", radius, above=0)
    if limit is not None:
        check_count("limit", limit)
    kind = (attack if isinstance(attack, str) else attack.id).partition("@")[0]
    images, labels, spec = read(dataset, limit)
    classifier = cut_to(pick(classifier, output), spec, from_logits)
    images, labels = as_images(first(images, limit)), first(labels, limit)
    labels = check_labels(labels, len(images))
    plain = PlainClassifier(classifier, from_logits)
    size, search = min(batch_size, len(images)), _at(attack, kind, tried[-1])
    checked(plain, search, images, labels, size, spec)
    right = hits_of(plain, images, labels, size)
    smallest, watches = np.where(right, np.inf, 0.0), []
    for radius in tried:
        left = np.flatnonzero(np.isinf(smallest))
        if len(left):
            given = prepared(plain, images[left], labels[left], left)
            found, watch = _at(attack, kind, radius).attacked(given, seed, batch_size)
            smallest[left[found.success]] = radius
            watches.append((left, watch))
    if watches:
        Watch.of_all(len(images), watches).tell(kind, np.isfinite(smallest))
    return BreakingRadii(kind, tried, smallest)


def _at(attack, kind, radius):
    """The attack at another radius."""
    if isinstance(attack, str):
        return from_perturbation(f"{kind}@{radius!r}")
    changes = {"epsilon": radius}
    if getattr(attack, "step_size", None) and attack.epsilon:
        changes["step_size"] = attack.step_size * radius / attack.epsilon
    return dataclasses.replace(attack, **changes)
