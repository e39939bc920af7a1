"""Weights on their way to the disk: put together in memory, then written at once.

h5py writes a file piece by piece, and takes the whole process down where the disk is
full in the middle of it.
"""

import io
import os
import pathlib
from collections.abc import Callable
from typing import Any


class _File(io.BytesIO):
    """A file in memory that has a name, by whose ending Keras knows its kind."""

    def __init__(self, name):
        super().__init__()
        self._name = name

    def __str__(self):
        return self._name


def write(save: Callable[[Any], None], path: pathlib.Path) -> None:
    """Writes what a model saves.

    Args:
        save: `save` or `save_weights` of a `keras.Model`.
        path: File to write, its name that of such a file.

    Raises:
        OSError: If the disk is full or the folder cannot be written to.

    Example:

    >>> import keras
    >>> network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> write(network.save, pathlib.Path("network.keras"))
    >>> keras.saving.load_model("network.keras").output_shape
    (None, 1)
    """
    memory = _File(path.name)
    save(memory)
    with open(path, "wb") as file:
        file.write(memory.getbuffer())
        file.flush()
        os.fsync(file.fileno())  # some disks say only here that they are full
