"""Adversarial images of each classifier, scored on each other one."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from nfm_keras.attacks import from_perturbation
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.checks import check_count
from nfm_keras.data.images import as_images
from nfm_keras.data.labels import check_labels, hits
from nfm_keras.evaluation.comparison import mcnemar
from nfm_keras.evaluation.inputs import cut_to, first, passes, pick, read
from nfm_keras.evaluation.statistics import wilson_interval
from nfm_keras.evaluation.store import probes
from nfm_keras.table import Table
from nfm_keras.types import Classifier, PerturbationLike


@dataclasses.dataclass(frozen=True)
class Transfer:
    """How far adversarial images of one classifier fool another.

    Args:
        attack: str, the id of the attack.
        models: tuple of str, the names of the classifiers.
        right: `(models, models, n)` bool array: whether an image that was made with
            the first classifier is classified correctly by the second, which classifies
            the image itself correctly too: what it gets wrong anyway is not the
            attack's doing, and counts as wrong.
    """

    attack: str
    models: tuple[str, ...]
    right: np.ndarray

    @property
    def accuracy(self) -> np.ndarray:
        """`(models, models)` floats, in percent: row the source, column the judge."""
        return 100.0 * self.right.mean(axis=2)

    def unmasked(self) -> list[tuple[str, str]]:
        """Returns the `(model, source)` of which another one's images break more.

        An attack with the model's own gradient should find at least as much. Where it
        does not, beyond chance (McNemar's exact test at 0.05 for all pairs together),
        that gradient is masked or the attack is too weak.
        """
        count, found = len(self.models), []
        for judge in range(count):
            for source in range(count):
                if source == judge:
                    continue
                own, other = self.right[judge, judge], self.right[source, judge]
                test = mcnemar(own, other)
                level = 0.05 / max(count * (count - 1), 1)
                if test.difference > 0 and test.p_value < level:
                    found.append((self.models[judge], self.models[source]))
        return found

    def to_markdown(self) -> str:
        """Returns the matrix with 95 % intervals, and what it unmasks in words."""
        n, rows = self.right.shape[2], []
        for name, line in zip(self.models, self.right, strict=True):
            cells = []
            for right in line:
                low, high = wilson_interval(int(right.sum()), n)
                cells.append(f"{100 * right.mean():.1f} [{low:.1f}, {high:.1f}]")
            rows.append([f"made with {name}", *cells])
        table = Table([f"{self.attack}, n={n}", *self.models], rows, "lr").to_markdown()
        told = [
            f"* **{model}** is broken more often by images made with {source} than by "
            "its own: its gradient is masked, or the attack is too weak for it."
            for model, source in self.unmasked()
        ]
        lines = "\n".join(told) or (
            "No model is broken more often by another one's images than by its own, "
            "beyond chance."
        )
        return f"{table}\n{lines}\n"


def transfer(
    classifiers: Mapping[str, Classifier],
    dataset: Any,
    attack: PerturbationLike = "pgd@8/255",
    *,
    limit: int | None = None,
    seed: int = 0,
    batch_size: int = 250,
    from_logits: bool | None = None,
    output: str | int | None = None,
) -> Transfer:
    """Attacks with each of several classifiers, and scores the images on all.

    Args:
        classifiers: dict from name to Keras model or callable, as for `nfm.evaluate`.
        dataset: As for `nfm.evaluate`.
        attack: Id of an attack, or an attack of `nfm_keras.attacks`.
        limit: int, how many images.
        seed, batch_size: Ints.
        from_logits, output: As for `nfm.evaluate`, of each classifier.

    Returns:
        A `Transfer`. Images on which an attack failed are passed on as it left them.

    Raises:
        ValueError: For fewer than two classifiers, a bad id, bad images or labels, or a
            classifier that changes between two passes.

    Example:

    >>> from keras import ops
    >>> def of(factor):
    ...     mean = lambda x: ops.mean(x, axis=(1, 2, 3))
    ...     return lambda x: 9 * ops.stack([mean(x), factor - mean(x)], axis=1)
    >>> images = np.full((4, 2, 2, 1), 0.4, "float32")
    >>> found = transfer({"a": of(0.9), "b": of(1.1)}, (images, [1] * 4), "fgsm@0.1")
    >>> found.accuracy.tolist()
    [[0.0, 100.0], [0.0, 100.0]]
    """
    if len(classifiers) < 2:
        raise ValueError(
            "A transfer needs at least two classifiers. "
            f"Received: {sorted(classifiers)}"
        )
    if limit is not None:
        check_count("limit", limit)
    images, labels, spec = read(dataset, limit)
    plain = {
        name: PlainClassifier(cut_to(pick(one, output), spec, from_logits), from_logits)
        for name, one in classifiers.items()
    }
    images, labels = as_images(first(images, limit)), first(labels, limit)
    labels = check_labels(labels, len(images))
    search: Any = from_perturbation(attack) if isinstance(attack, str) else attack
    size = min(batch_size, len(images))
    for one in plain.values():
        checked(one, search, images, labels, size, spec)
    clean = {name: hits_of(one, images, labels, size) for name, one in plain.items()}
    right = []
    for source in plain.values():
        made = search(source, images, labels, seed=seed, batch_size=batch_size).images
        right.append(
            [clean[k] & hits_of(one, made, labels, size) for k, one in plain.items()]
        )
    return Transfer(search.id, tuple(plain), np.array(right))


def hits_of(classifier, images, labels, size):
    """Returns which images a `PlainClassifier` gets right, a batch at a time."""
    return hits(passes.logits_of(classifier, images, size), labels)


def checked(classifier, attack, images, labels, size, spec):
    """Refuses a classifier that an attack says nothing of.

    Args:
        classifier: `PlainClassifier`.
        attack: An attack of `nfm_keras.attacks`.
        images, labels: As arrays.
        size: int, images in a batch.
        spec: Of the set; None without.

    Raises:
        ValueError: If it gives no logits of the classes of the set, or changes between
            two passes over which the attack does not average.
    """
    attack.check(images)
    few, answers = probes.probe_images(images), labels[: probes.COUNT]
    classes = getattr(spec, "num_classes", None)
    first = passes.first_logits(classifier, few, answers, size, classes)
    averages = getattr(attack, "passes", getattr(attack, "eot", 1)) > 1
    if not averages:
        instead = "attack it with an `eot` above 1"
        passes.check_steady(classifier, few, first, size, instead)
