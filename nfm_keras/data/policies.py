"""What AutoAugment and RandAugment draw from: tables of operations."""

import types
from typing import NamedTuple

from nfm_keras.checks import unknown

NAMES = (
    *("shear_x", "shear_y", "translate_x", "translate_y", "rotate"),
    *("color", "contrast", "brightness", "sharpness"),
    *("posterize", "solarize", "invert", "autocontrast", "equalize"),
)
"""The operations, which `nfm_keras.data.operations` does."""


class Step(NamedTuple):
    """An operation that may be done to an image.

    Attributes:
        operation: One of `NAMES`.
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


def lookup(policy: str) -> Policy:
    """Returns the `Policy` of a name.

    Args:
        policy: One of `POLICIES`.

    Raises:
        ValueError: For an unknown name.
    """
    if policy not in POLICIES:
        raise unknown("policy", policy, POLICIES)
    return POLICIES[policy]


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
    """The chains of two steps that a table lists, a line each."""
    lines = [line.split() for line in table.split("\n") if line]
    return tuple(
        tuple(Step(line[i], float(line[i + 1]), int(line[i + 2]) / 9) for i in (0, 3))
        for line in lines
    )


# Of 14, the identity among them: that is what invert, never done, stands for.
_ANY = tuple((Step(name, float(name != "invert"), 0.9),) for name in NAMES)

POLICIES = types.MappingProxyType(
    {
        "autoaugment": Policy(_chains(_CIFAR10)),
        "randaugment": Policy(_ANY, rounds=2),
    }
)
"""`autoaugment` is the one found on CIFAR-10, `randaugment` two operations of any kind
at nine tenths of their strength."""
