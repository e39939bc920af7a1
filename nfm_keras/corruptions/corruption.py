"""One corruption at one severity, as a value that is called on images."""

import dataclasses
import numbers
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from nfm_keras.checks import is_number, unknown
from nfm_keras.corruptions import blur, digital, elastic, frost, noise, spatter, weather
from nfm_keras.corruptions.constants import CONSTANTS, LARGE, NAMES, SEVERITIES
from nfm_keras.data.images import as_images, image_generators
from nfm_keras.types import StrPath

VERSION = 2
"""Of the corrupted pixels: whoever stores them must not mix two versions."""

SMALLEST = 8
"""Fewest pixels on a side."""

JPEG_QUALITY = 85
"""Of the files of ImageNet-C."""

_CHUNK = 2**16  # pixels worked on at a time: their floats stay in the cache

_FUNCTIONS = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "speckle_noise": noise.speckle_noise,
    "gaussian_blur": blur.gaussian_blur,
    "glass_blur": blur.glass_blur,
    "defocus_blur": blur.defocus_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": frost.frost,
    "fog": weather.fog,
    "brightness": digital.brightness,
    "contrast": digital.contrast,
    "saturate": digital.saturate,
    "jpeg_compression": digital.jpeg_compression,
    "pixelate": digital.pixelate,
    "spatter": spatter.spatter,
    "elastic_transform": elastic.elastic_transform,
}


