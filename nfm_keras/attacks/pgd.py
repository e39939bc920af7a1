"""FGSM and PGD on the cross-entropy, by a loss with its direction: the log-odds.

PGD spends one forward pass and one gradient with respect to the input a step; whether
an image is broken is read off the logits of that same forward pass.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from nfm_keras.attacks import balls, losses, progress
from nfm_keras.attacks.attack import Attack, AttackResult, check_settings, prepared
from nfm_keras.attacks.search import Search
from nfm_keras.attacks.watch import Watch
from nfm_keras.backend import ascent
from nfm_keras.checks import check_number
from nfm_keras.data.images import image_generators
from nfm_keras.types import Classifier


class _State(NamedTuple):
    points: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray


class _PGDSearch(Search):
    def __init__(self, attack, *given):
        self.loss = "target" if attack.targets else "ce"
        super().__init__(attack, *given)
        self.calls = attack.steps
        self.passes = self.cost = attack.eot

    def run(self):
        self.targets = self.labels[:, None]
        if self.attack.targets:
            self.targets = self.targets_of(self.judge_clean())
        self.rounds = self.targets.shape[1]
        for restart in range(self.attack.restarts):
            self.restart = restart
            everyone = np.arange(len(self.images))
            count = self.attack.restarts
            with progress.part(restart / count, (restart + 1) / count):
                self.walk(self.unbroken() if self.early_stop else everyone)
            for left in self.parts(self.unbroken()):
                self.judge(left, self.adversaries[left])
        # The image itself counts as well. It is tried last: few images are left then,
        # and a start near a misclassified image is nearly always misclassified too.
        if self.attack.random_start:
            for left in self.parts(self.unbroken()):
                self.judge(left, self.images[left])
        self.settle()
        return self.result()

    def begin(self, where, rounds):
        images = self.images[where]
        starts = self.attack.start(images, self.indices[where], self.seed, self.restart)
        return _State(starts, images, self.labels[where], self.targets[where, rounds])

    def advance(self, where, taken, state):
        attack = self.attack
        sizes = np.float32(attack.epsilon), np.float32(attack.step_size)
        if attack.eot == 1:
            step = self.classifier.compiled(STEPS[self.loss, attack.norm])
            moved, logits, health = step(*state, *sizes)
            return state._replace(points=moved), state.points, logits, health
        run = self.classifier.compiled(PASSES[self.loss])
        at = state.points, state.labels, state.targets
        passes = (losses.Found(*run(*at)) for _ in range(attack.eot))
        found = losses.averaged(passes, self.loss)
        move = self.classifier.compiled(MOVES[attack.norm])
        moved = move(state.points, state.images, found.gradient, *sizes)
        return state._replace(points=moved), state.points, found.logits, found.health

    def leave(self, where, points):
        """Keeps the last iterate of an image on which the attack fails."""
        unbroken = ~self.broken[where]
        self.adversaries[where[unbroken]] = points[unbroken]


@dataclasses.dataclass(frozen=True)
class PGD(Attack):
    """Projected gradient descent on the cross-entropy.

    From a point of the ball of radius `epsilon` around the image x_0,

        x <- clip(x_0 + P(x + step_size * u - x_0), 0, 1)

    where u is the sign of the gradient of the loss (`linf`) or the gradient divided by
    its norm (`l2`), and P the projection onto the ball: clipping to +-epsilon, or
    delta * min(1, epsilon / ||delta||). Clipping to [0,1] after it cannot leave the
    ball, since x_0 lies in [0,1]. An image is broken by the first iterate that is
    misclassified, and the image itself counts: robust accuracy never exceeds clean.

    Args:
        epsilon: float. Radius of the ball, in units of [0,1] pixels.
        norm: str. `"linf"` or `"l2"`.
        steps: int. 7, as in the paper.
        step_size: float. `2.5 * epsilon / steps` when None.
        restarts: int. Independent starts; an image broken by any of them is broken.
        random_start: bool. Start uniformly in the ball, else at the image.
        early_stop: bool. Spend no more gradients on a broken image. It changes the
            time, not the result.
        eot: int. Where the classifier is random at inference too: average gradients
            over so many passes and judge by the mean probability over as many, as in
            `APGD` (expectation over transformation).
        targets: int. 0 for the loss above. Otherwise the attack is targeted: it is run
            on so many classes, those that the classifier ranks second, third ... on
            the image, and maximises z_t - z_y, the lead of that class over the label.
            Any misclassification counts. Its id is `pgd_t@...`, with 9 classes.

    Raises:
        ValueError: If a setting is out of its range, or there are restarts without a
            random start.

    Example:

    >>> classifier = lambda images: ops.concatenate([images, 0.6 - images], axis=1)
    >>> images = np.array([[0.2], [0.05]], "float32")
    >>> PGD(epsilon=0.2, steps=5)(classifier, images, [1, 1]).success.tolist()
    [True, False]

    Reference: A. Madry et al., *Towards deep learning models resistant to adversarial
    attacks*, ICLR 2018. Without a random start the iterates are those of foolbox's
    `LinfPGD` and `L2PGD`.
    """

    epsilon: float = 8 / 255
    norm: str = "linf"
    steps: int = 7
    step_size: float | None = None
    restarts: int = 1
    random_start: bool = True
    early_stop: bool = True
    eot: int = 1
    targets: int = 0

    search = _PGDSearch

    def __post_init__(self) -> None:
        check_settings(self, "steps", "restarts", "eot")
        if self.targets:
            check_settings(self, "targets")
        if self.step_size is None:
            object.__setattr__(self, "step_size", 2.5 * self.epsilon / self.steps)
        check_number("step_size", self.step_size, least=0)
        if self.restarts > 1 and not self.random_start:
            raise ValueError(
                "Restarts without a random start repeat each other. "
                f"Received: {self.restarts}"
            )

    @property
    def name(self) -> str:
        return "pgd_t" if self.targets else "pgd"

    @property
    def settings(self) -> dict[str, Any]:
        """Everything besides epsilon that changes the result, for the record."""
        idle = {"eot": 1, "targets": 0}  # as in records of before there were any
        given = super().settings
        return {key: v for key, v in given.items() if idle.get(key) != v}

    def iterates(
        self,
        classifier: Classifier,
        images: ArrayLike,
        labels: ArrayLike,
        *,
        seed: int = 0,
        indices: ArrayLike | None = None,
    ) -> Iterator[np.ndarray]:
        """Yields the start and the iterate after each step, of `targets=0` and `eot=1`.

        Args: As for a call. Images that are broken go on moving.

        Yields:
            `steps + 1` float32 arrays of the shape of `images`.
        """
        if self.targets or self.eot != 1:
            raise ValueError(f"Needs one round of one pass. Received: {self}")
        classifier, images, labels, indices = prepared(
            classifier, images, labels, indices
        )
        step = classifier.compiled(STEPS["ce", self.norm])
        current = self.start(images, indices, seed)
        given = images, labels, labels, self.epsilon, self.step_size
        yield current
        for _ in range(self.steps):
            current = ops.convert_to_numpy(step(current, *given)[0])
            yield current

    def start(
        self, images: np.ndarray, indices: ArrayLike, seed: int = 0, restart: int = 0
    ) -> np.ndarray:
        """Returns where the search begins.

        Uniform in the ball, clipped to [0,1]; without a random start the image.

        Args:
            images: `(batch, ...)` float32 in [0,1].
            indices: `(batch,)` index of each image in its data set.
            seed, restart: Ints that with the index decide the draw.

        Returns:
            float32 array of the same shape.
        """
        if not self.random_start:
            return images
        # epsilon is not part of the key: along a curve the starts are scaled copies.
        stream = f"start/{self.norm}"
        generators = image_generators(seed, stream, indices, restart)
        return balls.random_starts(
            balls.uniform_inside, images, self.epsilon, self.norm, generators
        )


@dataclasses.dataclass(frozen=True)
class FGSM(Attack):
    """The fast gradient (sign) method: PGD with one step of length epsilon, no start.

    Args:
        epsilon: float. Radius of the ball, in units of [0,1] pixels.
        norm: str. `"linf"` (the sign of the gradient) or `"l2"`.

    Raises:
        ValueError: If epsilon or norm is bad.

    Example:

    >>> FGSM(epsilon=8 / 255).id
    'fgsm@8/255'

    Reference: I. Goodfellow et al., *Explaining and harnessing adversarial examples*,
    ICLR 2015.
    """

    epsilon: float = 8 / 255
    norm: str = "linf"

    name = "fgsm"

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def pgd(self) -> PGD:
        """The same attack, written as PGD."""
        return PGD(
            self.epsilon, self.norm, 1, step_size=self.epsilon, random_start=False
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Everything besides epsilon that changes the result, for the record."""
        return self.pgd.settings

    def attacked(
        self, given: tuple, seed: int, batch_size: int
    ) -> tuple[AttackResult, Watch]:
        """Attacks every image, and warns of nothing; as for `PGD`."""
        return self.pgd.attacked(given, seed, batch_size)


def _step(
    classifier, current, images, labels, targets, epsilon, step_size, *, norm, loss
):
    """Takes one step of PGD: `(next iterate, logits and health before it)`."""
    found = losses.ascend(classifier, current, labels, targets, loss=loss)
    moved = _move(None, current, images, found.gradient, epsilon, step_size, norm=norm)
    return moved, found.logits, found.health


def _move(_, current, images, gradient, epsilon, step_size, *, norm):
    moved = current + step_size * ascent.steepest(gradient, norm)
    return balls.into_ball(moved, images, epsilon, norm)


_LOSSES = {"ce": losses.log_odds, "target": losses.target_margin}

STEPS = {
    (name, norm): functools.partial(_step, norm=norm, loss=loss)
    for name, loss in _LOSSES.items()
    for norm in balls.NORMS
}
"""Loss and norm -> the step that is compiled."""

PASSES = {
    name: functools.partial(losses.ascend, loss=loss) for name, loss in _LOSSES.items()
}
"""Loss -> one of several passes forwards and back, of a random classifier."""

MOVES = {norm: functools.partial(_move, norm=norm) for norm in balls.NORMS}
"""Norm -> the move after them, which reads no weights."""
