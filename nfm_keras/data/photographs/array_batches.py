"""Training and validation batches of photographs by Pillow, for every backend.

A `keras.utils.PyDataset` and not `grain`: `fit` takes it on JAX and PyTorch as it is,
nothing more has to be installed, and the order, a pure function of seed and epoch, is
the one that TensorFlow's stream has; `grain` would need a random-access source and a
sampler of our own for that, and its processes as many copies of the index.
"""

import concurrent.futures

import keras
import numpy as np

from nfm_keras.data.array_stream import EndlessBatches
from nfm_keras.data.photographs.files import Unreadable
from nfm_keras.data.photographs.photographs import THREADS
from nfm_keras.data.photographs.training_batches import Pieces
from nfm_keras.data.photographs.transforms import centre_crop, decode, training_crop

_AHEAD = 2  # batches that are made while others are trained on


class TrainingBatches(EndlessBatches):
    """Batches of photographs, which threads decode.

    Args:
        plan: `nfm_keras.data.photographs.training_batches.Plan`.
    """

    def __init__(self, plan):
        self.pieces = Pieces(plan)
        super().__init__(plan, self.pieces.steps)
        self._pool = concurrent.futures.ThreadPoolExecutor(THREADS)
        self._begun = {}

    def batch(self, epoch, step):
        number = (epoch * self.steps + step) * self.pieces.batch_size
        size = self.pieces.batch_size
        for start in range(number, number + (1 + _AHEAD) * size, size):
            if start not in self._begun:
                numbers = range(start, start + size)
                self._begun[start] = [self._pool.submit(self._made, n) for n in numbers]
        made = [future.result() for future in self._begun.pop(number)]
        for start in [s for s in self._begun if s < number]:
            del self._begun[start]
        return self._filled(made)

    def _filled(self, made):
        """Puts the next image, or the last, in the place of one that cannot be read."""
        good = next((one for one in reversed(made) if one), None)
        if good is None:
            raise ValueError(
                f"An image of each batch must be readable. Received: {len(made)} one "
                f"after the other that are not, such as "
                f"{self.plan.images.skipped.names[-1]}"
            )
        filled = []
        for one in reversed(made):
            good = one or good
            filled.append(good)
        images, labels, epochs, rows = zip(*reversed(filled))
        images = np.stack(images)
        if self.plan.vary is not None:
            images = self.plan.vary(images, epochs[0], np.array(rows))
        return images, np.array(labels, np.int64)

    def _made(self, number):
        """Image, label, epoch and row of a number; None where it cannot be read."""
        epoch, row = self.pieces.row(number)
        reading = self.plan.images.reading
        try:
            data, label = self.plan.images.files.read(row)
            image = decode(data)
        except Unreadable as error:
            images = self.plan.images
            images.skipped.add(self.pieces.name(row), error, len(images))
            return None
        if not self.plan.augment:
            crop = centre_crop(image, reading.image_size, reading.eval_crop)
            return crop, label, epoch, row
        sides = image.height, image.width
        (window,), (flip,) = self.pieces.windows([(epoch, row)], [sides])
        crop = training_crop(image, window, reading.image_size, reading.antialias)
        return (crop[:, ::-1] if flip else crop), label, epoch, row


class InOrder(keras.utils.PyDataset):
    """Batches of a set as it is, to validate on, without files that cannot be read.

    Args:
        images: `Photographs`.
        labels: Integers `(n,)`.
        batch_size: int.
    """

    def __init__(self, images, labels, batch_size):
        super().__init__()
        self.images, self.labels = images, np.asarray(labels)
        self.batch_size = batch_size

    def __len__(self):
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, step):
        at = slice(step * self.batch_size, (step + 1) * self.batch_size)
        images, kept = self.images[at].read()
        if not kept.any():
            raise ValueError(
                f"An image of each batch must be readable. Received: {len(kept)} that "
                f"are not, such as {self.images.files.name(self.images.rows[at][0])}"
            )
        return images, self.labels[at][kept]