@dataclasses.dataclass(frozen=True)
class Corruption:
    """One of the common corruptions at one severity.

    Follows the scripts that made CIFAR-10-C and ImageNet-C, down to their truncation of
    pixels to whole grey levels. What they draw from one global generator is drawn here
    per image, from (seed, corruption, severity, image index): batch size and order of
    the images change nothing. The published sets used no seed, so random corruptions
    agree with them in distribution, not pixel by pixel.

    Lengths that the scripts give in pixels of a 32 x 32 or 224 x 224 image stay as they
    are at other sizes, except those that the scripts write as shares of the side
    (`elastic_transform`) and the size of the fog's map.

    Args:
        kind: str, one of `NAMES`.
        severity: int, 1 to 5.
        constants: str. `"cifar"` or `"imagenet"`: the constants of CIFAR-10-C or
            ImageNet-C. `"auto"`: `"cifar"` below 96 pixels on the longer side.
        frost_dir: Path. Folder with the textures `frost1.png` ... of `frost`; see
            `frost_source`.
        jpeg: bool. Store the corrupted image as a JPEG of quality 85 and read it again,
            as the files of ImageNet-C were. That takes about a quarter off the noises:
            without it, images are harder than the published ones. By default so with
            the constants of ImageNet-C, and not with those of CIFAR-10-C.

    Raises:
        ValueError: If kind or constants are unknown or the severity is bad.

    Example:

    >>> images = np.full((2, 32, 32, 3), 128, "uint8")
    >>> corruption = Corruption("gaussian_noise", 3)
    >>> corruption.id, corruption(images).shape
    ('gaussian_noise@3', (2, 32, 32, 3))

    Reference: Hendrycks and Dietterich, Benchmarking Neural Network Robustness to
    Common Corruptions and Perturbations, ICLR 2019, section 3 and appendix B.
    """

    kind: str
    severity: int
    constants: str = "auto"
    frost_dir: StrPath | None = None
    jpeg: bool | None = None

    def __post_init__(self) -> None:
        if self.kind not in NAMES:
            raise unknown("corruption", self.kind, NAMES)
        whole = is_number(self.severity, numbers.Integral)
        if not whole or self.severity not in SEVERITIES:
            raise ValueError(
                f"The severity of `{self.kind}` must be an int from 1 to 5. "
                f"Received: {self.severity!r}"
            )
        object.__setattr__(self, "severity", int(self.severity))
        if self.constants not in ("auto", *CONSTANTS):
            raise ValueError(
                f"`constants` must be one of auto, {', '.join(CONSTANTS)}. "
                f"Received: {self.constants!r}"
            )

    @property
    def id(self) -> str:
        """Its name in flags, records and plots, such as `gaussian_noise@3`."""
        return f"{self.kind}@{self.severity}"

    @property
    def settings(self) -> dict[str, str | bool]:
        """What besides kind, severity and seed changes the corrupted pixels.

        Example:

        >>> Corruption("fog", 2).settings
        {'constants': 'auto'}
        """
        settings: dict[str, str | bool] = {"constants": self.constants}
        if self.jpeg is not None:
            settings["jpeg"] = self.jpeg
        if self.kind == "frost":
            label, _ = frost.frost_source(self.frost_dir)
            settings["frost"] = "synthetic" if label == frost.SYNTHETIC else "textures"
        return settings

    def __call__(
        self,
        images: ArrayLike,
        indices: Sequence[int] | np.ndarray | None = None,
        *,
        seed: int = 0,
    ) -> np.ndarray:
        """Returns a corrupted batch of images.

        Args:
            images: `(batch, height, width, channels)`, uint8 or float in [0,1] (rounded
                to the nearest of 256 levels), 1 or 3 channels, at least 8 pixels a
                side. A grey image is corrupted as three equal channels, of which the
                first is returned.
            indices: `(batch,)` index of each image in its data set, which its random
                numbers are drawn from; by default 0, 1, 2 ...
            seed: int.

        Returns:
            uint8 array of the same shape.

        Raises:
            ValueError: If the images are of another rank, type, range, number of
                channels or size, or there are not as many indices.
        """
        images = as_levels(images)
        indices = range(len(images)) if indices is None else indices
        if len(indices) != len(images):
            raise ValueError(
                f"`indices` must hold one index for each of the {len(images)} images. "
                f"Received: {len(indices)}"
            )
        corrupted = np.empty_like(images)
        constants = self._constants(images)
        parameters = self._parameters(constants)
        as_jpeg = constants == "imagenet" if self.jpeg is None else self.jpeg
        size = max(1, _CHUNK // (images.shape[1] * images.shape[2]))
        for first in range(0, len(images), size):
            chunk = slice(first, first + size)
            generators = image_generators(seed, self.id, indices[chunk])
            made = self._chunk(images[chunk], parameters, generators)
            corrupted[chunk] = _stored(made) if as_jpeg else made
        return corrupted

    def _constants(self, images):
        if self.constants != "auto":
            return self.constants
        return "cifar" if max(images.shape[1:3]) < LARGE else "imagenet"

    def _parameters(self, constants):
        parameters = CONSTANTS[constants][self.kind][self.severity - 1]
        if self.kind == "frost":
            return *parameters, frost.frost_source(self.frost_dir)[1]
        return parameters if isinstance(parameters, tuple) else (parameters,)

    def _chunk(self, images, parameters, generators):
        channels = images.shape[-1]
        if channels == 1:
            images = np.repeat(images, 3, axis=-1)
        if self.kind == "zoom_blur":  # as many zooms as there are
            parameters = (parameters,)
        return _FUNCTIONS[self.kind](images, generators, *parameters)[..., :channels]


def _stored(images):
    """Images as they come back from the files of ImageNet-C; grey ones stay grey."""
    channels = images.shape[-1]
    images = np.repeat(images, 3 // channels, axis=-1)
    return digital.jpeg_compression(images, (), JPEG_QUALITY)[..., :channels]


def as_levels(images: ArrayLike) -> np.ndarray:
    """Returns images as uint8, or raises one error that says what is wrong with them.

    Args:
        images: `(batch, height, width, channels)`, uint8, or float in [0,1], which is
            rounded to the nearest level: exact for what was uint8 / 255.

    Raises:
        ValueError: If rank, type, range or number of channels are others, or a side is
            too short.

    Example:

    >>> as_levels(np.full((1, 8, 8, 1), 0.5)).max()
    np.uint8(128)
    """
    images = np.asarray(images)
    if images.ndim != 4 or not images.size:
        raise ValueError(
            "`images` must be a batch of at least one image, (batch, height, width, "
            f"channels). Received: shape {images.shape}"
        )
    if images.shape[-1] not in (1, 3) or min(images.shape[1:3]) < SMALLEST:
        raise ValueError(
            f"`images` must have 1 or 3 channels, last, and at least {SMALLEST} pixels "
            f"a side. Received: shape {images.shape}"
        )
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    return np.rint(as_images(images) * 255).astype("uint8")
