"""Images as the package takes them, and random numbers that belong to an image.

The authors of the method reseed their generator with every batch of an evaluation, so
that each batch meets the same noise and the result depends on the batch size. Here
every image has bits of its own: the law of what is drawn is the same, and batch size,
order and Keras backend change nothing.
"""

import hashlib

import numpy as np
from numpy.typing import ArrayLike


def as_images(images: ArrayLike) -> np.ndarray:
    """Returns images as float32 in [0,1].

    Args:
        images: `(batch, ...)`, uint8 (divided by 255) or float in [0,1].

    Returns:
        float32 array of that shape, in C order whatever the order was: what is drawn
        into an array like it is the same.

    Raises:
        ValueError: If there are none, or no batch dimension, for another type, or for
            values out of [0,1].

    Example:

    >>> as_images(np.array([[0, 255]], "uint8")).tolist()
    [[0.0, 1.0]]
    """
    images = np.asarray(images)
    if images.ndim < 2 or not images.size:
        raise ValueError(
            "`images` must be a batch of at least one image, (batch, height, width, "
            f"channels). Received: shape {images.shape}"
        )
    if images.dtype == np.uint8:
        return images.astype("float32", order="C") / np.float32(255)
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(
            "`images` must be uint8 in [0,255] or float in [0,1]. "
            f"Received: dtype {images.dtype}"
        )
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 1):  # `not`, so that NaN is caught as well
        raise ValueError(
            "Float `images` must lie in [0,1]; the classifier normalises them itself. "
            f"Received: values from {low:g} to {high:g}"
        )
    return np.ascontiguousarray(images, "float32")


def check_channels_last(what, images):
    """Refuses images that have height and width in other places, or none.

    Args:
        what: str, who needs them: the beginning of the error.
        images: Array.

    Returns:
        Their shape, `(batch, height, width, channels)`.

    Raises:
        ValueError: For another number of axes, or for 1 or 3 channels in front.
    """
    shape = images.shape
    if len(shape) != 4 or (shape[1] in (1, 3) and shape[3] > 4 and shape[2] > 4):
        raise ValueError(
            f"{what} images of shape (batch, height, width, channels). "
            f"Received: {'channels first, ' if len(shape) == 4 else ''}{shape}"
        )
    return shape


def image_generators(seed, stream, indices, repeat=0):
    """Yields a NumPy generator for each image, keyed by that image alone.

    Philox turns (key, counter) into random bits. The key is a hash of seed and stream,
    the counter starts at the image's index in its highest word, so two images never
    share bits and no state is carried from one to the next.

    Args:
        seed: int.
        stream: str, the name of what is drawn.
        indices: Integer index of each image.
        repeat: int, for several independent draws on one image.

    Yields:
        The same `np.random.Generator` each time, moved to the next image: draw from it
        before asking for the next.

    Example:

    >>> first, _, again = [g.random() for g in image_generators(0, "demo", [3, 4, 3])]
    >>> first == again
    True
    """
    digest = hashlib.sha256(f"{seed}/{stream}".encode()).digest()
    bits = np.random.Philox(key=np.frombuffer(digest[:16], "<u8"))
    generator, state = np.random.Generator(bits), bits.state
    for index in indices:
        # Moving one generator costs 1 us, making one for every image 8.
        state["state"]["counter"][:] = (0, 0, repeat, index)
        state["buffer_pos"], state["has_uint32"] = 4, 0  # an empty buffer
        bits.state = state
        yield generator
