"""The stream of training batches in NumPy, for backends without TensorFlow."""

import functools
import itertools

import keras
import numpy as np


class EndlessBatches(keras.utils.PyDataset):
    """Batches that `fit` takes by number, or that a loop takes one after another.

    Numbers count from where the stream begins and have no end: `fit` permutes those of
    a set of known length by default, and asks for some of them twice.

    Args:
        plan: What says `epoch` and `step`, where the stream begins.
        steps: int, batches of an epoch.
    """

    def __init__(self, plan, steps):
        super().__init__()
        self.plan, self.steps = plan, steps

    @property
    def num_batches(self):
        return None  # `steps_per_epoch` of `fit` says how many make an epoch

    def __getitem__(self, number):
        number += self.plan.epoch * self.steps + self.plan.step
        return self.batch(*divmod(number, self.steps))

    def __iter__(self):
        return map(self.__getitem__, itertools.count())

    def batch(self, epoch, step):
        """Returns the images and labels of a step of an epoch."""
        raise NotImplementedError


class Stream(EndlessBatches):
    """Batches of images in memory.

    Args:
        plan: `nfm_keras.data.batching.Plan`.
    """

    def __init__(self, plan):
        super().__init__(plan, plan.steps)
        self._order = functools.lru_cache(1)(self._permuted)

    def batch(self, epoch, step):
        plan = self.plan
        first = step * plan.batch_size
        index = self._order(epoch)[first : first + plan.batch_size]
        rng = np.random.default_rng((plan.seed, 1, epoch, step))
        dy, dx = rng.integers(0, 2 * plan.pad + 1, (2, len(index), 1))
        mirror = rng.integers(0, 1 + plan.flip, (len(index), 1))
        # All rows are drawn, so that a row does not depend on the part.
        index, dy, dx, mirror = (rows[plan.part] for rows in (index, dy, dx, mirror))
        images = self._crops(index, dy, dx, mirror)
        if plan.vary is not None:
            images = plan.vary(images, epoch, index)
        return images, plan.labels[index]

    def _permuted(self, epoch):
        rng = np.random.default_rng((self.plan.seed, 0, epoch))
        return rng.permutation(len(self.plan.images))

    def _crops(self, index, dy, dx, mirror):
        images, pad = self.plan.images, self.plan.pad
        _, height, width, _ = images.shape
        ascending = np.arange(width)
        columns = dx - pad + np.where(mirror > 0, width - 1 - ascending, ascending)
        rows = dy - pad + np.arange(height)
        inside = _within(rows, height)[:, :, None] & _within(columns, width)[:, None, :]
        rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
        crops = images[index[:, None, None], rows[:, :, None], columns[:, None, :]]
        crops[~inside] = 0
        return crops


def _within(places, size):
    return (places >= 0) & (places < size)
