"""Conditions of an evaluation: perturbations that know how they are scored."""

import collections
import concurrent.futures
import dataclasses
import math

import numpy as np

from nfm_keras.attacks import progress
from nfm_keras.attacks.attack import prepared
from nfm_keras.attacks.watch import Watch
from nfm_keras.data.labels import hits
from nfm_keras.evaluation import calibration
from nfm_keras.evaluation.store import revisions
from nfm_keras.records.ids import NO_PROTOCOL, kind

MOST_FLOATS = 2**25
"""An attack holds its images as float32: a large set goes through in parts of this."""

# Cascades leave broken images alone at once: most cost a few steps.
_PASSES = {"autoattack": 1000, "apgd_t": 400, "fab_t": 1000, "square": 1500}
_USUAL_PASSES = 100


class Condition:
    """Something that images meet before they are classified.

    A subclass has a perturbation with `id` and `severity`, and says in which images it
    ends: `check`, `reader`; or `measure` where the classifier has to help.

    Args:
        perturbation: `Perturbation`, `Corruption` or attack.
        limit: int, how many images are scored; None for all of the subject's.
    """

    group = "noise"
    """Whose revision of our code counts, a key of `revisions.REVISIONS`."""

    suits_stochastic = True
    """Whether a classifier that changes from pass to pass can be scored under it."""

    def __init__(self, perturbation, limit=None):
        self.perturbation, self.limit = perturbation, limit

    @property
    def id(self):
        return self.perturbation.id

    @property
    def kind(self):
        """The id without its severity."""
        return kind(self.id)

    @property
    def severity(self):
        return float(getattr(self.perturbation, "severity", 0.0))

    @property
    def revision(self):
        """Of the code that perturbs; 0 for code of others that does not say."""
        return revisions.revision_of(self.group, self.perturbation)

    @property
    def origin(self):
        """Settings that say whose perturbation it is, where it is not ours."""
        if revisions.is_ours(self.perturbation):
            return {}
        kind = type(self.perturbation)
        return {"class": f"{kind.__module__}.{kind.__qualname__}"}

    @property
    def passes(self):
        """Passes of the classifier that an image costs, as far as one can tell."""
        return 1

    def protocol(self, subject):
        """Returns the protocol of its score."""
        return NO_PROTOCOL

    def settings(self, subject):
        """Returns what besides id, protocol and seed changes the score: JSON values."""
        return {}

    def labels(self, subject):
        """Returns the labels `(n,)` of the images that are scored."""
        return subject.labels[: self.limit]

    def for_stochastic(self):
        """Returns the condition as it is for a classifier that stays random."""
        return self

    def check_stochastic(self):
        """Refuses a classifier that stays random, where the condition does not suit."""
        if not self.suits_stochastic:
            raise ValueError(
                "A classifier that stays random is attacked by `autoattack`, which "
                "averages over its randomness, or by PGD and APGD that do, with an "
                f"`eot` above 1. Received: {self.id!r}"
            )

    def check(self, subject):
        """Refuses what cannot work, before anything is measured.

        Args:
            subject: `Subject`.

        Raises:
            ValueError: If something is missing, or does not fit the images.
        """

    def reader(self, subject):
        """Returns a function `(first, last)` to those of the perturbed images.

        Args:
            subject: `Subject`.
        """
        raise NotImplementedError

    def logits(self, subject):
        """Returns the logits `(n, classes)` of the perturbed images."""
        n, size = len(self.labels(subject)), subject.batch_size
        read = self.reader(subject)
        spans = [(first, min(first + size, n)) for first in range(0, n, size)]
        logits = []
        for images in _ahead(read, spans):
            logits.append(subject.logits(images))
            progress.tell(len(logits) / len(spans))
        return np.concatenate(logits)

    def measure(self, subject):
        """Scores the images.

        Args:
            subject: `Subject`.

        Returns:
            `(right, details)`: `(n,)` bool array, which images were classified
            correctly, and a dict of further fields of the `Score`.
        """
        logits, labels = self.logits(subject), self.labels(subject)
        shares = subject.classifier.shares(logits)
        details = {"calibration": calibration.summary(shares, labels)}
        return hits(logits, labels), details


class Noisy(Condition):
    """Clean images, white noise, salt and pepper.

    Args:
        perturbation: `nfm_keras.evaluation.noise.Perturbation`.
    """

    def protocol(self, subject):
        return NO_PROTOCOL if self.id == "clean" else subject.protocol

    def check(self, subject):
        self.reader(subject)(0, 1)  # one image: what is missing shows at once

    def reader(self, subject):
        return lambda first, last: self.perturbation(
            subject.images[first:last],
            range(first, last),
            protocol=subject.protocol,
            seed=subject.seed,
            std=subject.std,
        )

    def logits(self, subject):
        # Nothing is added: every curve starts at the same point, measured once.
        if self.severity == 0 and revisions.is_ours(self.perturbation):
            return subject.clean_logits
        return super().logits(subject)


class Attacked(Condition):
    """Images that an attack found with the classifier's help.

    Args:
        perturbation: An attack of `nfm_keras.attacks`.
        limit: int, how many images are attacked; None for all of the subject's.
    """

    group = "attack"

    def check(self, subject):
        if revisions.is_ours(self.perturbation):
            self.perturbation.check(subject.images)

    @property
    def suits_stochastic(self):
        averages = getattr(self.perturbation, "eot", 1) > 1
        return averages or self.kind.startswith("autoattack")

    def for_stochastic(self):
        if not self.kind.startswith("autoattack"):
            return self
        attack = dataclasses.replace(self.perturbation, version="rand")
        return Attacked(attack, self.limit)

    @property
    def passes(self):
        name, settings = self.kind.removesuffix("_l2"), self.perturbation.settings
        if name in ("pgd", "pgd_t", "fgsm"):
            walks = settings["restarts"] * settings.get("targets", 1)
            return settings["steps"] * walks * settings.get("eot", 1) * 2
        return _PASSES.get(name, _USUAL_PASSES)

    def settings(self, subject):
        return self.perturbation.settings | subject.stand_in

    def measure(self, subject):
        labels = self.labels(subject)
        values = math.prod(subject.images.shape[1:])
        part = max(subject.batch_size, MOST_FLOATS // values)
        right = np.zeros(len(labels), bool)
        stages, watches = collections.Counter(), []
        for first in range(0, len(labels), part):
            at = slice(first, min(first + part, len(labels)))
            with progress.part(at.start / len(labels), at.stop / len(labels)):
                given = prepared(
                    subject.classifier,
                    subject.images[at],
                    labels[at],
                    np.arange(at.start, at.stop),
                )
                result, watch = self.perturbation.attacked(
                    given, subject.seed, subject.batch_size
                )
            if subject.saved:
                subject.saved.put(self.id, len(labels), at, result.images)
            right[at] = ~result.success
            stages.update(result.stages)
            watches.append((at, watch))
        # Of all images together: what is doubtful does not depend on the parts.
        warnings = Watch.of_all(len(labels), watches).tell(self.id, ~right)
        return right, {"stages": dict(stages), "warnings": warnings}


def _ahead(read, spans):
    """Reads each batch while the classifier is busy with the one before."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(read, *spans[0])
        for span in spans[1:]:
            waiting, ready = pool.submit(read, *span), waiting
            yield ready.result()
        yield waiting.result()
