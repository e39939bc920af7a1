"""White noise and salt and pepper, in two protocols, and the ids of perturbations.

An id such as `salt_and_pepper@0.04` or `pgd@8/255` is what flags, records, plots and
tests call a perturbation. The protocols differ, and their numbers must not be mixed:

* `reference`: what the published tables were measured with, taken from the authors'
  code. White noise of level sigma on the *normalised* image, not clipped; salt and
  pepper on the first channel alone.
* `pixel`: what the paper's text says (appendix F.1). Noise on [0,1] pixels, clipped;
  salt and pepper on whole pixels.

The authors reseed their generator with every batch, so that each batch meets the same
noise and the result depends on the batch size. Here every image has a seed of its own,
from (seed, kind, severity, image index), in both protocols: the law of the noise is the
same, and batch size, order and Keras backend change nothing.
"""

import hashlib

import numpy as np


def as_images(images):
    """Images as float32 in [0,1], or one error that says what is wrong with them.

    Args:
        images: `(batch, ...)`, uint8 (divided by 255) or float in [0,1].

    Raises:
        ValueError: empty, no batch dimension, another type, or out of [0,1].

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
        return images.astype("float32") / np.float32(255)
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
    return images.astype("float32", copy=False)


def image_generators(seed, stream, indices, repeat=0):
    """One NumPy generator after another, each keyed by its image alone.

    Philox turns (key, counter) into random bits. The key is a hash of seed and stream,
    the counter starts at the image's index in its highest word, so two images never
    share bits and no state is carried from one to the next.

    Args:
        seed: int.
        stream: str naming what is drawn.
        indices: integer index of each image.
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
