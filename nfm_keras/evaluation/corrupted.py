"""Corrupted images, as a condition: from official files, a cache or the generator."""

import functools

import numpy as np

from nfm_keras import corruptions
from nfm_keras.corruptions import disk
from nfm_keras.corruptions.cache import fingerprint, frost_fingerprint
from nfm_keras.evaluation.conditions import Condition
from nfm_keras.records.score import OWN_ORDER


class Corrupted(Condition):
    """Images under one of the common corruptions.

    Official files are used where there is a folder of them that has the corruption.
    They keep an order of their own, and where fewer images are scored than there are
    it is the first of that order.

    Args:
        perturbation: `nfm_keras.corruptions.Corruption`.
        limit: int, how many images are corrupted; None for all of the subject's.
        cache: `nfm_keras.corruptions.cache.Cache` that keeps generated images, or None.
        official: `nfm_keras.corruptions.official.Official` images, or None.
    """

    group = "corruption"

    def __init__(self, perturbation, limit=None, cache=None, official=None):
        super().__init__(perturbation, limit)
        self.cache = cache
        has_it = official is not None and perturbation.kind in official.kinds
        self.official = official if has_it else None
        self._place = perturbation.kind, perturbation.severity

    def settings(self, subject):
        if self.official:
            labels = self.labels(subject)
            settings = {"source": "official", "files": self._files(len(labels))}
            if np.array_equal(labels, super().labels(subject)):
                return settings
            return settings | {"order": OWN_ORDER}
        settings = {"source": "generated", "version": corruptions.VERSION}
        if self.kind == "frost":
            textures = frost_fingerprint(self.perturbation.frost_dir)[1]
            settings["textures"] = textures[:12]
        return settings | self.perturbation.settings

    def labels(self, subject):
        labels = super().labels(subject)
        return self._official_labels[: len(labels)] if self.official else labels

    def check(self, subject):
        if not self.official:
            self.perturbation(subject.images[:1])
            return
        received = self.official.images(*self._place).shape[1:]
        if received != subject.images.shape[1:]:
            raise ValueError(
                f"The official images of {self.id} must have the shape "
                f"{subject.images.shape[1:]} of the data set's. Received: {received}"
            )
        labels, expected = self._official_labels, subject.everything[1]
        if not np.array_equal(np.sort(labels), np.sort(expected)):
            missing = ", ".join(subject.skipped[:3])
            missing = missing and f", without {missing}, which cannot be read"
            raise ValueError(
                f"The official images of {self.id} must be of the data set, as many of "
                f"each class. Received: {len(labels)} labels from {labels.min()} to "
                f"{labels.max()} for {len(expected)} images{missing}"
            )

    def reader(self, subject):
        if self.official:
            whole = self.official.images(*self._place)
            return lambda first, last: np.asarray(whole[first:last])
        images, seed = subject.images[: self.limit], subject.seed
        if self.cache:
            digest = subject.digest(self.limit)
            whole = self.cache.get(self.perturbation, images, seed=seed, digest=digest)
            return lambda first, last: np.asarray(whole[first:last])
        return lambda first, last: self.perturbation(
            images[first:last], range(first, last), seed=seed
        )

    def _files(self, count):
        """What the official images that are scored, and their labels, are known by."""
        images, labels = self.official.images(*self._place), self._official_labels
        if isinstance(images, disk.Jpegs):  # known without being decoded
            known = images.digest(count)
        else:
            known = fingerprint(np.asarray(images[:count]))
        return f"{known[:12]} {fingerprint(labels[:count])[:12]}"

    @functools.cached_property
    def _official_labels(self):
        return np.asarray(self.official.labels(*self._place))
