"""One evaluation at work: rows in, results out, each written down at once."""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import math
import pathlib
import time

import numpy as np
from keras import ops

from nfm_keras import corruptions
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.checks import check_count
from nfm_keras.corruptions.cache import Cache, fingerprint, frost_fingerprint
from nfm_keras.corruptions.official import open_official
from nfm_keras.data import images as perturbations
from nfm_keras.data import labels as metrics
from nfm_keras.evaluation import calibration, masking, rows, smoothing
from nfm_keras.evaluation.statistics import wilson_interval
from nfm_keras.records import evaluation as results
from nfm_keras.records.environment import environment
from nfm_keras.records.evaluation import Evaluation, Result
from nfm_keras.records.ids import check_protocol
from nfm_keras.records.run import Score


class Measurement:
    """A compiled classifier, checked data, and what was found so far.

    Args: as for `nfm_keras.evaluation.scoring.evaluate`, which is the way in.
    """

    def __init__(
        self, classifier, dataset, protocol, seed, batch_size, num_classes, std
    ):
        check_protocol(protocol)
        images, labels, spec = _unpack(dataset)
        self.classifier = PlainClassifier(classifier)
        self.images = _checked_images(images, self.classifier.input_shape)
        classes = num_classes or getattr(spec, "num_classes", None)
        self.labels = metrics.check_labels(labels, len(self.images), classes)
        check_count("batch_size", batch_size)
        self.fingerprint = fingerprint(self.images, self.labels)
        self.everything = self.images, self.labels
        self.std = getattr(spec, "std", None) if std is None else std
        self.protocol, self.seed, self.batch_size = protocol, seed, batch_size
        self.attack_limit = self.corrupted = self.store = self.found = None
        self.clean, self.kept, self.spent = None, (), [0.0, 0]
        self.certified = ()

    def restrict(self, limit, attack_limit, corruption_limit):
        """Take the first images only."""
        for name, value in (
            ("limit", limit),
            ("attack_limit", attack_limit),
            ("corruption_limit", corruption_limit),
        ):
            if value is not None:
                check_count(name, value)
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
            weights=_weights(self.classifier.classifier),
            std=[] if self.std is None else np.asarray(self.std, float).tolist(),
            stochastic=allow_stochastic,
            suite=suite or "",
            command=about.get("command", ""),
            versions=versions,
            hardware=hardware,
        )
        self.store = store and pathlib.Path(store)
        if self.store and self.store.exists():
            self.take_up(results.load(self.store), probe)

    def probe(self, allow_stochastic):
        """Logits of the first images, the same at every pass and in any company."""
        images = perturbations.as_images(self.everything[0][:_PROBE])
        first, half = self.logits(images), images[: -(-len(images) // 2)]
        again = self.logits(half)
        metrics.hits(first, self.everything[1][:_PROBE])
        if not (allow_stochastic or _alike(first[: len(half)], again, _ROUNDING)):
            difference = np.abs(first[: len(half)] - again).max()
            raise ValueError(
                "The classifier must not change between two passes over the same "
                "images, whatever else is in the batch: turn its noise, dropout or "
                "batch statistics off, or allow_stochastic=True. "
                f"Received: logits that differ by {difference:.3g}"
            )
        if metrics.are_probabilities(first).all():
            raise ValueError(
                "The classifier must give logits, which calibration and attacks need: "
                "remove its last activation, or wrap it in a logarithm. "
                "Received: probabilities that sum to 1"
            )
        if allow_stochastic:
            first = np.mean([self.logits(images) for _ in range(_PASSES)], axis=0)
        return first

    def take_up(self, old, probe):
        """Keep what was found before, if it is of this classifier and these images."""
        tolerance = _RANDOM if self.found.stochastic else _OTHER_MACHINE
        same = old.weights == self.found.weights
        if not same or not _alike(np.asarray(old.probe), probe, tolerance):
            raise ValueError(
                f"{self.store} must hold an evaluation of this classifier: give "
                "another folder or take it away. Received: one of another classifier, "
                f"by its weights or its logits for the first {len(probe)} images"
            )
        ours = self.fingerprint, self.found.std, self.found.stochastic
        if (old.images, old.std, old.stochastic) != ours:
            raise ValueError(
                f"{self.store} must hold an evaluation on these images and labels, "
                "with the same std and allow_stochastic: give another folder or take "
                f"it away. Received: one of fingerprint {old.images[:12]} (expected "
                f"{self.fingerprint[:12]}), std {old.std}, {old.stochastic}"
            )
        self.kept, self.certified = old.results, old.certifications
        names = ("seconds", "model_seconds", "reliability", "checks")
        kept = {name: getattr(old, name) for name in names}
        self.found = dataclasses.replace(self.found, **kept)

    def measure(self, todo, progress):
        """One result a row, each new one in the store before the next is begun."""
        blanks = [self.blank(row) for row in todo]
        costs = [rows.passes(r) * b.n for r, b in zip(todo, blanks, strict=True)]
        for place, (row, blank) in enumerate(zip(todo, blanks, strict=True)):
            old = self.finished(blank)
            result = old or self.score(row, blank)
            whole = (*self.found.results, result)
            self.found = dataclasses.replace(self.found, results=whole)
            if not old:
                self.write()
            if progress is not None:
                # By what the rows before took.
                rate = self.spent[0] / max(self.spent[1], 1)
                progress(result.score, rate * sum(costs[place + 1 :]))

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
        wanted = results.measurement(blank)
        same = (r for r in self.kept if results.measurement(r.score) == wanted)
        return next(same, None)

    def score(self, row, blank):
        """Measure one row."""
        with self.clock():
            started = time.perf_counter()
            measure = self.attack if rows.is_attack(row) else self.noise
            right, details = measure(row, blank.n)
            seconds = time.perf_counter() - started
        correct = int(right.sum())
        low, high = wilson_interval(correct, blank.n)
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
            wanted = {"sigma": sigma, "n": plan.certify_samples}
            wanted |= {"images": len(images), "seed": self.seed}
            same = (c for c in self.certified if wanted.items() <= c.items())
            found = next(same, None) or self.certificate(images, labels, wanted)
            self.keep(certifications=(*self.found.certifications, found))

    def certificate(self, images, labels, wanted):
        with self.clock():
            found = smoothing.certify(
                *(self.classifier, images, labels),
                sigma=wanted["sigma"],
                n=wanted["n"],
                seed=self.seed,
                batch_size=self.batch_size,
            )
        return _as_json(found) | wanted

    def examine(self, plan):
        """The gradient-masking report of the suite."""
        images, labels = (x[: plan.masking_limit] for x in (self.images, self.labels))
        wanted = {"images": len(images), "seed": self.seed}
        done = [wanted.items() <= check.items() for check in self.found.checks]
        if not plan.masking_limit or (done and all(done)):
            return
        with self.clock():
            checks = masking.masking_report(
                *(self.classifier, images, labels),
                seed=self.seed,
                batch_size=self.batch_size,
            )
        self.keep(checks=tuple(_as_json(check) | wanted for check in checks))

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
        self.write()

    def write(self):
        """Write what was found to the store, with what was there before."""
        if not self.store:
            return
        done = {results.measurement(result.score) for result in self.found.results}
        rest = [r for r in self.kept if results.measurement(r.score) not in done]
        certified = self.found.certifications
        others = [c for c in self.certified if c not in certified]
        whole = dataclasses.replace(
            self.found,
            results=(*rest, *self.found.results),
            certifications=(*others, *certified),
        )
        results.save(whole, self.store)


class Corrupted:
    """Where corrupted images come from: official files, the cache, or the generator.

    Args:
        images, labels: those that are scored, the first ones of
        everything: `(images, labels)` of the data set.
        seed, cache_dir, official: as for `nfm_keras.evaluation.scoring.evaluate`.
    """

    def __init__(self, images, labels, everything, seed, cache_dir, official):
        self.images, self.labels, self.seed = images, labels, seed
        self.everything = everything
        self.cache = Cache(cache_dir) if cache_dir else None
        self.official = open_official(official) if official else None
        self.digest, self.known = None, {}

    def is_official(self, row):
        return self.official is not None and row.kind in self.official.kinds

    def settings(self, row):
        """What changes the images, for the record."""
        if self.is_official(row):
            first = np.asarray(self.official.images(*_place(row))[:1])
            known = fingerprint(first), fingerprint(self.labels_of(row))
            return {"source": "official", "files": " ".join(k[:12] for k in known)}
        settings = {"source": "generated", "version": corruptions.VERSION}
        if row.kind == "frost":
            settings["textures"] = frost_fingerprint(row.frost_dir)[1][:12]
        return settings | row.settings

    def labels_of(self, row):
        """All labels of an official set, read once."""
        place = _place(row)
        if place not in self.known:
            self.known[place] = np.asarray(self.official.labels(*place))
        return self.known[place]

    def expected(self, row):
        """Labels of the corrupted images; official files have an order of their own."""
        if not self.is_official(row):
            return self.labels
        return self.labels_of(row)[self.picked()]

    def picked(self):
        """Of an official set, as many as are scored, evenly: it may be in the order of
        the classes."""
        n, total = len(self.labels), len(self.everything[1])
        return np.arange(n) * total // n

    def check(self, row):
        """Refuse what cannot work, before anything is measured."""
        if not self.is_official(row):
            row(self.images[:1])
            return
        received = self.official.images(*_place(row)).shape[1:]
        if received != self.images.shape[1:]:
            raise ValueError(
                f"The official images of {row.id} must have the shape "
                f"{self.images.shape[1:]} of the data set's. Received: {received}"
            )
        labels = self.labels_of(row)
        if not np.array_equal(np.sort(labels), np.sort(self.everything[1])):
            raise ValueError(
                f"The official images of {row.id} must be of the data set, as many of "
                f"each class. Received: {len(labels)} labels from {labels.min()} to "
                f"{labels.max()} for {len(self.everything[1])} images"
            )

    def reader(self, row):
        """`read(first, last)` -> uint8 images."""
        if self.is_official(row):
            whole, picked = self.official.images(*_place(row)), self.picked()
            return lambda first, last: _rows(whole, picked[first:last])
        if self.cache:
            self.digest = self.digest or fingerprint(self.images)
            whole = self.cache.get(row, self.images, seed=self.seed, digest=self.digest)
            return lambda first, last: np.asarray(whole[first:last])
        return lambda first, last: row(
            self.images[first:last], range(first, last), seed=self.seed
        )


_ATTACK_FLOATS = 2**25
_PROBE = 8
# How far logits may differ, as a share of the largest: within a process by the order
# of sums alone, between machines by what half precision makes of it.
_ROUNDING, _OTHER_MACHINE = 1e-4, 1e-2
# The same for the mean over some passes of a classifier that stays random.
_RANDOM, _PASSES = 0.2, 16


def _rows(images, places):
    """Some rows of an array or of a sequence that knows slices alone."""
    if places[-1] - places[0] == len(places) - 1:
        return np.asarray(images[places[0] : places[-1] + 1])
    return np.concatenate([np.asarray(images[i : i + 1]) for i in places])


def _place(row):
    return row.kind, row.severity


def _weights(classifier):
    """SHA-256 of the weights, empty where there are none to see."""
    weights = getattr(classifier, "weights", None)
    if not weights:
        return ""
    digest = hashlib.sha256()
    for weight in weights:
        digest.update(np.ascontiguousarray(ops.convert_to_numpy(weight)).tobytes())
    return digest.hexdigest()


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
