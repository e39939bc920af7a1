"""The checks of the gradient-masking report that count images against chance.

Each asks at every radius on how many images something happened that an honest
classifier seldom shows. Where two attacks are compared, the image counts if the weaker
one took more of its margin, by a tenth of what it took: a few percent either way are
the luck of a start.
"""

import numpy as np

from nfm_keras import attacks
from nfm_keras.attacks import losses
from nfm_keras.backend import ascent
from nfm_keras.evaluation.masking.check import Finding
from nfm_keras.evaluation.masking.examined import EVERYTHING
from nfm_keras.evaluation.masking.trials import Trial, judged

STEPS = 10
MANY_STEPS = 50
QUERIES = 300

FORESEEN = 0.75
"""What the gradient foresees of the effect of small steps, at least."""

_SMALL = 1 / 255
_FURTHER = 0.1

MISSING, ODD, OFTEN = 0.01, 0.05, 0.2
"""With which probability an image of an honest classifier counts, at most."""


def gradient(subject, tests):
    """Counts images without a gradient; one that is not finite ends the report."""
    run = subject.classifier.compiled(_health)
    health = subject.map(run, subject.images, subject.labels)
    bad = int(np.sum((health & ascent.NOT_FINITE) > 0))
    missing = int(np.sum(health == 0)) + bad
    found = judged([Trial(0.0, missing, len(health))], MISSING, tests, "")
    obstacle = "no image has a gradient" if missing == len(health) else ""
    obstacle = "some gradients are not finite" if bad else obstacle
    return Finding(
        found.passed and not bad,
        found.value,
        f"zero for {missing - bad}, not finite for {bad} of {len(health)} images",
        obstacle,
    )


def foresight(subject, tests):
    """Counts images in which small random steps do not do what the gradient says."""
    size = min(_SMALL, subject.radii[0])
    share = subject.foreseen(size)
    known = share[~np.isnan(share)]
    trial = Trial(size, int(np.sum(known < FORESEEN)), len(known))
    what = f"it foresees less than {FORESEEN:.0%} of their effect"
    return judged([trial], ODD, tests, what)


def rising_loss(subject, tests):
    """Counts images on which PGD gains nothing."""
    right = subject.right

    def stuck(epsilon):
        return subject.walked(epsilon, STEPS)[right] >= subject.margins[right]

    what = f"margin as before after {STEPS} steps"
    return _over_radii(subject, tests, ODD, stuck, what)


def monotone(subject, tests):
    """Counts images on which PGD takes less with a larger radius."""
    radii = [*subject.radii, EVERYTHING]
    smaller = dict(zip(radii[1:], radii, strict=False))

    def less(epsilon):
        return _further(
            subject,
            _left(subject, smaller[epsilon], STEPS),
            _left(subject, epsilon, STEPS),
        )

    what = "less broken than at the radius before"
    trials = [_trial(epsilon, less(epsilon)) for epsilon in radii[1:]]
    return judged(trials, ODD, tests, what)


def everything(subject, tests):
    """Counts images that are left where all can be made grey."""
    left = _left(subject, EVERYTHING, MANY_STEPS) > 0
    trial = _trial(EVERYTHING, left[subject.right])
    return judged([trial], MISSING, tests, f"right after {MANY_STEPS} steps")


def one_step(subject, tests):
    """Counts images on which one step takes more than many."""

    def further(epsilon):
        many, one = (_left(subject, epsilon, steps) for steps in (STEPS, 1))
        return _further(subject, one, many)

    what = f"FGSM goes further than {STEPS} steps"
    return _over_radii(subject, tests, OFTEN, further, what)


def more_steps(subject, tests):
    """Counts images that only many steps break."""

    def only_many(epsilon):
        few, many = (_left(subject, epsilon, n) for n in (STEPS, MANY_STEPS))
        return ((few > 0) & (many <= 0))[subject.right]

    what = f"broken by {MANY_STEPS} steps and not by {STEPS}"
    return _over_radii(subject, tests, ODD, only_many, what)


def random_search(subject, tests):
    """Counts images, of those that PGD leaves right, on which Square takes more."""
    try:
        attacks.Square().check(subject.images)
    except ValueError as error:  # such as channels first, which all else takes
        return Finding(None, None, f"not run: {error}")

    def further(epsilon):
        guided = _left(subject, epsilon, MANY_STEPS)
        where = np.flatnonzero(subject.right & (guided > 0))
        if not len(where):
            return np.zeros(0, bool)
        blind = np.maximum(subject.searched(epsilon, where, QUERIES), 0)
        return _beats(subject.margins[where], blind, guided[where])

    what = f"Square goes further in {QUERIES} queries than {MANY_STEPS} steps"
    return _over_radii(subject, tests, OFTEN, further, what)


def _health(classifier, images, labels):
    return losses.ascend(classifier, images, labels).health


def _over_radii(subject, tests, share, counted, what):
    trials = [_trial(epsilon, counted(epsilon)) for epsilon in subject.radii]
    return judged(trials, share, tests, what)


def _trial(epsilon, counted):
    return Trial(epsilon, int(np.sum(counted)), len(counted))


def _left(subject, epsilon, steps):
    # Broken is broken: by how much has to do with when the attack was told to stop.
    return np.maximum(subject.walked(epsilon, steps), 0)


def _further(subject, weaker, stronger):
    right = subject.right
    return _beats(subject.margins[right], weaker[right], stronger[right])


def _beats(before, weaker, stronger):
    """Where the weaker attack took more of the margin, by a tenth of it."""
    return (before - weaker) * (1 - _FURTHER) > np.maximum(before - stronger, 0)
