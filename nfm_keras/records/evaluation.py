"""Evaluation: all scores of one classifier on one set of images."""

import collections.abc
import dataclasses
from typing import overload

from nfm_keras.records import schema
from nfm_keras.records.score import Score
from nfm_keras.types import StrPath

FORMAT = 4
"""Version of the file format. Files of older ones are read, of newer ones refused."""

EVALUATION_FILE = "evaluation.json"
"""Name of an evaluation inside the folder of its run or model."""


@dataclasses.dataclass(frozen=True)
class Evaluation(collections.abc.Sequence[Score]):
    """All that was measured of one classifier on one set: a sequence of `Score`.

    Args:
        model: str. Name to show. A classifier without `weights` and `structure` is
            known by it.
        dataset: str. Name of the set.
        images: str. Fingerprint of images and labels.
        probe: logits of the first images, as they are and then perturbed. A classifier
            that gives others is another one, whatever its name and weights.
        weights: str. SHA-256 of its weights, empty for a function.
        structure: str. SHA-256 of its layers and their settings, or of its code, as far
            as that shows; empty for a function, and in files of before.
        std: list of float, empty if none is known. What the reference protocol's white
            noise is measured in.
        stochastic: bool. Whether it was allowed to change from pass to pass: each score
            is of one draw then.
        suite: str. Name of the suite, empty for a list of perturbations.
        command: str. What to type to repeat it.
        versions, hardware: dicts, from `nfm_keras.records.environment`.
        seconds: float. Wall-clock time of all scores.
        model_seconds: float. What of it the classifier's compiled passes took.
        scores: tuple of `Score`.
        reliability: dict of the clean images: lists `edges`, `counts`, `confidence`
            and `accuracy` of `nfm_keras.evaluation.calibration.Reliability`.
        certifications: tuple of dicts, one a sigma, of randomised smoothing.
        checks: tuple of dicts, the gradient-masking report.
        skipped: tuple of str. Names of the image files that could not be read and are
            not among the images.

    Example:

    >>> [score.value for score in Evaluation("mine", "digits", "", [])]
    []
    """

    model: str
    dataset: str
    images: str
    probe: list[list[float]]
    weights: str = ""
    structure: str = ""
    std: list[float] = dataclasses.field(default_factory=list)
    stochastic: bool = False
    suite: str = ""
    command: str = ""
    versions: dict = dataclasses.field(default_factory=dict)
    hardware: dict = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    model_seconds: float = 0.0
    scores: tuple[Score, ...] = ()
    reliability: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    certifications: tuple[dict, ...] = ()
    checks: tuple[dict, ...] = ()
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    @overload
    def __getitem__(self, index: int) -> Score: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Score, ...]: ...

    def __getitem__(self, index: int | slice) -> Score | tuple[Score, ...]:
        return self.scores[index]

    def score(self, perturbation: str) -> Score | None:
        """Returns the `Score` of an id, the last one measured; None without."""
        same = [s for s in self.scores if s.perturbation == perturbation]
        return same[-1] if same else None


def save_evaluation(evaluation: Evaluation, path: StrPath) -> None:
    """Writes an evaluation as strict JSON, whole or not at all.

    Args:
        evaluation: `Evaluation`.
        path: File to write; its folder is created.
    """
    schema.write(path, evaluation, FORMAT)


def load_evaluation(path: StrPath) -> Evaluation:
    """Reads an evaluation written by `save_evaluation`; it equals the one saved.

    Args:
        path: File to read.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is truncated, of a newer format or not an evaluation.
    """
    older = {1: _with_scores, 2: _with_warnings, 3: _with_revisions}
    return schema.read(path, Evaluation, FORMAT, older=older, optional=("skipped",))


def _with_scores(content):
    """Format 1 had `results`: what is beside each score is in the score now."""
    results = content.pop("results", None)
    if not isinstance(results, list):
        raise ValueError(f"`results` must be a list. Received: {results!r:.80}")
    scores = [_joined(result) for result in results]
    return content | {"scores": scores}


def _joined(result):
    names = {"score", "hits", "calibration", "stages"}
    if not isinstance(result, dict) or result.keys() != names:
        raise ValueError(
            f"Each of `results` must have the keys {sorted(names)}. "
            f"Received: {result!r:.80}"
        )
    return result.pop("score") | result


def _with_warnings(content):
    """Format 2 kept none with a score."""
    return _completed(content, {"warnings": {}})


def _with_revisions(content):
    """Format 3 did not say which code measured a score, nor what a classifier is."""
    return {"structure": ""} | _completed(content, {"revision": 0})


def _completed(content, fields):
    """The content, with fields that its scores have now."""
    scores = content.get("scores")
    if isinstance(scores, list):
        scores = [fields | s if isinstance(s, dict) else s for s in scores]
    return content | {"scores": scores}
