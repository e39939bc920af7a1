"""Noise that hits every value on its own: Gaussian, shot, impulse and speckle.

From uint8 to uint8 such a noise is a 256 x 256 table: the probability of each level
after, given the level before. One random number a value then draws from the exact law,
whatever it is, by the alias method: bucket b, and in it either b or the bucket's alias.

Reference: Walker, An Efficient Method for Generating Discrete Random Variables with
General Distributions, ACM TOMS 1977.
"""

import functools

import numpy as np
from scipy import special

_LEVELS = np.arange(256)


def gaussian_noise(images, generators, sigma):
    """Adds N(0, sigma^2), sigma in units of [0,1].

    Args:
        images: uint8 `(batch, height, width, channels)`.
        generators: one `np.random.Generator` an image.
        sigma: float > 0.

    Returns:
        uint8 array of the same shape.
    """
    return _draw(images, generators, _alias(gaussian_table, sigma))


def shot_noise(images, generators, photons):
    """Counts photons, `photons` on average at full brightness."""
    return _draw(images, generators, _alias(shot_table, photons))


def impulse_noise(images, generators, amount):
    """Sets a share `amount` of the values to 0 or 255, half each."""
    return _draw(images, generators, _alias(impulse_table, amount))


def speckle_noise(images, generators, sigma):
    """Adds N(0, sigma^2) times the value itself."""
    return _draw(images, generators, _alias(speckle_table, sigma))


def gaussian_table(sigma):
    """Returns the probability of each level after, given each level before.

    Args:
        sigma: float > 0, in units of [0,1].

    Returns:
        `(256, 256)` float64; the rows sum to 1.

    Example:

    >>> gaussian_table(0.1).sum(axis=1).round(9).min()
    np.float64(1.0)
    """
    return _normal_table(np.full(256, 255 * sigma))


def speckle_table(sigma):
    """Returns such a table for a deviation of sigma times the level."""
    return _normal_table(sigma * _LEVELS)


def impulse_table(amount):
    """Returns such a table for impulse noise."""
    table = np.eye(256) * (1 - amount)
    table[:, [0, 255]] += amount / 2
    return table


def shot_table(photons):
    """Returns such a table for shot noise: Poisson counts, cut off at `photons`."""
    counts = np.arange(photons)
    mean = photons * _LEVELS[:, None] / 255
    logarithm = special.xlogy(counts, mean) - mean - special.gammaln(counts + 1)
    table = np.zeros((256, 256))
    np.add.at(table.T, (counts / photons * 255).astype(int), np.exp(logarithm).T)
    table[:, 255] += np.maximum(1 - table.sum(axis=1), 0)
    return table


def _normal_table(deviations):
    # Level u after means u <= value < u + 1, for truncation, so the edges are 1 to 255.
    with np.errstate(divide="ignore"):  # black has no speckle: all edges are above it
        edges = (_LEVELS[1:] - _LEVELS[:, None]) / deviations[:, None]
    below = np.pad(special.ndtr(edges), ((0, 0), (1, 1)), constant_values=(0, 1))
    return np.diff(below, axis=1)


@functools.lru_cache(maxsize=32)
def _alias(table, parameter):
    """Returns a table as uint32 `(256 * 256,)`: 24 bits of threshold, 8 of alias."""
    left = table(parameter) * 256
    rows = np.arange(256)
    thresholds, aliases = np.empty_like(left), np.empty(left.shape, "uint32")
    done = np.zeros(left.shape, bool)
    for _ in range(256):  # the emptiest bucket of each row is filled from the fullest
        emptiest = np.where(done, np.inf, left).argmin(axis=1)
        fullest = np.where(done, -np.inf, left).argmax(axis=1)
        share = left[rows, emptiest]
        thresholds[rows, emptiest], aliases[rows, emptiest] = share, fullest
        left[rows, fullest] -= 1 - share
        done[rows, emptiest] = True
    thresholds = np.clip(thresholds * 2**24, 0, 2**24 - 1).astype("uint32")
    return (thresholds << 8 | aliases).ravel()


def _draw(images, generators, alias):
    bits = np.empty(images.shape, "uint32")
    for row, generator in zip(bits, generators, strict=True):
        row[...] = generator.integers(2**32, size=row.shape, dtype="uint32")
    buckets = bits & 255
    entries = alias.take((images.astype("uint32") << 8) | buckets)
    kept = bits >> 8 < entries >> 8
    return np.where(kept, buckets, entries & 255).astype("uint8")
