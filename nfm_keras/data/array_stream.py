"""The stream of training batches in NumPy, for backends without TensorFlow."""

import keras
import numpy as np


class EndlessBatches(keras.utils.PyDataset):
    """Batches that `fit` takes by number, or that a loop takes one after another.

    Args:
        plan: What says `epoch` and `step`, where the stream begins.
        steps: int, batches of an epoch.
    """

    def __init__(self, plan, steps):
        super().__init__()
        self.plan, self.steps = plan, steps
        self.epoch, self.first = plan.epoch, plan.step
        self.ended = False

    def __len__(self):
        return self.steps - self.first

    def __getitem__(self, step):
        step += self.first
        self.ended = step == self.steps - 1
        return self.batch(step)

    def __iter__(self):
        while True:
            yield from (self[step] for step in range(len(self)))
            self.on_epoch_end()

    def on_epoch_end(self):
        # Keras calls this before the first epoch too.
        if self.ended:
            self.ended, self.epoch, self.first = False, self.epoch + 1, 0
            self.begin_epoch()

    def begin_epoch(self):
        """Called with the number of each epoch but the first in `self.epoch`."""

    def batch(self, step):
        """Returns the images and labels of a step of the epoch `self.epoch`."""
        raise NotImplementedError


class Stream(EndlessBatches):
    """Batches of images in memory.

    Args:
        plan: `nfm_keras.data.batching.Plan`.
    """

    def __init__(self, plan):
        super().__init__(plan, plan.steps)
        self.begin_epoch()

    def batch(self, step):
        plan = self.plan
        index = self.order[step * plan.batch_size : (step + 1) * plan.batch_size]
        rng = np.random.default_rng((plan.seed, 1, self.epoch, step))
        dy, dx = rng.integers(0, 2 * plan.pad + 1, (2, len(index), 1))
        mirror = rng.integers(0, 1 + plan.flip, (len(index), 1))
        # All rows are drawn, so that a row does not depend on the part.
        index, dy, dx, mirror = (rows[plan.part] for rows in (index, dy, dx, mirror))
        images = self._crops(index, dy, dx, mirror)
        if plan.vary is not None:
            images = plan.vary(images, self.epoch, index)
        return images, plan.labels[index]

    def begin_epoch(self):
        rng = np.random.default_rng((self.plan.seed, 0, self.epoch))
        self.order = rng.permutation(len(self.plan.images))

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
