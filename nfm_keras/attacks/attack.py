"""What every attack is: a value with an id, settings and one call."""

import dataclasses
import math

import numpy as np

from nfm_keras.attacks.balls import NORMS
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.data import images as perturbations
from nfm_keras.data import labels as metrics
from nfm_keras.records.ids import format_severity


@dataclasses.dataclass(frozen=True)
class AttackResult:
    """What an attack found.

    Args:
        images: float32, shape of the attacked images: the first misclassified point
            found for each image (the image itself where that is misclassified). Where
            the attack failed: the last iterate for PGD, else the image.
        success: `(batch,)` bool: misclassified, within the ball and within [0,1].
        gradients: int. Input gradients computed, over all images.
        stages: dict. Name of each stage of an `AutoAttack` -> images still classified
            correctly after it; empty for a single attack.
    """

    images: np.ndarray
    success: np.ndarray
    gradients: int
    stages: dict[str, int] = dataclasses.field(default_factory=dict)


class Attack:
    """Base of the attacks: frozen dataclasses with fields `epsilon` and `norm`.

    A subclass has a `name`, and `search`, the class whose `run()` does the work.
    """

    @property
    def id(self):
        """Its name in flags, records and plots, such as `pgd@8/255` or `pgd_l2@0.5`."""
        kind = self.name if self.norm == "linf" else f"{self.name}_{self.norm}"
        return f"{kind}@{format_severity(self.epsilon)}"

    @property
    def severity(self):
        return self.epsilon

    @property
    def settings(self):
        """Everything besides epsilon that changes the result, for the record."""
        values = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        return {
            name: value
            for name, value in values.items()
            if name not in ("epsilon", "early_stop")
        }

    def __call__(
        self, classifier, images, labels, *, seed=0, batch_size=250, indices=None
    ):
        """Attack every image.

        Args:
            classifier: Keras model or callable from `[0,1]` images to logits, or a
                `nfm_keras.backend.classifier.PlainClassifier`, which saves compiling anew.
            images: `(n, height, width, channels)`, uint8 or float in [0,1].
            labels: `(n,)` integers.
            seed: int, of all that is random.
            batch_size: int.
            indices: `(n,)` index of each image in its data set, by default 0, 1, ...

        Returns:
            An `AttackResult`.

        Raises:
            ValueError: bad images or labels; the classifier gives NaN, probabilities
                instead of logits, or something else than `(batch, classes)`.
        """
        given = prepared(classifier, images, labels, indices)
        return self.search(self, *given, seed, batch_size).run()


def prepared(classifier, images, labels, indices=None):
    """Checked arguments of an attack: classifier, images, labels and indices."""
    images = perturbations.as_images(images)
    labels = metrics.check_labels(labels, len(images))
    indices = np.arange(len(images)) if indices is None else np.asarray(indices)
    return PlainClassifier(classifier), images, labels, indices


def check_settings(attack, *counts):
    """Refuse a bad norm or epsilon, and counts that are not positive integers.

    Args:
        attack: the attack.
        *counts: str, names of its fields that count something.

    Raises:
        ValueError: what is out of range.
    """
    if attack.norm not in NORMS:
        refuse(f"`norm` must be one of {', '.join(NORMS)}.", attack.norm)
    if not (0 <= attack.epsilon < math.inf):
        refuse("`epsilon` must be a finite number, at least 0.", attack.epsilon)
    for name in counts:
        value = getattr(attack, name)
        if not isinstance(value, int) or value < 1:
            refuse(f"`{name}` must be an integer, at least 1.", value)


def refuse(what, received):
    """Raise a `ValueError` that ends in what was received."""
    raise ValueError(f"{what} Received: {received!r}")
