"""Square: a random search over square windows, which asks for no gradient."""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from nfm_keras.attacks import balls, losses, windows
from nfm_keras.attacks.attack import Attack, check_settings
from nfm_keras.attacks.search import Search
from nfm_keras.backend import ascent
from nfm_keras.checks import check_number
from nfm_keras.data.images import check_channels_last


class _State(NamedTuple):
    points: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    margins: np.ndarray


class SquareSearch(Search):
    """One run of Square over a set of images."""

    cost = 0
    together = False  # the draws of an image are kept for one round

    def __init__(self, attack, *given):
        super().__init__(attack, *given)
        self.calls, self.rounds = attack.queries, attack.restarts
        self.shape = self.images.shape[1:]
        self.sides = windows.sides(
            attack.queries, *self.shape[:2], attack.p_init, attack.norm
        )
        sizes = sorted(set(self.sides))
        self.sizes = np.array(sizes)
        self.bumps = windows.padded_bumps(sizes) if attack.norm == "l2" else None
        self.draws = {}  # image -> its random numbers, a row a proposal

    def run(self):
        self.judge_clean()
        self.walk(self.unbroken())
        return self.result()

    def begin(self, where, rounds):
        starts = np.empty((len(where), *self.shape), "float32")
        start, shape = _STARTS[self.attack.norm], (self.calls, 5 + self.shape[2])
        generators = self.generators(where, rounds)
        for row, image, generator in zip(starts, where, generators, strict=True):
            row[...] = start(generator, self.shape)
            self.draws[image] = generator.random(shape, "float32")
        images = self.images[where]
        points = np.clip(images + np.float32(self.attack.epsilon) * starts, 0, 1)
        margins = np.full(len(where), np.inf, "float32")
        return _State(points, images, self.labels[where], margins)

    def advance(self, where, taken, state):
        step = self.classifier.compiled(_STEPS[self.attack.norm])
        side = self.sides[taken]
        draws = np.stack([self.draws[i][k] for i, k in zip(where, taken, strict=True)])
        proposal = [side, *self.windows(draws, side), _signs(draws[:, 5:])]
        if self.attack.norm == "l2":
            turned, size = draws[:, 4] < 0.5, np.searchsorted(self.sizes, side)
            proposal += [turned, size.astype("int32"), self.bumps]
        first, epsilon = taken == 0, np.float32(self.attack.epsilon)
        points, margins, tried, logits = step(*state, first, epsilon, *proposal)
        return state._replace(points=points, margins=margins), tried, logits, None

    def windows(self, draws, side):
        """Returns top and left of two windows, `(batch, 2)` each."""
        # The last row and column are drawn as well, as in the paper: an image whose
        # last row can never change is not searched.
        last = 1 if self.attack.last_row else 0
        height, width = (np.maximum(x - side + last, 1) for x in self.shape[:2])
        tops = np.floor(draws[:, 0:2] * height[:, None]).astype("int32")
        lefts = np.floor(draws[:, 2:4] * width[:, None]).astype("int32")
        return tops, lefts

    def leave(self, where, points):
        for image in where:
            del self.draws[image]


@dataclasses.dataclass(frozen=True)
class Square(Attack):
    """Square attack: random search that sees nothing but logits.

    In `linf` an image starts with vertical stripes of +-epsilon, and each proposal
    moves one square window to +-epsilon, a sign a channel. In `l2` it starts with a
    grid of bumps; a proposal takes what one window holds of the budget epsilon, and
    what is left of it, to a new bump in another. A proposal is taken if it lowers the
    margin. The window covers the share `p_init` of the image, halved after the
    proposals in `windows.HALVINGS`.

    It is slow, and it breaks little that gradients do not: where it does, gradients
    are masked.

    Args:
        epsilon: float. Radius of the ball, in units of [0,1] pixels.
        norm: str. `"linf"` or `"l2"`.
        queries: int. Forward passes an image and start, the start's included.
        p_init: float in (0,1].
        restarts: int. Independent starts; an image broken by any of them is broken.
        last_row: bool. Whether windows reach the last row and column of the image, as
            in the paper; they do not in the authors' code, which breaks less, and the
            less the smaller the images are.

    Raises:
        ValueError: If a setting is out of its range.

    Example:

    >>> def classifier(images):
    ...     mean = ops.mean(images, (1, 2, 3))
    ...     return 10 * ops.stack([mean, 0.6 - mean], axis=1)
    >>> images = np.full((2, 3, 4, 1), [[[[0.2]]], [[[0.05]]]], "float32")
    >>> Square(epsilon=0.2, queries=200)(classifier, images, [1, 1]).success.tolist()
    [True, False]

    Reference: M. Andriushchenko et al., *Square attack: a query-efficient black-box
    adversarial attack via random search*, ECCV 2020.
    """

    epsilon: float = 8 / 255
    norm: str = "linf"
    queries: int = 5000
    p_init: float = 0.8
    restarts: int = 1
    last_row: bool = True

    name = "square"
    search = SquareSearch

    def __post_init__(self) -> None:
        check_settings(self, "queries", "restarts")
        check_number("p_init", self.p_init, above=0, most=1)

    def check(self, images: Any) -> None:
        """Refuses images that it cannot attack: also those with channels first."""
        super().check(images)
        check_channels_last("Square needs", images)

    @property
    def settings(self) -> dict[str, Any]:
        """As of every attack; records from before `last_row` was a choice lack it."""
        given = super().settings
        if self.last_row:
            del given["last_row"]
        return given


