"""What the gradient-masking checks share: a classifier, images, attacks done once.

An attack is judged by the margins that it leaves: logit of the label minus the largest
other one, on the worst point that it visits, which for a broken image is the first one
that is misclassified. It is positive where the image is still right, and tells two
attacks apart where neither breaks an image.
"""

import functools

import numpy as np
from keras import ops

from nfm_keras import attacks
from nfm_keras.attacks import losses
from nfm_keras.attacks.attack import prepared
from nfm_keras.attacks.pgd import STEPS
from nfm_keras.attacks.square import SquareSearch
from nfm_keras.backend.classifier import padded_size
from nfm_keras.backend.random import check_seed
from nfm_keras.checks import check_count
from nfm_keras.data.images import as_images, image_generators
from nfm_keras.data.labels import check_labels

EVERYTHING = 0.5
"""The epsilon that turns every image into plain grey, where no robustness is left."""

HALVINGS = 8
"""How often a radius is halved, at most, to leave images that are right."""

DIRECTIONS = 8
"""Random directions in which the slope of an image is measured."""


class Examined:
    """A compiled classifier, checked images, and what attacks leave of their margins.

    Args:
        classifier: `PlainClassifier`.
        images, labels: As in `masking_report`.
        epsilons: tuple of float, the radii that robustness is claimed for.
        seed, batch_size: ints.

    Raises:
        ValueError: For bad arguments, or logits of a wrong shape.
    """

    def __init__(self, classifier, images, labels, epsilons, seed, batch_size):
        for epsilon in epsilons:
            if not 0 < epsilon < EVERYTHING:
                raise ValueError(
                    f"`epsilon` must lie between 0 and {EVERYTHING}. "
                    f"Received: {epsilon!r}"
                )
        check_count("batch_size", batch_size)
        self.classifier, self.images = classifier, as_images(images)
        self.attacked = tuple(sorted(set(epsilons)))
        self.seed, self.batch_size = check_seed(seed), batch_size
        self.logits = self.forward(self.images)
        if self.logits.ndim != 2:
            raise ValueError(
                "The classifier must give logits of shape (batch, classes). "
                f"Received: shape {self.logits.shape}"
            )
        n, classes = self.logits.shape
        self.labels = check_labels(labels, n, classes)
        self.margins = margins(self.logits, self.labels)
        self.right = self.margins > 0
        self.walked = functools.cache(self._walked)

    def map(self, run, *arrays):
        """Returns the rows of `run(*arrays)`, in batches filled up to few sizes.

        Where it returns several arrays, the rows of each.
        """
        n, rows = len(arrays[0]), []
        for first in range(0, n, self.batch_size):
            size = padded_size(min(n - first, self.batch_size), self.batch_size)
            where = np.minimum(first + np.arange(size), n - 1)
            found = run(*(array[where] for array in arrays))
            several = isinstance(found, tuple)
            found = found if several else (found,)
            rows.append([ops.convert_to_numpy(part)[: n - first] for part in found])
        joined = [np.concatenate(part) for part in zip(*rows, strict=True)]
        return joined if several else joined[0]

    def forward(self, images):
        """Returns the logits of images."""
        return self.map(self.classifier.logits, images)

    @functools.cached_property
    def radii(self):
        """The radii of the report: those attacked, and one at which images are left.

        Where all images are broken, two attacks are equal whatever they are worth.
        """
        smallest = self.attacked[0]
        for _ in range(HALVINGS):
            left = self.right & (self.walked(smallest, 10) > 0)
            if 2 * left.sum() >= self.right.sum():
                break
            smallest /= 2
        return tuple(sorted({smallest, *self.attacked}))

    def _walked(self, epsilon, steps):
        """Returns the margins `(n,)` that PGD leaves; with one step those of FGSM.

        Where it breaks an image, the margin at its first misclassified point.
        """
        one = attacks.FGSM(epsilon).pgd
        attack = one if steps == 1 else attacks.PGD(epsilon, steps=steps)
        run = self.classifier.compiled(STEPS["ce", attack.norm])
        sizes = np.float32(attack.epsilon), np.float32(attack.step_size)

        def step(points, images, labels):
            return run(points, images, labels, labels, *sizes)[:2]

        least, left = self.margins.copy(), np.flatnonzero(self.right)
        points = attack.start(self.images[left], left, self.seed)
        for number in range(attack.steps + 1):
            if not len(left):
                break
            if number < attack.steps:
                given = points, self.images[left], self.labels[left]
                points, logits = self.map(step, *given)
            else:
                logits = self.forward(points)
            found = margins(logits, self.labels[left])
            least[left] = np.minimum(least[left], found)
            stands = least[left] > 0
            points, left = points[stands], left[stands]
        return least

    def searched(self, epsilon, where, queries):
        """Returns the margins that Square leaves of some images.

        Args:
            epsilon: float.
            where: indices of the images, `(count,)`.
            queries: int.

        Returns:
            `(count,)` floats; what is broken is not searched any further.
        """
        images, labels = self.images[where], self.labels[where]
        given = prepared(self.classifier, images, labels, where)
        # The report says itself what an attack by itself would refuse or warn of.
        square = _Farthest(epsilon, queries=queries)
        result, _ = square.attacked(given, self.seed, self.batch_size)
        found = margins(self.forward(result.images), labels)
        return np.minimum(found, self.margins[where])

    def foreseen(self, size):
        """Returns how much of the effect of random steps the gradient foresees.

        Args:
            size: float. Length of a step in every pixel, up or down.

        Returns:
            `(n,)` floats, 1 - sum (effect - gradient * step)^2 / sum effect^2: 1 for
            all of it, 0 for nothing; NaN where the steps have no effect.
        """
        centres = np.clip(self.images, size, 1 - size)
        slope, labels = self.classifier.compiled(_gradient), self.labels
        gradient = self.map(slope, centres, labels).reshape(len(labels), -1)
        loss = functools.partial(self.map, self.classifier.compiled(_loss))
        missed = total = 0.0
        for signs in self._directions():
            steps = np.float32(size) * signs
            effect = (loss(centres + steps, labels) - loss(centres - steps, labels)) / 2
            told = np.einsum("nd,nd->n", gradient, steps.reshape(gradient.shape))
            missed, total = missed + (effect - told) ** 2, total + effect**2
        rounding = DIRECTIONS * (1e-6 * np.abs(self.logits).max(axis=1)) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(total > rounding, 1 - missed / total, np.nan)

    def _directions(self):
        """Yields `(n, height, width, channels)` signs, an image its own."""
        everyone = range(len(self.images))
        for index in range(DIRECTIONS):
            drawn = image_generators(self.seed, "direction", everyone, index)
            yield np.stack(
                [
                    generator.choice(np.float32([-1, 1]), self.images.shape[1:])
                    for generator in drawn
                ]
            )


