"""Does the classifier hide its gradient from an attack? A table of checks.

A classifier that rounds its input, adds noise, ends in a softmax or saturates gives an
attack no gradient to follow: the attack fails, and the robust accuracy is high for that
reason alone. A check is a fact that holds of every attack which works and fails for
those that are misled. None proves robustness; together they tell what not to believe.

A comparison of two attacks on the same images counts as failed where McNemar's test
says that the stronger one left more images right, at a p value below 0.05. So a check
needs images: with a hundred or more it sees what matters, with ten it sees little.

Reference: A. Athalye et al., *Obfuscated gradients give a false sense of security*,
ICML 2018, section 3.1; N. Carlini et al., *On evaluating adversarial robustness*, 2019.
"""

import typing

import numpy as np
from numpy.typing import ArrayLike

from nfm_keras import attacks
from nfm_keras.attacks import losses
from nfm_keras.backend import ascent
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.data.labels import are_probabilities
from nfm_keras.evaluation.comparison import mcnemar
from nfm_keras.evaluation.masking.check import Check, Finding
from nfm_keras.evaluation.masking.examined import EVERYTHING, Examined
from nfm_keras.records.ids import format_severity
from nfm_keras.types import Classifier

SIGNIFICANT = 0.05
"""p value below which two attacks differ by more than chance."""
STEPS = 10
MANY_STEPS = 50
QUERIES = 1000


def masking_report(
    classifier: Classifier,
    images: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: float = 8 / 255,
    seed: int = 0,
    batch_size: int = 250,
    from_logits: bool | None = None,
) -> tuple[Check, ...]:
    """Looks for signs of gradient masking.

    Args:
        classifier: Keras model or callable from [0,1] images to logits, or a
            `nfm_keras.backend.classifier.PlainClassifier`.
        images: `(n, height, width, channels)`, uint8 or float in [0,1]; some hundred.
        labels: `(n,)` integers.
        epsilon: float. Radius of the l-infinity ball that robustness is claimed for,
            in units of [0,1] pixels.
        seed: int, of the attacks.
        batch_size: int.
        from_logits: bool. False for a classifier that gives probabilities; by default
            seen from the last layer of a Keras model.

    Returns:
        Tuple of `Check`, always the same ones in the same order. Those that an earlier
        one makes pointless (attacks on a random classifier, say) have `passed=None`.

    Raises:
        ValueError: For bad images or labels, logits of a wrong shape, or if `epsilon`
            is not in (0, 0.5).

    Example:

    >>> from keras import ops
    >>> def classifier(images):
    ...     return ops.softmax(ops.concatenate([images, 0.6 - images], -1)[:, 0, 0])
    >>> images = np.linspace(0, 0.28, 20).reshape(20, 1, 1, 1).astype("float32")
    >>> report = masking_report(classifier, images, [1] * 20)
    >>> [check.name for check in report if check.passed is False]
    ['logits']
    """
    classifier = PlainClassifier(classifier, from_logits)
    subject = Examined(classifier, images, labels, epsilon, seed, batch_size)
    checks: list[Check] = []
    obstacles: dict[str, str] = {}
    if np.isfinite(subject.logits).all() and not subject.clean_hits.any():
        why = f"not run: none of {len(subject.images)} images is classified correctly"
        return tuple(Check(*r[:2], None, None, r.expected, why) for r in _ROWS)
    for row in _ROWS:
        reasons = [obstacles[name] for name in row.needs if name in obstacles]
        if reasons:
            finding = Finding(None, None, f"not run: {reasons[0]}")
        else:
            finding = row.look(subject)
        if finding.obstacle:
            obstacles[row.name] = finding.obstacle
        answers = (finding.passed, finding.value, row.expected, finding.detail)
        checks.append(Check(row.name, row.question, *answers))
    return tuple(checks)


def _finite(subject):
    bad = int(np.sum(~np.isfinite(subject.logits).all(axis=1)))
    obstacle = "the logits are not finite" if bad else ""
    detail = f"{bad} of {len(subject.images)} images"
    return Finding(not bad, float(bad), detail, obstacle)


def _deterministic(subject):
    """The same images again, and in reverse: noise may be fixed for each place in a
    batch, as it is where a compiled function draws it once."""
    first = subject.logits
    passes = (
        subject.forward(subject.images),
        subject.forward(subject.images[::-1])[::-1],
    )
    difference = max(float(np.max(np.abs(again - first))) for again in passes)
    changed = [again.argmax(axis=1) != first.argmax(axis=1) for again in passes]
    passed = difference <= 1e-3 * float(np.max(np.abs(first)))
    return Finding(
        passed,
        difference,
        f"{int(np.sum(np.any(changed, axis=0)))} predictions changed in 3 passes",
        "" if passed else "the classifier is random",
    )


def _logits(subject):
    rows = subject.logits
    probabilities = are_probabilities(rows)
    passed = not probabilities.all()
    return Finding(
        passed,
        100.0 * float(np.mean(probabilities)),
        f"logits from {rows.min():.3g} to {rows.max():.3g}",
        "" if passed else "the classifier gives probabilities",
    )


def _gradient(subject):
    run = subject.classifier.compiled(_health)
    health = subject.map(run, subject.images, subject.labels)
    bad = int(np.sum((health & ascent.NOT_FINITE) > 0))
    missing = int(np.sum(health == 0)) + bad
    obstacle = "no image has a gradient" if missing == len(health) else ""
    obstacle = "some gradients are not finite" if bad else obstacle
    return Finding(
        missing <= 0.01 * len(health) and not bad,
        100.0 * missing / len(health),
        f"zero for {missing - bad}, not finite for {bad} of {len(health)} images",
        obstacle,
    )


