"""How robust a classifier is: perturbations in, one score each out."""

import math
import time

import numpy as np
from keras import ops

from nfm_keras import attacks, gradients, metrics, perturbations
from nfm_keras.records import Score


def evaluate(
    classifier,
    dataset,
    perturbations,
    *,
    protocol="reference",
    seed=0,
    batch_size=250,
    limit=None,
    attack_limit=None,
    attack_settings=None,
    num_classes=None,
    std=None,
    progress=None,
):
    """Score a classifier under each of a list of perturbations.

    All randomness is drawn per image from (seed, perturbation, severity, image index),
    so batch size, order and Keras backend do not change what an image meets.

    Args:
        classifier: Keras model, or any callable, from [0,1] images
            `(batch, height, width, channels)` to logits `(batch, classes)`. It is run
            with `training=False` and compiled once.
        dataset: object with `images` (`(n, height, width, channels)`, uint8 or float
            in [0,1]) and `labels` (`(n,)` integers), and perhaps a `spec` with `std`
            and `num_classes`; or a tuple `(images, labels)`.
        perturbations: list of ids (`"clean"`, `"white_noise@0.1"`, `"pgd@8/255"`; a
            bare `"white_noise"` or `"salt_and_pepper"` is the curve of the paper),
            `Perturbation`s and attacks.
        protocol: str. `"reference"` or `"pixel"`, for the noises.
        seed: int, of the noises and of the attacks' random starts.
        batch_size: int.
        limit: int. Score the first so many images only.
        attack_limit: int. The same, for attacks.
        attack_settings: dict of `PGD` arguments for the ids that name it, such as
            `{"steps": 20, "restarts": 5}`.
        num_classes: int, by default the data set's.
        std: `(channels,)` of the training set in units of [0,1], by default the data
            set's; white noise in the reference protocol is measured in it.
        progress: function called with each `Score` as it is ready.

    Returns:
        List of `nfm_keras.records.Score`, one for each perturbation in the same order;
        accuracies in percent, with Wilson 95 % intervals. The protocol of a score that
        no protocol touches is `"none"`.

    Raises:
        ValueError: unknown perturbation or protocol, bad severity, empty data, images
            out of range or of the wrong size, bad labels, logits that are not finite,
            no `std` where it is needed. All but the logits are found before any work.

    Example:

    >>> images = np.full((4, 8, 8, 3), 0.5, "float32")
    >>> def classifier(images):
    ...     return ops.multiply(ops.mean(images, axis=(1, 2)), [1.0, 2.0, 3.0])
    >>> scores = evaluate(classifier, (images, np.full(4, 2)), ["clean", "pgd@0.2"])
    >>> [(score.perturbation, score.value) for score in scores]
    [('clean', 100.0), ('pgd@0.2', 0.0)]
    """
    run = _Evaluation(
        classifier, dataset, protocol, seed, batch_size, num_classes, std, limit
    )
    rows = expand(perturbations, attack_settings)
    run.check(rows)
    scores = []
    for row in rows:
        scores.append(run.score(row, attack_limit if _is_attack(row) else None))
        if progress is not None:
            progress(scores[-1])
    return scores


def expand(perturbations, attack_settings=None):
    """Ids to perturbations and attacks; a bare noise becomes its whole curve.

    Args:
        perturbations: list of ids, `Perturbation`s and attacks.
        attack_settings: dict of `PGD` arguments for the ids that name it.

    Raises:
        ValueError: unknown id, bad severity or setting, or nothing at all.

    Example:

    >>> [row.id for row in expand(["clean", "pgd@8/255"], {"steps": 20})]
    ['clean', 'pgd@8/255']
    """
    if isinstance(perturbations, str) or not len(perturbations):
        raise ValueError(
            "`perturbations` must be a list with at least one id, such as "
            f"['clean', 'white_noise@0.1']. Received: {perturbations!r}"
        )
    rows = []
    for item in perturbations:
        rows += _expand(item, attack_settings or {})
    return rows


def merge(scores, new):
    """Old scores with new ones added; a new row replaces the old one it repeats.

    Args:
        scores, new: iterables of `Score`. Rows are the same if perturbation, protocol
            and settings are.

    Returns:
        Tuple of `Score`.

    Example:

    >>> old = Score("clean", 0.0, "none", 50.0, 9.5, 90.5, 2, 1, 0, 0.1, {})
    >>> new = Score("clean", 0.0, "none", 100.0, 34.2, 100.0, 2, 2, 0, 0.1, {})
    >>> merge([old], [new]) == (new,)
    True
    """

    def key(score):
        settings = tuple(sorted(score.settings.items()))
        return score.perturbation, score.protocol, settings

    new = tuple(new)
    replaced = {key(score) for score in new}
    return tuple(score for score in scores if key(score) not in replaced) + new


