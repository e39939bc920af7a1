"""The verdict of a comparison in words that tests on the same images bear."""

import itertools
from typing import NamedTuple

from nfm_keras.evaluation.comparison import paired
from nfm_keras.evaluation.statistics import holm
from nfm_keras.records import ids
from nfm_keras.reports import captions
from nfm_keras.reports.boards.measures import measures

_LEVEL = 0.05
_FEW = 200  # images
_NOTHING = 1.0  # percent

_RADIUS = (
    "Several radii were attacked: the verdict is at {radius}, the largest at which "
    "some model keeps 5 % of the images, or else the smallest."
)
_TRAININGS = (
    "Each model stands for itself: the tests are over images, and another training of "
    "the same kind, with another seed, may turn small differences."
)
_WEAK = (
    "AutoAttack was not run on all of them: weaker attacks alone make a model look "
    "more robust than it is."
)


class Pair(NamedTuple):
    """How much better one of two models is, on the same images.

    Attributes:
        difference, low, high: floats, in percent points.
        proven: bool, whether the paired test, adjusted for all pairs, tells them apart.
    """

    difference: float
    low: float
    high: float
    proven: bool

    def words(self, other, than="than"):
        """Returns the difference from the model `other` as part of a sentence."""
        if not self.proven:
            return (
                f"not to be told apart from **{other}** (difference {self.low:+.1f} to "
                f"{self.high:+.1f} points)"
            )
        size, ends = abs(self.difference), sorted((abs(self.low), abs(self.high)))
        more = "more" if self.difference > 0 else "less"
        told = f"{size:.1f} points ({ends[0]:.1f} to {ends[1]:.1f}) {more}"
        return f"{told} {than} **{other}**"


def verdict(evaluations, worst):
    """Returns who is more robust, in two sentences, and what limits that.

    Pairs of models are tested on the images that all were measured on, with McNemar's
    exact test or, over several corruptions, the t test, adjusted over all pairs by
    Holm's method. A difference that the test does not bear is called a tie.

    Args:
        evaluations: list of `nfm_keras.records.Evaluation` of the same images.
        worst: What `worst.worst_case` returned of them, or None.

    Returns:
        `(sentences, limits)`: str, and a list of str.
    """
    if worst is None:
        text = "Nothing but single scores was measured alike, so there is no verdict."
        return text, []
    if len(evaluations) == 1:
        sentences = [_alone(evaluations[0], worst)]
    else:
        sentences = [_robust(evaluations, worst), _else(evaluations, worst)]
    sentences.append("In brackets: 95 % intervals.")
    return " ".join(filter(None, sentences)), _limits(evaluations, worst)


def doubted(evaluation):
    """Returns whether an evaluation shows signs of gradient masking."""
    failed = any(check.get("passed") is False for check in evaluation.checks)
    return failed or any(score.warnings for score in evaluation)


def _alone(evaluation, worst):
    measure, clean = worst.found[evaluation.model], evaluation.score("clean")
    first = f"It gets {clean.value:.1f} % of unchanged images right." if clean else ""
    return (
        f"{worst.where}, **{evaluation.model}** gets {_share(measure)} of "
        f"{len(measure.right):,} images right. {first}"
    ).strip()


def _robust(evaluations, worst):
    values = {model: measure.value for model, measure in worst.found.items()}
    order = sorted(values, key=lambda model: -values[model])
    best, rights = order[0], {m: measure.right for m, measure in worst.found.items()}
    told = _share(worst.found[best])
    if values[best] <= _NOTHING:
        return (
            f"{worst.where}, no model holds: the best, **{best}**, gets {told} right."
        )
    count, pairs = f"{len(rights[best]):,}", _against(best, rights)
    ties = [model for model in order[1:] if not pairs[model].proven]
    if not ties:
        doubtful = doubted({e.model: e for e in evaluations}[best])
        verb = "seems" if doubtful else "is"
        degree = (
            "more robust" if len(order) == 2 else f"the most robust of {len(order)}"
        )
        return (
            f"{worst.where}, **{best}** {verb} {degree}: it gets {told} of {count} "
            f"images right, {pairs[order[1]].words(order[1])}."
        )
    if len(ties) == len(order) - 1:
        other = "the other" if len(order) == 2 else "all others"
        start = f"no model is shown to be more robust than {other}"
    else:
        start = f"{_listed([best, *ties])} lead and cannot be told apart"
    return (
        f"{worst.where}, {start}: **{best}** gets {told} of {count} images right, "
        f"{pairs[ties[0]].words(ties[0])}."
    )


