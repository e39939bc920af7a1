"""Training batches of photographs by TensorFlow.

Of a JPEG file only the window that the crop shows is decoded, by the exact transform
(the default one is up to 18 levels off). A file that TensorFlow and Pillow may read
differently is decoded by Pillow.
"""

import io

import numpy as np

from nfm_keras.data.photographs.headers import read_header
from nfm_keras.data.photographs.photographs import THREADS
from nfm_keras.data.photographs.training_batches import Pieces
from nfm_keras.data.photographs.transforms import centre_crop, decode

_BLOCK = 16
"""Side of the blocks of a JPEG file with halved colours. Colours at the border of a
decoded window are those of its own blocks, so one more is decoded on each side."""


def stream(plan):
    """Returns the endless `tf.data.Dataset` of batches.

    Args:
        plan: `nfm_keras.data.photographs.training_batches.Plan`.
    """
    import tensorflow as tf

    pieces, reading = Pieces(plan), plan.images.reading
    reader = _Reader(pieces)
    size, kinds = pieces.batch_size, (tf.string, tf.int64, tf.int32, tf.bool, tf.int64)

    def fetch(number):
        values = tf.numpy_function(reader.fetch, [number], kinds)
        for value, shape in zip(values, ((), (), (4,), (), ()), strict=True):
            value.set_shape((size, *shape))
        numbers = number + tf.range(size, dtype=tf.int64)
        return numbers, *values

    def made(number, file, label, window, flip, row):
        image = crop(file, window, reading.image_size, reading.antialias)
        image = tf.cond(flip, lambda: tf.reverse(image, [1]), lambda: image)
        return number, image, label, row

    starts = tf.data.Dataset.range(pieces.first, np.iinfo(np.int64).max, size)
    batches = starts.map(fetch, num_parallel_calls=2, deterministic=True)
    files = batches.flat_map(lambda *values: tf.data.Dataset.from_tensor_slices(values))
    images = files.map(made, num_parallel_calls=THREADS, deterministic=True)
    filled = _filled(images.ignore_errors(), pieces.first, reader)
    batches = filled.batch(size, drop_remainder=True)
    return batches.map(lambda *values: _varied(plan, pieces, *values)).prefetch(2)


def crop(file, window, size, antialias):
    """Decodes a window of an image file and resizes it, in a graph.

    Args:
        file: string tensor, a whole JPEG or PNG file.
        window: int32 `(4,)`: top, left, height and width.
        size: Side of the result.
        antialias: As in `transforms.training_crop`.

    Returns:
        uint8 `(size, size, 3)`.
    """
    import tensorflow as tf

    is_jpeg = tf.strings.substr(file, 0, 3) == b"\xff\xd8\xff"
    pixels = tf.cond(
        is_jpeg, lambda: jpeg_window(file, window), lambda: _png_window(file, window)
    )
    pixels.set_shape((None, None, 3))
    resized = tf.image.resize(pixels, (size, size), antialias=antialias)
    return tf.cast(tf.round(resized), tf.uint8)


