"""AugMix, drawn anew for every image, in the graph of the training step."""

import math

from keras import ops

from nfm_keras.backend import random

WIDTH, DEPTH, SEVERITY = 3, 3, 3.0
GEOMETRIC = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
TONAL = ("autocontrast", "equalize", "posterize", "solarize")
OPERATIONS = (*GEOMETRIC, *TONAL)
"""Those of the published code that no common corruption resembles."""


def augmix(images, key):
    """Mixes images with three chains of one to three random operations.

    Every image has chains, strengths and weights of its own. As published: weights
    Dirichlet(1, 1, 1), the share of the mix uniform, the strength of an operation
    U(0.1, 3) tenths of its largest (30 degrees, a shear of 0.3, a third of the image, 4
    bits, all grey levels). Operations act on 8-bit pixels, geometric ones bilinearly
    with black beyond the image.

    Args:
        images: float32 `(batch, height, width, channels)` in [0, 1].
        key: A key.

    Returns:
        Tensor like `images`.

    Example:

    >>> tuple(augmix(ops.zeros((2, 8, 8, 3)), random.key(0)).shape)
    (2, 8, 8, 3)

    Reference:
        [Hendrycks et al., 2020](https://arxiv.org/abs/1912.02781), algorithm 1.
    """
    batch, *shape = ops.shape(images)
    chains = ops.tile(to_bytes(images), (WIDTH, 1, 1, 1))
    u = random.uniform(random.fold(key, 0), (1 + 3 * DEPTH, WIDTH * batch))
    depth = ops.cast(ops.floor(u[0] * DEPTH), "int32") + 1
    for position in range(DEPTH):
        which, strength, sign = ops.unstack(u[1 + 3 * position : 4 + 3 * position])
        which = ops.cast(ops.floor(which * len(OPERATIONS)), "int32")
        which = ops.where(position < depth, which, -1)  # no operation
        strength = 0.1 * (0.1 + (SEVERITY - 0.1) * strength)
        chains = operate(chains, which, strength, ops.where(sign < 0.5, -1.0, 1.0))
    chains = ops.reshape(chains, (WIDTH, batch, *shape))
    u = random.uniform(random.fold(key, 1), (1 + WIDTH, batch, 1, 1, 1))
    # Exponential numbers over their sum have the law Dirichlet(1, ..., 1).
    weights = -ops.log(u[1:])
    mix = ops.sum(weights / ops.sum(weights, axis=0) * chains, axis=0) / 255
    return (1 - u[0]) * images + u[0] * mix


def to_bytes(images):
    """Returns images as whole numbers of 0 to 255.

    Args:
        images: float32 tensor in [0, 1].

    Returns:
        float32 tensor like it.
    """
    return ops.floor(ops.clip(images, 0.0, 1.0) * 255 + 0.5)


def operate(images, which, strength, sign):
    """Applies one operation to each image.

    Args:
        images: float32 `(batch, height, width, channels)`, whole numbers of 0 to 255.
        which: int32 `(batch,)`, index in `OPERATIONS`; -1 for none.
        strength: float32 `(batch,)` in [0, 1], share of the operation's largest.
        sign: float32 `(batch,)`, 1 or -1, for the geometric operations.

    Returns:
        Tensor like `images`.
    """
    tables = _tables(images, which, strength)
    return _warp(_look_up(tables, images), *_affine(images, which, strength, sign))


def _is(which, name):
    """Which images have the operation of that name."""
    return ops.equal(which, OPERATIONS.index(name))


def _look_up(tables, images):
    """Replaces grey levels: `tables` is `(batch, channels, 256)`."""
    batch, _, _, channels = ops.shape(images)
    first = ops.reshape(ops.arange(batch * channels) * 256, (batch, 1, 1, channels))
    at = ops.cast(images, "int32") + ops.cast(first, "int32")
    return ops.take(ops.reshape(tables, (-1,)), at, axis=0)


