"""The NumPy side of PuzzleMix: which blocks of two images to keep, and where."""

import math

import numpy as np
from scipy.optimize import linear_sum_assignment

from nfm_keras.mixing.techniques import graphcut

# The published settings: the price of a cut between neighbours (BETA), the share of it
# that depends on the pixels on its sides (GAMMA), the weight of the prior (ETA), the
# price of moving a block over the whole image (TRANSPORT).
BETA, GAMMA, ETA, TRANSPORT = 1.2, 0.5, 0.2, 0.8
_EDGE = 4  # pixels: those that are compared at a cut are means over so many
_TINY = 1e-8


def solve(images, saliency, partner, lam, grid):
    """Cuts and moves the blocks of a batch of pairs.

    Args:
        images: float32 `(batch, height, width, channels)` in [0, 1].
        saliency: `(batch, height, width)`, not negative; of every image.
        partner: `(batch,)`, the image that each is mixed with.
        lam: Scalar or `(batch,)`, how much of the image its prior wants to keep.
        grid: Blocks a side; divides height and width.

    Returns:
        `(mask, first, second)`: mask `(batch, height, width, 1)` of 1, 1/2 and 0, 1
        where the image is kept; `(batch, height * width)` numbers of the pixels, in the
        image and in its partner, that come to each place (`move`).

    Example:

    >>> rng = np.random.default_rng(0)
    >>> images, saliency = rng.random((4, 8, 8, 3)), rng.random((4, 8, 8))
    >>> mask, first, second = solve(images, saliency, np.array([1, 0, 3, 2]), 0.5, 2)
    >>> mask.shape, first.shape
    ((4, 8, 8, 1), (4, 64))
    """
    unary = _normalised(pool(saliency, grid))
    labels = graphcut.solve(*energy(images, unary, partner, lam, grid))
    mask = 1 - labels / 2
    plans = transport(unary, mask > 0), transport(unary[partner], mask < 1)
    height, width = images.shape[1:3]
    mask = mask.repeat(height // grid, axis=1).repeat(width // grid, axis=2)
    return mask[..., None], *(_pixels(plan, grid, height, width) for plan in plans)


def energy(images, unary, partner, lam, grid):
    """Returns the energy of a batch of pairs, as `graphcut.solve` takes it.

    Label 0 keeps the image and pays the saliency of its partner, label 2 the reverse,
    label 1 both by half.

    Args:
        images: As in `solve`.
        unary: Saliency of the blocks, `(batch, grid, grid)`, sum 1 an image.
        partner: As in `solve`.
        lam: As in `solve`.
        grid: As in `solve`.

    Returns:
        `(unaries, right, down)`.
    """
    price = BETA / grid / 16
    keep, drop = unary[partner].copy(), unary.copy()  # cost of mask 1 and of mask 0
    weights = []
    for axis in (2, 1):
        # [a][b]: the cell before the cut shows image a, that after it image b; 1 is
        # the image, 0 its partner.
        (p00, p01), (p10, p11) = GAMMA * price * _penalties(images, partner, grid, axis)
        before, after = _sides(axis)
        # What is linear in the mask goes to the cells, half to each side.
        keep[before] += (p10 + p11) / 2
        drop[before] += (p00 + p01) / 2
        keep[after] += (p01 + p11) / 2
        drop[after] += (p00 + p10) / 2
        # Positive, since GAMMA < 1 and pixels lie in [0, 1].
        weights.append(price + (p10 + p01 - p00 - p11) / 2)
    prior = ETA / grid**2 * _prior(lam)
    unaries = [(1 - t) * keep + t * drop + p for t, p in zip((0, 0.5, 1), prior)]
    return np.stack(unaries), *weights


def transport(unary, used):
    """Chooses for every block that is used the one that comes there, at best.

    Minimises the sum over used blocks of `TRANSPORT` times the squared distance (1
    along a side of the image) less the saliency of what comes, no block coming twice.

    Args:
        unary: `(batch, grid, grid)` saliency of the blocks.
        used: bool array of that shape, where the mask shows the image.

    Returns:
        int array `(batch, grid * grid)`: the block that comes to each place; blocks
        that are not used stay.
    """
    batch, grid, _ = unary.shape
    side = np.arange(grid) / (grid - 1)
    rows, columns = (x.ravel() for x in np.meshgrid(side, side, indexing="ij"))
    apart = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    plan = np.tile(np.arange(grid * grid), (batch, 1))
    for own, gain, to in zip(plan, unary.reshape(batch, -1), used.reshape(batch, -1)):
        own[to] = linear_sum_assignment(TRANSPORT * apart[to] - gain)[1]
    return plan


def pool(values, grid):
    """Returns means over the blocks of a grid.

    Args:
        values: Array `(batch, height, width)`.
        grid: Blocks a side; divides height and width.

    Returns:
        float64 array `(batch, grid, grid)`.
    """
    batch, height, width = values.shape
    blocks = (batch, grid, height // grid, grid, width // grid)
    return values.reshape(blocks).mean((2, 4), dtype="float64")


def _normalised(unary):
    """Saliency of sum 1 an image."""
    # Gradients that underflow are no saliency at all: then every block counts alike.
    total = unary.sum((1, 2), keepdims=True)
    even = np.full_like(unary, 1 / unary[0].size)
    return np.where(total > 0, unary / np.where(total > 0, total, 1), even)


def _prior(lam):
    """-log of the binomial law of the labels, `(3, batch or 1, 1, 1)`."""
    lam = np.reshape(np.asarray(lam, "float64"), (-1, 1, 1))
    law = np.stack([lam**2, 2 * lam * (1 - lam), (1 - lam) ** 2])
    return -np.log(law + _TINY)


def _penalties(images, partner, grid, axis):
    """Mean absolute differences over the cuts, `(2, 2, batch, ...)`."""
    if axis == 2:
        turned = _penalties(np.swapaxes(images, 1, 2), partner, grid, 1)
        return np.swapaxes(turned, 3, 4)
    batch, height, width, channels = images.shape
    # Rounded down to what divides a block, where the published code would fail.
    tall, wide = (math.gcd(length // grid, _EDGE) for length in (height, width))
    means = images.reshape(batch, height // tall, tall, width // wide, wide, channels)
    means = means.mean((2, 4))
    steps = height // grid // tall
    before, after = means[:, steps - 1 : -1 : steps], means[:, steps::steps]
    pairs = [
        [abs(a - b).mean(-1) for b in (after[partner], after)]
        for a in (before[partner], before)
    ]
    differences = np.array(pairs, "float64")
    return differences.reshape(2, 2, batch, grid - 1, grid, -1).mean(-1)


def _sides(axis):
    """The cells before and after the cuts across an axis."""
    whole = (slice(None),) * axis
    return (*whole, slice(None, -1)), (*whole, slice(1, None))


def _pixels(plan, grid, height, width):
    """Plans of blocks as plans of pixels, int32 `(batch, height * width)`."""
    tall, wide = height // grid, width // grid
    corners = (plan // grid * tall * width + plan % grid * wide).reshape(
        len(plan), grid, 1, grid, 1
    )
    within = np.arange(tall)[:, None, None] * width + np.arange(wide)
    return (corners + within).reshape(len(plan), -1).astype("int32")
