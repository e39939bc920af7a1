"""The stream of training batches in tf.data."""

import numpy as np

from nfm_keras.backend.host import call_from_tensorflow


def stream(plan):
    """Returns the `tf.data.Dataset` of batches.

    Args:
        plan: `nfm_keras.data.batching.Plan`.
    """
    import tensorflow as tf

    with tf.device("CPU:0"):
        channels = plan.images.shape[-1]
        pixels = tf.constant(plan.images.reshape(-1, channels))
        # One more pixel, black: that of all borders.
        pixels = tf.concat([pixels, tf.zeros((1, channels), tf.uint8)], axis=0)
        labels = tf.constant(plan.labels)
    roots = tf.random.split(tf.constant([plan.seed & 0x7FFFFFFF, 0], tf.int32), 2)

    def gather(epoch, step, index):
        key = _fold(_fold(roots[1], epoch), step)
        index, places = _crops(plan, key, index)
        images = _varied(plan, tf.gather(pixels, places), epoch, index)
        return images, tf.gather(labels, index)

    epochs = tf.data.Dataset.range(plan.epoch, np.iinfo(np.int64).max)
    orders = epochs.flat_map(lambda epoch: _order(plan, roots[0], epoch))
    slices = orders.flat_map(lambda epoch, order: _slices(plan, epoch, order))
    return slices.map(gather, num_parallel_calls=2).prefetch(4)


def _fold(key, value):
    import tensorflow as tf

    fold = tf.random.experimental.stateless_fold_in
    return fold(key, tf.cast(value, tf.int32))


def _order(plan, root, epoch):
    """The images of an epoch in their order, as a set of one element."""
    import tensorflow as tf

    key = _fold(_fold(root, epoch), 0)
    ranks = tf.random.stateless_uniform((len(plan.images),), key)
    return tf.data.Dataset.from_tensors((epoch, tf.argsort(ranks)))


def _slices(plan, epoch, order):
    """The batches of an epoch: its number, theirs, and the numbers of their images."""
    import tensorflow as tf

    size = plan.batch_size
    first = tf.where(epoch == plan.epoch, tf.constant(plan.step, tf.int64), 0)
    steps = tf.data.Dataset.range(first, plan.steps)
    return steps.map(lambda i: (epoch, i, order[i * size : (i + 1) * size]))


def _crops(plan, key, index):
    """The images of this part of a batch, and the places of their pixels."""
    import tensorflow as tf

    count, height, width, _ = plan.images.shape
    border = count * height * width
    kind = tf.int32 if 2 * border <= tf.int32.max else tf.int64
    size, draw = (tf.shape(index)[0], 1), tf.random.stateless_uniform
    keys = tf.unstack(tf.random.split(key, 3))
    dy = draw(size, keys[0], maxval=2 * plan.pad + 1, dtype=tf.int32)
    dx = draw(size, keys[1], maxval=2 * plan.pad + 1, dtype=tf.int32)
    mirror = draw(size, keys[2], maxval=1 + plan.flip, dtype=tf.int32)
    # All rows are drawn, so that a row does not depend on the part.
    index, dy, dx, mirror = (
        tf.cast(rows[plan.part], kind) for rows in (index, dy, dx, mirror)
    )
    ascending = tf.range(width, dtype=kind)
    columns = dx - plan.pad + tf.where(mirror > 0, width - 1 - ascending, ascending)
    rows = dy - plan.pad + tf.range(height, dtype=kind)
    firsts = (index[:, None] * height + rows) * width
    black = tf.constant(border, kind)
    firsts = tf.where((rows >= 0) & (rows < height), firsts, black)
    columns = tf.where((columns >= 0) & (columns < width), columns, black)
    return index, tf.minimum(firsts[:, :, None] + columns[:, None, :], black)


def _varied(plan, images, epoch, index):
    if plan.vary is None:
        return images
    kinds = [((None, *plan.images.shape[1:]), "uint8")]
    (varied,) = call_from_tensorflow(
        lambda *arrays: (plan.vary(*arrays),), kinds, (images, epoch, index)
    )
    return varied
