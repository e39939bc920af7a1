"""The subject of an evaluation: a checked classifier and the images it is scored on."""

import dataclasses
import functools
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.backend.heads import remedy
from nfm_keras.backend.random import check_seed
from nfm_keras.checks import check_count
from nfm_keras.corruptions.cache import fingerprint
from nfm_keras.data.images import as_images
from nfm_keras.data.labels import are_shares, check_labels, hits
from nfm_keras.evaluation.inputs import cut_to, passes, pick, read
from nfm_keras.evaluation.store import probes
from nfm_keras.evaluation.store.identity import (
    Identity,
    fingerprint_of,
    identity_of,
)
from nfm_keras.records.ids import check_protocol

_RANGE_PROBES = 32
"""The images by which it is seen that a classifier takes [0, 255]."""


class LabelledImages(Protocol):
    """A data set, such as a `nfm_keras.data.Split`; it may have a `spec` as well."""

    @property
    def images(self) -> ArrayLike: ...

    @property
    def labels(self) -> ArrayLike: ...


@dataclasses.dataclass(frozen=True)
class Subject:
    """A classifier and images that fit each other, and how they are measured.

    Attributes:
        classifier: `PlainClassifier`.
        images: uint8 or float `(n, height, width, channels)`, those that are scored; an
            array, or `nfm_keras.data.Photographs`, which are read a batch at a time.
        labels: int32 `(n,)`.
        everything: `(images, labels)` of the whole set.
        std: `(channels,)`, or None where none is known.
        protocol: str, of the noises.
        seed: int, of all that is random.
        batch_size: int.
        stochastic: bool, whether it may change from pass to pass.
        name: str, what the user calls the classifier; empty without.
        saved: `adversaries.Saved`, which is given the images that attacks find; None.
        classes: tuple of str, the names of the classes, empty where they have none.
        cut: str, which logits are those of the classes of the set; empty for all.
        num_classes: int, of the set; None where it does not say.
    """

    classifier: PlainClassifier
    images: np.ndarray
    labels: np.ndarray
    everything: tuple[np.ndarray, np.ndarray]
    std: Any = None
    protocol: str = "reference"
    seed: int = 0
    batch_size: int = 250
    stochastic: bool = False
    name: str = ""
    saved: Any = None
    classes: tuple[str, ...] = ()
    cut: str = ""
    num_classes: int | None = None

    @property
    def size(self) -> int:
        """Images in a batch, which the classifier is compiled for."""
        return min(len(self.images), self.batch_size)

    def logits(self, images):
        """Returns the logits `(batch, classes)` of a batch of images."""
        return self.classifier.logits_of(images, self.size)

    @functools.cached_property
    def clean_logits(self):
        """Logits `(n, classes)` of the images as they are."""
        return self._passed(self.images)

    @functools.cached_property
    def fingerprint(self):
        """SHA-256 of all images and labels."""
        return fingerprint(*self.everything)

    @functools.cached_property
    def identity(self) -> Identity:
        """What the classifier is recognised by."""
        found = identity_of(self.classifier.classifier, self.name)
        if not self.stochastic:
            return found
        # What it draws from may be among its variables, and changes with every pass.
        self.logits(as_images(self.images[:1]))
        again = identity_of(self.classifier.classifier, self.name)
        return found if found == again else Identity(name=self.name)

    @functools.cached_property
    def stand_in(self) -> dict[str, str]:
        """What gradients come from, as settings of attacks; empty without a stand-in.

        It is known as a classifier is, and a function by its code.
        """
        given = self.classifier.stand_in
        return {} if given is None else {"stand_in": fingerprint_of(given)}

    @functools.cached_property
    def probe(self) -> np.ndarray:
        """Logits `(2 m, classes)` of `probes.probe_images`, the same at every pass.

        Raises:
            ValueError: If they are not, or are no logits.
        """
        mean = self._probes[0]
        if not self.stochastic:  # one that is random answers by luck at any range
            self._check_range()
        if self.classifier.from_logits:
            _check_no_shares(mean[: len(mean) // 2])
        return mean

    @property
    def spread(self) -> np.ndarray | None:
        """Their standard deviation over the passes; None where there should be none."""
        return self._probes[1] if self.stochastic else None

    @functools.cached_property
    def _probes(self):
        """Mean and deviation of the logits of the probe images."""
        images, labels = self.everything
        images, labels = probes.probe_images(images), labels[: probes.COUNT]
        given = self.classifier, images
        first = passes.first_logits(*given, labels, self.size, self.num_classes)
        if not self.stochastic:
            passes.check_steady(*given, first, self.size)
            return first, None
        several = [self._passed(images) for _ in range(probes.PASSES)]
        passes.check_random(several)
        return np.mean(several, axis=0), np.std(several, axis=0)

    def _passed(self, images):
        return passes.logits_of(self.classifier, images, self.size)

    def _check_range(self):
        """Refuses a classifier that is right of the images times 255, and only then."""
        count = min(_RANGE_PROBES, len(self.images), self.batch_size)
        if count < _RANGE_PROBES:
            return
        images, labels = as_images(self.images[:count]), self.labels[:count]
        right, wrong = (
            hits(self.logits(factor * images), labels).mean()
            for factor in (np.float32(255), np.float32(1))
        )
        if right - wrong > 0.5:
            raise ValueError(
                "The classifier must take images in [0, 1]; "
                "`nfm_keras.unit_range(model, factor=255)` makes it one that does. "
                f"Received: one that classifies {wrong:.0%} of {count} images in [0, 1]"
                f" correctly, and {right:.0%} of them in [0, 255]"
            )

    @property
    def skipped(self):
        """Names of the files of photographs that could not be read."""
        photographs = getattr(self.everything[0], "skipped", None)
        return tuple(sorted(photographs.names)) if photographs else ()

    @functools.cached_property
    def _digests(self):
        return {}

    def digest(self, limit):
        """Returns the `fingerprint` of the first images, made once for each limit."""
        if limit not in self._digests:
            self._digests[limit] = fingerprint(self.images[:limit])
        return self._digests[limit]


def subject_of(
    classifier,
    dataset,
    *,
    limit=None,
    std=None,
    batch_size=250,
    from_logits=None,
    output=None,
    stand_in=None,
    protocol=None,
    seed=0,
    **settings,
):
    """Returns a classifier and a data set as a `Subject`, checked.

    Args:
        classifier: Keras model or callable from [0,1] images to logits.
        dataset: What `inputs.read` takes.
        limit: int. Score the first so many images only.
        std: `(channels,)`, by default that of the data set's `spec`.
        batch_size: int.
        from_logits, stand_in: As in `PlainClassifier`.
        output: str or int, as in `inputs.pick`.
        protocol: str; by default `"reference"` where a std is known, else `"pixel"`.
        seed: int.
        **settings: Further fields of `Subject`.

    Raises:
        ValueError: For images out of range or of the wrong size, labels that do not
            fit, an unknown protocol, a seed that is no integer.
    """
    if protocol is not None:
        check_protocol(protocol)
    check_count("batch_size", batch_size)
    images, labels, spec = read(dataset, limit)
    classifier = cut_to(pick(classifier, output), spec, from_logits)
    classifier = PlainClassifier(classifier, from_logits, stand_in)
    std = getattr(spec, "std", None) if std is None else std
    images = _checked_images(images, classifier.input_shape)
    labels = check_labels(labels, len(images), getattr(spec, "num_classes", None))
    return Subject(
        classifier,
        images[:limit],
        labels[:limit],
        everything=(images, labels),
        std=std,
        protocol=protocol or ("pixel" if std is None else "reference"),
        seed=check_seed(seed),
        batch_size=batch_size,
        num_classes=getattr(spec, "num_classes", None),
        classes=tuple(map(str, getattr(spec, "classes", ()))),
        cut=_said(classifier.places, spec),
        **settings,
    )


def _said(places, spec):
    """What a record says of the logits that were taken."""
    return f"{len(places)} of {spec.cut.total:,} logits" if places else ""


def _check_no_shares(logits):
    total = float(logits[0].sum())
    if are_shares(logits, total).all() and (len(logits) > 1 or abs(total - 1) < 1e-2):
        raise ValueError(
            "The classifier must give logits, which calibration and attacks need: "
            f"remove its last activation, or {remedy(total)}. "
            f"Received: probabilities that sum to {total:.4g}"
        )


def _checked_images(images, expected):
    if not hasattr(images, "digests"):  # photographs stay where they are
        images = np.ascontiguousarray(images)
    as_images(images[:1] if images.dtype == np.uint8 else images)
    received = images.shape[1:]
    fits = expected is None or (
        len(received) == len(expected)
        and all(a in (None, b) for a, b in zip(expected, received, strict=True))
    )
    if not fits:
        raise ValueError(
            f"The classifier takes images of shape {expected}. Received: {received}"
        )
    return images
