"""Evaluation: all scores of one classifier on one set of images."""

import collections.abc
import dataclasses
from typing import Any, overload

import numpy as np

from nfm_keras.checks import did_you_mean
from nfm_keras.records import ids, schema, views
from nfm_keras.records.answers import unpack_classes
from nfm_keras.records.score import Score, merge
from nfm_keras.types import StrPath

FORMAT = 4
"""Version of the file format. Files of older ones are read, of newer ones refused."""

EVALUATION_FILE = "evaluation.json"
"""Name of an evaluation inside the folder of its run or model."""

EVALUATION_FILES = {"test": EVALUATION_FILE, "validation": "validation.json"}
"""Split of the images -> name of their evaluation inside the folder of a run."""

_LATER = ("skipped", "classes", "labels", "predicted", "cut")


@dataclasses.dataclass(frozen=True, repr=False)
class Evaluation(collections.abc.Sequence[Score]):
    """All that was measured of one classifier on one set: a sequence of `Score`.

    It prints as a short table. A score is read by its number or by its id, as in
    `scores["pgd@8/255"]`.

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
        classes: tuple of str, the names of the classes; empty where they have none.
        labels, predicted: str. The true class of each image, and the one that the
            classifier gives the image as it is, as `records.pack_classes` writes them.
            Empty where they were not recorded, as in files of before.
        cut: str. Which logits were scored, as `"200 of 1,000 logits"`; empty for all.

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
    classes: tuple[str, ...] = ()
    labels: str = ""
    predicted: str = ""
    cut: str = ""

    def __len__(self) -> int:
        return len(self.scores)

    @overload
    def __getitem__(self, index: int | str) -> Score: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Score, ...]: ...

    def __getitem__(self, index: int | str | slice) -> Score | tuple[Score, ...]:
        if not isinstance(index, str):
            return self.scores[index]
        found = self.score(index) or self.score(_written(index))
        if found is None:
            known = list(dict.fromkeys(s.perturbation for s in self.scores))
            raise KeyError(
                f"No score of {index!r}.{did_you_mean(index, known)} "
                f"There are: {', '.join(known)}"
            )
        return found

    def __contains__(self, item: object) -> bool:
        if isinstance(item, str):
            return any(self.score(name) for name in (item, _written(item)))
        return item in self.scores

    def __repr__(self) -> str:
        cut = f" ({self.cut})" if self.cut else ""
        head = f"{self.model} on {self.dataset}{cut}: {len(self)} scores"
        table = views.aligned(views.short(self.scores))
        return f"{head}\n{table}" if self.scores else head

    def _repr_markdown_(self) -> str:
        return views.short(self.scores).to_markdown()  # for notebooks

    @property
    def answers(self) -> tuple[np.ndarray, np.ndarray] | None:
        """True and predicted classes of the images as they are, `(n,)` int64 each.

        None where they were not recorded.
        """
        if not (self.labels and self.predicted):
            return None
        return unpack_classes(self.labels), unpack_classes(self.predicted)

    def to_dict(self) -> dict[str, Any]:
        """Returns all of it as a dict of JSON values, `scores` by their ids.

        Example:

        >>> Evaluation("mine", "digits", "", []).to_dict()["scores"]
        {}
        """
        return views.as_dict(self)

    def to_markdown(self) -> str:
        """Returns the table of all scores in the Markdown of GitHub."""
        return views.every(self.scores).to_markdown()

    def to_pandas(self) -> Any:
        """Returns a `pandas.DataFrame`, a row a score, with calibration as columns.

        Raises:
            ImportError: Without pandas, which nfm-keras does not need otherwise.
        """
        try:
            import pandas
        except ImportError:
            raise ImportError("`to_pandas` needs pandas: pip install pandas") from None
        return pandas.DataFrame(views.flat(self.scores))

    def score(self, perturbation: str) -> Score | None:
        """Returns the `Score` of an id; None without.

        Of several the last one measured; of the same measurement on more and on fewer
        images, that on more.
        """
        same = [s for s in self.scores if s.perturbation == perturbation]
        return merge((), same)[-1] if same else None

    def merged(self) -> "Evaluation":
        """Returns it with each measurement once, that on the most images."""
        return dataclasses.replace(self, scores=merge((), self.scores))


def _written(name: str) -> str:
    """An id as records write it: `pgd@0.5` for `pgd@1/2`."""
    try:
        kind, severity = ids.split(name)
    except ValueError:
        return name
    return name if severity is None else ids.join(kind, severity)


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
    return schema.read(path, Evaluation, FORMAT, older=older, optional=_LATER)


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
