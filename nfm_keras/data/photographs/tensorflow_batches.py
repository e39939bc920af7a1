"""Training batches of photographs by TensorFlow.

Of a JPEG file only the window that the crop shows is decoded, by the exact transform
(the default one is up to 18 levels off). A file that TensorFlow and Pillow may read
differently is decoded by Pillow.
"""

import io

import numpy as np
from PIL import Image

from nfm_keras.backend.host import call_from_tensorflow
from nfm_keras.data.photographs.files import Unreadable
from nfm_keras.data.photographs.headers import PNG, Header, read_header
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
    size = pieces.batch_size
    kinds = tf.string, tf.int64, tf.int32, tf.int32, tf.bool, tf.int64

    def fetch(number):
        values = tf.numpy_function(reader.fetch, [number], kinds)
        for value, shape in zip(values, ((), (), (4,), (4,), (), ()), strict=True):
            value.set_shape((size, *shape))
        numbers = number + tf.range(size, dtype=tf.int64)
        return numbers, *values

    def made(number, file, label, window, blocks, flip, row):
        image = crop(file, window, blocks, reading.image_size, reading.antialias)
        image = tf.cond(flip, lambda: tf.reverse(image, [1]), lambda: image)
        return number, image, label, row

    def batch(*values):
        files = tf.data.Dataset.from_tensor_slices(values)
        images = files.map(made, num_parallel_calls=THREADS, deterministic=True)
        return images.ignore_errors().batch(size)

    starts = tf.data.Dataset.range(pieces.first, np.iinfo(np.int64).max, size)
    files = starts.map(fetch, num_parallel_calls=2, deterministic=True)
    # Two at a time, so that the end of one does not wait for its last image.
    batches = files.interleave(
        batch, cycle_length=2, num_parallel_calls=2, deterministic=True
    )
    batches = _filled(batches, pieces, reader)
    return batches.map(lambda *values: _varied(plan, pieces, *values)).prefetch(2)


def crop(file, window, blocks, size, antialias):
    """Decodes a window of an image file and resizes it, in a graph.

    Args:
        file: string tensor, a whole JPEG or PNG file.
        window: int32 `(4,)`: top, left, height and width.
        blocks: int32 `(4,)`, as in `jpeg_window`.
        size: Side of the result.
        antialias: As in `transforms.training_crop`.

    Returns:
        uint8 `(size, size, 3)`.
    """
    import tensorflow as tf

    is_jpeg = tf.strings.substr(file, 0, 3) == b"\xff\xd8\xff"
    pixels = tf.cond(
        is_jpeg,
        lambda: jpeg_window(file, window, blocks),
        lambda: _png_window(file, window),
    )
    pixels.set_shape((None, None, 3))
    resized = tf.image.resize(pixels, (size, size), antialias=antialias)
    return tf.cast(tf.round(resized), tf.uint8)


def jpeg_window(file, window, blocks):
    """Decodes a window of a JPEG file: the pixels of the whole, bit for bit.

    Args:
        file: string tensor.
        window: int32 `(4,)`: top, left, height and width.
        blocks: int32 `(4,)`, the same of what is decoded: see `blocks_of`.

    Returns:
        uint8 `(height, width, 3)`.
    """
    import tensorflow as tf

    decoded = tf.io.decode_and_crop_jpeg(
        file, blocks, channels=3, dct_method="INTEGER_ACCURATE"
    )
    top, left, height, width = tf.unstack(window - tf.concat([blocks[:2], [0, 0]], 0))
    return decoded[top : top + height, left : left + width]


