"""JPEG and PNG files decoded inside a graph, for a server that is sent files.

Nothing here runs in Python once it is traced: a SavedModel with it needs no Keras, no
Pillow and no Python function.
"""

from nfm_keras.serving import resizing

MAX_PIXELS = 2**26
"""A file that declares more pixels is refused before anything is decoded. At three
bytes each that is 192 MiB, and more than a camera of 50 megapixels makes."""

# The signature, and the chunk that must come first: its length (13) and its name.
_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
_JPEG = b"\xff\xd8\xff"

# Adobe's marker, with no transform of colours: inks of a CMYK file are inverted.
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"

# ITU-R BT.601 in 1/65536, the sum exact: grey pixels stay as they are.
_LUMA = (19595, 38470, 7471)


def decode(files, shape, eval_crop=None):
    """Decodes and resizes files to the images that a network takes, in a graph.

    * Colour, grey, palette and alpha images of any bit depth become `channels`: grey is
      repeated, colour is weighed by ITU-R BT.601 (Pillow's `convert("L")`), alpha is
      dropped, not blended, and of 16 bits the upper 8 count.
    * The pixels are Pillow's, bit for bit (of a CMYK file within one level; its inks
      count as inverted, as Adobe and Pillow have it).
    * Another size is resized to the network's: bilinear, with antialiasing where it
      shrinks (`tf.image.resize(antialias=True)`), width and height each by its own
      factor. An image of the network's size comes through bit for bit.
    * The orientation that a camera notes (EXIF) is ignored.

    With `eval_crop` the shorter side is resized and the centre cut out, bit for bit as
    Pillow does it and as photographs are evaluated (`serving.resizing`).

    Args:
        files: string tensor `(batch,)`, each the bytes of a JPEG or PNG.
        shape: `(height, width, channels)` of the result, 1 or 3 channels.
        eval_crop: float, the share of the shorter side that is shown; `None` to resize
            the whole image, whatever its shape.

    Returns:
        float32 `(batch, height, width, channels)` in [0, 1].

    Raises:
        tensorflow.errors.InvalidArgumentError: When it runs, for a file that is no JPEG
            or PNG, is cut short, or declares more than `MAX_PIXELS` pixels. The whole
            batch fails; the next one is not affected.

    Example:

    >>> import tensorflow as tf
    >>> png = tf.io.encode_png(tf.zeros((8, 8, 1), "uint8"))
    >>> decode(png[None], (32, 32, 3)).shape
    TensorShape([1, 32, 32, 3])
    """
    import tensorflow as tf

    sides = _sides(files)
    # An explicit dependency: the decoder allocates what a header declares, and a graph
    # would run it at once with the checks.
    with tf.control_dependencies([_check_sides(sides)]):
        files = tf.identity(files)
    # Traced once, and not anew for each of two branches.
    pixels = tf.function(
        lambda file: _pixels(file, shape[-1]),
        [tf.TensorSpec((), tf.string)],
        autograph=False,
    )
    if eval_crop is not None:

        def cropped(file):
            return resizing.centre_crop(pixels(file), shape[0], eval_crop)

        return tf.cast(_images(files, cropped, shape, tf.uint8), tf.float32) / 255.0
    # Resizing one by one takes longer than decoding, also where it changes nothing.
    images = tf.cond(
        tf.reduce_all(sides == shape[:2]),
        lambda: tf.cast(_images(files, pixels, shape, tf.uint8), tf.float32),
        lambda: _images(
            files, lambda file: _resized(pixels(file), shape), shape, tf.float32
        ),
    )
    return images / 255.0


def _sides(files):
    # All at once where that can be: an op takes longer to start than to read a header.
    import tensorflow as tf

    sizes = tf.strings.length(files)
    png = tf.strings.substr(files, 0, len(_PNG)) == _PNG
    png &= sizes >= len(_PNG) + 8
    jpeg = tf.strings.substr(files, 0, len(_JPEG)) == _JPEG
    known = _expect(png | jpeg, "be JPEG or PNG files", "bytes", sizes)
    with tf.control_dependencies([known]):
        pngs, jpegs = tf.where(png)[:, 0], tf.where(jpeg)[:, 0]
    return tf.dynamic_stitch(
        [tf.cast(places, tf.int32) for places in (pngs, jpegs)],
        [_png_sides(tf.gather(files, pngs)), _jpeg_sides(tf.gather(files, jpegs))],
    )


