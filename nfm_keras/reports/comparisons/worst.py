"""The worst case in which evaluations are compared: images right under all there is."""

from typing import NamedTuple

import numpy as np

from nfm_keras.evaluation.statistics import wilson_interval
from nfm_keras.records import ids
from nfm_keras.reports.boards.measures import Measure, measures

TOLD = 5.0
"""Percent that some model must keep, for a radius to tell the models apart."""

_PREFIX = "worst case at "


class Worst(NamedTuple):
    """One worst case, measured alike of every model.

    Attributes:
        what: str, such as `"l-infinity attacks of radius up to 2/255"`.
        where: str, the same as the beginning of a sentence for everyone.
        found: dict from model to `Measure`.
        radius: str, such as `"2/255"`; empty where it is of no attack.
        larger: dict from the radii beyond it, as str, to the best accuracy there in
            percent.
        cascade: bool, whether AutoAttack is among the attacks.
    """

    what: str
    where: str
    found: dict[str, Measure]
    radius: str = ""
    larger: dict[str, float] = {}
    cascade: bool = False


def worst_case(evaluations):
    """Returns the worst case that tells evaluations apart, or None.

    That is all l-infinity attacks up to a radius: the largest at which some model keeps
    5 % of the images, or else the smallest; among radii that AutoAttack was run at,
    where it was. Without attacks it is all noises and corruptions together.

    Args:
        evaluations: list of `nfm_keras.records.Evaluation` of the same images.
    """
    found = {e.model: measures(e) for e in evaluations}
    shared = [
        name
        for name in next(iter(found.values()))
        if name.startswith(_PREFIX)
        and _alike([one.get(name) for one in found.values()])
    ]
    if not shared:
        return _of_all(evaluations)
    best = {name: max(one[name].value for one in found.values()) for name in shared}
    cascades = [name for name in shared if _cascade(evaluations, name)]
    pool = cascades or shared
    name = next((n for n in reversed(pool) if best[n] >= TOLD), pool[0])
    radius = name.removeprefix(_PREFIX)
    larger = shared[shared.index(name) + 1 :]
    return Worst(
        f"l-infinity attacks of radius up to {radius}",
        f"Where an attack may change each pixel by up to {radius} of its range",
        {model: one[name] for model, one in found.items()},
        radius,
        {one.removeprefix(_PREFIX): best[one] for one in larger},
        bool(cascades),
    )


def _alike(parts):
    """Whether all were measured in the same way, on as many images."""
    return None not in parts and len({(one.how, len(one.right)) for one in parts}) == 1


def _cascade(evaluations, name):
    attack = name.replace(_PREFIX, "autoattack@")
    return all(evaluation.score(attack) for evaluation in evaluations)


def _of_all(evaluations):
    """All that is no attack, where all were measured alike and image by image."""
    names = [
        score.perturbation
        for score in evaluations[0]
        if ids.kind(score.perturbation) not in ids.ATTACKS
        and score.hits
        and score.in_order
    ]
    names = [name for name in dict.fromkeys(names) if _shared(evaluations, name)]
    if len(names) < 2:
        return None
    found = {}
    for evaluation in evaluations:
        scores = [evaluation.score(name) for name in names]
        n = min(score.n for score in scores)
        right = np.all([score.right[:n] for score in scores], axis=0)
        ends = wilson_interval(int(right.sum()), n)
        value = 100 * float(right.mean())
        found[evaluation.model] = Measure(value, *ends, right)
    count = len(set(names) - {"clean"})
    what = f"each of the {count} noises and corruptions"
    return Worst(what, f"Under {what}, one after the other", found)


def _shared(evaluations, name):
    scores = [evaluation.score(name) for evaluation in evaluations]
    first = scores[0].measurement
    return all(score and score.hits and score.measurement == first for score in scores)