def _signs(uniform):
    return np.where(uniform < 0.5, -1, 1).astype("float32")


def _stripes(generator, shape):
    """Draws a sign for each column and channel."""
    _, width, channels = shape
    return _signs(generator.random((1, width, channels)))


def _tiles(generator, shape):
    """Draws a grid of bumps of either sign, five to the shorter side; of length 1."""
    height, width, channels = shape
    side = max(min(height, width) // 5, 1)
    rows, columns = height // side, width // side
    signs = _signs(generator.random((rows, columns, channels)))
    top, left = (height - rows * side) // 2, (width - columns * side) // 2
    tiles = np.zeros(shape)
    grid = np.kron(signs, windows.bump(side)[:, :, None])
    tiles[top : top + rows * side, left : left + columns * side] = grid
    return tiles / np.linalg.norm(tiles)


_STARTS = {"linf": _stripes, "l2": _tiles}


def _inside(images, top, left, side):
    """Tells which pixels lie in the windows, `(batch, height, width, 1)`.

    And how far each is from its window's top and left.
    """
    rows, columns = (ops.arange(n, dtype="int32") for n in images.shape[1:3])
    down = rows[None, :, None] - top[:, None, None]
    right = columns[None, None, :] - left[:, None, None]
    grid = ops.shape(images)[:3]
    down, right = (ops.broadcast_to(x, grid) for x in (down, right))
    within = (down >= 0) & (down < side[:, None, None])
    within &= (right >= 0) & (right < side[:, None, None])
    return ops.cast(within, "float32")[..., None], down, right


def _propose_linf(points, images, epsilon, side, tops, lefts, signs):
    window, _, _ = _inside(images, tops[:, 0], lefts[:, 0], side)
    moved = points + 2 * epsilon * window * signs[:, None, None]
    return balls.into_ball(moved, images, epsilon, "linf")


def _propose_l2(points, images, epsilon, side, tops, lefts, signs, turned, size, bumps):
    delta = points - images
    here, down, right = _inside(images, tops[:, 0], lefts[:, 0], side)
    there, _, _ = _inside(images, tops[:, 1], lefts[:, 1], side)
    # What a channel may spend: what it holds in both windows, and a share of the rest.
    unused = ops.maximum(epsilon**2 - _squares(delta, (1, 2, 3)), 0.0)
    held = _squares(delta * ops.maximum(here, there), (1, 2))
    budget = ops.sqrt(unused / images.shape[3] + held)

    added = _placed(down, right, turned, size, bumps) * signs[:, None, None]
    old = delta * here
    new = (added + old / (ops.sqrt(_squares(old, (1, 2))) + 1e-12)) * here
    new = new / (ops.sqrt(_squares(new, (1, 2))) + 1e-12) * budget
    delta = new + delta * (1 - here) * (1 - there)
    moved = images + epsilon * ascent.steepest(delta, "l2")
    return balls.into_ball(moved, images, epsilon, "l2")


def _placed(down, right, turned, size, bumps):
    """Reads the bump of each window at each pixel; meaningless outside the windows."""
    top = bumps.shape[1] - 1
    down, right = ops.clip(down, 0, top), ops.clip(right, 0, top)
    turned = turned[:, None, None]
    row, column = ops.where(turned, right, down), ops.where(turned, down, right)
    at = (size[:, None, None] * (top + 1) + row) * (top + 1) + column
    return ops.take(ops.reshape(bumps, (-1,)), at)[..., None]


def _squares(values, axes):
    return ops.sum(ops.square(values), axis=axes, keepdims=True)


def _step(
    classifier, points, images, labels, margins, first, epsilon, *proposal, propose
):
    """Tries one proposal an image, at its first query the start itself."""
    tried = propose(points, images, epsilon, *proposal)
    tried = ops.where(balls.per_image(first, points), points, tried)
    logits = classifier(tried)
    margin = -losses.margin(logits, labels)
    better = margin < margins
    points = ops.where(balls.per_image(better, points), tried, points)
    return points, ops.minimum(margin, margins), tried, logits


_STEPS = {
    "linf": functools.partial(_step, propose=_propose_linf),
    "l2": functools.partial(_step, propose=_propose_l2),
}
