"""Store: an evaluation as it grows, in memory and on disk."""

import contextlib
import dataclasses
import pathlib
import time

from nfm_keras.records.evaluation import load_evaluation, save_evaluation


class Store:
    """What was measured so far; each addition is written down at once.

    What the file holds of earlier evaluations of the same classifier and images is not
    measured again, and stays in the file where it is not asked for this time.

    Args:
        path: JSON file, or None to write nothing.
        evaluation: `Evaluation` that says what is measured, still without scores.
        subject: `Subject`.

    Raises:
        ValueError: If the file is of another classifier or other images, or broken.

    Attributes:
        evaluation: `Evaluation` of what was asked for this time.
    """

    def __init__(self, path, evaluation, subject):
        self.path, self.evaluation = path and pathlib.Path(path), evaluation
        self.earlier = evaluation
        if self.path and self.path.exists():
            self.earlier = load_evaluation(self.path)
            self._check(subject)
            names = ("seconds", "model_seconds", "reliability", "checks")
            self._replace({name: getattr(self.earlier, name) for name in names})

    def _check(self, subject):
        old, new = self.earlier, self.evaluation
        if not subject.is_of(old):
            raise ValueError(
                f"{self.path} must hold an evaluation of this classifier: give "
                "another folder or take it away. Received: one of another classifier, "
                "by its weights or its logits for the first "
                f"{len(new.probe)} images"
            )
        ours = new.images, new.std, new.stochastic
        if (old.images, old.std, old.stochastic) != ours:
            raise ValueError(
                f"{self.path} must hold an evaluation on these images and labels, "
                "with the same std and allow_stochastic: give another folder or take "
                f"it away. Received: one of fingerprint {old.images[:12]} (expected "
                f"{new.images[:12]}), std {old.std}, {old.stochastic}"
            )

    def score_like(self, planned):
        """Returns the score that was measured before as planned; None without."""
        wanted = planned.measurement
        same = (s for s in self.earlier.scores if s.measurement == wanted)
        return next(same, None)

    def certification_like(self, wanted):
        """Returns the certification with such entries from before; None without."""
        known = self.earlier.certifications
        return next((c for c in known if wanted.items() <= c.items()), None)

    def add_score(self, score):
        """Adds a `Score`, and writes it down if it is new."""
        self._replace({"scores": (*self.evaluation.scores, score)})
        if score not in self.earlier.scores:
            self._write()

    def replace_scores(self, scores):
        """Replaces the scores by others of the same measurements."""
        if tuple(scores) != self.evaluation.scores:
            self._replace({"scores": tuple(scores)})
            self._write()

    def add_certification(self, certification):
        """Adds a dict of randomised smoothing."""
        whole = (*self.evaluation.certifications, certification)
        self._replace({"certifications": whole})
        self._write()

    def put(self, **fields):
        """Replaces fields of the evaluation."""
        self._replace(fields)
        self._write()

    @contextlib.contextmanager
    def timing(self, classifier):
        """Adds the time of what is inside to the evaluation's."""
        started, before = time.perf_counter(), classifier.seconds
        yield
        self._replace(
            {
                "seconds": self.evaluation.seconds + time.perf_counter() - started,
                "model_seconds": self.evaluation.model_seconds
                + classifier.seconds
                - before,
            }
        )

    def _replace(self, fields):
        self.evaluation = dataclasses.replace(self.evaluation, **fields)

    def _write(self):
        if not self.path:
            return
        ours, old = self.evaluation, self.earlier
        done = {score.measurement for score in ours.scores}
        scores = [s for s in old.scores if s.measurement not in done]
        certified = [c for c in old.certifications if c not in ours.certifications]
        whole = dataclasses.replace(
            ours,
            scores=(*scores, *ours.scores),
            certifications=(*certified, *ours.certifications),
        )
        save_evaluation(whole, self.path)
