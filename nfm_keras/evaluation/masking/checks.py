"""Does the classifier hide its gradient from an attack? A table of checks.

A classifier that rounds its input, adds noise, ends in a softmax or saturates gives an
attack no gradient to follow: the attack fails, and the robust accuracy is high for that
reason alone. A check is a fact that holds of every attack which works and fails for
those that are misled. None proves robustness; together they tell what not to believe.

Most checks count images that show what an honest classifier shows on a stated share of
images at most, and ask whether so many can be chance: an exact binomial test, at 0.05
for all tests of the report together (Bonferroni). Attacks are compared by the margins
that they leave. So a check needs images: a hundred see what matters, ten see little.

Reference: A. Athalye et al., *Obfuscated gradients give a false sense of security*,
ICML 2018, section 3.1; N. Carlini et al., *On evaluating adversarial robustness*, 2019.
"""

import typing
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.data.labels import are_probabilities
from nfm_keras.evaluation.masking import looks
from nfm_keras.evaluation.masking.check import Check, Finding
from nfm_keras.evaluation.masking.examined import Examined
from nfm_keras.types import Classifier


def masking_report(
    classifier: Classifier,
    images: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: float | Sequence[float] = 8 / 255,
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
        epsilon: float, or several. Radii of the l-infinity balls that robustness is
            claimed for, in units of [0,1] pixels. Where PGD breaks most images at the
            smallest, a smaller one is looked at as well: where nothing is left, attacks
            cannot be told apart.
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
    epsilons = tuple(np.atleast_1d(np.asarray(epsilon, "float64")).tolist())
    subject = Examined(classifier, images, labels, epsilons, seed, batch_size)
    checks: list[Check] = []
    obstacles: dict[str, str] = {}
    if np.isfinite(subject.logits).all() and not subject.right.any():
        why = f"not run: none of {len(subject.images)} images is classified correctly"
        return tuple(Check(*r[:2], None, None, r.expected, why) for r in _ROWS)
    for row in _ROWS:
        reasons = [obstacles[name] for name in row.needs if name in obstacles]
        if reasons:
            finding = Finding(None, None, f"not run: {reasons[0]}")
        else:
            tests = [_TESTS] if row.tested else []
            finding = row.look(subject, *tests)
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
    passed = difference <= 1e-4 * float(np.max(np.abs(first)))
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


class _Row(typing.NamedTuple):
    """A check, and which others must have left no obstacle."""

    name: str
    question: str
    expected: str
    look: typing.Callable
    needs: tuple[str, ...] = ("finite", "deterministic", "logits", "gradient")
    tested: bool = True


_ROWS = (
    _Row(
        *("finite", "Are all logits finite?", "0 images with others", _finite),
        needs=(),
        tested=False,
    ),
    _Row(
        *("deterministic", "Does an image always get the same logits?"),
        *("within 0.01 % of the largest logit", _deterministic),
        needs=("finite",),
        tested=False,
    ),
    _Row(
        *("logits", "Are they logits, not probabilities?"),
        *("below 100 % of rows in [0,1] with sum 1", _logits),
        needs=("finite",),
        tested=False,
    ),
    _Row(
        *("gradient", "Does the loss have a gradient at the images?"),
        *("zero for at most 1 % of images", looks.gradient),
        needs=("finite", "deterministic", "logits"),
    ),
    _Row(
        *("foresight", "Does the gradient foresee what small random steps do?"),
        *("but for at most 5 % of images", looks.foresight),
    ),
    _Row(
        *("rising loss", "Does PGD raise the loss?"),
        *("but for at most 5 % of images", looks.rising_loss),
    ),
    _Row(
        *("monotone", "Does an attack of a larger radius take more?"),
        *("but for at most 5 % of images", looks.monotone),
    ),
    _Row(
        *("everything", "Is nothing left at epsilon 0.5?"),
        *("but for at most 1 % of images", looks.everything),
    ),
    _Row(
        *("one step", "Are many steps at least as good as one?"),
        *("but for at most 20 % of images", looks.one_step),
    ),
    _Row(
        *("more steps", "Were the steps of PGD enough?"),
        *("but for at most 5 % of images", looks.more_steps),
    ),
    _Row(
        *("random search", "Is the gradient at least as good as random search?"),
        *("but for at most 20 % of images that PGD leaves", looks.random_search),
    ),
)

_TESTS = sum(row.tested for row in _ROWS)
