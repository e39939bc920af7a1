"""What a training batch of photographs is made of, whoever decodes it."""

import functools
import threading
from typing import Any, NamedTuple

import numpy as np

from nfm_keras.data.images import image_generators
from nfm_keras.data.photographs.headers import read_header
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

    def draws(self, epoch: int, row: int) -> np.ndarray:
        """Returns the uniform numbers of an image in an epoch, `(DRAWS,)`."""
        (generator,) = image_generators(self.plan.seed, _DRAWN, [row], epoch)
        return generator.random(DRAWS)

    def place(self, draws: np.ndarray, height: int, width: int) -> tuple:
        """Returns window `(4,)` and mirroring of an image of a size, from its draws."""
        window = windows(np.array([(height, width)]), draws[None])[0]
        return window, bool(mirrored(draws[None])[0])

    def name(self, row: int) -> str:
        """Returns the name of a file."""
        return self.plan.images.files.name(row)


def size_of(data: bytes) -> tuple[int, int] | None:
    """Returns height and width of a file that every decoder reads alike, or None."""
    header = read_header(data)
    return (header.height, header.width) if header and header.is_plain else None
