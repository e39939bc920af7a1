"""CutMix: a box of an image is replaced with that of its partner."""

import dataclasses
from typing import ClassVar

import keras
from keras import ops

from nfm_keras.backend import random
from nfm_keras.mixing.draw import Draw
from nfm_keras.mixing.interpolation import along
from nfm_keras.mixing.labels.pairs import Pair
from nfm_keras.mixing.techniques.base import STREAM, Batch, Technique, has_pixels
from nfm_keras.types import Tensor


@keras.saving.register_keras_serializable(package="nfm_keras")
@dataclasses.dataclass(frozen=True)
class CutMix(Technique):
    """CutMix, as published: an integer box, clipped at the border of the image.

    The step's `Draw` gives lam and the partner; the labels are mixed with the share of
    the image that is left, which is known exactly. Labels with a value a pixel, such as
    segmentation masks, are cut like the image. With `Mixing(per_sample=True)` every
    image has a box of its own.

    Example:

    >>> technique = CutMix()

    Reference:
        [Yun et al., 2019](https://arxiv.org/abs/1905.04899), section 3.1 and
        algorithm A1.
    """

    cuts: ClassVar[bool] = True

    def prepare(
        self, model: keras.Model, images: Tensor, labels: Tensor, draw: Draw
    ) -> Batch:
        images = self.as_images(images)
        height, width = ops.shape(images)[1:3]
        box = boxes(draw.lam, random.fold(draw.key, STREAM), height, width)
        inside = box_mask(box, height, width)
        lam = ops.reshape(remaining(box, height, width), ops.shape(draw.lam))

        def paste(values):
            where = along(inside[..., 0], len(values.shape))
            return ops.where(where, ops.take(values, draw.partner, axis=0), values)

        def cut(labels, outputs):
            whole = not has_pixels(labels, images, outputs)
            return None if whole else Pair(paste(labels))

        return Batch(paste(images), draw._replace(lam=lam), cut=cut)


def boxes(lam, key, height, width):
    """Draws the boxes of CutMix.

    The centre is uniform over the pixels, the sides `int(length * sqrt(1 - lam))`, less
    one where that is odd, and what reaches over the border is cut off.

    Args:
        lam: float32 scalar or `(batch,)`.
        key: A key.
        height: Rows of the images.
        width: Their columns.

    Returns:
        `(top, bottom, left, right)`, int32 of the shape of `lam` or `(1,)`; the rows
        from `top` up to but without `bottom`, and so the columns.

    Example:

    >>> top, bottom, left, right = boxes(ops.ones((4,)), random.key(0), 32, 32)
    """
    lam = ops.reshape(lam, (-1,))
    centres = random.uniform(key, (2, *ops.shape(lam)))
    side = ops.sqrt(1 - lam)
    return *_span(side, centres[0], height), *_span(side, centres[1], width)


def _span(side, u, length):
    """First and end of a box along one side of the image."""
    # The whole side is halved and rounded, as published: a box of an odd side loses a
    # row.
    long = ops.cast(length, "float32")
    half = ops.cast(ops.floor(side * long), "int32") // 2
    # float32 may round the product up to `length`.
    centre = ops.minimum(ops.cast(ops.floor(u * long), "int32"), length - 1)
    return ops.maximum(centre - half, 0), ops.minimum(centre + half, length)


def box_mask(box, height, width):
    """Returns where the boxes are.

    Args:
        box: As `boxes` returns them.
        height: Rows of the images.
        width: Their columns.

    Returns:
        bool tensor `(batch or 1, height, width, 1)`.
    """
    top, bottom, left, right = (ops.reshape(edge, (-1, 1, 1, 1)) for edge in box)
    rows = ops.reshape(ops.arange(height, dtype="int32"), (1, -1, 1, 1))
    columns = ops.reshape(ops.arange(width, dtype="int32"), (1, 1, -1, 1))
    return (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)


def remaining(box, height, width):
    """Returns the share of the image outside the box.

    Args:
        box: As `boxes` returns them.
        height: Rows of the images.
        width: Their columns.

    Returns:
        float32 tensor `(batch or 1,)`.
    """
    top, bottom, left, right = box
    area = ops.cast((bottom - top) * (right - left), "float32")
    return 1 - area / ops.cast(height * width, "float32")