def line(score):
    """A score as one line of text.

    Args:
        score: `Score`.

    Example:

    >>> line(Score("pgd@8/255", 8 / 255, "none", 50.0, 9.5, 90.5, 2, 1, 0, 0.1, {}))
    'pgd@8/255                      50.00 %  [9.50, 90.50]  n=2  0.1 s'
    """
    name = score.perturbation
    if score.protocol != "none":
        name = f"{name} ({score.protocol})"
    return (
        f"{name:<28} {score.value:7.2f} %  [{score.low:.2f}, {score.high:.2f}]  "
        f"n={score.n}  {score.seconds:.1f} s"
    )


class _Evaluation:
    """A compiled classifier and checked data."""

    def __init__(
        self, classifier, dataset, protocol, seed, batch_size, num_classes, std, limit
    ):
        perturbations.check_protocol(protocol)
        images, labels, spec = _unpack(dataset)
        self.classifier = gradients.PlainClassifier(classifier)
        self.images = _checked_images(images, self.classifier.input_shape)
        classes = num_classes or getattr(spec, "num_classes", None)
        self.labels = metrics.check_labels(labels, len(self.images), classes)
        for name, value in (("batch_size", batch_size), ("limit", limit)):
            _check_count(name, value)
        self.images, self.labels = self.images[:limit], self.labels[:limit]
        self.std = getattr(spec, "std", None) if std is None else std
        self.protocol, self.seed, self.batch_size = protocol, seed, batch_size
        self.clean = None

    def check(self, rows):
        """Perturb one image with each noise, so that what is missing shows at once."""
        for row in rows:
            if not _is_attack(row):
                self.perturb(row, 0, 1)

    def score(self, row, limit):
        """One row of the result."""
        _check_count("attack_limit", limit)
        n = len(self.images[:limit])
        started = time.perf_counter()
        is_attack = _is_attack(row)
        hits = self.attack(row, n) if is_attack else self.noise(row, n)
        correct = int(hits.sum())
        low, high = metrics.wilson_interval(correct, n)
        return Score(
            perturbation=row.id,
            severity=float(row.severity),
            protocol="none" if is_attack or row.id == "clean" else self.protocol,
            value=100.0 * correct / n,
            low=low,
            high=high,
            n=n,
            correct=correct,
            seed=self.seed,
            seconds=time.perf_counter() - started,
            settings=row.settings if is_attack else {},
        )

    def noise(self, row, n):
        """Which of the first n images survive a perturbation."""
        if row.severity == 0 and self.clean is not None:
            return self.clean  # nothing added: every curve starts at the same point
        hits = np.zeros(n, bool)
        for first in range(0, n, self.batch_size):
            last = min(first + self.batch_size, n)
            images = self.perturb(row, first, last)
            # Filled up with copies to the same size, so that one shape is compiled.
            copies = np.minimum(np.arange(min(n, self.batch_size)), last - first - 1)
            logits = ops.convert_to_numpy(self.classifier.logits(images[copies]))
            labels = self.labels[first:last]
            hits[first:last] = metrics.hits(logits[: last - first], labels)
        if row.severity == 0:
            self.clean = hits
        return hits

    def perturb(self, row, first, last):
        return row(
            self.images[first:last],
            range(first, last),
            protocol=self.protocol,
            seed=self.seed,
            std=self.std,
        )

    def attack(self, row, n):
        """Which of the first n images survive an attack."""
        # An attack holds its images as float32, so a large set goes through in parts.
        part = max(self.batch_size, _ATTACK_FLOATS // math.prod(self.images.shape[1:]))
        hits = np.zeros(n, bool)
        for first in range(0, n, part):
            at = slice(first, min(first + part, n))
            result = row(
                self.classifier,
                self.images[at],
                self.labels[at],
                seed=self.seed,
                batch_size=self.batch_size,
                indices=np.arange(at.start, at.stop),
            )
            hits[at] = ~result.success
        return hits


_ATTACK_FLOATS = 2**25


def _expand(item, attack_settings):
    if isinstance(item, str):
        item = item.strip()
        if item in perturbations.CURVES:
            return perturbations.curve(item)
        item = perturbations.parse(item)
    if getattr(item, "kind", None) in perturbations.ATTACKS:
        return [attacks.from_perturbation(item, **attack_settings)]
    if not hasattr(item, "id") or not callable(item):
        raise ValueError(
            "A perturbation must be an id, a `Perturbation` or an attack. "
            f"Received: {item!r}"
        )
    return [item]


def _is_attack(row):
    return hasattr(row, "settings")


def _unpack(dataset):
    if hasattr(dataset, "images") and hasattr(dataset, "labels"):
        return dataset.images, dataset.labels, getattr(dataset, "spec", None)
    if isinstance(dataset, (tuple, list)) and len(dataset) == 2:
        return *dataset, None
    raise ValueError(
        "`dataset` must have `images` and `labels`, or be a tuple (images, labels). "
        f"Received: {type(dataset).__name__}"
    )


def _checked_images(images, expected):
    images = np.asarray(images)
    perturbations.as_images(images[:1] if images.dtype == np.uint8 else images)
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


def _check_count(name, value):
    if value is not None and (not isinstance(value, int) or value < 1):
        raise ValueError(
            f"`{name}` must be a positive integer or None. Received: {value!r}"
        )
