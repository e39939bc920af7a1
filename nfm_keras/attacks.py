"""FGSM and PGD on the plain classifier, in units of [0,1] pixels.

An attack is a value: `PGD(epsilon=8/255, steps=20)(classifier, images, labels)`. What
it returns does not depend on the batch size or on the order of the images: the random
start of an image is drawn from (seed, image index, restart) alone.

PGD spends one forward pass and one gradient with respect to the input a step; whether
an image is broken is read off the logits of that same forward pass. Broken images make
room for waiting ones at once, so that the compiled step always runs on a full batch.
"""

import dataclasses
import functools
import math

import numpy as np
from keras import ops

from nfm_keras import gradients, metrics, perturbations

NORMS = ("linf", "l2")


@dataclasses.dataclass(frozen=True)
class AttackResult:
    """What an attack found.

    Args:
        images: float32, shape of the attacked images: the first misclassified iterate
            of each image (the image itself where only that is misclassified), or the
            last iterate where the attack failed.
        success: `(batch,)` bool: misclassified, within the ball and within [0,1].
        gradients: int. Input gradients computed, over all images.
    """

    images: np.ndarray
    success: np.ndarray
    gradients: int


@dataclasses.dataclass(frozen=True)
class PGD:
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

    Raises:
        ValueError: a setting out of its range, or restarts without a random start.

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

    def __post_init__(self):
        _check(self)
        if self.step_size is None:
            object.__setattr__(self, "step_size", 2.5 * self.epsilon / self.steps)

    @property
    def id(self):
        """`"pgd@8/255"` or `"pgd_l2@0.5"`."""
        return _id("pgd", self)

    @property
    def severity(self):
        return self.epsilon

    @property
    def settings(self):
        """Everything besides epsilon that changes the result, for the record."""
        names = ("norm", "steps", "step_size", "restarts", "random_start")
        return {name: getattr(self, name) for name in names}

    def __call__(
        self, classifier, images, labels, *, seed=0, batch_size=250, indices=None
    ):
        """Attack every image.

        Args:
            classifier: Keras model or callable from `[0,1]` images to logits, or a
                `nfm_keras.gradients.PlainClassifier`, which saves compiling anew.
            images: `(n, height, width, channels)`, uint8 or float in [0,1].
            labels: `(n,)` integers.
            seed: int, of the random starts.
            batch_size: int.
            indices: `(n,)` index of each image in its data set, by default 0, 1, ...

        Returns:
            An `AttackResult`.

        Raises:
            ValueError: bad images or labels; the classifier gives NaN, probabilities
                instead of logits, or something else than `(batch, classes)`.
        """
        images = perturbations.as_images(images)
        labels = metrics.check_labels(labels, len(images))
        indices = np.arange(len(images)) if indices is None else np.asarray(indices)
        search = _Search(self, classifier, images, labels, seed, batch_size, indices)
        return search.run()

    def iterates(self, classifier, images, labels, *, seed=0, indices=None):
        """Yield the start and the iterate after each step, as one batch.

        Args: as for a call. Images that are broken go on moving.

        Yields:
            `steps + 1` float32 arrays of the shape of `images`.
        """
        images = perturbations.as_images(images)
        labels = metrics.check_labels(labels, len(images))
        indices = range(len(images)) if indices is None else indices
        step = gradients.PlainClassifier(classifier).compiled(_STEPS[self.norm])
        current = self.start(images, indices, seed)
        yield current
        for _ in range(self.steps):
            current, _ = step(current, images, labels, self.epsilon, self.step_size)
            current = ops.convert_to_numpy(current)
            yield current

    def start(self, images, indices, seed=0, restart=0):
        """Where the search begins: uniform in the ball, clipped to [0,1]; or the image.

        Args:
            images: `(batch, ...)` float32 in [0,1].
            indices: `(batch,)` index of each image in its data set.
            seed, restart: ints that with the index decide the draw.

        Returns:
            float32 array of the same shape.
        """
        if not self.random_start:
            return images
        # epsilon is not part of the key: along a curve the starts are scaled copies.
        stream = f"start/{self.norm}"
        generators = perturbations.image_generators(seed, stream, indices, restart)
        delta = np.empty_like(images)
        for row, generator in zip(delta, generators, strict=True):
            row[...] = _UNIT_BALL[self.norm](generator, row.shape)
        return np.clip(images + np.float32(self.epsilon) * delta, 0, 1)


