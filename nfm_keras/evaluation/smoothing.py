"""Certified l2 robustness by randomised smoothing.

Around an image x, the smoothed classifier

    g(x) = the class that f(x + e) is most likely to give,  e ~ N(0, sigma^2 I)

is provably constant within l2 distance R = sigma * Phi^-1(p) of x, if f gives that
class with probability p > 1/2. No attack can do better than R says, whichever way f was
trained. But it is g that is certified, not f; f keeps its accuracy under the noise, and
g has something to certify, only if f was trained with noise.

sigma, radii and distances are in units of [0,1] pixels, over all pixels and channels
together. Noise that a network adds to itself after normalising is a fraction of that:
sigma = 0.1 on images with a standard deviation of 0.25 is 0.025 here. The noisy images
are not clipped to [0,1], since the theorem is about the Gaussian.

Reference: J. Cohen, E. Rosenfeld, Z. Kolter, *Certified adversarial robustness via
randomized smoothing*, ICML 2019.
"""

import dataclasses
import itertools
import math

import numpy as np
import scipy.special

from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.backend.random import check_seed
from nfm_keras.checks import check_count
from nfm_keras.data.images import as_images, image_generators
from nfm_keras.data.labels import check_labels, check_logits
from nfm_keras.evaluation.comparison import sign_test

ABSTAIN = -1
"""The prediction where the noise leaves open which class is the most likely."""


@dataclasses.dataclass(frozen=True)
class Certification:
    """What `certify` measured. Each radius holds with probability 1 - alpha.

    Args:
        sigma: float. Standard deviation of the noise, in units of [0,1] pixels.
        n0, n: ints. Noisy copies of an image to choose a class, and to certify it.
        alpha: float. Probability that a radius is too large.
        predictions: `(images,)` int64. Class, or -1 where the classifier abstains.
        radii: `(images,)` float64. Certified l2 radius, in units of [0,1] pixels; 0
            where the classifier abstains.
        correct: `(images,)` bool. Whether the prediction is the label.
    """

    sigma: float
    n0: int
    n: int
    alpha: float
    predictions: np.ndarray
    radii: np.ndarray
    correct: np.ndarray

    @property
    def max_radius(self):
        """The largest radius that so many copies can certify, when all of them agree.

        sigma * Phi^-1(alpha^(1/n)): 2.46 sigma for n = 1000 and alpha = 0.001.
        """
        unanimous = _lower_bound(self.n, self.n, self.alpha)
        return float(self.sigma * scipy.special.ndtri(unanimous))

    def certified_accuracy(self, radius):
        """Returns the share of images that are right and certified, in percent.

        Args:
            radius: float, l2, in units of [0,1] pixels.

        Raises:
            ValueError: negative or not a number.
        """
        if not radius >= 0:
            raise ValueError(f"`radius` must be at least 0. Received: {radius!r}")
        return 100.0 * float(np.mean(self.correct & (self.radii >= radius)))


def certify(
    classifier,
    images,
    labels,
    *,
    sigma,
    n0=100,
    n=1000,
    alpha=0.001,
    seed=0,
    batch_size=250,
    indices=None,
):
    """Certifies the smoothed classifier around each image.

    The class is the most frequent one of `n0` noisy copies. Of `n` fresh copies, k are
    given that class; p is the lower end of the one-sided Clopper-Pearson interval of
    k / n, and the radius sigma * Phi^-1(p), or the classifier abstains where p < 1/2.

    Args:
        classifier: Keras model or callable from images to logits `(batch, classes)`,
            or a `nfm_keras.backend.classifier.PlainClassifier`.
        images: `(images, height, width, channels)`, uint8 or float in [0,1].
        labels: `(images,)` integers.
        sigma: float. Standard deviation of the noise, in units of [0,1] pixels.
        n0: int. Copies of each image to choose its class.
        n: int. Copies of each image to certify it; the paper has 100,000. The forward
            passes are `n0 + n` for each image.
        alpha: float. Probability that a radius is too large, for each image by itself.
        seed: int. The noise of an image is drawn from (seed, index) alone and scaled
            by sigma, so that classifiers and levels meet the same noise.
        batch_size: int. Copies in a batch, which several images may share.
        indices: `(images,)` index of each image in its data set, by default 0, 1, ...

    Returns:
        A `Certification`.

    Raises:
        ValueError: bad images or labels, logits that are not finite or of one class,
            `sigma` not positive, `n0` or `n` below 1, `alpha` not between 0 and 1, a
            `seed` that is no integer, a module in training mode.

    Example:

    >>> from keras import ops
    >>> classifier = lambda images: ops.concatenate([images, 0.6 - images], axis=1)
    >>> images = np.array([[0.2], [0.3]], "float32")  # 0.1 from the boundary, and on it
    >>> found = certify(classifier, images, [1, 1], sigma=0.1)
    >>> found.predictions.tolist(), found.certified_accuracy(0.05)
    ([1, -1], 50.0)

    Reference: Cohen et al. (2019), algorithm `Certify`, theorem 1 and proposition 2.
    """
    sampler = _Sampler(classifier, images, sigma, alpha, seed, batch_size, indices)
    labels = check_labels(labels, len(sampler.images))  # before it takes its time
    check_count("n0", n0)
    check_count("n", n)
    votes = sampler.counts("smoothing/choose", n0)
    labels, chosen = check_labels(labels, *votes.shape), votes.argmax(axis=1)
    # Fresh noise: the copies that chose the class would flatter it.
    counts = sampler.counts("smoothing/certify", n)
    lower = _lower_bound(counts[np.arange(len(chosen)), chosen], n, alpha)
    predictions = np.where(lower >= 0.5, chosen, ABSTAIN)
    radii = np.where(lower >= 0.5, sigma * scipy.special.ndtri(lower), 0.0)
    correct = predictions == labels
    return Certification(float(sigma), n0, n, alpha, predictions, radii, correct)