def _tables(images, which, strength):
    """What becomes of each grey level, `(batch, channels, 256)`."""
    level = ops.arange(256, dtype="float32")
    which, strength = which[:, None, None], strength[:, None, None]
    low = ops.min(images, axis=(1, 2))[..., None]
    high = ops.max(images, axis=(1, 2))[..., None]
    spread = ops.maximum(high - low, 1)
    stretched = ops.clip(ops.floor((level - low) * 255 / spread), 0, 255)
    tables = ops.where(_is(which, "autocontrast") & (high > low), stretched, level)
    tables = ops.where(_is(which, "equalize"), _equalized(images, level), tables)
    kept = 2 ** ops.floor(4 * strength)  # posterize: 4 bits, and this many fewer
    coarse = ops.floor(level / (16 * kept)) * (16 * kept)
    tables = ops.where(_is(which, "posterize"), coarse, tables)
    inverted = level >= 256 - ops.floor(256 * strength)
    return ops.where(_is(which, "solarize") & inverted, 255 - level, tables)


def _equalized(images, level):
    """Grey levels by rank, as the Python imaging library has it."""
    batch, height, width, channels = ops.shape(images)
    first = ops.arange(batch * channels, dtype="int32") * 256
    at = ops.cast(images, "int32") + ops.reshape(first, (batch, 1, 1, channels))
    at = ops.reshape(at, (-1,))
    counts = ops.segment_sum(ops.ones_like(at), at, num_segments=batch * channels * 256)
    counts = ops.reshape(ops.cast(counts, "float32"), (batch, channels, 256))
    below = ops.cumsum(counts, axis=-1) - counts
    last = ops.where(below + counts == height * width, counts, 0.0)
    step = ops.floor((height * width - ops.max(last, axis=-1, keepdims=True)) / 255)
    ranked = ops.floor((ops.floor(step / 2) + below) / ops.maximum(step, 1))
    return ops.where(step > 0, ops.minimum(ranked, 255.0), level)


def _affine(images, which, strength, sign):
    """Matrix and offset from a place in the result to its source, in pixels.

    Coordinates are (column, row) of the centres of pixels, the first at 1/2.
    """
    _, height, width, _ = ops.shape(images)

    def when(name, size):
        return ops.where(_is(which, name), sign * size, 0.0)

    angle = when("rotate", ops.floor(30 * strength) * (-math.pi / 180))
    cos, sin = ops.cos(angle), ops.sin(angle)
    along = when("translate_x", ops.floor(width / 3 * strength))
    down = when("translate_y", ops.floor(height / 3 * strength))
    x, y = width / 2, height / 2  # the centre, about which it turns
    matrix = (
        (cos, sin + when("shear_x", 0.3 * strength)),
        (when("shear_y", 0.3 * strength) - sin, cos),
    )
    return matrix, (x - cos * x - sin * y + along, y + sin * x - cos * y + down)


def _warp(images, matrix, offset):
    """Samples images bilinearly, black beyond them."""
    batch, height, width, channels = ops.shape(images)
    rows = ops.reshape(ops.arange(height, dtype="float32") + 0.5, (1, -1, 1))
    columns = ops.reshape(ops.arange(width, dtype="float32") + 0.5, (1, 1, -1))
    (a, b), (c, d) = (tuple(m[:, None, None] for m in row) for row in matrix)
    x = a * columns + b * rows + (offset[0] - 0.5)[:, None, None]
    y = c * columns + d * rows + (offset[1] - 0.5)[:, None, None]
    # With a border of black a place beyond the image may be moved onto the border.
    x = ops.clip(x, -1.0, width) + 1
    y = ops.clip(y, -1.0, height) + 1
    left = ops.minimum(ops.floor(x), width)
    top = ops.minimum(ops.floor(y), height)
    x, y = (x - left)[..., None], (y - top)[..., None]
    padded = ops.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    flat = ops.reshape(padded, (-1, channels))
    row = width + 2
    first = ops.arange(batch, dtype="int32")[:, None, None] * (height + 2) * row
    at = first + ops.cast(top, "int32") * row + ops.cast(left, "int32")
    upper = (1 - x) * ops.take(flat, at, axis=0) + x * ops.take(flat, at + 1, axis=0)
    lower = (1 - x) * ops.take(flat, at + row, axis=0) + x * ops.take(
        flat, at + row + 1, axis=0
    )
    return ops.floor((1 - y) * upper + y * lower + 0.5)
