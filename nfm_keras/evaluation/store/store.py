"""Store: an evaluation as it grows, in memory and on disk."""

import contextlib
import dataclasses
import os
import pathlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from nfm_keras.evaluation.store import probes, reasons
from nfm_keras.evaluation.store.identity import Identity
from nfm_keras.records.answers import unpack_classes
from nfm_keras.records.evaluation import Evaluation, load_evaluation, save_evaluation
from nfm_keras.records.files import remove_leftovers
from nfm_keras.records.lock import locked
from nfm_keras.records.score import Score
from nfm_keras.types import StrPath

_PATIENCE = 60.0
"""Seconds to wait for another process that writes: it takes milliseconds."""


class Store:
    """What was measured so far; each addition is written down at once.

    One rule says what is handed back of what the file holds: a result counts if all
    that determines it is known and the same. That is the classifier (its weights, its
    structure and code, its logits for some images, clean and perturbed; a function by
    the name that the user gives), the images and labels, the settings, the number of
    images, the seed, and the revision of our code. Any other is measured again, with
    one line that says why, and takes the old one's place.

    Processes may share a file: none loses what another one wrote. What is in it and not
    asked for stays.

    Args:
        path: JSON file, or None to write nothing.
        evaluation: `Evaluation` that says what is measured, still without scores.
        subject: `Subject`.

    Raises:
        ValueError: If the file is of another classifier or other images, or broken; if
            the classifier is a function without a name.

    Attributes:
        evaluation: `Evaluation` of what was asked for this time.
        earlier: `Evaluation` of what the file holds.
    """

    def __init__(
        self, path: StrPath | None, evaluation: Evaluation, subject: Any
    ) -> None:
        self.path = pathlib.Path(path) if path else None
        self.evaluation = evaluation
        self.earlier, self._subject = evaluation, subject
        self._written = evaluation  # as it was when the file was last written
        if not self.path:
            return
        if not subject.identity.known:
            raise ValueError(
                "A store needs a classifier that it can recognise. A function shows "
                'nothing of what it does: name it, about={"model": "my_model"}, and '
                f"anew where it changes. Received: a function, store={str(path)!r}"
            )
        if self.path.exists():
            self.earlier = self._read()
            old = self.earlier
            self._replace(seconds=old.seconds, model_seconds=old.model_seconds)
            self._written = self.evaluation

    def score_like(self, planned: Any) -> Score | None:
        """Returns the score that was measured before as planned; None without."""
        if not planned.revision:
            return None
        wanted = planned.measurement
        same = (s for s in self.earlier.scores if s.measurement == wanted)
        return next(same, None)

    def like(self, name: str, wanted: dict) -> tuple[dict, ...]:
        """Returns those of the earlier `certifications` or `checks` with such entries.

        Args:
            name: str, the field of `Evaluation`.
            wanted: dict.
        """
        known = getattr(self.earlier, name)
        return tuple(one for one in known if wanted.items() <= one.items())

    def tell_unused(self, planned: Sequence[Score], others: Sequence = ()) -> None:
        """Warns of what the file has of what is asked for and does not count, and why.

        Args:
            planned: List of `Score`, still empty.
            others: List of `(name, wanted, stored)`: what it is called, a dict of what
                determines it, and a list of the dicts that the file has instead.
        """
        told = list(others)
        for score in planned:
            same = (
                s for s in self.earlier.scores if s.perturbation == score.perturbation
            )
            told.append(
                (score.perturbation, _entries(score), list(map(_entries, same)))
            )
        told = [(name, reasons.reason(wanted, stored)) for name, wanted, stored in told]
        reasons.tell(self.path, [(name, why) for name, why in told if why])

    def add_score(self, score: Score) -> None:
        """Adds a `Score`, and writes it down if it is new."""
        self._replace(scores=(*self.evaluation.scores, score))
        if score not in self.earlier.scores:
            self._write()

    def replace_scores(self, scores: Iterable[Score]) -> None:
        """Replaces the scores by others of the same measurements."""
        if tuple(scores) != self.evaluation.scores:
            self._replace(scores=tuple(scores))
            self._write()

    def add_certification(self, certification: dict) -> None:
        """Adds a dict of randomised smoothing, and writes it down if it is new."""
        ours = (*self.evaluation.certifications, certification)
        self._replace(certifications=ours)
        if certification not in self.earlier.certifications:
            self._write()

    def put(self, **fields: Any) -> None:
        """Replaces fields of the evaluation, and writes it down if that is news."""
        self._replace(**fields)
        if any(getattr(self.earlier, name) != fields[name] for name in fields):
            self._write()

    @contextlib.contextmanager
    def timing(self, classifier: Any) -> Iterator[None]:
        """Adds the time of what is inside to the evaluation's."""
        started, before = time.perf_counter(), classifier.seconds
        yield
        ours = self.evaluation
        self._replace(
            seconds=ours.seconds + time.perf_counter() - started,
            model_seconds=ours.model_seconds + classifier.seconds - before,
        )

    def _replace(self, **fields):
        self.evaluation = dataclasses.replace(self.evaluation, **fields)

    def _read(self):
        found = load_evaluation(self.path)
        self._check_images(found)
        self._check_classifier(found)
        return found

    def _check_images(self, old):
        new = self.evaluation
        ours = new.images, new.std, new.stochastic
        if (old.images, old.std, old.stochastic) != ours:
            raise ValueError(
                f"{self.path} must hold an evaluation on these images and labels, "
                "with the same std and allow_stochastic: give another folder or take "
                f"it away. Received: one of fingerprint {old.images[:12]} (expected "
                f"{new.images[:12]}), std {old.std}, {old.stochastic}"
            )

    def _check_classifier(self, old):
        subject = self._subject
        differs = _difference(old, subject)
        if differs:
            raise ValueError(
                f"{self.path} must hold an evaluation of this classifier: give another "
                f"folder or take it away. Received: one of another classifier, by "
                f"{differs}"
            )

    def _write(self):
        if not self.path:
            return
        with self._alone():
            remove_leftovers(self.path)  # of a process that was killed
            old = self._read() if self.path.exists() else self.earlier
            ours, before = self.evaluation, self._written
            self.earlier = dataclasses.replace(
                ours,
                scores=_joined(old.scores, ours.scores, lambda score: score.place),
                certifications=_joined(
                    old.certifications, ours.certifications, _certified
                ),
                # Of a part of the images they do not replace those of all.
                reliability=max(ours.reliability, old.reliability, key=_diagram_size),
                checks=ours.checks or old.checks,
                **_answers(max(ours, old, key=_answer_count)),
                seconds=old.seconds + ours.seconds - before.seconds,
                model_seconds=old.model_seconds
                + ours.model_seconds
                - before.model_seconds,
            )
            save_evaluation(self.earlier, self.path)
        seconds, model_seconds = self.earlier.seconds, self.earlier.model_seconds
        self._replace(seconds=seconds, model_seconds=model_seconds)
        self._written = self.evaluation

    def _alone(self):
        if os.name == "nt":  # without such locks
            return contextlib.nullcontext()
        hidden = self.path.with_name(f".{self.path.name}.lock")
        return locked(hidden, f"{self.path} is being written", _PATIENCE)