def margins(logits, labels):
    """Returns how far the label is ahead of the best other class, `(batch,)`.

    Args:
        logits: `(batch, classes)` array; what is not finite counts as broken.
        labels: `(batch,)` integers.

    Returns:
        `(batch,)` floats, above 0 where the label is predicted, also by a tie.

    Example:

    >>> margins(np.array([[1.0, 4.0, 2.0], [3.0, 1.0, np.nan]]), [1, 0]).tolist()
    [2.0, -inf]
    """
    logits, rows = np.asarray(logits, "float64"), np.arange(len(logits))
    others = logits.copy()
    others[rows, labels] = -np.inf
    ahead = logits[rows, labels] - others.max(axis=1)
    predicted = logits.argmax(axis=1) == labels  # the first of equal ones
    ahead = np.where(predicted & (ahead == 0), np.nextafter(0, 1), ahead)
    return np.where(np.isfinite(logits).all(axis=1), ahead, -np.inf)


class _Search(SquareSearch):
    def leave(self, where, points):
        super().leave(where, points)
        unbroken = ~self.broken[where]
        self.adversaries[where[unbroken]] = points[unbroken]


class _Farthest(attacks.Square):
    """Square that gives back the best point of an image that it does not break."""

    search = _Search


def _loss(classifier, images, labels):
    return losses.log_odds(classifier(images), labels)


def _gradient(classifier, images, labels):
    return losses.ascend(classifier, images, labels).gradient
