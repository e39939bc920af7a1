"""Two classifiers on the same perturbed images: is the difference more than chance?"""

import dataclasses
import math
import statistics

import numpy as np

from nfm_keras import metrics, results


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One classifier against another, image by image.

    Args:
        label: str. Perturbation or group of perturbations.
        first, second: str. Names of the classifiers.
        n: int. Images both were scored on.
        difference: float. Accuracy of the second minus that of the first, in points.
        low, high: floats. Ends of its 95 % interval.
        p_value: float. Of no difference.
        adjusted: float. The same, adjusted for all comparisons made together (Holm).
    """

    label: str
    first: str
    second: str
    n: int
    difference: float
    low: float
    high: float
    p_value: float
    adjusted: float = math.nan


def compare(evaluations, groups):
    """Compare the first evaluation with each of the others.

    One perturbation is tested with McNemar's exact test. A group of several, whose rows
    share their images, with the z test of the mean over images of the difference in the
    share of rows that an image survives.

    Args:
        evaluations: list of `nfm_keras.results.Evaluation`.
        groups: dict from label to ids of perturbations. What one of the two lacks, or
            was scored with other settings, seeds or images, is left out.

    Returns:
        List of `Comparison`.

    Raises:
        ValueError: the evaluations are of different images.

    Example:

    >>> compare([erm, nfm], {"clean": ["clean"]})  # doctest: +SKIP
    """
    first, *others = evaluations
    found = []
    for other in others:
        if other.images != first.images:
            raise ValueError(
                "A paired comparison needs the same images and labels. "
                f"Received: {first.model} on {first.dataset} ({first.images[:12]}), "
                f"{other.model} on {other.dataset} ({other.images[:12]})"
            )
        for label, ids in groups.items():
            pairs = [_pair(first, other, name) for name in ids]
            if pairs and all(pairs):
                found.append(_compare(label, first.model, other.model, pairs))
    return _holm(found)


def _pair(first, other, name):
    """Hits of both on one perturbation, None where they cannot be paired."""
    both = first.result(name), other.result(name)
    if None in both:
        return None
    ours, theirs = (results.measurement(result.score) for result in both)
    return tuple(result.right for result in both) if ours == theirs else None


def _compare(label, first, second, pairs):
    n = len(pairs[0][0])
    if len(pairs) == 1:
        test = metrics.mcnemar(*pairs[0][::-1])
        values = test.difference, test.low, test.high, test.p_value
        return Comparison(label, first, second, n, *values)
    gain = 100.0 * np.mean([b.astype(float) - a for a, b in pairs], axis=0)
    mean, error = gain.mean(), gain.std(ddof=1) / math.sqrt(n) if n > 1 else math.inf
    z = abs(mean) / error if error else math.inf * abs(mean) if mean else 0.0
    p_value = 2 * statistics.NormalDist().cdf(-z)
    ends = mean - 1.96 * error, mean + 1.96 * error
    return Comparison(label, first, second, n, *map(float, (mean, *ends)), p_value)


def _holm(found):
    """Holm's step-down adjustment: the chance of one false alarm among all."""
    order = sorted(range(len(found)), key=lambda i: found[i].p_value)
    adjusted, highest = list(found), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(found) - rank) * found[i].p_value))
        adjusted[i] = dataclasses.replace(found[i], adjusted=highest)
    return adjusted
