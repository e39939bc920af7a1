"""What an evaluation found, as data: a score a row, and which images were right."""

import base64
import collections.abc
import dataclasses
import math

import numpy as np

from nfm_keras import records
from nfm_keras.records import Score

FORMAT = 1
"""Version of the file format. A file of any other version is refused."""

FILE = "evaluation.json"
"""Name of an evaluation inside the folder of its run or model."""


@dataclasses.dataclass(frozen=True)
class Result:
    """One row of an evaluation.

    Args:
        score: `Score`.
        hits: str. Which of the `score.n` images were classified correctly: bits, first
            image first, in base64. Two models are compared image by image with it.
        calibration: dict of `nfm_keras.calibration.summary`; empty for attacks.
        stages: dict of int. Images left after each stage of a cascade of attacks.
    """

    score: Score
    hits: str
    calibration: dict[str, float] = dataclasses.field(default_factory=dict)
    stages: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def right(self):
        """`(n,)` bool array: which images were classified correctly."""
        bits = np.frombuffer(base64.b64decode(self.hits), np.uint8)
        return np.unpackbits(bits, count=self.score.n).astype(bool)


@dataclasses.dataclass(frozen=True)
class Evaluation(collections.abc.Sequence):
    """All that was measured of one classifier on one set: a sequence of `Score`.

    Args:
        model: str. Name to show.
        dataset: str. Name of the set.
        images: str. Fingerprint of images and labels.
        probe: logits of the first images, by which the classifier is recognised
            where it has no `weights`.
        weights: str. SHA-256 of its weights, empty for a plain callable.
        std: list of float, empty if none is known. What the reference protocol's white
            noise is measured in.
        stochastic: bool. Whether it was allowed to change from pass to pass: each score
            is of one draw then.
        suite: str. Name of the suite, empty for a list of perturbations.
        command: str. What to type to repeat it.
        versions, hardware: dicts, from `nfm_keras.environment`.
        seconds: float. Wall-clock time of all rows.
        model_seconds: float. What of it the classifier's compiled passes took.
        results: tuple of `Result`, one a score.
        reliability: dict of the clean images: lists `edges`, `counts`, `confidence`
            and `accuracy` of `nfm_keras.calibration.Reliability`.
        certifications: tuple of dicts, one a sigma, of randomised smoothing.
        checks: tuple of dicts, the gradient-masking report.

    Example:

    >>> [score.value for score in Evaluation("mine", "digits", "", [])]
    []
    """

    model: str
    dataset: str
    images: str
    probe: list[list[float]]
    weights: str = ""
    std: list[float] = dataclasses.field(default_factory=list)
    stochastic: bool = False
    suite: str = ""
    command: str = ""
    versions: dict = dataclasses.field(default_factory=dict)
    hardware: dict = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    model_seconds: float = 0.0
    results: tuple[Result, ...] = ()
    reliability: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    certifications: tuple[dict, ...] = ()
    checks: tuple[dict, ...] = ()

    def __len__(self):
        return len(self.results)

    def __getitem__(self, index):
        return self.scores[index]

    @property
    def scores(self):
        """Tuple of `Score`."""
        return tuple(result.score for result in self.results)

    def result(self, perturbation):
        """The `Result` of a perturbation's id, the last one measured; None without."""
        found = [r for r in self.results if r.score.perturbation == perturbation]
        return found[-1] if found else None


def pack(hits):
    """Which images were right, as base64 text.

    Example:

    >>> pack(np.array([True, False, True]))
    'oA=='
    """
    return base64.b64encode(np.packbits(hits).tobytes()).decode()


def key(score):
    """What makes two scores the same row, on however many images.

    Example:

    >>> key(Score("clean", 0.0, "none", 50.0, 9.5, 90.5, 2, 1, 0, 0.1, {}))
    ('clean', 'none', ())
    """
    settings = tuple(sorted((k, str(v)) for k, v in score.settings.items()))
    return score.perturbation, score.protocol, settings


def measurement(score):
    """What makes two scores the same measurement on the same images and draws.

    Example:

    >>> measurement(Score("clean", 0.0, "none", 50.0, 9.5, 90.5, 2, 1, 0, 0.1, {}))
    (('clean', 'none', ()), 2, 0)
    """
    return key(score), score.n, score.seed


def mean_accuracy(results):
    """Mean accuracy over several rows on the same images, with its interval.

    The rows share their images, so they are not independent: the interval is that of
    the mean over images of each image's share of rows that it survived.

    Args:
        results: list of `Result` with the same number of images.

    Returns:
        `(mean, low, high)` in percent, 95 %, by the normal approximation.

    Raises:
        ValueError: no rows, or rows of different numbers of images.
    """
    sizes = sorted({result.score.n for result in results})
    if len(sizes) != 1:
        raise ValueError(
            "A mean needs at least one row, and all of the same images. "
            f"Received: rows of {sizes} images"
        )
    shares = 100.0 * np.mean([result.right for result in results], axis=0)
    mean, half = shares.mean(), 1.96 * shares.std() / math.sqrt(len(shares))
    return float(mean), float(max(mean - half, 0)), float(min(mean + half, 100))


def save(evaluation, path):
    """Write an evaluation as strict JSON, whole or not at all."""
    content = {"format": FORMAT} | dataclasses.asdict(evaluation)
    records.write_json(path, content)


def load(path):
    """Read an evaluation written by `save`; it equals the one saved.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, of another format or not an evaluation.
    """
    return records.read(path, Evaluation, FORMAT)
