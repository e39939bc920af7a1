"""Score: one number of an evaluation, with its interval and the images behind it."""

import base64
import dataclasses
import math
from collections.abc import Iterable

import numpy as np

from nfm_keras.records.ids import NO_PROTOCOL, PROTOCOLS

OWN_ORDER = "own"
"""What `Score.settings["order"]` says of images in another order than the set's."""


@dataclasses.dataclass(frozen=True)
class Score:
    """Accuracy of one classifier under one perturbation.

    Args:
        perturbation: str. Its id: `"clean"`, `"white_noise@0.1"`, `"pgd@8/255"`.
        severity: float. The number after the `@`, 0 when there is none.
        protocol: str. `"reference"`, `"pixel"` or `"none"`.
        value: float. Accuracy in percent.
        low, high: float. Ends of the Wilson 95 % interval, in percent.
        n, correct: int. Images scored, and those classified correctly.
        seed: int. Seed of the perturbation, not of the training run.
        seconds: float. Wall-clock time of the evaluation.
        settings: dict of JSON values: steps, step size, norm and so on.
        hits: str. Which of the `n` images were classified correctly: bits, first image
            first, in base64. Two classifiers are compared image by image with it. Empty
            where it is not known.
        calibration: dict of `nfm_keras.evaluation.calibration.summary`; empty for
            attacks.
        stages: dict of int. Images left after each stage of a cascade of attacks.
        warnings: dict of int. What makes the number doubtful, by its name in
            `nfm_keras.attacks.doubts.DOUBTS`, and how many images are concerned.
        revision: int. Of the code that measured it, which is raised where that comes to
            measure something else: scores of two revisions are two measurements. 0
            where it is not known, as in files of before and for perturbations of one's
            own.

    Raises:
        ValueError: If `protocol` is unknown, `correct` is not in `[0, n]`, or `value`,
            its interval or `hits` do not follow from it.

    Example:

    >>> Score("pgd@0.03", 0.03, "none", 90.0, 82.6, 94.5, 100, 90, seed=0,
    ...       seconds=1.5, settings={"steps": 7}).value
    90.0
    """

    perturbation: str
    severity: float
    protocol: str
    value: float
    low: float
    high: float
    n: int
    correct: int
    seed: int
    seconds: float
    settings: dict
    hits: str = ""
    calibration: dict[str, float] = dataclasses.field(default_factory=dict)
    stages: dict[str, int] = dataclasses.field(default_factory=dict)
    warnings: dict[str, int] = dataclasses.field(default_factory=dict)
    revision: int = 0

    def __post_init__(self) -> None:
        protocols = (*PROTOCOLS, NO_PROTOCOL)
        if self.protocol not in protocols:
            raise ValueError(
                f"`protocol` must be one of {protocols}. Received: {self.protocol!r}"
            )
        if not 0 <= self.correct <= self.n:
            raise ValueError(
                "`correct` must lie between 0 and `n`. "
                f"Received: correct={self.correct}, n={self.n}"
            )
        self._check_value()
        if self.hits:
            self._check_hits()

    def _check_value(self) -> None:
        value, low, high = self.value, self.low, self.high
        expected = 100.0 * self.correct / self.n if self.n else value
        follows = math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-9)
        if not (follows and low - 1e-9 <= value <= high + 1e-9):
            raise ValueError(
                f"`value` must be {expected:.10g}, 100 * correct / n, and lie between "
                f"`low` and `high`. Received: {value} for {self.perturbation!r} with "
                f"correct={self.correct}, n={self.n}, low={low}, high={high}"
            )

    def _check_hits(self) -> None:
        bits = np.frombuffer(base64.b64decode(self.hits, validate=True), np.uint8)
        found = int(np.unpackbits(bits, count=self.n).sum())
        if len(bits) != -(-self.n // 8) or found != self.correct:
            raise ValueError(
                f"`hits` must be {self.n} bits of which {self.correct} are set. "
                f"Received: {8 * len(bits)}, {found} set, for {self.perturbation!r}"
            )

    @property
    def in_order(self) -> bool:
        """Whether its images come in the order of the data set's.

        Official corrupted images may have another. Which of them were right says
        nothing then of the images of another perturbation.
        """
        return self.settings.get("order") != OWN_ORDER

    @property
    def right(self) -> np.ndarray:
        """`(n,)` bool array: which images were classified correctly.

        Raises:
            ValueError: If it is not known, as in records of old runs.
        """
        if not self.hits:
            raise ValueError(
                "Which images were right is known only for scores of an evaluation. "
                f"Received: {self.perturbation!r} without `hits`"
            )
        bits = np.frombuffer(base64.b64decode(self.hits), np.uint8)
        return np.unpackbits(bits, count=self.n).astype(bool)

    @property
    def key(self) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        """What makes two scores the same row, on however many images.

        Example:

        >>> Score("clean", 0.0, "none", 50.0, 9.5, 90.5, 2, 1, 0, 0.1, {}).key
        ('clean', 'none', ())
        """
        settings = tuple(sorted((k, str(v)) for k, v in self.settings.items()))
        return self.perturbation, self.protocol, settings

    @property
    def measurement(self) -> tuple[tuple, int, int, int]:
        """What makes two scores the same measurement on the same images and draws.

        Example:

        >>> Score("clean", 0.0, "none", 50.0, 9.5, 90.5, 2, 1, 0, 0.1, {}).measurement
        (('clean', 'none', ()), 2, 0, 0)
        """
        return *self.place, self.revision

    @property
    def place(self) -> tuple[tuple, int, int]:
        """What it is a measurement of, by whichever revision of the code.

        Example:

        >>> Score("clean", 0.0, "none", 50.0, 9.5, 90.5, 2, 1, 0, 0.1, {}).place
        (('clean', 'none', ()), 2, 0)
        """
        return self.key, self.n, self.seed


def pack(hits: np.ndarray) -> str:
    """Returns which images were right as base64 text, the `hits` of a `Score`.

    Args:
        hits: `(n,)` bool array.

    Example:

    >>> pack(np.array([True, False, True]))
    'oA=='
    """
    return base64.b64encode(np.packbits(hits).tobytes()).decode()


def merge(scores: Iterable[Score], new: Iterable[Score]) -> tuple[Score, ...]:
    """Returns old scores with new ones added, in order.

    A new one replaces the old one of the same `key`, unless that is of a later revision
    or, of the same one, was measured on more images.

    Args:
        scores, new: Iterables of `Score`.

    Returns:
        Tuple of `Score`.

    Example:

    >>> old = Score("clean", 0.0, "none", 50.0, 9.5, 90.5, 2, 1, 0, 0.1, {})
    >>> new = Score("clean", 0.0, "none", 100.0, 34.2, 100.0, 2, 2, 0, 0.1, {})
    >>> merge([old], [new]) == (new,)
    True
    """
    merged = {score.key: score for score in scores}
    for score in new:
        before = merged.get(score.key)
        if before is None or (before != score and _rank(score) >= _rank(before)):
            merged.pop(score.key, None)
            merged[score.key] = score
    return tuple(merged.values())


def _rank(score):
    return score.revision, score.n