@dataclasses.dataclass(frozen=True)
class FGSM:
    """The fast gradient (sign) method: PGD with one step of length epsilon, no start.

    Args:
        epsilon: float. Radius of the ball, in units of [0,1] pixels.
        norm: str. `"linf"` (the sign of the gradient) or `"l2"`.

    Raises:
        ValueError: as `PGD`.

    Example:

    >>> FGSM(epsilon=8 / 255).id
    'fgsm@8/255'

    Reference: I. Goodfellow et al., *Explaining and harnessing adversarial examples*,
    ICLR 2015.
    """

    epsilon: float = 8 / 255
    norm: str = "linf"

    def __post_init__(self):
        PGD(self.epsilon, self.norm)  # refuses what is out of range

    @property
    def pgd(self):
        """The same attack, written as PGD."""
        return PGD(
            self.epsilon, self.norm, 1, step_size=self.epsilon, random_start=False
        )

    @property
    def id(self):
        """`"fgsm@8/255"` or `"fgsm_l2@0.5"`."""
        return _id("fgsm", self)

    @property
    def severity(self):
        return self.epsilon

    @property
    def settings(self):
        """Everything besides epsilon that changes the result, for the record."""
        return self.pgd.settings

    def __call__(self, classifier, images, labels, **options):
        """Attack every image; arguments and result as for `PGD`."""
        return self.pgd(classifier, images, labels, **options)


def from_perturbation(perturbation, **settings):
    """The attack that a perturbation such as `pgd_l2@0.5` names.

    Args:
        perturbation: `nfm_keras.perturbations.Perturbation` of an attack's kind.
        **settings: steps, step_size, restarts, random_start of `PGD`; FGSM has none.

    Example:

    >>> from_perturbation(perturbations.parse("pgd@8/255"), steps=20).steps
    20
    """
    name, _, norm = perturbation.kind.partition("_")
    if name == "fgsm":
        return FGSM(perturbation.severity, norm or "linf")
    return PGD(perturbation.severity, norm or "linf", **settings)


class _Search:
    """One run of PGD over a set of images."""

    def __init__(self, attack, classifier, images, labels, seed, batch_size, indices):
        self.attack, self.seed, self.batch_size = attack, seed, batch_size
        self.classifier = gradients.PlainClassifier(classifier)
        self.images, self.labels, self.indices = images, labels, indices
        self.adversaries = images.copy()
        self.broken = np.zeros(len(images), bool)
        self.gradients = self.rows = 0
        self.softmax = True  # until a row shows otherwise

    def run(self):
        everyone = np.arange(len(self.images))
        for restart in range(self.attack.restarts):
            left = everyone[~self.broken] if self.attack.early_stop else everyone
            self.search(left, restart)
            self.judge(everyone[~self.broken], self.adversaries)
        # The image itself counts as well. It is tried last: few images are left then,
        # and a start near a misclassified image is nearly always misclassified too.
        if self.attack.random_start:
            self.judge(everyone[~self.broken], self.images)
        return AttackResult(self.adversaries, self.broken, self.gradients)

    def search(self, waiting, restart):
        """Walk every waiting image `steps` steps, or until it is broken."""
        where, taken = waiting[:0], waiting[:0]  # who is in the batch, how far it got
        current = self.images[:0]
        while len(waiting) or len(where):
            # Refilled to the same size whenever images leave: a batch that shrinks
            # would be compiled anew, and one that stays would work on broken images.
            room = self.batch_size - len(where)
            fresh, waiting = waiting[:room], waiting[room:]
            where, current = np.append(where, fresh), self.join(current, fresh, restart)
            taken = np.append(taken, np.zeros_like(fresh)) + 1
            moved, wrong = self.step(where, current)
            self.keep(where[wrong], current[wrong])
            walking = ~wrong if self.attack.early_stop else np.ones_like(wrong)
            last = walking & (taken == self.attack.steps)
            unbroken = last & ~self.broken[where]
            self.adversaries[where[unbroken]] = moved[unbroken]
            walking &= ~last
            where, taken, current = where[walking], taken[walking], moved[walking]

    def join(self, current, fresh, restart):
        """Append the starting points of the images that join the batch."""
        if not len(fresh):
            return current
        starts = self.attack.start(
            self.images[fresh], self.indices[fresh], self.seed, restart
        )
        return np.concatenate([current, starts])

    def step(self, where, current):
        """Move a batch one step; also say which images were wrong before it."""
        self.gradients += len(where)
        step = self.classifier.compiled(_STEPS[self.attack.norm])
        images, labels = self.images[where], self.labels[where]
        pad = functools.partial(_pad, size=_padded_size(len(where), self.batch_size))
        moved, logits = step(
            *(pad(current), pad(images), pad(labels)),
            *(np.float32(self.attack.epsilon), np.float32(self.attack.step_size)),
        )
        moved = ops.convert_to_numpy(moved)[: len(where)]
        return moved, ~self.hits(logits, labels)

    def judge(self, where, points):
        """Forward pass alone: keep those of the points that are misclassified."""
        for first in range(0, len(where), self.batch_size):
            batch = where[first : first + self.batch_size]
            size = _padded_size(len(batch), self.batch_size)
            logits = self.classifier.logits(_pad(points[batch], size))
            wrong = batch[~self.hits(logits, self.labels[batch])]
            self.keep(wrong, points[wrong])

    def hits(self, logits, labels):
        """Which rows are classified correctly; refuses a softmax."""
        logits = ops.convert_to_numpy(logits)[: len(labels)]
        # A row of logits may sum to 1 by chance, so all rows so far are judged.
        sums = logits.sum(axis=-1)
        self.softmax &= (logits >= 0).all() and np.allclose(sums, 1.0, atol=1e-5)
        self.rows += len(logits)
        if self.softmax and self.rows >= 32:
            raise ValueError(
                "An attack needs logits: the gradient of a softmax vanishes where it "
                "is confident, and the attack would fail for that reason alone. Remove "
                "the last activation. Received: probabilities that sum to 1"
            )
        return metrics.hits(logits, labels)

    def keep(self, where, points):
        """Keep the first misclassified point of an image and no later one."""
        new = ~self.broken[where]
        self.adversaries[where[new]] = points[new]
        self.broken[where] = True


