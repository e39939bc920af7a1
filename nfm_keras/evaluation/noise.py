"""White noise and salt and pepper, in two protocols, and ids to perturbations.

The protocols differ, and their numbers must not be mixed:

* `reference`: what the published tables were measured with, taken from the authors'
  code. White noise of level sigma on the *normalised* image, not clipped; salt and
  pepper on the first channel alone.
* `pixel`: what the paper's text says (appendix F.1). Noise on [0,1] pixels, clipped;
  salt and pepper on whole pixels.

The authors reseed their generator with every batch, so that each batch meets the same
noise and the result depends on the batch size. Here every image has a seed of its own,
from (seed, kind, severity, image index), in both protocols: the law of the noise is the
same, and batch size, order and Keras backend change nothing.
"""

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike

from nfm_keras.checks import unknown
from nfm_keras.corruptions.constants import GROUPS, NAMES, SEVERITIES
from nfm_keras.data.images import as_images, check_channels_last, image_generators
from nfm_keras.records.ids import KINDS, NOISES, check_protocol, join, split

WHITE_NOISE_SEVERITIES = (
    *(0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12),
    *(0.15, 0.18, 0.2, 0.25, 0.3, 0.35),
)
"""The levels of the published tables."""


SALT_AND_PEPPER_SEVERITIES = WHITE_NOISE_SEVERITIES
"""The authors' code uses the same list for both."""


CURVES = {
    "white_noise": WHITE_NOISE_SEVERITIES,
    "salt_and_pepper": SALT_AND_PEPPER_SEVERITIES,
}


DEFAULT = ("clean", "white_noise", "salt_and_pepper", "fgsm@8/255", "pgd@8/255")
"""What an evaluation runs unless told otherwise; a bare noise is its whole curve."""


_LARGEST = {"clean": 0.0, "salt_and_pepper": 1.0, "white_noise": 10.0}
"""More white noise is one in units of 255."""


@dataclasses.dataclass(frozen=True)
class Perturbation:
    """One perturbation at one severity.

    Args:
        kind: str. `"clean"`, `"white_noise"`, `"salt_and_pepper"`, or an attack, which
            `nfm_keras.attacks` runs: `"fgsm"`, `"pgd"`, `"pgd_t"`, `"apgd_ce"`,
            `"apgd_dlr"`, `"apgd_t"`, `"fab_t"`, `"square"`, `"autoattack"`, each also
            with `_l2`.
        severity: float. sigma of the white noise, at most 10; gamma, the share of
            pixels hit, of salt and pepper; epsilon of an attack, in [0,1] pixels.

    Raises:
        ValueError: For an unknown kind, or a severity that is negative, not finite
            or above its maximum.

    Example:

    >>> Perturbation("white_noise", 0.1).id
    'white_noise@0.1'
    >>> Perturbation("pgd", 8 / 255).id
    'pgd@8/255'
    """

    kind: str
    severity: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("perturbation", self.kind, KINDS)
        object.__setattr__(self, "severity", float(self.severity))
        top = _LARGEST.get(self.kind, math.inf)
        if not 0 <= self.severity <= top or math.isinf(self.severity):
            raise ValueError(
                f"The severity of `{self.kind}` must be a finite number between 0 and "
                f"{top:g}. Received: {self.severity!r}"
            )

    @property
    def id(self) -> str:
        """Its name in flags, records and plots; `parse(p.id) == p`."""
        if self.kind == "clean":
            return "clean"
        return join(self.kind, self.severity)

    def __call__(
        self,
        images: ArrayLike,
        indices: ArrayLike | None = None,
        *,
        protocol: str,
        seed: int = 0,
        std: ArrayLike | None = None,
    ) -> np.ndarray:
        """Perturbs a batch of images.

        Args:
            images: `(batch, height, width, channels)`, uint8 or float in [0,1].
            indices: `(batch,)` index of each image in its data set, which is what its
                noise is drawn from; by default 0, 1, 2 ...
            protocol: str. `"reference"` or `"pixel"`.
            seed: int.
            std: `(channels,)` standard deviation of the training set per channel, in
                units of [0,1]; needed by white noise in the reference protocol.

        Returns:
            float32 array of the same shape; in the reference protocol white noise
            leaves [0,1], as it did in the authors' code.

        Raises:
            ValueError: For bad images, unknown protocol, an attack, or no `std`.

        Example:

        >>> images = np.full((2, 32, 32, 3), 128, "uint8")
        >>> Perturbation("white_noise", 0.1)(images, protocol="pixel").shape
        (2, 32, 32, 3)
        """
        images = as_images(images)
        check_protocol(protocol)
        if self.severity == 0:
            return images
        if self.kind not in NOISES:
            raise ValueError(
                "An attack needs the classifier: use `nfm_keras.attacks` or "
                f"`nfm_keras.evaluate`. Received: {self.id!r}"
            )
        indices = range(len(images)) if indices is None else indices
        noises = image_generators(seed, f"{self.kind}@{self.severity!r}", indices)
        if self.kind == "white_noise":
            return _white_noise(images, self.severity, noises, protocol, std)
        return _SALT_AND_PEPPER[protocol](images, self.severity, noises)