def jpeg_window(file, window):
    """Decodes a window of a JPEG file: the pixels of the whole, bit for bit.

    Args:
        file: string tensor.
        window: int32 `(4,)`: top, left, height and width.

    Returns:
        uint8 `(height, width, 3)`.
    """
    import tensorflow as tf

    start, extent = window[:2], window[2:]
    whole = tf.io.extract_jpeg_shape(file)[:2]
    first = tf.maximum(start // _BLOCK - 1, 0) * _BLOCK
    last = tf.minimum(-(-(start + extent) // _BLOCK) + 1, -(-whole // _BLOCK)) * _BLOCK
    last = tf.minimum(last, whole)
    decoded = tf.io.decode_and_crop_jpeg(
        file,
        tf.concat([first, last - first], 0),
        channels=3,
        dct_method="INTEGER_ACCURATE",
    )
    return tf.slice(
        decoded, tf.concat([start - first, [0]], 0), tf.concat([extent, [3]], 0)
    )


def _png_window(file, window):
    import tensorflow as tf

    top, left, height, width = tf.unstack(window)
    return tf.io.decode_png(file, 3)[top : top + height, left : left + width]


# A PNG file of one pixel.
_ANY_IMAGE = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00"
    b"\x00\x00\x00:~\x9bU\x00\x00\x00\nIDATx\x9cc`\x00\x00\x00\x02\x00\x01H\xaf\xa4q"
    b"\x00\x00\x00\x00IEND\xaeB`\x82"
)


class _Reader:
    """Reads the files of a batch, in NumPy.

    What cannot be read is handed on as an empty file, which the decoder refuses.

    Args:
        pieces: `Pieces`.
    """

    def __init__(self, pieces):
        self.pieces, self.skipped = pieces, pieces.plan.images.skipped

    def fetch(self, number):
        try:
            numbers = range(number, number + self.pieces.batch_size)
            files, *rest = zip(*map(self._fetch, numbers))
        except Exception as error:
            # Raised by `missed`, behind the place where errors are passed over.
            self.skipped.error = error
            files = [_ANY_IMAGE] * self.pieces.batch_size
            rest = zip(*[(0, (0, 0, 1, 1), False, -1)] * self.pieces.batch_size)
        kinds = np.int64, np.int32, bool, np.int64
        return np.array(files, object), *map(np.array, rest, kinds)

    def _fetch(self, number):
        plan = self.pieces.plan
        epoch, row = self.pieces.row(number)
        data, label = plan.images.files.read(row)
        header = read_header(data)
        if header is None or not header.is_plain or not plan.augment:
            try:
                return self._decoded(data, label, epoch, row)
            except ValueError as error:
                most = len(plan.images)
                self.skipped.add(self.pieces.name(row), error, most)
                return b"", label, (0, 0, 0, 0), False, row
        draws = self.pieces.draws(epoch, row)
        sides = header.height, header.width
        return data, label, *self.pieces.place(draws, *sides), row

    def _decoded(self, data, label, epoch, row):
        """By Pillow, handed on as a PNG file that is stored, not compressed."""
        plan, image = self.pieces.plan, decode(data)
        if plan.augment:
            draws = self.pieces.draws(epoch, row)
            window, flip = self.pieces.place(draws, image.height, image.width)
        else:
            from PIL import Image

            reading = plan.images.reading
            crop = centre_crop(image, reading.image_size, reading.eval_crop)
            image, flip = Image.fromarray(crop), False
            window = np.array([0, 0, *crop.shape[:2]], np.int32)
        file = io.BytesIO()
        image.save(file, "PNG", compress_level=0)
        return file.getvalue(), label, window, flip, row

    def missed(self, first, last):
        """Notes the files of the numbers from `first` to before `last`."""
        if self.skipped.error is not None:
            raise self.skipped.error
        for number in range(first, last):
            _, row = self.pieces.row(number)
            self.skipped.add(self.pieces.name(row), "Its decoder refused it.")
        return np.int64(last - first)


def _filled(images, first, reader):
    """Puts the next image in the place of one that could not be decoded."""
    import tensorflow as tf

    def count(before, element):
        number, *_, row = element
        told = tf.cond(
            (number > before + 1) | (row < 0),
            lambda: tf.numpy_function(reader.missed, (before + 1, number), tf.int64),
            lambda: tf.constant(0, tf.int64),
        )
        return number, (told + 1, *element)

    def repeated(times, *values):
        return tf.data.Dataset.from_tensors(values).repeat(times)

    before = tf.constant(first - 1, tf.int64)
    return images.scan(before, count).flat_map(repeated)


def _varied(plan, pieces, numbers, images, labels, rows):
    from nfm_keras.backend.host import call_from_tensorflow
    from nfm_keras.data.photographs.array_batches import varied

    if plan.vary is None:
        return images, labels
    epochs = numbers // (pieces.steps * pieces.batch_size)
    kinds = [(tuple(images.shape), "uint8")]
    (images,) = call_from_tensorflow(
        lambda *arrays: (varied(plan.vary, *arrays),), kinds, (images, epochs, rows)
    )
    return images, labels