def _step(classifier, current, images, labels, epsilon, step_size, *, move, project):
    """One step of PGD: `(next iterate, logits before it)`."""

    def loss(points):
        logits = classifier(points)
        # One loss a sample, and their sum differentiated: with the mean, the gradient
        # would shrink with the batch and underflow in half precision.
        losses = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        return losses, logits

    _, logits, gradient = gradients.value_and_grad(loss)(current)
    delta = current + step_size * move(gradient) - images
    return ops.clip(images + project(delta, epsilon), 0.0, 1.0), logits


def _unit(gradient):
    return gradient / ops.maximum(_norm(gradient), 1e-12)


def _shorten(delta, epsilon):
    return delta * ops.minimum(1.0, epsilon / ops.maximum(_norm(delta), 1e-12))


def _norm(values):
    axes = tuple(range(1, len(values.shape)))
    return ops.sqrt(ops.sum(ops.square(values), axis=axes, keepdims=True))


def _clip(delta, epsilon):
    return ops.clip(delta, -epsilon, epsilon)


_STEPS = {
    "linf": functools.partial(_step, move=ops.sign, project=_clip),
    "l2": functools.partial(_step, move=_unit, project=_shorten),
}


def _uniform_cube(generator, shape):
    return generator.uniform(-1.0, 1.0, shape)


def _uniform_ball(generator, shape):
    """Uniform in the Euclidean unit ball: a uniform direction, U^(1/dimension) long."""
    direction = generator.standard_normal(shape)
    length = generator.random() ** (1 / direction.size)
    return direction * (length / np.linalg.norm(direction))


_UNIT_BALL = {"linf": _uniform_cube, "l2": _uniform_ball}


def _pad(batch, size):
    """Repeat the last sample until there are `size`."""
    return batch[np.minimum(np.arange(size), len(batch) - 1)]


def _padded_size(n, batch_size):
    """The smallest of batch_size / 8, 4, 2, 1 that holds n: few sizes are compiled, and
    a last batch that is nearly empty does not cost a full one."""
    sizes = (-(-batch_size // parts) for parts in (8, 4, 2, 1))
    return next(size for size in sizes if size >= n)


def _id(name, attack):
    kind = name if attack.norm == "linf" else f"{name}_{attack.norm}"
    return f"{kind}@{perturbations.format_severity(attack.epsilon)}"


def _check(attack):
    def refuse(what, received):
        raise ValueError(f"{what} Received: {received!r}")

    if attack.norm not in NORMS:
        refuse(f"`norm` must be one of {', '.join(NORMS)}.", attack.norm)
    if not (0 <= attack.epsilon < math.inf):
        refuse("`epsilon` must be a finite number, at least 0.", attack.epsilon)
    if not isinstance(attack.steps, int) or attack.steps < 1:
        refuse("`steps` must be an integer, at least 1.", attack.steps)
    if attack.step_size is not None and not (0 <= attack.step_size < math.inf):
        refuse("`step_size` must be a finite number, at least 0.", attack.step_size)
    if not isinstance(attack.restarts, int) or attack.restarts < 1:
        refuse("`restarts` must be an integer, at least 1.", attack.restarts)
    if attack.restarts > 1 and not attack.random_start:
        refuse("Restarts without a random start repeat each other.", attack.restarts)
