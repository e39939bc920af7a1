"""Frost on the pane: photographs of it, or a drawn one where there are none."""

import functools
import importlib.util
import math
import pathlib

import numpy as np
from PIL import Image

from nfm_keras.corruptions import filters, weather
from nfm_keras.data.images import image_generators
from nfm_keras.types import StrPath

TEXTURES = "frost"
SYNTHETIC = "frost (synthetic)"

_FILES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
# A sixth photograph exists, but the published scripts never drew it.

_PACKAGES = ("imagecorruptions", "imgcorr", "corrupt_tta")
_ROWS, _COLUMNS = 512, 1024  # of a drawn texture


def frost(images, generators, share, amount, stride, textures):
    """Lays a random piece of one of the textures over each image.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        generators: one `np.random.Generator` an image.
        share, amount: floats. Weights of the image and of the frost.
        stride: int. Every how many-th pixel of a texture is read.
        textures: Five uint8 arrays `(rows, columns, 3)`; enlarged where they are too
            small for the images.

    Returns:
        uint8 array of the same shape.
    """
    height, width = images.shape[1:3]
    # Reduced bilinearly by 5, pixels are sampled at 5 i + 2 exactly: every fifth one.
    textures = [
        texture[stride // 2 :: stride, stride // 2 :: stride] for texture in textures
    ]
    textures = [_enlarged(texture, height + 1, width + 1) for texture in textures]
    pieces = np.empty_like(images)
    for piece, generator in zip(pieces, generators, strict=True):
        texture = textures[generator.integers(len(textures))]
        row = generator.integers(texture.shape[0] - height)
        column = generator.integers(texture.shape[1] - width)
        piece[...] = texture[row : row + height, column : column + width]
    levels = np.float32(share) * images
    return filters.truncate(levels + np.float32(amount) * pieces)


def frost_source(
    frost_dir: StrPath | None = None,
) -> tuple[str, tuple[np.ndarray, ...]]:
    """Returns the textures of `frost`, and a label that says where they come from.

    The benchmark's photographs are not part of this package. They are read from
    `frost_dir`, or from an installed package that carries them (`imagecorruptions`,
    `imgcorr` or `corrupt_tta`, none of which is imported). Without them frost is drawn:
    as bright and as blue, but not the benchmark's, and every label says so.

    Args:
        frost_dir: Path. Folder with frost1.png, frost2.png, frost3.png, frost4.jpg and
            frost5.jpg.

    Returns:
        Label, `"frost"` or `"frost (synthetic)"`; tuple of five uint8 arrays
        `(rows, columns, 3)`.

    Raises:
        ValueError: If `frost_dir` lacks a texture.
    """
    if frost_dir is not None:
        missing = [
            name for name in _FILES if not (pathlib.Path(frost_dir) / name).is_file()
        ]
        if missing:
            raise ValueError(
                f"`frost_dir` must hold {', '.join(_FILES)}; {', '.join(missing)} "
                f"missing. Received: {str(frost_dir)!r}"
            )
        return TEXTURES, _read(str(frost_dir))
    folder = _installed()
    return (TEXTURES, _read(folder)) if folder else (SYNTHETIC, _drawn())


@functools.cache
def _installed():
    """Returns the folder of an installed package with all textures, or None."""
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        for location in (spec and spec.submodule_search_locations) or ():
            for first in sorted(pathlib.Path(location).rglob(_FILES[0])):
                if all((first.parent / name).is_file() for name in _FILES):
                    return str(first.parent)
    return None


@functools.lru_cache(maxsize=4)
def _read(folder):
    paths = [pathlib.Path(folder) / name for name in _FILES]
    return tuple(np.asarray(Image.open(path).convert("RGB")) for path in paths)


@functools.cache
def _drawn():
    """Draws five textures: ridges of fractals as needles, a smoother one as haze."""
    textures = []
    for generator in image_generators(0, "frost textures", range(5)):
        draws = generator.uniform(-1, 1, (4, _ROWS * _ROWS - 1))
        rough, fine = weather.plasma(draws[:2], 1.7)
        haze = np.concatenate(weather.plasma(draws[2:], 2.2), axis=1)
        fields = np.concatenate([rough, fine], axis=1)
        needles = (1 - np.abs(2 * fields - 1)) ** 3
        levels = 40 + 110 * haze + 105 * needles
        textures.append(filters.truncate(levels[..., None] * (0.78, 0.93, 1.0)))
    return tuple(textures)


def _enlarged(texture, rows, columns):
    factor = max(rows / texture.shape[0], columns / texture.shape[1])
    if factor <= 1:
        return texture
    size = [math.ceil(side * factor) for side in texture.shape[1::-1]]
    return np.asarray(Image.fromarray(texture).resize(size, Image.Resampling.BILINEAR))