def _check_sides(sides):
    import tensorflow as tf

    pixels = tf.reduce_prod(tf.cast(sides, tf.int64), 1)
    fits = tf.reduce_all(sides > 0, 1) & (pixels <= MAX_PIXELS)
    return _expect(fits, f"declare 1 to {MAX_PIXELS} pixels", "height, width", sides)


def _png_sides(files):
    import tensorflow as tf

    sides = tf.strings.substr(files, len(_PNG), 8)
    sides = tf.io.decode_raw(sides, tf.int32, little_endian=False, fixed_length=8)
    return sides[:, ::-1]  # a PNG has the width first


def _jpeg_sides(files):
    import tensorflow as tf

    sides = tf.TensorSpec((3,), tf.int32)
    # Reads the header alone.
    read = tf.io.extract_jpeg_shape
    return tf.map_fn(read, files, fn_output_signature=sides)[:, :2]


def _expect(fine, act, what, values):
    import tensorflow as tf

    # The server puts each part into brackets: "[Images] [3] [of the batch must ...".
    bad = tf.where(~fine)[:, 0]
    text = f"of the batch must {act}. Received: {what}"
    parts = ["Images", bad, text, tf.gather(values, bad)]
    return tf.raw_ops.Assert(condition=tf.reduce_all(fine), data=parts, summarize=4)


def _images(files, image_of, shape, dtype):
    import tensorflow as tf

    def image(file):
        return tf.ensure_shape(image_of(file), shape)

    return tf.map_fn(image, files, fn_output_signature=tf.TensorSpec(shape, dtype))


def _pixels(file, channels):
    import tensorflow as tf

    jpeg = tf.strings.substr(file, 0, len(_JPEG)) == _JPEG
    rgb = tf.cond(jpeg, lambda: _jpeg_pixels(file), lambda: _png_pixels(file))
    rgb.set_shape((None, None, 3))
    return _grey(rgb) if channels == 1 else rgb


def _png_pixels(file):
    import tensorflow as tf

    # Always in three channels: asked for one, the decoder cuts a PNG's grey off
    # instead of rounding it.
    return tf.io.decode_png(file, 3)


def _jpeg_pixels(file):
    import tensorflow as tf

    four = tf.io.extract_jpeg_shape(file)[2] == 4
    file = tf.cond(four, lambda: _with_adobes_marker(file), lambda: file)
    # By default a fast transform is taken, up to 18 levels off. In three channels:
    # asked for one, the decoder fails on a CMYK file.
    return tf.io.decode_jpeg(file, 3, dct_method="INTEGER_ACCURATE")


def _with_adobes_marker(file):
    """A CMYK file as Pillow reads it: with inks inverted, whoever wrote it."""
    import tensorflow as tf

    codes = tf.cast(tf.io.decode_raw(file, tf.uint8), tf.int32)
    found = _has_segment(codes, _ADOBE)
    return tf.cond(
        found,
        lambda: file,
        lambda: tf.strings.join(
            [_JPEG[:2], _ADOBE, tf.strings.substr(file, 2, tf.size(codes) - 2)]
        ),
    )


def _has_segment(codes, segment):
    """Whether a segment that begins like another is among those of a JPEG's header."""
    import tensorflow as tf

    head = tf.constant(list(segment[:9]))
    size = tf.size(codes)

    def goes_on(place, found):
        fits = place + len(segment) < size
        # Up to the marker of the image data.
        more = lambda: (codes[place] == 0xFF) & (codes[place + 1] != 0xDA)  # noqa: E731
        return ~found & tf.cond(fits, more, lambda: False)

    def next_segment(place, found):
        here = codes[place : place + 9]
        same = tf.reduce_all((here == head) | (tf.range(9) // 2 == 1))
        length = 256 * codes[place + 2] + codes[place + 3]
        # A marker may be preceded by more bytes of 255.
        step = tf.where(codes[place + 1] == 0xFF, 1, 2 + length)
        return place + step, found | same

    _, found = tf.while_loop(goes_on, next_segment, (2, False))
    return found


def _resized(pixels, shape):
    import tensorflow as tf

    return tf.image.resize(pixels, shape[:2], antialias=True)


def _grey(rgb):
    import tensorflow as tf

    weighed = tf.cast(rgb, tf.int32) * tf.constant(_LUMA)
    total = tf.reduce_sum(weighed, -1, keepdims=True) + 2**15
    return tf.cast(total // 2**16, tf.uint8)