def _else(evaluations, worst):
    """What the most robust one gives up on other images, or gains."""
    found = {e.model: measures(e) for e in evaluations}
    best = max(worst.found, key=lambda model: worst.found[model].value)
    parts = [
        f"{where} {told}"
        for name, where in (
            ("clean", "on unchanged images"),
            ("corruptions", "over the 15 common corruptions"),
        )
        if (told := _beside(best, {m: one.get(name) for m, one in found.items()}))
    ]
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _beside(best, found):
    """The best one against the best of the others; empty if not measured alike."""
    if not all(one and one.right is not None for one in found.values()):
        return ""
    if len({(one.how, len(one.right)) for one in found.values()}) > 1:
        return ""
    top = max((m for m in found if m != best), key=lambda m: found[m].value)
    pair = _against(best, {model: one.right for model, one in found.items()})[top]
    than = "than the best other," if len(found) > 2 else "than"
    words = pair.words(top, than)
    return f"**{best}** gets {found[best].value:.1f} % right, {words}"


def _listed(names):
    return captions.listed([f"**{name}**" for name in names])


def _against(best, rights):
    """`Pair`s of the best with each other, p adjusted over all pairs there are."""
    n = min(map(len, rights.values()))
    cut = {model: right[:n] for model, right in rights.items()}
    keys = list(itertools.combinations(cut, 2))
    p_values = [paired(cut[one], cut[other]).p_value for one, other in keys]
    adjusted = dict(zip(map(frozenset, keys), holm(p_values), strict=True))
    pairs = {}
    for model in set(cut) - {best}:
        test = paired(cut[best], cut[model])
        proven = adjusted[frozenset((best, model))] < _LEVEL
        pairs[model] = Pair(test.difference, test.low, test.high, proven)
    return pairs


def _share(measure):
    return f"{measure.value:.1f} % ({measure.low:.1f} to {measure.high:.1f})"


def _limits(evaluations, worst):
    limits = []
    masked = [evaluation.model for evaluation in evaluations if doubted(evaluation)]
    if masked:
        names = " and ".join(f"**{model}**" for model in masked)
        limits.append(
            f"{names}: signs of gradient masking, see below. Attacks may have failed "
            "for that reason, and robustness be lower than it seems."
        )
    unchecked = [e.model for e in evaluations if _attacked(e) and not e.checks]
    if unchecked:
        names = " and ".join(f"**{model}**" for model in unchecked)
        limits.append(f"Gradient masking was not looked for in {names}.")
    n = min(len(measure.right) for measure in worst.found.values())
    if n < _FEW:
        limits.append(
            f"Only {n} images: differences of less than about "
            f"{_visible(n):.0f} points do not show."
        )
    if worst.larger:
        text = _RADIUS.format(radius=worst.radius)
        told = ", ".join(f"{v:.1f} % at {radius}" for radius, v in worst.larger.items())
        limits.append(f"{text} Beyond it, the best keeps {told}.")
    if worst.radius and not worst.cascade:
        limits.append(_WEAK)
    if not worst.radius:
        limits.append("No attack was run on all of them: this is not the worst case.")
    return limits + ([_TRAININGS] if len(evaluations) > 1 else [])


def _attacked(evaluation):
    return any(ids.kind(score.perturbation) in ids.ATTACKS for score in evaluation)


def _visible(n):
    """Points that two models must differ by, if they disagree on a quarter of images.

    Twice the standard error of a paired difference of so many images.
    """
    return 200 * (0.25 / n) ** 0.5
