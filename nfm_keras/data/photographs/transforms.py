"""Photographs to images of one size: the random crop of training, the evaluation's.

Both are the published ones. Pillow decodes and resizes here, on every backend alike;
`nfm_keras.data.photographs.tensorflow_batches` does the training crop in TensorFlow.
"""

import io

import numpy as np
from PIL import Image

from nfm_keras.data.photographs.files import Unreadable

DRAWS = 23
"""Uniform numbers that a training crop takes: ten tries at an area and at an aspect,
the place, and whether it is mirrored."""

_TRIES = 10
_AREA = (0.08, 1.0)
_ASPECT = (3 / 4, 4 / 3)


def decode(data: bytes) -> Image.Image:
    """Decodes an image file of any kind that Pillow reads, to three colours.

    Grey is repeated, of 10 to 16 bits the upper 8 count, four inks become colours, a
    palette and transparency are resolved as by Pillow's `convert("RGB")`; the
    orientation that a camera notes is ignored, as by torchvision and TensorFlow.

    Args:
        data: The bytes of the file, whatever it is called.

    Raises:
        Unreadable: If it is no image, a broken one, or one of 32 bits or floats, whose
            range no file says.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            scaled = (
                image.mode == "I" and image.format == "PPM"
            )  # to 16 bits, by Pillow
            if scaled or image.mode.startswith("I;16"):
                # Pillow would cut what is above 255; of other 16 bits the upper count.
                upper = (np.asarray(image) >> 8).astype("uint8")
                return Image.fromarray(upper).convert("RGB")
            if image.mode in ("I", "F"):
                raise ValueError(f"{image.format} of 32 bits, mode {image.mode!r}")
            return image.convert("RGB")
    except Exception as error:  # Pillow has no common class for what files may do
        raise Unreadable(
            "The file must be a whole image that Pillow can read. "
            f"Received: {type(error).__name__}: {error}"
        ) from None


def centre_crop(image: Image.Image, size: int, share: float) -> np.ndarray:
    """Resizes the shorter side and cuts out the centre, as for every evaluation.

    Equal to torchvision's `Resize(round(size / share))` and `CenterCrop(size)` on
    Pillow's images: bilinear with antialiasing, the longer side cut to whole pixels,
    half margins rounded to even.

    Args:
        image: Pillow's, of three colours.
        size: Side of the result.
        share: That of the shorter side, in (0, 1]; 0.875 are 224 of 256.

    Returns:
        uint8 `(size, size, 3)`.

    Example:

    >>> centre_crop(Image.new("RGB", (500, 375)), 224, 0.875).shape
    (224, 224, 3)
    """
    width, height = resized_sides(image.width, image.height, size, share)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def resized_sides(width: int, height: int, size: int, share: float) -> tuple[int, int]:
    """Returns width and height of an image whose shorter side is `size / share`.

    Example:

    >>> resized_sides(500, 375, 224, 0.875)
    (341, 256)
    """
    short = round(size / share)
    if width <= height:
        return short, int(short * height / width)
    return int(short * width / height), short


def windows(sizes: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Draws the window of each image that a training crop shows.

    Its share of the area is uniform in 0.08 to 1 and its aspect log-uniform in 3/4 to
    4/3. Of ten tries the first that fits counts; without one it is the largest centred
    window of an aspect in that range.

    Args:
        sizes: Integers `(n, 2)`, height and width of each image.
        draws: Floats `(n, DRAWS)` in [0, 1).

    Returns:
        int32 `(n, 4)`: top, left, height and width of each window.

    Reference:
        [Szegedy et al., 2014](https://arxiv.org/abs/1409.4842), section 6; ten tries
        and the fallback are those of torchvision.
    """
    sizes = np.asarray(sizes, np.int64)
    height, width = sizes[:, :1], sizes[:, 1:]
    low, high = _AREA
    area = height * width * (low + (high - low) * draws[:, :_TRIES])
    low, high = np.log(_ASPECT)
    aspect = np.exp(low + (high - low) * draws[:, _TRIES : 2 * _TRIES])
    tall = np.rint(np.sqrt(area / aspect)).astype(np.int64)
    wide = np.rint(np.sqrt(area * aspect)).astype(np.int64)
    fits = (tall > 0) & (tall <= height) & (wide > 0) & (wide <= width)
    first, rows = fits.argmax(1), np.arange(len(sizes))
    fallback = _largest(height[:, 0], width[:, 0])
    found = fits.any(1)
    tall = np.where(found, tall[rows, first], fallback[0])
    wide = np.where(found, wide[rows, first], fallback[1])
    free = sizes - np.stack([tall, wide], 1)
    drawn = np.floor(draws[:, 2 * _TRIES : 2 * _TRIES + 2] * (free + 1)).astype(int)
    place = np.where(found[:, None], drawn, free // 2)
    return np.column_stack([place, tall, wide]).astype(np.int32)


def _largest(height, width):
    low, high = _ASPECT
    aspect = width / height
    tall = np.where(aspect < low, np.rint(width / low), height).astype(np.int64)
    wide = np.where(aspect > high, np.rint(height * high), width).astype(np.int64)
    return np.minimum(tall, height), np.minimum(wide, width)


def mirrored(draws: np.ndarray) -> np.ndarray:
    """Returns which images are mirrored, bool `(n,)`, from the draws of `windows`."""
    return draws[:, -1] < 0.5


def training_crop(
    image: Image.Image, window: np.ndarray, size: int, antialias: bool
) -> np.ndarray:
    """Cuts a window out of an image and resizes it, with Pillow.

    Args:
        image: Pillow's, of three colours.
        window: `(4,)`, from `windows`.
        size: Side of the result.
        antialias: Whether all pixels of the window count where it shrinks, or those
            nearest to each of the result alone.

    Returns:
        uint8 `(size, size, 3)`.
    """
    top, left, tall, wide = map(int, window)
    image = image.crop((left, top, left + wide, top + tall))
    bilinear = Image.Resampling.BILINEAR
    if antialias:
        return np.asarray(image.resize((size, size), bilinear))
    whole = (0, 0, wide, tall)
    extent = Image.Transform.EXTENT
    return np.asarray(image.transform((size, size), extent, whole, bilinear))