def _difference(old, subject):
    """By what a stored evaluation is one of another classifier; empty if it is not."""
    ours, theirs = subject.identity, Identity(old.weights, old.structure, old.model)
    known = bool(ours.weights or ours.structure)
    tolerance = probes.SAME_WEIGHTS if known else probes.OTHER_MACHINE
    middle = len(subject.probe) // 2
    if len(old.probe) == len(subject.probe):
        differs = ours.differs(theirs)
        parts = {"": slice(middle), "perturbed ": slice(middle, None)}
    else:
        # A file of before, whose results do not count, but are not mixed up either.
        both = ours.weights and theirs.weights
        differs = "its weights" if both and ours.weights != theirs.weights else ""
        parts = {"": slice(min(probes.EARLIER_COUNT, middle))}
    if differs:
        return differs
    stored, spread = np.asarray(old.probe), subject.spread
    for kind, part in parts.items():
        given = stored[part], subject.probe[part], tolerance
        if not probes.alike(*given, spread=None if spread is None else spread[part]):
            return f"its logits for the first {middle} {kind}images"
    return ""


def _entries(score):
    """What determines a score, as a dict."""
    entries = {"protocol": score.protocol, "n": score.n, "seed": score.seed}
    return score.settings | entries | {"revision": score.revision}


def _diagram_size(reliability):
    return sum(reliability.get("counts", ()))


def _answer_count(evaluation):
    return len(unpack_classes(evaluation.predicted)) if evaluation.predicted else 0


def _answers(evaluation):
    names = "classes", "labels", "predicted"
    return {name: getattr(evaluation, name) for name in names}


def _joined(old, new, place):
    places = [place(one) for one in new]
    return (*(one for one in old if place(one) not in places), *new)


def _certified(certification):
    return [certification.get(name) for name in ("sigma", "n", "images", "seed")]
