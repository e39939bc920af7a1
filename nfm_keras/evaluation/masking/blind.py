"""Square, which follows no gradient, against the attacks that do: are those misled?"""

import dataclasses

import numpy as np

from nfm_keras.attacks.watch import warn
from nfm_keras.evaluation.comparison import mcnemar
from nfm_keras.records import ids

SIGNIFICANT = 0.05
"""p value below which Square does better by more than chance."""

# One step is no match for thousands of queries, and says nothing of the gradient.
_GUIDED = ("pgd", "apgd_ce", "apgd_dlr", "apgd_t", "fab_t")


def compared(scores):
    """Returns scores, with a warning where Square beats those that follow a gradient.

    Images are compared one by one, and all attacks of one radius and norm together.

    Args:
        scores: Iterable of `Score` of one classifier and set.

    Returns:
        List of `Score` in the same order. A score of Square has the warning `square`,
        which is also given, where it left fewer images right than all others did
        together, by McNemar's test.
    """
    scores, together = list(scores), {}
    for score in scores:
        kind = ids.kind(score.perturbation)
        if score.hits and kind.removesuffix("_l2") in _GUIDED:
            key = kind.endswith("_l2"), score.severity, score.n
            together[key] = together.get(key, True) & score.right
    return [_judged(score, together) for score in scores]


def _judged(score, together):
    kind = ids.kind(score.perturbation)
    key = kind.endswith("_l2"), score.severity, score.n
    if kind.removesuffix("_l2") != "square" or key not in together or not score.hits:
        return score
    guided, blind = together[key], score.right
    comparison = mcnemar(guided, blind)
    if comparison.difference <= 0 or comparison.p_value >= SIGNIFICANT:
        return score
    count = int(np.sum(guided & ~blind))
    warn(score.perturbation, "square", count, score.n)
    return dataclasses.replace(score, warnings=score.warnings | {"square": count})
