"""What a training batch of photographs is made of, whoever decodes it."""

import functools
import itertools
import threading
from typing import Any, NamedTuple

import numpy as np

from nfm_keras.data.images import image_generators
from nfm_keras.data.photographs.order import epoch_rows
from nfm_keras.data.photographs.photographs import Photographs
from nfm_keras.data.photographs.transforms import DRAWS, mirrored, windows

_DRAWN = "crop"


class Plan(NamedTuple):
    """What a stream of training batches needs to know.

    Attributes:
        images: `Photographs` of the training set.
        batch_size: int, images of a batch, of all processes together.
        seed: int.
        epoch, step: int, the epoch and its batch to begin with.
        augment: bool. Whether crops are random and half of them mirrored.
        vary: Function `(images, epoch, rows) -> images` of arrays, or None.
        part: slice, the rows of each batch that are this process' own.
    """

    images: Photographs
    batch_size: int
    seed: int
    epoch: int
    step: int
    augment: bool
    vary: Any
    part: slice


class Pieces:
    """The images of a training run one after another, without end.

    Number `p`, counted from the first image of epoch 0, is a pure function of the plan.

    Args:
        plan: `Plan`.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, size = plan, plan.batch_size
        first, last, _ = plan.part.indices(size)
        self.batch_size = last - first
        self.processes, self.process = size // self.batch_size, first // self.batch_size
        self.steps = len(plan.images) // size
        self.first = (plan.epoch * self.steps + plan.step) * self.batch_size
        self._rows = np.sort(plan.images.rows)
        self._order = functools.lru_cache(2)(self._epoch_rows)
        self._lock = threading.Lock()

    def _epoch_rows(self, epoch):
        plan = self.plan
        return epoch_rows(
            *(self._rows, plan.images.files.lengths),
            seed=plan.seed,
            epoch=epoch,
            group=plan.images.files.group,
            count=self.steps * self.batch_size,
            processes=self.processes,
            process=self.process,
        )

    def row(self, number: int) -> tuple[int, int]:
        """Returns the epoch and the row of an image by its number."""
        epoch, place = divmod(number, self.steps * self.batch_size)
        with self._lock:
            order = self._order(epoch)
        return epoch, int(order[place])

    def windows(self, places: list, sides: list) -> tuple[np.ndarray, np.ndarray]:
        """Draws what training shows of images, each from its epoch and row alone.

        Args:
            places: Pairs, epoch and row of each image.
            sides: Pairs, height and width of each.

        Returns:
            `(windows, flips)`: int32 `(n, 4)`, top, left, height and width, and bool
            `(n,)`, which images are mirrored.
        """
        draws = []
        for epoch, same in itertools.groupby(places, key=lambda place: place[0]):
            rows = [row for _, row in same]
            generators = image_generators(self.plan.seed, _DRAWN, rows, epoch)
            draws += [generator.random(DRAWS) for generator in generators]
        return windows(np.array(sides), np.stack(draws)), mirrored(np.stack(draws))

    def name(self, row: int) -> str:
        """Returns the name of a file."""
        return self.plan.images.files.name(row)
