"""What every attack is: a value with an id, settings and one call."""

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from nfm_keras.attacks.balls import NORMS
from nfm_keras.attacks.watch import Watch
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.checks import check_count, check_radius, unknown
from nfm_keras.data.images import as_images
from nfm_keras.data.labels import check_labels
from nfm_keras.records.ids import join
from nfm_keras.types import Classifier


@dataclasses.dataclass(frozen=True)
class AttackResult:
    """Adversarial images, and where the attack succeeded.

    Args:
        images: float32, shape of the attacked images: the first misclassified point of
            each (the image itself where that is misclassified). Where the attack
            failed: the last iterate for PGD, else the image.
        success: `(batch,)` bool: misclassified, within the ball and within [0,1].
        gradients: int. Input gradients computed, over all images.
        stages: dict. Name of each stage of an `AutoAttack` -> images still classified
            correctly after it; empty for a single attack.
        warnings: dict. What makes the result doubtful, by its name in
            `nfm_keras.attacks.doubts.DOUBTS` -> how many images are concerned.
    """

    images: np.ndarray
    success: np.ndarray
    gradients: int
    stages: dict[str, int] = dataclasses.field(default_factory=dict)
    warnings: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Attack:
    """Base of the attacks: frozen dataclasses with fields `epsilon` and `norm`.

    A subclass has a `name`, and `search`, the class whose `run()` does the work.
    """

    epsilon: float = 8 / 255
    norm: str = "linf"

    search: ClassVar[type]

    @property
    def name(self) -> str:
        """What it is called in an id."""
        raise NotImplementedError

    @property
    def id(self) -> str:
        """Its name in flags, records and plots, such as `pgd@8/255` or `pgd_l2@0.5`."""
        kind = self.name if self.norm == "linf" else f"{self.name}_{self.norm}"
        return join(kind, self.epsilon)

    @property
    def severity(self) -> float:
        return self.epsilon

    @property
    def settings(self) -> dict[str, Any]:
        """Everything besides epsilon that changes the result, for the record."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("epsilon", "early_stop")
        }

    def check(self, images: Any) -> None:
        """Refuses images that it cannot attack, before anything is computed.

        Args:
            images: What has the `shape` of the images, in [0,1].

        Raises:
            ValueError: For an l2 radius within which every image lies.
        """
        largest = math.sqrt(math.prod(images.shape[1:]))
        if self.norm == "l2" and self.epsilon > largest:
            raise ValueError(
                f"`epsilon` must be at most {largest:.4g} in the l2 norm, the distance "
                "between a black image and a white one; images are in [0, 1], and "
                f"128/255 is common. Received: {self.epsilon!r}"
            )

    def __call__(
        self,
        classifier: Classifier,
        images: ArrayLike,
        labels: ArrayLike,
        *,
        seed: int = 0,
        batch_size: int = 250,
        indices: ArrayLike | None = None,
        from_logits: bool | None = None,
    ) -> AttackResult:
        """Attacks every image.

        Args:
            classifier: Keras model or callable from `[0,1]` images to logits, or a
                `nfm_keras.backend.classifier.PlainClassifier`, which is compiled once
                for many attacks.
            images: `(n, height, width, channels)`, uint8 or float in [0,1].
            labels: `(n,)` integers.
            seed: int, of all that is random.
            batch_size: int.
            indices: `(n,)` index of each image in its data set, by default 0, 1, ...
            from_logits: bool. False for a classifier that gives probabilities, which
                is attacked through their logarithm; by default seen from the last
                layer of a Keras model, and True for any other.

        Returns:
            An `AttackResult`. An `nfm_keras.attacks.watch.AttackWarning` tells where
            its failures are doubtful.

        Raises:
            ValueError: If images, labels or seed are bad, the classifier gives NaN,
                probabilities instead of logits, or something else than
                `(batch, classes)`, or if no image has a gradient to follow.
        """
        check_count("batch_size", batch_size)
        given = prepared(classifier, images, labels, indices, from_logits)
        result, watch = self.attacked(given, seed, batch_size)
        told = watch.tell(self.id, result.success)
        return dataclasses.replace(result, warnings=told)

    def attacked(
        self, given: tuple, seed: int, batch_size: int
    ) -> tuple[AttackResult, Watch]:
        """Attacks every image, and warns of nothing.

        Args:
            given: What `prepared` returned.
            seed, batch_size: Ints.

        Returns:
            `(result, watch)`: an `AttackResult`, and the `Watch` that was kept.
        """
        search = self.search(self, *given, seed, batch_size)
        return search.run(), search.watch


def prepared(
    classifier: Classifier,
    images: ArrayLike,
    labels: ArrayLike,
    indices: ArrayLike | None = None,
    from_logits: bool | None = None,
) -> tuple[PlainClassifier, np.ndarray, np.ndarray, np.ndarray]:
    """Returns the checked arguments of an attack, the classifier as a plain one."""
    images = as_images(images)
    labels = check_labels(labels, len(images))
    indices = np.arange(len(images)) if indices is None else np.asarray(indices)
    if indices.shape != (len(images),):
        raise ValueError(
            f"`indices` must be one for each of the {len(images)} images. "
            f"Received: shape {indices.shape}"
        )
    return PlainClassifier(classifier, from_logits), images, labels, indices


def check_settings(attack, *counts):
    """Refuses a bad norm or epsilon, and counts that are not positive integers.

    Numbers of NumPy become those of Python, which ids and records are made of.

    Args:
        attack: `Attack`.
        *counts: str, names of its fields that count something.

    Raises:
        ValueError: Naming what is out of its range.
    """
    if attack.norm not in NORMS:
        raise unknown("norm", attack.norm, NORMS)
    check_radius("epsilon", attack.epsilon, attack.norm, least=0)
    for name in counts:
        check_count(name, getattr(attack, name))
    for field in dataclasses.fields(attack):
        value = getattr(attack, field.name)
        if isinstance(value, np.generic):
            object.__setattr__(attack, field.name, value.item())