def predict(
    classifier,
    images,
    *,
    sigma,
    n=1000,
    alpha=0.001,
    seed=0,
    batch_size=250,
    indices=None,
):
    """Returns the class of the smoothed classifier, or that noise leaves it open.

    Of n noisy copies, the two most frequent classes have k_1 and k_2; a two-sided
    binomial test with p value above `alpha` that they are equally likely abstains.

    Args:
        classifier, images, sigma, seed, batch_size, indices: as for `certify`.
        n: int. Noisy copies of each image.
        alpha: float. Probability of a class that is not that of the smoothed
            classifier, for each image by itself.

    Returns:
        `(images,)` int64: classes, or -1 for abstention.

    Raises:
        ValueError: as `certify`.

    Example:

    >>> from keras import ops
    >>> classifier = lambda images: ops.concatenate([images, 0.6 - images], axis=1)
    >>> predict(classifier, np.array([[0.2], [0.3]]), sigma=0.1).tolist()
    [1, -1]

    Reference: Cohen et al. (2019), algorithm `Predict` and proposition 1.
    """
    sampler = _Sampler(classifier, images, sigma, alpha, seed, batch_size, indices)
    check_count("n", n)
    counts = sampler.counts("smoothing/predict", n)
    second, first = np.sort(counts, axis=1)[:, -2:].T
    certain = sign_test(first, second) <= alpha
    return np.where(certain, counts.argmax(axis=1), ABSTAIN)


class _Sampler:
    """A compiled classifier and images, of which noisy copies are classified."""

    def __init__(self, classifier, images, sigma, alpha, seed, batch_size, indices):
        self.classifier = PlainClassifier(classifier)
        self.images = as_images(images)
        if not 0 < sigma < math.inf:
            raise ValueError(
                "`sigma` must be a positive number, in units of [0,1] pixels. "
                f"Received: {sigma!r}"
            )
        if not 0 < alpha < 1:
            raise ValueError(f"`alpha` must lie between 0 and 1. Received: {alpha!r}")
        check_count("batch_size", batch_size)
        self.sigma, self.batch_size = sigma, batch_size
        self.seed = check_seed(seed)
        self.indices = range(len(self.images)) if indices is None else indices
        if len(self.indices) != len(self.images):
            raise ValueError(
                f"`indices` must have one index for each of the {len(self.images)} "
                f"images. Received: {len(self.indices)}"
            )

    def counts(self, stream, n):
        """Returns how often n noisy copies get each class: `(images, classes)`."""
        noises, counts = self.noises(stream, n), None
        total = len(self.images) * n
        for first in range(0, total, self.batch_size):
            owners = np.arange(first, min(first + self.batch_size, total)) // n
            noise = np.stack(list(itertools.islice(noises, len(owners))))
            noisy = self.images[owners] + np.float32(self.sigma) * noise
            logits = self.logits(noisy, min(total, self.batch_size))
            if counts is None:
                counts = np.zeros((len(self.images), logits.shape[1]), "int64")
            np.add.at(counts, (owners, logits.argmax(axis=1)), 1)
        return counts

    def noises(self, stream, n):
        """Yields standard normal noise, n times for one image and then for the next."""
        shape = self.images.shape[1:]
        generators = image_generators(self.seed, stream, self.indices)
        for generator in generators:
            for _ in range(n):
                yield generator.standard_normal(shape, dtype="float32")

    def logits(self, noisy, size):
        return check_logits(self.classifier.logits_of(noisy, size), len(noisy))


def _lower_bound(successes, n, alpha):
    """Lower end of the one-sided Clopper-Pearson interval of a probability."""
    # The alpha quantile of Beta(k, n - k + 1); 0 for k = 0, where that is no law.
    successes = np.asarray(successes)
    bound = scipy.special.betaincinv(np.maximum(successes, 1), n - successes + 1, alpha)
    return np.where(successes == 0, 0.0, bound)
