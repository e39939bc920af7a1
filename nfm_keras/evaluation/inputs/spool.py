"""Images of a stream, kept in a temporary file: memory does not grow with them."""

import tempfile
import weakref

import numpy as np

from nfm_keras.data.images import as_images

_GRID = 1e-6
"""How far from a multiple of 1/255 a float may be, by rounding alone."""


class Spool:
    """A temporary file that images are added to, a batch at a time.

    It holds bytes as long as all images are uint8, or floats that are multiples of
    1/255 up to rounding (1e-6), and float32 from the first batch on that is neither.
    The system removes the file once nobody reads it any more. It lies where
    `tempfile.gettempdir()` says, which `TMPDIR` moves.

    Example:

    >>> spool = Spool()
    >>> spool.add(np.full((2, 4, 4, 1), 0.2, "float32"))
    >>> spool.images().dtype, spool.images().shape
    (dtype('uint8'), (2, 4, 4, 1))
    """

    def __init__(self):
        self._file = self._opened()
        self.dtype, self.shape, self.count = np.dtype("uint8"), (), 0

    def add(self, images):
        """Appends a batch.

        Args:
            images: `(batch, height, width, channels)`, uint8 or float in [0,1].

        Raises:
            ValueError: If they are no such images, or of another size than before.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8:
            images = _bytes(as_images(images))
        self.shape = self.shape or images.shape[1:]
        if images.shape[1:] != self.shape:
            raise ValueError(
                f"All images must have the shape {self.shape} of the first. "
                f"Received: {images.shape[1:]}"
            )
        if images.dtype != self.dtype:
            if images.dtype == np.uint8:
                images = as_images(images)
            else:
                self._widen()
        self._file.write(np.ascontiguousarray(images).data)
        self.count += len(images)

    def images(self):
        """Returns all images so far, `(n, ...)`, read from the file when used."""
        self._file.flush()
        shape = (self.count, *self.shape)
        return np.memmap(self._file, self.dtype, "r", shape=shape)

    def _opened(self):
        """A temporary file that is closed with this; what maps it keeps it."""
        file = tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, file.close)
        return file

    def _widen(self):
        """Makes floats of the bytes so far."""
        narrow, self._file = self._file, self._opened()
        narrow.seek(0)
        while content := narrow.read(2**20):
            floats = np.frombuffer(content, np.uint8).astype("float32")
            self._file.write((floats / np.float32(255)).data)
        narrow.close()
        self.dtype = np.dtype("float32")


def _bytes(images):
    """Floats on the 8-bit grid as uint8; others as they are."""
    levels = np.rint(images * np.float32(255))
    on_grid = np.abs(levels / np.float32(255) - images) <= _GRID
    return levels.astype("uint8") if on_grid.all() else images
