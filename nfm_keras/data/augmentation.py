"""AutoAugment and RandAugment: image operations drawn for every image by itself.

In NumPy, on the host, for two reasons. An image meets few of the operations, and here
each is done to those images of a batch that drew it and to no others; and what an image
becomes depends on (seed, epoch, index) alone, whatever the batch, its order and the
Keras backend, so that a run can be resumed. Neither Keras nor KerasCV has AutoAugment.
Their RandAugment goes on from a state that is not saved with a model, and Keras' does
the same operations to a whole batch, up to half a turn.
"""

import itertools
import types
from typing import NamedTuple

import numpy as np

from nfm_keras.checks import unknown
from nfm_keras.data.images import image_generators

GREY = 128
"""What is beyond an image, in all channels."""


class Step(NamedTuple):
    """An operation that may be done to an image.

    Attributes:
        operation: One of `OPERATIONS`.
        probability: That it is done.
        strength: In [0, 1], share of the operation's largest.
    """

    operation: str
    probability: float
    strength: float


class Policy(NamedTuple):
    """What is done to an image: one of the chains, drawn uniformly, a few times over.

    Attributes:
        chains: Each a tuple of steps, done in order; all of one length.
        rounds: How many chains are drawn, one after the other, for an image.
    """

    chains: tuple[tuple[Step, ...], ...]
    rounds: int = 1


