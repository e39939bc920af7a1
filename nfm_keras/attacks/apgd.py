"""APGD: projected gradient descent that chooses its step size by itself.

One call evaluates the point an image stands at (one forward pass, one input gradient)
and moves it on, so that an image takes `steps + 1` of them. Two compiled functions: the
evaluation, which is the model's and is repeated where the model is random, and the
move, which reads no weights.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
from keras import ops

from nfm_keras.attacks import balls
from nfm_keras.attacks.attack import Attack, check_settings
from nfm_keras.attacks.losses import LOSSES, Found, ascend, averaged
from nfm_keras.attacks.search import Search
from nfm_keras.backend import ascent
from nfm_keras.checks import check_number, unknown


def checkpoints(steps: int) -> tuple[int, ...]:
    """Returns the steps after which APGD asks whether to halve its step size.

    The first interval is 22 % of the steps, each one is 3 % shorter than the one before
    it, and none is shorter than 6 %; fractions are cut, and each is at least 1 step.

    Args:
        steps: int, at least 1.

    Returns:
        Tuple of ints from 1 to `steps`.

    Example:

    >>> checkpoints(100)
    (22, 41, 57, 70, 80, 87, 93, 99)

    Reference: F. Croce and M. Hein, *Reliable evaluation of adversarial robustness with
    an ensemble of diverse parameter-free attacks*, ICML 2020, section 3.
    """
    gap, shorter, least = (max(steps * part // 100, 1) for part in (22, 3, 6))
    marks, step = [], gap
    while step <= steps:
        marks.append(step)
        gap = max(gap - shorter, least)
        step += gap
    return tuple(marks)


class _State(NamedTuple):
    points: np.ndarray
    previous: np.ndarray  # the point before, for the momentum
    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    best: np.ndarray  # the point of highest loss, and its gradient
    best_gradient: np.ndarray
    best_loss: np.ndarray
    last_loss: np.ndarray
    checked_loss: np.ndarray  # best loss at the last checkpoint
    rises: np.ndarray  # steps since then that raised the loss
    halved: np.ndarray  # whether the step size was halved there
    step_size: np.ndarray


class _APGDSearch(Search):
    def __init__(self, attack, *given):
        super().__init__(attack, *given)
        self.calls = attack.steps + 1
        self.passes = self.cost = attack.eot
        self.windows = np.zeros(self.calls, "float32")
        marks = checkpoints(attack.steps)
        self.windows[list(marks)] = np.diff((0, *marks))

    def run(self):
        attack, scores = self.attack, self.judge_clean()
        if attack.loss == "targeted_dlr":
            self.targets = self.targets_of(scores)
        else:
            self.targets = self.labels[:, None]
        self.rounds = self.targets.shape[1] * attack.restarts
        self.walk(self.unbroken())
        self.settle()
        return self.result()

    def begin(self, where, rounds):
        images, zeros = self.images[where], np.zeros(len(where), "float32")
        starts = self.starts(where, rounds)
        return _State(
            points=starts,
            previous=starts,
            images=images,
            labels=self.labels[where],
            targets=self.targets[where, rounds // self.attack.restarts],
            best=starts,
            best_gradient=np.zeros_like(starts),
            best_loss=zeros - np.inf,
            last_loss=zeros + np.inf,
            checked_loss=zeros,
            rises=zeros,
            halved=np.ones(len(where), bool),
            step_size=zeros + np.float32(2 * self.attack.epsilon),
        )

    def starts(self, where, rounds):
        """Returns points at distance epsilon exactly, later clipped to [0,1]."""
        attack, images = self.attack, self.images[where]
        generators = self.generators(where, rounds)
        return balls.random_starts(
            balls.random_surface, images, attack.epsilon, attack.norm, generators
        )

    def advance(self, where, taken, state):
        found = self.evaluate(state)
        move = self.classifier.compiled(MOVES[self.attack.norm])
        attack = self.attack
        settings = (attack.epsilon, attack.rho, _ZEROS[attack.loss])
        settings = map(np.float32, settings)
        window = self.windows[taken]
        moved = move(
            found.values, found.gradient, window, taken == 0, *settings, *state
        )
        return _State(*moved), state.points, found.logits, found.health

    def evaluate(self, state):
        """Returns what is `Found` at the points, over `eot` passes."""
        run = self.classifier.compiled(EVALUATIONS[self.attack.loss])
        points = state.points, state.labels, state.targets
        if self.attack.eot == 1:
            return Found(*run(*points))
        passes = (Found(*run(*points)) for _ in range(self.attack.eot))
        return averaged(passes, self.attack.loss)


@dataclasses.dataclass(frozen=True)
class APGD(Attack):
    """Auto-PGD: momentum, and a step size that halves when progress stalls.

    With step size eta, first 2 epsilon, P the projection onto the ball and [0,1], and
    d the steepest direction (see `PGD`),

        z <- P(x_k + eta d),   x_{k+1} <- P(x_k + a (z - x_k) + (1 - a)(x_k - x_{k-1}))

    where a = 0.75, and 1 at the first step. At each of the `checkpoints`, eta is halved
    and the search goes on from the point of highest loss so far, if at most `rho` of
    the steps since the checkpoint before raised the loss, or if eta was not halved
    there and the highest loss has not grown since. Starts have norm epsilon exactly.
    An image that is misclassified itself is broken.

    The targeted loss is run on one target class after the other: those that the
    classifier ranks second, third ... on the image. Any misclassification counts.

    Args:
        epsilon: float. Radius of the ball, in units of [0,1] pixels.
        norm: str. `"linf"` or `"l2"`.
        loss: str. `"ce"` (cross-entropy, followed by the log-odds), `"dlr"` or
            `"targeted_dlr"`; see `nfm_keras.attacks.losses`.
            With fewer than 3 classes `dlr` is the margin max_{i != y} z_i - z_y, and
            with fewer than 4 `targeted_dlr` is the margin z_t - z_y to the target t.
        steps: int. An image takes `steps + 1` gradients a start and target.
        restarts: int. Independent starts, for each target.
        targets: int. Target classes of `targeted_dlr`, at most classes - 1.
        rho: float in [0,1].
        eot: int. Where the classifier is random at inference too: average gradients
            and losses over so many passes, and judge by the mean probability over as
            many. A point that looks misclassified is judged on fresh passes, and what
            the search ends with once more: the luckiest of many draws is no success.
        early_stop: bool. Spend no more gradients on a broken image. It changes the
            time, not the result.

    Raises:
        ValueError: If a setting is out of its range.

    Example:

    >>> classifier = lambda images: ops.concatenate([images, 0.6 - images], axis=1)
    >>> images = np.array([[0.2], [0.05]], "float32")
    >>> APGD(epsilon=0.2, steps=5)(classifier, images, [1, 1]).success.tolist()
    [True, False]

    Reference: F. Croce and M. Hein, *Reliable evaluation of adversarial robustness with
    an ensemble of diverse parameter-free attacks*, ICML 2020, algorithm 1.
    """

    epsilon: float = 8 / 255
    norm: str = "linf"
    loss: str = "ce"
    steps: int = 100
    restarts: int = 1
    targets: int = 9
    rho: float = 0.75
    eot: int = 1
    early_stop: bool = True

    search = _APGDSearch

    def __post_init__(self) -> None:
        check_settings(self, "steps", "restarts", "targets", "eot")
        if self.loss not in LOSSES:
            raise unknown("loss", self.loss, LOSSES)
        check_number("rho", self.rho, least=0, most=1)

    @property
    def name(self) -> str:
        return "apgd_t" if self.loss == "targeted_dlr" else f"apgd_{self.loss}"


def _move(_, losses, gradient, window, first, epsilon, rho, zero, *state, norm):
    """Returns the next state. `window` is 0 for an image not at a checkpoint."""
    # `zero` is what a loss of 0 reads as: -infinity where values are logs of it.
    state = _State(*state)
    better = losses > state.best_loss
    best = _choose(better, state.points, state.best)
    best_gradient = _choose(better, gradient, state.best_gradient)
    best_loss = ops.maximum(losses, state.best_loss)
    rises = state.rises + ops.cast(losses > state.last_loss, "float32")

    check = window > 0
    unimproved = ops.logical_not(state.halved) & (best_loss <= state.checked_loss)
    stuck = (rises <= rho * window) | unimproved
    halve = check & stuck
    step_size = ops.where(halve, state.step_size / 2, state.step_size)
    points = _choose(halve, best, state.points)
    gradient = _choose(halve, best_gradient, gradient)

    share = 0.75 + 0.25 * ops.cast(first, "float32")  # the whole step at first
    momentum = balls.per_image(share, points)
    steepest = balls.per_image(step_size, points) * ascent.steepest(gradient, norm)
    ahead = balls.into_ball(points + steepest, state.images, epsilon, norm) - points
    behind = points - state.previous
    moved = points + momentum * ahead + (1 - momentum) * behind
    return state._replace(
        points=balls.into_ball(moved, state.images, epsilon, norm),
        previous=points,
        best=best,
        best_gradient=best_gradient,
        best_loss=best_loss,
        # The published results count the first step as a rise where its loss is above
        # 0, whatever the loss at the start was; they are what this is compared with.
        last_loss=ops.where(first, zero, losses),
        checked_loss=ops.where(check, best_loss, state.checked_loss),
        rises=ops.where(check, 0.0, rises),
        halved=ops.where(check, stuck, state.halved),
        step_size=step_size,
    )


def _choose(condition, chosen, otherwise):
    return ops.where(balls.per_image(condition, chosen), chosen, otherwise)


EVALUATIONS = {
    name: functools.partial(ascend, loss=loss) for name, loss in LOSSES.items()
}
"""Loss -> the forward and backward pass that is compiled."""

_ZEROS = {"ce": -np.inf, "dlr": 0.0, "targeted_dlr": 0.0}
"""Loss -> its value where the loss of the published algorithm is 0."""

MOVES = {norm: functools.partial(_move, norm=norm) for norm in balls.NORMS}
"""Norm -> the move that is compiled."""