def _health(classifier, images, labels):
    return losses.ascend(classifier, images, labels).health


def _losses(classifier, images, labels):
    return losses.log_odds(classifier(images), labels)


def _monotone(subject):
    epsilons = [subject.epsilon / 2, subject.epsilon, 2 * subject.epsilon]
    epsilons = [epsilon for epsilon in epsilons if epsilon < EVERYTHING]
    hits = [subject.clean_hits]
    hits += [subject.hits(_pgd(epsilon)) for epsilon in epsilons]
    hits += [subject.hits(_pgd(EVERYTHING, MANY_STEPS))]
    rises = [_rise(more, less) for less, more in zip(hits[:-1], hits[1:], strict=True)]
    curve = ", ".join(
        f"{_percent(some):.1f} % at {format_severity(epsilon)}"
        for epsilon, some in zip([0.0, *epsilons, EVERYTHING], hits, strict=True)
    )
    passed = not any(significant for _, significant in rises)
    return Finding(passed, max(points for points, _ in rises), f"accuracy {curve}")


def _everything(subject):
    accuracy = _percent(subject.hits(_pgd(EVERYTHING, MANY_STEPS)))
    return Finding(accuracy == 0, accuracy, f"PGD with {MANY_STEPS} steps")


def _one_step(subject):
    one, many = attacks.FGSM(subject.epsilon), _pgd(subject.epsilon)
    return _compared(subject, many, f"PGD with {STEPS} steps", one, "FGSM")


def _random_search(subject):
    blind = attacks.Square(subject.epsilon, queries=QUERIES)
    guided = _pgd(subject.epsilon, MANY_STEPS)
    names = f"PGD with {MANY_STEPS} steps", f"Square with {QUERIES} queries"
    return _compared(subject, guided, names[0], blind, names[1])


def _more_steps(subject):
    few, many = _pgd(subject.epsilon), _pgd(subject.epsilon, MANY_STEPS)
    names = f"PGD with {STEPS} steps", f"with {MANY_STEPS}"
    finding = _compared(subject, few, names[0], many, names[1])
    # A few points are common, and no sign that the gradient misleads.
    return finding._replace(passed=finding.passed or finding.value <= 5)


def _rising_loss(subject):
    start = subject.map(
        subject.classifier.compiled(_losses), subject.images, subject.labels
    )
    attack = attacks.PGD(subject.epsilon, steps=STEPS, random_start=False)

    def after(images, labels):
        *_, last = attack.iterates(subject.classifier, images, labels)
        return subject.classifier.compiled(_losses)(last, labels)

    end = subject.map(after, subject.images, subject.labels)
    share = float(np.mean(end > start))
    detail = f"mean loss {start.mean():.3g} to {end.mean():.3g} in {STEPS} steps of PGD"
    return Finding(share >= 0.95, 100.0 * share, detail)


def _pgd(epsilon, steps=STEPS):
    return attacks.PGD(epsilon, steps=steps)


def _percent(hits):
    return 100.0 * float(np.mean(hits))


def _rise(strong_hits, weak_hits):
    """Percent points that the stronger attack leaves more, and if that is no chance."""
    comparison = mcnemar(strong_hits, weak_hits)
    more = comparison.difference
    return more, more > 0 and comparison.p_value < SIGNIFICANT


def _compared(subject, strong, strong_name, weak, weak_name):
    strong_hits, weak_hits = subject.hits(strong), subject.hits(weak)
    more, significant = _rise(strong_hits, weak_hits)
    detail = (
        f"accuracy {_percent(strong_hits):.1f} % under {strong_name}, "
        f"{_percent(weak_hits):.1f} % {weak_name}"
    )
    return Finding(not significant, more, detail)


class _Row(typing.NamedTuple):
    """A check, and which others must have left no obstacle."""

    name: str
    question: str
    expected: str
    look: typing.Callable
    needs: tuple[str, ...] = ("finite", "deterministic", "logits", "gradient")


_BEYOND_CHANCE = "no rise in percent points beyond chance"

_ROWS = (
    _Row("finite", "Are all logits finite?", "0 images with others", _finite, ()),
    _Row(
        *("deterministic", "Does an image always get the same logits?"),
        *("within 0.1 % of the largest logit", _deterministic),
        ("finite",),
    ),
    _Row(
        *("logits", "Are they logits, not probabilities?"),
        *("below 100 % of rows in [0,1] with sum 1", _logits),
        ("finite",),
    ),
    _Row(
        *("gradient", "Does the loss have a gradient at the images?"),
        *("zero or not finite for at most 1 %", _gradient),
        ("finite", "deterministic", "logits"),
    ),
    _Row(
        *("rising loss", "Does PGD raise the loss?"),
        *("for at least 95 % of images", _rising_loss),
    ),
    _Row(
        *("monotone", "Does accuracy fall as epsilon grows?"),
        *(_BEYOND_CHANCE, _monotone),
    ),
    _Row(
        *("everything", "Is nothing left at epsilon 0.5?", "0 % accuracy", _everything)
    ),
    _Row(
        *("one step", "Are many steps at least as good as one?"),
        *(_BEYOND_CHANCE, _one_step),
    ),
    _Row(
        *("more steps", "Were the steps of PGD enough?"),
        *("at most 5 percent points more for more steps, or chance", _more_steps),
    ),
    _Row(
        *("random search", "Is the gradient at least as good as random search?"),
        *(_BEYOND_CHANCE, _random_search),
    ),
)