def augment(images, policy, seed, epoch, indices):
    """Does to each image what the policy draws for it.

    Largest changes: a shear of 0.3, a shift of 150/331 of the image, a turn of 30
    degrees, each in a random direction, to the nearest pixel and with `GREY` beyond the
    image; colour, contrast, brightness and sharpness times 0.1 or 1.9, at random; 4 of
    8 bits left by posterize; all grey levels inverted by solarize. Equalize,
    autocontrast and invert know no strength.

    Args:
        images: uint8 `(batch, height, width, channels)` of 1 or 3 channels.
        policy: A `Policy`.
        seed: Integer.
        epoch: Integer.
        indices: `(batch,)` index of each image in its set.

    Returns:
        A new array like `images`.

    Raises:
        ValueError: For other images.

    Example:

    >>> images = np.zeros((2, 32, 32, 3), "uint8")
    >>> augment(images, POLICIES["autoaugment"], 0, 0, [0, 1]).shape
    (2, 32, 32, 3)

    Reference:
        [Cubuk et al., 2019](https://arxiv.org/abs/1805.09501), table 6 for the
        operations and table 7 for the policy;
        [Cubuk et al., 2020](https://arxiv.org/abs/1909.13719).
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.dtype != np.uint8:
        raise ValueError(
            "A policy must be given uint8 images of 1 or 3 channels. "
            f"Received: {images.dtype} of shape {images.shape}"
        )
    images, steps = images.copy(), len(policy.chains[0])
    operations, probabilities, strengths = _columns(policy)
    generators = image_generators(seed, "policy", indices, int(epoch))
    u = np.stack([g.random((policy.rounds, 1 + 2 * steps)) for g in generators], -1)
    for which, *coins in u:
        chain = (which * len(policy.chains)).astype(int)
        for step in range(steps):
            done = coins[step] < probabilities[chain, step]
            sign = np.where(coins[steps + step] < 0.5, -1.0, 1.0)
            names = np.where(done, operations[chain, step], "")
            _operate(images, names, sign * strengths[chain, step])
    return images


def lookup(policy: str) -> Policy:
    """Returns the `Policy` of a name.

    Raises:
        ValueError: For an unknown name.
    """
    if policy not in POLICIES:
        raise unknown("policy", policy, POLICIES)
    return POLICIES[policy]


def _columns(policy):
    """Operations, probabilities and strengths, each `(chains, steps)`."""
    columns = zip(*itertools.chain.from_iterable(policy.chains))
    return [np.array(column).reshape(len(policy.chains), -1) for column in columns]


def _operate(images, names, strength):
    """Changes `images` in place; the empty name is no operation."""
    for name in set(names.tolist()) - {""}:
        chosen = np.flatnonzero(names == name)
        images[chosen] = OPERATIONS[name](images[chosen], strength[chosen])


# An operation is a function of uint8 images and of their strengths, which are in
# [-1, 1] where it has two directions. Each does what the Python imaging library does,
# in terms of which the policies are published, its rounding included.


def _move(images, matrix):
    """Takes each pixel from `matrix @ (column, row, 1)`, of the centres of pixels."""
    count, height, width, _ = images.shape
    start = matrix @ [[0.5], [0.5], [1.0]]
    # In 1/65536 of a pixel, as that library; else what lies halfway goes elsewhere.
    matrix = np.concatenate([matrix[..., :2], start], -1) * (1 << 16) + 0.5
    row, column = np.mgrid[:height, :width]
    places = np.stack([column, row, np.ones_like(row)]).reshape(3, -1)
    x, y = (np.floor(matrix).astype(int) @ places >> 16).swapaxes(0, 1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    at = np.arange(count)[:, None], y.clip(0, height - 1), x.clip(0, width - 1)
    return np.where(inside[..., None], images[at], GREY).reshape(images.shape)


def _slant(images, strength, row, column, size):
    matrix = np.tile(np.eye(2, 3), (len(images), 1, 1))
    matrix[:, row, column] += size * strength
    return _move(images, matrix)


def _shear_x(images, strength):
    return _slant(images, strength, 0, 1, 0.3)


def _shear_y(images, strength):
    return _slant(images, strength, 1, 0, 0.3)


def _translate_x(images, strength):
    return _slant(images, strength, 0, 2, images.shape[2] * 150 / 331)


def _translate_y(images, strength):
    return _slant(images, strength, 1, 2, images.shape[1] * 150 / 331)


def _rotate(images, strength):
    angle = np.radians(30 * strength)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.stack([cos, -sin, sin, cos], -1).reshape(-1, 2, 2)
    centre = np.array([[images.shape[2] / 2], [images.shape[1] / 2]])
    return _move(images, np.concatenate([turn, centre - turn @ centre], -1))


def _blend(images, plain, strength):
    """Away from the plain image, or towards it."""
    factor = (1 + 0.9 * strength).astype("float32")[:, None, None, None]
    plain = plain.astype("float32")
    return np.clip(plain + factor * (images - plain), 0, 255).astype("uint8")


def _grey(images):
    if images.shape[-1] == 1:
        return images
    weights = np.array([19595, 38470, 7471])
    return ((images @ weights + (1 << 15)) >> 16)[..., None]


def _color(images, strength):
    return _blend(images, _grey(images), strength)


def _contrast(images, strength):
    mean = _grey(images).mean((1, 2, 3), keepdims=True)
    return _blend(images, np.floor(mean + 0.5), strength)


def _brightness(images, strength):
    return _blend(images, np.zeros(1), strength)


def _sharpness(images, strength):
    wide, smooth = images.astype("int16"), images.copy()
    rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    total += 4 * wide[:, 1:-1, 1:-1]
    # Thirteenths, rounded. The border stays, as it does in the imaging library.
    smooth[:, 1:-1, 1:-1] = (2 * total + 13) // 26
    return _blend(images, smooth, strength)


def _posterize(images, strength):
    dropped = np.round(4 * abs(strength)).astype("uint8")[:, None, None, None]
    return images >> dropped << dropped


def _solarize(images, strength):
    threshold = 256 * (1 - abs(strength))[:, None, None, None]
    return np.where(images < threshold, images, 255 - images)


def _invert(images, strength):
    return 255 - images


def _autocontrast(images, strength):
    low = images.min((1, 2), keepdims=True).astype(float)
    high = images.max((1, 2), keepdims=True)
    scale = 255 / np.maximum(high - low, 1)
    stretched = np.clip(images * scale - low * scale, 0, 255).astype("uint8")
    return np.where(high > low, stretched, images)


def _equalize(images, strength):
    count, height, width, channels = images.shape
    levels = images.transpose(0, 3, 1, 2).reshape(count * channels, -1)
    first = 256 * np.arange(len(levels))[:, None]
    counts = np.bincount((levels + first).ravel(), minlength=256 * len(levels))
    counts = counts.reshape(-1, 256)
    brightest = np.take_along_axis(counts, levels.max(1, keepdims=True), 1)
    step = (height * width - brightest) // 255
    ranks = np.cumsum(counts, 1) - counts
    ranks = np.minimum((step // 2 + ranks) // np.maximum(step, 1), 255)
    tables = np.where(step > 0, ranks, np.arange(256)).astype("uint8")
    found = np.take_along_axis(tables, levels, 1)
    return found.reshape(count, channels, height, width).transpose(0, 2, 3, 1)


OPERATIONS = {
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "rotate": _rotate,
    "color": _color,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "invert": _invert,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}

# Operation, probability and magnitude, of which 9 is the largest, twice a line.
_CIFAR10 = """
invert        0.1 7  contrast      0.2 6
rotate        0.7 2  translate_x   0.3 9
sharpness     0.8 1  sharpness     0.9 3
shear_y       0.5 8  translate_y   0.7 9
autocontrast  0.5 8  equalize      0.9 2
shear_y       0.2 7  posterize     0.3 7
color         0.4 3  brightness    0.6 7
sharpness     0.3 9  brightness    0.7 9
equalize      0.6 5  equalize      0.5 1
contrast      0.6 7  sharpness     0.6 5
color         0.7 7  translate_x   0.5 8
equalize      0.3 7  autocontrast  0.4 8
translate_y   0.4 3  sharpness     0.2 6
brightness    0.9 6  color         0.2 8
solarize      0.5 2  invert        0.0 3
equalize      0.2 0  autocontrast  0.6 0
equalize      0.2 8  equalize      0.6 4
color         0.9 9  equalize      0.6 6
autocontrast  0.8 4  solarize      0.2 8
brightness    0.1 3  color         0.7 0
solarize      0.4 5  autocontrast  0.9 3
translate_y   0.9 9  translate_y   0.7 9
autocontrast  0.9 2  solarize      0.8 3
equalize      0.8 8  invert        0.1 3
translate_y   0.7 9  autocontrast  0.9 1
"""


def _chains(table):
    lines = [line.split() for line in table.split("\n") if line]
    return tuple(
        tuple(Step(line[i], float(line[i + 1]), int(line[i + 2]) / 9) for i in (0, 3))
        for line in lines
    )


# Of 14, the identity among them: that is what invert, never done, stands for.
_ANY = tuple((Step(name, float(name != "invert"), 0.9),) for name in OPERATIONS)

POLICIES = types.MappingProxyType(
    {
        "autoaugment": Policy(_chains(_CIFAR10)),
        "randaugment": Policy(_ANY, rounds=2),
    }
)
"""`autoaugment` is the one found on CIFAR-10, `randaugment` two operations of any kind
at nine tenths of their strength."""
