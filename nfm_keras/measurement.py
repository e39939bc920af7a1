"""One evaluation at work: rows in, results out, each written down at once."""

import concurrent.futures
import contextlib
import dataclasses
import math
import pathlib
import time

import numpy as np
from keras import ops

from nfm_keras import (
    calibration,
    gradients,
    masking,
    metrics,
    perturbations,
    results,
    rows,
    smoothing,
)
from nfm_keras.corruptions import files
from nfm_keras.environment import environment
from nfm_keras.records import Score
from nfm_keras.results import Evaluation, Result


class Measurement:
    """A compiled classifier, checked data, and what was found so far.

    Args: as for `nfm_keras.evaluation.evaluate`, which is the way in.
    """

    def __init__(
        self, classifier, dataset, protocol, seed, batch_size, num_classes, std
    ):
        perturbations.check_protocol(protocol)
        images, labels, spec = _unpack(dataset)
        self.classifier = gradients.PlainClassifier(classifier)
        self.images = _checked_images(images, self.classifier.input_shape)
        classes = num_classes or getattr(spec, "num_classes", None)
        self.labels = metrics.check_labels(labels, len(self.images), classes)
        _check_count("batch_size", batch_size)
        self.fingerprint = files.fingerprint(self.images, self.labels)
        self.std = getattr(spec, "std", None) if std is None else std
        self.protocol, self.seed, self.batch_size = protocol, seed, batch_size
        self.attack_limit = self.corrupted = self.store = self.found = None
        self.clean, self.kept, self.spent = None, (), [0.0, 0]

    def restrict(self, limit, attack_limit):
        """Take the first images only."""
        _check_count("limit", limit)
        _check_count("attack_limit", attack_limit)
        self.images, self.labels = self.images[:limit], self.labels[:limit]
        self.attack_limit = attack_limit

    def check(self, todo):
        """Perturb one image with each noise, so that what is missing shows at once."""
        for row in todo:
            if rows.is_corruption(row):
                self.corrupted.check(row)
            elif not rows.is_attack(row):
                self.perturb(row, 0, 1)

    def begin(self, store, suite, about, allow_stochastic):
        """Recognise the classifier, and take up what is in the store already."""
        probe = self.probe(allow_stochastic)
        versions, hardware = environment()
        self.found = Evaluation(
            model=about.get("model", "model"),
            dataset=about.get("dataset", "images"),
            images=self.fingerprint,
            probe=probe.tolist(),
            suite=suite or "",
            command=about.get("command", ""),
            versions=versions,
            hardware=hardware,
        )
        self.store = store and pathlib.Path(store)
        if self.store and self.store.exists():
            self.take_up(results.load(self.store), probe, allow_stochastic)

    def probe(self, allow_stochastic):
        """Logits of the first images, the same at every pass."""
        images = perturbations.as_images(self.images[:_PROBE])
        first, again = (self.logits(images) for _ in range(2))
        metrics.hits(first, self.labels[:_PROBE])
        if not (allow_stochastic or _alike(first, again, _ROUNDING)):
            raise ValueError(
                "The classifier must not change between two passes over the same "
                "images: turn its noise or dropout off, or allow_stochastic=True. "
                f"Received: logits that differ by {np.abs(first - again).max():.3g}"
            )
        if first.min() >= 0 and np.allclose(first.sum(axis=1), 1, atol=1e-5):
            raise ValueError(
                "The classifier must give logits, which calibration and attacks need: "
                "remove its last activation, or wrap it in a logarithm. "
                "Received: probabilities that sum to 1"
            )
        return first

    def take_up(self, old, probe, allow_stochastic):
        """Keep what was found before, if it is of this classifier and these images."""
        if not (
            allow_stochastic or _alike(np.asarray(old.probe), probe, _OTHER_MACHINE)
        ):
            raise ValueError(
                f"{self.store} must hold an evaluation of this classifier: give "
                "another folder or take it away. Received: one whose logits differ "
                f"for the first {len(probe)} images"
            )
        if old.images != self.fingerprint:
            raise ValueError(
                f"{self.store} must hold an evaluation on these images and labels: "
                "give another folder or take it away. Received: one of fingerprint "
                f"{old.images[:12]}, expected {self.fingerprint[:12]}"
            )
        self.kept = old.results
        names = ("seconds", "model_seconds", "reliability", "certifications", "checks")
        kept = {name: getattr(old, name) for name in names}
        self.found = dataclasses.replace(self.found, **kept)

    def measure(self, todo, progress):
        """One result a row, each in the store before the next is begun."""
        for place, row in enumerate(todo):
            blank = self.blank(row)
            result = self.finished(blank) or self.score(row, blank)
            self.keep(results=(*self.found.results, result))
            if progress is not None:
                progress(result.score, self.left(todo[place + 1 :]))

    def blank(self, row):
        """The score of a row, but for what is to be measured."""
        attack, corruption = rows.is_attack(row), rows.is_corruption(row)
        untouched = attack or corruption or row.id == "clean"
        settings = row.settings if attack else {}
        labels = self.corrupted.expected(row) if corruption else self.labels
        return Score(
            perturbation=row.id,
            severity=float(row.severity),
            protocol="none" if untouched else self.protocol,
            value=0.0,
            low=0.0,
            high=100.0,
            n=len(labels[: self.attack_limit if attack else None]),
            correct=0,
            seed=self.seed,
            seconds=0.0,
            settings=self.corrupted.settings(row) if corruption else settings,
        )

    def finished(self, blank):
        """The result that was measured before with the same settings, if any."""
        for result in self.kept:
            score = result.score
            same = results.key(score) == results.key(blank)
            if same and (score.n, score.seed) == (blank.n, blank.seed):
                return result
        return None

    def score(self, row, blank):
        """Measure one row."""
        with self.clock():
            started = time.perf_counter()
            measure = self.attack if rows.is_attack(row) else self.noise
            right, details = measure(row, blank.n)
            seconds = time.perf_counter() - started
        correct = int(right.sum())
        low, high = metrics.wilson_interval(correct, blank.n)
        value = 100.0 * correct / blank.n
        measured = {"value": value, "low": low, "high": high, "correct": correct}
        score = dataclasses.replace(blank, **measured, seconds=seconds)
        self.spent[0] += seconds
        self.spent[1] += rows.passes(row) * blank.n
        return Result(score, results.pack(right), **details)

    def noise(self, row, n):
        """Which of the first n images survive a perturbation, and calibration."""
        if row.severity == 0 and self.clean is not None:
            logits = self.clean  # nothing added: every curve starts at the same point
        else:
            logits = self.perturbed_logits(row, n)
        corruption = rows.is_corruption(row)
        labels = (self.corrupted.expected(row) if corruption else self.labels)[:n]
        right = metrics.hits(logits, labels)
        if row.severity == 0:
            self.clean = logits
            clean = calibration.reliability(logits, labels)
            self.found = dataclasses.replace(self.found, reliability=_as_json(clean))
        return right, {"calibration": calibration.summary(logits, labels)}

    def perturbed_logits(self, row, n):
        spans = [(i, min(i + self.batch_size, n)) for i in range(0, n, self.batch_size)]
        make = self.corrupted.reader(row) if rows.is_corruption(row) else None
        make = make or (lambda first, last: self.perturb(row, first, last))
        return np.concatenate([self.logits(images) for images in _ahead(make, spans)])

    def perturb(self, row, first, last):
        return row(
            self.images[first:last],
            range(first, last),
            protocol=self.protocol,
            seed=self.seed,
            std=self.std,
        )

    def logits(self, images):
        """Filled up with copies to the same size, so that one shape is compiled."""
        size = min(len(self.images), self.batch_size)
        copies = np.minimum(np.arange(max(size, len(images))), len(images) - 1)
        if images.dtype == np.uint8:
            images = perturbations.as_images(images)
        logits = ops.convert_to_numpy(self.classifier.logits(images[copies]))
        return logits[: len(images)]

    def attack(self, row, n):
        """Which of the first n images survive an attack."""
        # An attack holds its images as float32, so a large set goes through in parts.
        part = max(self.batch_size, _ATTACK_FLOATS // math.prod(self.images.shape[1:]))
        right, stages = np.zeros(n, bool), {}
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
            right[at] = ~result.success
            for stage, count in result.stages.items():
                stages[stage] = stages.get(stage, 0) + int(count)
        return right, {"stages": stages}

    def certify(self, plan):
        """Randomised smoothing at each sigma of the suite."""
        images, labels = (x[: plan.certify_limit] for x in (self.images, self.labels))
        for sigma in plan.sigmas:
            settings = {
                "sigma": sigma,
                "n": plan.certify_samples,
                "images": len(images),
            }
            old = self.found.certifications
            if any(settings.items() <= each.items() for each in old):
                continue
            with self.clock():
                found = smoothing.certify(
                    *(self.classifier, images, labels),
                    sigma=sigma,
                    n=plan.certify_samples,
                    seed=self.seed,
                    batch_size=self.batch_size,
                )
            self.keep(certifications=(*old, _as_json(found) | settings))

    def examine(self, plan):
        """The gradient-masking report of the suite."""
        images, labels = (x[: plan.masking_limit] for x in (self.images, self.labels))
        if self.found.checks or not plan.masking_limit:
            return
        with self.clock():
            checks = masking.masking_report(
                *(self.classifier, images, labels),
                seed=self.seed,
                batch_size=self.batch_size,
            )
        self.keep(checks=tuple(map(_as_json, checks)))

    @contextlib.contextmanager
    def clock(self):
        """Adds the time of what is inside to the evaluation's."""
        started, before = time.perf_counter(), self.classifier.seconds
        yield
        self.found = dataclasses.replace(
            self.found,
            seconds=self.found.seconds + time.perf_counter() - started,
            model_seconds=self.found.model_seconds + self.classifier.seconds - before,
        )

    def keep(self, **new):
        """Add to what was found, and write it down."""
        self.found = dataclasses.replace(self.found, **new)
        if not self.store:
            return
        done = {results.key(result.score) for result in self.found.results}
        rest = [r for r in self.kept if results.key(r.score) not in done]
        whole = (*self.found.results, *rest)
        results.save(dataclasses.replace(self.found, results=whole), self.store)

    def left(self, todo):
        """Seconds that the rows to come will take, by what those before took."""
        passes = sum(rows.passes(row) * self.blank(row).n for row in todo)
        return passes * self.spent[0] / max(self.spent[1], 1)


class Corrupted:
    """Where corrupted images come from: official files, the cache, or the generator."""

    def __init__(self, images, labels, seed, cache_dir, official):
        self.images, self.labels, self.seed = images, labels, seed
        self.cache = files.Cache(cache_dir) if cache_dir else None
        self.official = files.open_official(official) if official else None
        self.digest = None

    def is_official(self, row):
        return self.official is not None and row.kind in self.official.kinds

    def settings(self, row):
        """What changes the images, for the record."""
        if self.is_official(row):
            return {"source": "official"}
        return {"source": "generated"} | row.settings

    def expected(self, row):
        """Labels of the corrupted images; official files have an order of their own."""
        if not self.is_official(row):
            return self.labels
        labels = np.asarray(self.official.labels(row.kind, row.severity))
        return labels[: len(self.labels)]

    def check(self, row):
        """Refuse what cannot work, before anything is measured."""
        if not self.is_official(row):
            row(self.images[:1])
            return
        received = self.official.images(row.kind, row.severity).shape[1:]
        if received != self.images.shape[1:]:
            raise ValueError(
                f"The official images of {row.id} must have the shape "
                f"{self.images.shape[1:]} of the data set's. Received: {received}"
            )

    def reader(self, row):
        """`read(first, last)` -> uint8 images."""
        if self.is_official(row):
            whole = self.official.images(row.kind, row.severity)
        elif self.cache:
            self.digest = self.digest or files.fingerprint(self.images)
            whole = self.cache.get(row, self.images, seed=self.seed, digest=self.digest)
        else:
            return lambda first, last: row(
                self.images[first:last], range(first, last), seed=self.seed
            )
        return lambda first, last: np.asarray(whole[first:last])


_ATTACK_FLOATS = 2**25
_PROBE = 8
# How far logits may differ, as a share of the largest: within a process by the order
# of sums alone, between machines by what half precision makes of it.
_ROUNDING, _OTHER_MACHINE = 1e-4, 1e-2


def _alike(logits, others, tolerance):
    """Whether logits agree, up to a share of the largest."""
    if logits.shape != others.shape:
        return False
    return np.abs(logits - others).max() <= tolerance * np.abs(logits).max()


def _ahead(make, spans):
    """Make each batch while the classifier is busy with the one before."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(make, *spans[0])
        for span in spans[1:]:
            waiting, ready = pool.submit(make, *span), waiting
            yield ready.result()
        yield waiting.result()


def _as_json(found):
    """A frozen dataclass as a dict of JSON values."""
    values = dataclasses.asdict(found)
    return {k: v.tolist() if hasattr(v, "tolist") else v for k, v in values.items()}


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
