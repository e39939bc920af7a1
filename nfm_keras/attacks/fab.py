"""FAB: the nearest misclassified point, by projecting onto linearised boundaries."""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from nfm_keras.attacks import balls, losses
from nfm_keras.attacks.attack import Attack, check_settings, prepared
from nfm_keras.attacks.search import LATE, Search
from nfm_keras.types import Classifier

ALPHA_MAX = 0.1
"""Largest weight of the step that starts from the image, beside that from the point."""

ETA = 1.05
"""How far beyond the linearised boundary a step goes; 1 is onto it."""

BETA = 0.9
"""What a misclassified point keeps of its distance before the next step."""

SECANTS = 3
"""Steps of the final search on the segment between image and adversary."""


class _State(NamedTuple):
    points: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray


class _FABSearch(Search):
    def __init__(self, attack, *given):
        super().__init__(attack, *given)
        self.calls = attack.steps + 1
        self.distances = np.full(len(self.images), np.inf, "float32")
        self.ranks = self.distances.copy()

    def run(self):
        self.nearest()
        stands = balls.per_image(~self.broken, self.images)
        np.copyto(self.adversaries, self.images, where=stands)
        return self.result()

    def nearest(self):
        scores = self.judge_clean()
        self.targets = self.targets_of(scores)
        self.rounds = self.targets.shape[1] * self.attack.restarts
        self.walk(np.flatnonzero(self.distances > 0))
        reached = np.isfinite(self.distances) & (self.distances > 0)
        left = reached & ~self.broken if self.early_stop else reached
        for part in self.parts(np.flatnonzero(left)):
            self.shorten(part, scores)

    def begin(self, where, rounds):
        images, restarts = self.images[where], self.attack.restarts
        targets = self.targets[where, rounds // restarts]
        points = images.copy()
        again = np.flatnonzero(rounds % restarts)  # the first start is the image
        points[again] = balls.random_starts(
            balls.random_surface,
            images[again],
            self.attack.epsilon / 2,
            self.attack.norm,
            self.generators(where[again], rounds[again]),
        )
        return _State(points, images, self.labels[where], targets)

    def advance(self, where, taken, state):
        step = self.classifier.compiled(_STEPS[self.attack.norm])
        moved, logits, health = step(*state)
        return state._replace(points=moved), state.points, logits, health

    def keep(self, where, points, rounds=None):
        """Keeps the nearest; an image is broken once that lies in the ball."""
        distances = balls.distances(points, self.images[where], self.attack.norm)
        ranks, old = distances, self.distances[where]
        if rounds is not None:
            # Whoever is broken leaves: of points in the ball, the first one counts.
            within = self.early_stop & (distances <= self.attack.epsilon)
            ranks, old = np.where(within, 0, distances), self.ranks[where]
        rounds = np.full(len(where), LATE) if rounds is None else rounds
        equal = (ranks == old) & (rounds < self.won[where])
        better = np.flatnonzero((ranks < old) | equal)
        # What is written last stays, where an image stands in several rounds.
        better = better[np.lexsort((-rounds[better], -ranks[better]))]
        where = where[better]
        self.adversaries[where], self.won[where] = points[better], rounds[better]
        self.distances[where], self.ranks[where] = distances[better], ranks[better]
        self.broken[where] = self.distances[where] <= self.attack.epsilon

    def shorten(self, where, scores):
        """Looks for the boundary between image and adversary.

        As if the margin were linear there: the ends move to where it would vanish.
        """
        near, far = self.images[where], self.adversaries[where]
        near_margin = self.margins(scores[where], where)
        far_margin = self.margins(self.scores(where, far), where)
        for _ in range(SECANTS):
            slope = np.maximum(far_margin - near_margin, 1e-30)
            share = balls.per_image(np.clip(-near_margin / slope, 0, 1), near)
            points = np.clip(near + share * (far - near), 0, 1)
            margin = self.margins(self.judge(where, points), where)
            right = margin < 0
            near = np.where(balls.per_image(right, near), points, near)
            far = np.where(balls.per_image(right, near), far, points)
            near_margin = np.where(right, margin, near_margin)
            far_margin = np.where(right, far_margin, margin)

    def margins(self, scores, where):
        return ops.convert_to_numpy(losses.margin(scores, self.labels[where]))


@dataclasses.dataclass(frozen=True)
class FAB(Attack):
    """Fast adaptive boundary attack, targeted: FAB-T.

    It looks for the nearest point of another class, whatever its distance; the attack
    succeeds where that lies within epsilon. With f = z_t - z_y for a target t, x_0 the
    image and P(x) the nearest point to x, in [0,1], of the hyperplane on which f
    linearised at x_k vanishes,

        Q(x) = x + eta (P(x) - x),   x_{k+1} = (1 - alpha) Q(x_k) + alpha Q(x_0)

    clipped to [0,1], where alpha = min(d_k / (d_k + d_0), 0.1), from the distances of
    the two projections, draws the search to the image, and eta = 1.05. A misclassified
    x_k first goes back to x_0 + 0.9 (x_k - x_0). At the end the segment between the
    image and the nearest point found is searched for the boundary.

    Args:
        epsilon: float. Radius of the ball, in units of [0,1] pixels.
        norm: str. `"linf"` or `"l2"`.
        steps: int. An image takes `steps + 1` gradients a start and target.
        restarts: int. Starts for each target: the image, then points at epsilon / 2.
        targets: int. Target classes, at most classes - 1: those that the classifier
            ranks second, third ... on the image. Any misclassification counts.

    Raises:
        ValueError: If a setting is out of its range.

    Example:

    >>> classifier = lambda images: ops.concatenate([images, 0.6 - images], axis=1)
    >>> images = np.array([[0.2], [0.05]], "float32")
    >>> attack = FAB(epsilon=0.2, steps=5)
    >>> attack(classifier, images, [1, 1]).success.tolist()
    [True, False]
    >>> _, distances = attack.nearest(classifier, images, [1, 1])
    >>> print(distances.round(2))
    [0.1  0.25]

    Reference: F. Croce and M. Hein, *Minimally distorted adversarial examples with a
    fast adaptive boundary attack*, ICML 2020.
    """

    epsilon: float = 8 / 255
    norm: str = "linf"
    steps: int = 100
    restarts: int = 1
    targets: int = 9

    name = "fab_t"
    search = _FABSearch

    def __post_init__(self) -> None:
        check_settings(self, "steps", "restarts", "targets")

    def nearest(
        self,
        classifier: Classifier,
        images: ArrayLike,
        labels: ArrayLike,
        *,
        seed: int = 0,
        batch_size: int = 250,
        indices: ArrayLike | None = None,
        from_logits: bool | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the nearest misclassified point of each image, at any distance.

        Unlike a call, which leaves an image as soon as a point within epsilon is found,
        this takes all its steps.

        Args: As for a call.

        Returns:
            `(points, distances)`: float32 of the shape of `images`, and `(n,)`. The
            distance is 0 where the image itself is misclassified, and infinite, beside
            the image itself, where no point is misclassified.
        """
        given = prepared(classifier, images, labels, indices, from_logits)
        search = self.search(self, *given, seed, batch_size)
        search.early_stop = False
        search.nearest()
        search.watch.tell(self.id, np.isfinite(search.distances))
        return search.adversaries, search.distances


def project_onto_hyperplane(points, normal, gap, norm):
    """Returns the smallest perturbation d with normal . d = gap that stays in [0,1].

    Up to sign, d_i = min(s, room_i) in `linf` and min(s |w_i|, room_i) in `l2`, where
    room_i is what lies between x_i and the face of the box it moves to. The reach
    normal . d is then concave and piecewise linear in s, so that Newton's method from
    below never overshoots and ends at the exact s, once no more pixels meet the box.
    Sorting the pixels by room gives the same, and takes much longer.

    Args:
        points: `(batch, ...)` tensor in [0,1].
        normal: `(batch, ...)` tensor.
        gap: `(batch,)` tensor.
        norm: str.

    Returns:
        `(batch, ...)` tensor. Where the hyperplane does not meet the box, the corner of
        the box nearest to it.

    Example:

    >>> points, normal = ops.array([[0.9, 0.5]]), ops.array([[1.0, 1.0]])
    >>> moved = project_onto_hyperplane(points, normal, ops.array([0.3]), "linf")
    >>> print(ops.convert_to_numpy(moved).round(2))
    [[0.1 0.2]]
    """
    axes = tuple(range(1, len(points.shape)))
    direction = ops.sign(balls.per_image(gap, points)) * ops.sign(normal)
    size = ops.abs(normal)
    room = ops.where(direction > 0, 1 - points, points)
    weight, limit = size, room  # reach = sum of weight * min(s, limit)
    if norm == "l2":
        weight = ops.square(size)
        limit = room / ops.maximum(size, 1e-30)
    gap = balls.per_image(ops.abs(gap), points)

    def stretch(scale):
        free = limit > scale
        rest = gap - ops.sum(ops.where(free, 0.0, weight * limit), axes, keepdims=True)
        slope = ops.sum(ops.where(free, weight, 0.0), axes, keepdims=True)
        return ops.where(slope > 0, rest / ops.maximum(slope, 1e-30), scale)

    def moving(scale, before):
        return ops.any(ops.not_equal(limit > scale, limit > before))

    def newton(scale, before):
        return ops.maximum(stretch(scale), scale), scale

    nothing = ops.zeros_like(gap) - 1.0
    scale, _ = ops.while_loop(moving, newton, newton(nothing, nothing))
    return direction * ops.minimum(scale, limit) * (size if norm == "l2" else 1.0)


def _step(classifier, points, images, labels, targets, *, norm):
    """Takes one step of FAB: `(next points, logits before it, health)`."""
    logits = classifier(points)
    wrong = ops.not_equal(ops.argmax(logits, axis=1), labels)
    nearer = images + BETA * (points - images)
    points = ops.where(balls.per_image(wrong, points), nearer, points)

    difference = losses.target_margin
    found = losses.ascend(classifier, points, labels, targets, loss=difference)
    # The same plane, by numbers of which none is too large or too small to be squared.
    largest = balls.length(found.gradient, "linf")
    largest = ops.where(largest > 0, largest, 1.0)
    normal, gap = found.gradient / largest, found.values / ops.reshape(largest, (-1,))
    axes = tuple(range(1, len(points.shape)))
    image_gap = gap + ops.sum(normal * (images - points), axis=axes)
    from_point = project_onto_hyperplane(points, normal, -gap, norm)
    from_image = project_onto_hyperplane(images, normal, -image_gap, norm)
    far = ops.maximum(balls.length(from_point, norm), 1e-8)
    total = far + ops.maximum(balls.length(from_image, norm), 1e-8)
    alpha = ops.minimum(far / total, ALPHA_MAX)
    moved = (1 - alpha) * (points + ETA * from_point)
    moved += alpha * (images + ETA * from_image)
    return ops.clip(moved, 0.0, 1.0), logits, found.health


_STEPS = {norm: functools.partial(_step, norm=norm) for norm in balls.NORMS}