def parse(text):
    """Reads one perturbation id.

    Args:
        text: str such as `"clean"`, `"white_noise@0.1"` or `"pgd@8/255"`; the severity
            is a number or a fraction.

    Raises:
        ValueError: If it is no id; names that are near are listed.

    Example:

    >>> parse("pgd_l2@0.5")
    Perturbation(kind='pgd_l2', severity=0.5)
    """
    name, severity = split(text)
    if name in KINDS and (severity is None) != (name == "clean"):
        expected = "clean" if name == "clean" else f"{name}@severity"
        raise ValueError(f"Expected an id like `{expected}`. Received: {text!r}")
    return Perturbation(name, severity or 0.0)


def check_id(text):
    """Refuses the id of a perturbation, a curve or a group that there is not.

    What it names is not made: neither Keras nor the attacks are imported.

    Args:
        text: str such as `"pgd@8/255"`, `"fog@3"`, `"white_noise"` or
            `"common_corruptions"`.

    Raises:
        ValueError: As `parse`; or for the severity of a corruption that is no whole
            number from 1 to 5.

    Example:

    >>> check_id("fog@3")
    """
    name, at, severity = text.strip().partition("@")
    if name in KINDS:
        if text.strip() not in CURVES:
            parse(text)
    elif name not in (*NAMES, *GROUPS):
        raise unknown("perturbation", text, (*KINDS, *NAMES, *GROUPS), near=name)
    elif at and severity not in map(str, SEVERITIES):
        raise ValueError(
            "The severity of a corruption must be a whole number from 1 to 5, as in "
            f"`fog@3`. Received: {text!r}"
        )


def curve(kind, severities=None):
    """Returns one perturbation at many severities.

    Args:
        kind: str, as in `Perturbation`.
        severities: floats; by default the levels of the published tables.

    Raises:
        ValueError: As `Perturbation`, or if a kind without a default list has no
            severities.

    Example:

    >>> [p.id for p in curve("white_noise", [0, 0.1])]
    ['white_noise@0', 'white_noise@0.1']
    """
    if severities is None and kind in KINDS and kind not in CURVES:
        raise ValueError(
            f"Only {' and '.join(CURVES)} have a default list of severities. "
            f"Received: {kind!r}"
        )
    severities = CURVES.get(kind, (0.0,)) if severities is None else severities
    return [Perturbation(kind, severity) for severity in severities]


def _white_noise(images, sigma, generators, protocol, std):
    noise = np.empty_like(images)
    for row, generator in zip(noise, generators, strict=True):
        generator.standard_normal(dtype="float32", out=row)
    if protocol == "pixel":
        return np.clip(images + np.float32(sigma) * noise, 0, 1)
    # sigma is in units of the normalised image, (x - mean) / std, where the authors'
    # code adds it. Our classifiers normalise inside, so the same noise is sigma * std
    # in pixels. Not clipped: the authors do not.
    return images + np.float32(sigma) * _channel_std(std, images.shape[-1]) * noise


def _channel_std(std, channels):
    if std is None:
        raise ValueError(
            "White noise in the reference protocol is measured in the training set's "
            "standard deviation per channel: give `std` in units of [0,1], or a data "
            "set whose `spec` has it, or use protocol='pixel'. Received: std=None"
        )
    std = np.asarray(std, "float32")
    # Images in [0, 1] have 0.5 at most; 1 is for networks that do not normalise.
    if std.shape != (channels,) or not ((std > 0) & (std <= 1)).all():
        raise ValueError(
            f"`std` must hold {channels} positive numbers, one a channel, in units of "
            f"[0, 1]. Received: {std.tolist()}"
        )
    return std


def _salt_and_pepper_reference(images, gamma, generators):
    """Channel 0 only; ceil(gamma * height * width / 2) pixels each to its extremes."""
    perturbed = images.copy()
    _, height, width, _ = check_channels_last(_NEEDS, images)
    count = math.ceil(gamma * height * width * 0.5)
    first = perturbed[..., 0].reshape(len(images), -1)
    low, high = first.min(axis=1), first.max(axis=1)
    rows = zip(first, low, high, generators, strict=True)
    for row, least, most, generator in rows:
        # Two independent draws, as in the authors' code: where they meet, the maximum
        # wins, so slightly fewer than 2 * count pixels change.
        row[generator.choice(row.size, count, replace=False, shuffle=False)] = least
        row[generator.choice(row.size, count, replace=False, shuffle=False)] = most
    perturbed[..., 0] = first.reshape(images.shape[:-1])
    return perturbed


def _salt_and_pepper_pixel(images, gamma, generators):
    """Each pixel kept with probability 1 - gamma, else 0 or 1, gamma/2 each."""
    batch, height, width, _ = check_channels_last(_NEEDS, images)
    uniform = np.empty((batch, height, width, 1), "float32")
    for row, generator in zip(uniform, generators, strict=True):
        generator.random(dtype="float32", out=row)
    extreme = (uniform < gamma / 2).astype("float32")
    return np.where(uniform < gamma, extreme, images)


_NEEDS = "Salt and pepper needs"

_SALT_AND_PEPPER = {
    "reference": _salt_and_pepper_reference,
    "pixel": _salt_and_pepper_pixel,
}
