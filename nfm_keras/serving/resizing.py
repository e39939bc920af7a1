"""Pillow's bilinear resizing inside a graph, bit for bit.

What a server is sent has to meet the network as the images of the evaluation did, and
those Pillow has resized: in whole numbers, one side after the other, each pass rounded
to 8 bits.
"""

import functools

import numpy as np
from PIL import Image

_BITS = 22
"""Weights are multiples of 2 to the power of -22, as in Pillow: 255 times their sum and
a half fit into 32 bits."""


def centre_crop(pixels, size, share):
    """Resizes the shorter side and cuts out the centre, as the evaluation does.

    Args:
        pixels: uint8 tensor `(height, width, channels)` of any size.
        size: Side of the result.
        share: That of the shorter side, in (0, 1].

    Returns:
        uint8 `(size, size, channels)`: what
        `nfm_keras.data.photographs.transforms.centre_crop` gives.

    Example:

    >>> import tensorflow as tf
    >>> centre_crop(tf.zeros((375, 500, 3), "uint8"), 224, 0.875).shape
    TensorShape([224, 224, 3])
    """
    import tensorflow as tf

    short = round(size / share)
    height, width = tf.unstack(tf.shape(pixels)[:2])
    tall = tf.where(width <= height, short * height // width, short)
    wide = tf.where(width <= height, short, short * width // height)
    columns, column_weights = _taps(width, wide, size)
    rows, row_weights = _taps(height, tall, size)
    # Pixels that count are resized, and no others.
    top, left = rows[0, 0], columns[0, 0]
    pixels = pixels[top : rows[-1, -1] + 1, left : columns[-1, -1] + 1]

    def rows_of(x):
        return _resized(x, rows - top, row_weights, axis=0)

    def columns_of(x):
        return _resized(x, columns - left, column_weights, axis=1)

    pixels = tf.cond(
        tall_go_down_first() & (height > 2 * width) & (tall < height),
        lambda: columns_of(rows_of(pixels)),
        lambda: rows_of(columns_of(pixels)),
    )
    return tf.ensure_shape(pixels, (size, size, pixels.shape[-1]))


@functools.cache
def tall_go_down_first():
    """Returns whether Pillow makes images that are tall less tall first.

    From version 13 on it does so with those of more than twice their width, and the
    rounding between the two passes differs.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 3), "uint8")
    image, bilinear = Image.fromarray(pixels), Image.Resampling.BILINEAR
    at_once = image.resize((6, 30), bilinear)
    width_first = image.resize((6, 40), bilinear).resize((6, 30), bilinear)
    return not np.array_equal(at_once, width_first)


def _taps(old, new, size):
    """Which pixels make each of the central ones, and how much of each.

    Args:
        old, new: int32 scalars, a side before and after.
        size: How many of the new pixels are wanted, in the centre.

    Returns:
        `(places, weights)`, int32 `(size, taps)`: places past a pixel's last one repeat
        it, with a weight of 0.
    """
    import tensorflow as tf

    margin = tf.cast(new - size, tf.float64) / 2
    start = tf.cast(tf.round(margin), tf.int32)  # a half goes to the even one
    scale = tf.cast(old, tf.float64) / tf.cast(new, tf.float64)
    reach = tf.maximum(scale, 1.0)
    taps = 2 * tf.cast(tf.math.ceil(reach), tf.int32) + 1
    centre = (tf.cast(start + tf.range(size), tf.float64) + 0.5) * scale
    first = tf.maximum(tf.cast(centre - reach + 0.5, tf.int32), 0)
    end = tf.minimum(tf.cast(centre + reach + 0.5, tf.int32), old)
    places = first[:, None] + tf.range(taps)
    distance = (tf.cast(places, tf.float64) - centre[:, None] + 0.5) * (1 / reach)
    weights = tf.maximum(1 - tf.abs(distance), 0.0)
    weights = tf.where(places < end[:, None], weights, 0.0)
    weights /= tf.reduce_sum(weights, 1, keepdims=True)
    whole = tf.cast(weights * 2**_BITS + 0.5, tf.int32)
    return tf.minimum(places, end[:, None] - 1), whole


def _resized(pixels, places, weights, axis):
    """One pass: weighed sums along an axis, rounded to 8 bits."""
    import tensorflow as tf

    shape = (1, -1, 1) if axis == 1 else (-1, 1, 1)

    def add(tap, total):
        values = tf.cast(tf.gather(pixels, places[:, tap], axis=axis), tf.int32)
        return tap + 1, total + values * tf.reshape(weights[:, tap], shape)

    first = tf.gather(pixels, places[:, 0], axis=axis)
    half = tf.zeros_like(first, tf.int32) + 2 ** (_BITS - 1)
    count = tf.shape(places)[1]
    _, total = tf.while_loop(lambda tap, _: tap < count, add, (0, half))
    total = tf.bitwise.right_shift(total, _BITS)
    return tf.cast(tf.clip_by_value(total, 0, 255), tf.uint8)
