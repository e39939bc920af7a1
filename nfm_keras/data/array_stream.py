"""The stream of training batches in NumPy, for backends without TensorFlow."""

import keras
import numpy as np


class Stream(keras.utils.PyDataset):
    """Batches that `fit` takes by number, or that a loop takes one after another.

    Args:
        plan: `nfm_keras.data.batching.Plan`.
    """

    def __init__(self, plan):
        super().__init__()
        self.plan, self.epoch, self.first = plan, plan.epoch, plan.step
        self.ended = False
        self._shuffle()

    def __len__(self):
        return self.plan.steps - self.first

    def __getitem__(self, step):
        plan, step = self.plan, step + self.first
        self.ended = step == plan.steps - 1
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

    def __iter__(self):
        while True:
            yield from (self[step] for step in range(len(self)))
            self.on_epoch_end()

    def on_epoch_end(self):
        # Keras calls this before the first epoch too.
        if self.ended:
            self.ended = False
            self.epoch, self.first = self.epoch + 1, 0
            self._shuffle()

    def _shuffle(self):
        rng = np.random.default_rng((self.plan.seed, 0, self.epoch))
        self.order = rng.permutation(len(self.plan.images))

    def _crops(self, index, dy, dx, mirror):
        height, width, _ = self.plan.shape
        ascending = np.arange(width)
        columns = dx + np.where(mirror > 0, width - 1 - ascending, ascending)
        rows = dy + np.arange(height)
        images = self.plan.images
        return images[index[:, None, None], rows[:, :, None], columns[:, None, :]]
