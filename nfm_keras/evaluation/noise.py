"""TODO: what this module is."""

import dataclasses
import math

import numpy as np

from nfm_keras.checks import did_you_mean
from nfm_keras.data.images import as_images, image_generators
from nfm_keras.records.ids import KINDS, NOISES, check_protocol, format_severity

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


@dataclasses.dataclass(frozen=True)
class Perturbation:
    """One perturbation at one severity.

    Args:
        kind: str. `"clean"`, `"white_noise"`, `"salt_and_pepper"`, or an attack, which
            `nfm_keras.attacks` runs: `"fgsm"`, `"pgd"`, `"apgd_ce"`, `"apgd_dlr"`,
            `"apgd_t"`, `"fab_t"`, `"square"`, `"autoattack"`, each also with `_l2`.
        severity: float. sigma of the white noise, gamma (the share of pixels hit, at
            most 1) of salt and pepper, epsilon of an attack in units of [0,1] pixels.

    Raises:
        ValueError: unknown kind; severity negative, not finite, or above its maximum.

    Example:

    >>> Perturbation("white_noise", 0.1).id
    'white_noise@0.1'
    >>> Perturbation("pgd", 8 / 255).id
    'pgd@8/255'
    """

    kind: str
    severity: float = 0.0

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(
                f"Unknown perturbation {self.kind!r}.{did_you_mean(self.kind, KINDS)} "
                f"Expected one of {', '.join(KINDS)}. Received: {self.kind!r}"
            )
        object.__setattr__(self, "severity", float(self.severity))
        top = {"clean": 0.0, "salt_and_pepper": 1.0}.get(self.kind, math.inf)
        if not 0 <= self.severity <= top or math.isinf(self.severity):
            raise ValueError(
                f"The severity of `{self.kind}` must be a finite number between 0 and "
                f"{top:g}. Received: {self.severity!r}"
            )

    @property
    def id(self):
        """Its name in flags, records and plots; `parse(p.id) == p`."""
        if self.kind == "clean":
            return "clean"
        return f"{self.kind}@{format_severity(self.severity)}"

    def __call__(self, images, indices=None, *, protocol, seed=0, std=None):
        """Perturb a batch of images.

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
            ValueError: bad images, unknown protocol, an attack, or no `std`.

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
                f"`nfm_keras.evaluation.scoring`. Received: {self.id!r}"
            )
        indices = range(len(images)) if indices is None else indices
        noises = image_generators(seed, f"{self.kind}@{self.severity!r}", indices)
        if self.kind == "white_noise":
            return _white_noise(images, self.severity, noises, protocol, std)
        return _SALT_AND_PEPPER[protocol](images, self.severity, noises)


def parse(text):
    """Read one perturbation id.

    Args:
        text: str such as `"clean"`, `"white_noise@0.1"` or `"pgd@8/255"`; the severity
            is a number or a fraction.

    Raises:
        ValueError: not an id; near names are listed.

    Example:

    >>> parse("pgd_l2@0.5")
    Perturbation(kind='pgd_l2', severity=0.5)
    """
    kind, at, severity = str(text).strip().partition("@")
    if kind in KINDS and bool(at) == (kind == "clean"):
        expected = "clean" if kind == "clean" else f"{kind}@severity"
        raise ValueError(f"Expected an id like `{expected}`. Received: {text!r}")
    try:
        top, _, bottom = severity.partition("/")
        severity = float(top) / float(bottom or 1) if at else 0.0
    except (ValueError, ZeroDivisionError):
        raise ValueError(
            "The severity after `@` must be a number or a fraction such as 8/255. "
            f"Received: {text!r}"
        ) from None
    return Perturbation(kind, severity)


def curve(kind, severities=None):
    """One perturbation at many severities.

    Args:
        kind: str, as in `Perturbation`.
        severities: floats; by default the levels of the published tables.

    Raises:
        ValueError: as `Perturbation`, or no severities for a kind without a default.

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
    if std.shape != (channels,) or not (np.isfinite(std) & (std > 0)).all():
        raise ValueError(
            f"`std` must hold {channels} positive numbers, one a channel. "
            f"Received: {std.tolist()}"
        )
    return std


def _salt_and_pepper_reference(images, gamma, generators):
    """Channel 0 only; ceil(gamma * height * width / 2) pixels each to its extremes."""
    perturbed = images.copy()
    _, height, width, _ = _image_shape(images)
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
    batch, height, width, _ = _image_shape(images)
    uniform = np.empty((batch, height, width, 1), "float32")
    for row, generator in zip(uniform, generators, strict=True):
        generator.random(dtype="float32", out=row)
    extreme = (uniform < gamma / 2).astype("float32")
    return np.where(uniform < gamma, extreme, images)


def _image_shape(images):
    if images.ndim != 4:
        raise ValueError(
            "Salt and pepper needs images of shape (batch, height, width, channels). "
            f"Received: shape {images.shape}"
        )
    return images.shape


_SALT_AND_PEPPER = {
    "reference": _salt_and_pepper_reference,
    "pixel": _salt_and_pepper_pixel,
}