def blocks_of(windows, sides):
    """Returns what has to be decoded for windows of JPEG files.

    Args:
        windows: Integers `(n, 4)`: top, left, height and width.
        sides: Integers `(n, 2)`: height and width of each image.

    Returns:
        int32 `(n, 4)`: the same of the blocks that they touch and one more around.
    """
    windows, sides = np.asarray(windows), np.asarray(sides)
    start, end = windows[:, :2], windows[:, :2] + windows[:, 2:]
    first = np.maximum(start // _BLOCK - 1, 0) * _BLOCK
    last = np.minimum((-(-end // _BLOCK) + 1) * _BLOCK, sides)
    return np.concatenate([first, last - first], 1).astype(np.int32)


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
        size = self.pieces.batch_size
        try:
            columns = self._fetch(range(number, number + size))
        except Exception as error:
            # Raised by `missed`, behind the place where errors are passed over.
            self.skipped.error = error
            one = (0, 0, 1, 1)
            columns = zip(*[(_ANY_IMAGE, 0, one, one, False, -1)] * size)
        kinds = object, np.int64, np.int32, np.int32, bool, np.int64
        return [np.array([*c], kind) for c, kind in zip(columns, kinds, strict=True)]

    def _fetch(self, numbers):
        plan = self.pieces.plan
        places = [self.pieces.row(number) for number in numbers]
        rows = [row for _, row in places]
        files, labels, sides = zip(*map(self._file, rows))
        windows, flips = [(0, 0, *side) for side in sides], [False] * len(rows)
        if plan.augment:
            windows, flips = self.pieces.windows(places, sides)
        return files, labels, windows, blocks_of(windows, sides), flips, rows

    def _file(self, row):
        """A file as the graph decodes it, empty for none, its label and its sides."""
        plan = self.pieces.plan
        try:
            data, label = plan.images.files.read(row)
            header = read_header(data)
            if header is None or not header.is_plain or not plan.augment:
                data, header = self._decoded(data)
        except Unreadable as error:
            self.skipped.add(self.pieces.name(row), error, len(plan.images))
            return b"", 0, (1, 1)
        return data, label, (header.height, header.width)

    def _decoded(self, data):
        """By Pillow, handed on as a PNG file that is stored, not compressed."""
        plan, reading = self.pieces.plan, self.pieces.plan.images.reading
        image = decode(data)
        if not plan.augment:
            crop = centre_crop(image, reading.image_size, reading.eval_crop)
            image = Image.fromarray(crop)
        file = io.BytesIO()
        image.save(file, "PNG", compress_level=0)
        return file.getvalue(), Header(PNG, image.height, image.width, is_plain=True)

    def missed(self, first, numbers):
        """Notes the files that a batch lacks, of which it has the numbers given."""
        if self.skipped.error is not None:
            raise self.skipped.error
        size = self.pieces.batch_size
        for number in sorted({*range(first, first + size)} - {*numbers.tolist()}):
            _, row = self.pieces.row(number)
            self.skipped.add(self.pieces.name(row), "Its decoder refused it.")
        if numbers[0] >= first + size:
            raise ValueError(
                f"An image of each batch must be readable. Received: {size} one after "
                f"the other that are not, such as {self.skipped.names[-1]}"
            )
        return np.int64(0)


def _filled(batches, pieces, reader):
    """Puts the next image of a batch, or the last, in the place of each it lacks."""
    import tensorflow as tf

    size = pieces.batch_size

    def whole(first, values):
        numbers, images, labels, rows = values
        count = tf.shape(numbers)[0]
        is_whole = (count == size) & (numbers[0] == first)
        told = tf.cond(
            is_whole & tf.reduce_all(rows >= 0),
            lambda: tf.constant(0, tf.int64),
            lambda: tf.numpy_function(reader.missed, (first, numbers), tf.int64),
        )
        wanted = first + told + tf.range(size, dtype=tf.int64)
        places = tf.minimum(tf.searchsorted(numbers, wanted), count - 1)
        filled = tf.cond(
            count == size,
            lambda: (images, labels, rows),
            lambda: tuple(tf.gather(x, places) for x in (images, labels, rows)),
        )
        shapes = [(size, *x.shape[1:]) for x in (images, labels, rows)]
        return first + size, (wanted, *map(tf.ensure_shape, filled, shapes))

    return batches.scan(tf.constant(pieces.first, tf.int64), whole)


def _varied(plan, pieces, numbers, images, labels, rows):
    if plan.vary is None:
        return images, labels
    epoch = numbers[0] // (pieces.steps * pieces.batch_size)
    kinds = [(tuple(images.shape), "uint8")]
    (images,) = call_from_tensorflow(
        lambda *arrays: (plan.vary(*arrays),), kinds, (images, epoch, rows)
    )
    return images, labels
