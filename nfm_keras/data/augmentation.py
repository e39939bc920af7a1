"""AutoAugment and RandAugment: image operations drawn for every image by itself.

In NumPy, on the host, for two reasons. An image meets few of the operations, and here
each is done to those images of a batch that drew it and to no others; and what an image
becomes depends on (seed, epoch, index) alone, whatever the batch, its order and the
Keras backend, so that a run can be resumed. Neither Keras nor KerasCV has AutoAugment.
Their RandAugment goes on from a state that is not saved with a model, and Keras' does
the same operations to a whole batch, up to half a turn.
"""

import itertools

import numpy as np

from nfm_keras.data.images import image_generators
from nfm_keras.data.operations import OPERATIONS


def augment(images, policy, seed, epoch, indices):
    """Does to each image what the policy draws for it.

    Largest changes: a shear of 0.3, a shift of 150/331 of the image, a turn of 30
    degrees, each in a random direction, to the nearest pixel and with `GREY` beyond the
    image; colour, contrast, brightness and sharpness times 0.1 or 1.9, at random; 4 of
    8 bits left by posterize; all grey levels inverted by solarize. Equalize,
    autocontrast and invert know no strength.

    Args:
        images: uint8 `(batch, height, width, channels)` of 1 or 3 channels.
        policy: A `Policy`.
        seed: Integer.
        epoch: Integer.
        indices: `(batch,)` index of each image in its set.

    Returns:
        A new array like `images`.

    Raises:
        ValueError: For other images.

    Example:

    >>> from nfm_keras.data.policies import POLICIES
    >>> images = np.zeros((2, 32, 32, 3), "uint8")
    >>> augment(images, POLICIES["autoaugment"], 0, 0, [0, 1]).shape
    (2, 32, 32, 3)

    Reference:
        [Cubuk et al., 2019](https://arxiv.org/abs/1805.09501), table 6 for the
        operations and table 7 for the policy;
        [Cubuk et al., 2020](https://arxiv.org/abs/1909.13719).
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.dtype != np.uint8:
        raise ValueError(
            "A policy must be given uint8 images of 1 or 3 channels. "
            f"Received: {images.dtype} of shape {images.shape}"
        )
    images, steps = images.copy(), len(policy.chains[0])
    operations, probabilities, strengths = _columns(policy)
    generators = image_generators(seed, "policy", indices, int(epoch))
    u = np.stack([g.random((policy.rounds, 1 + 2 * steps)) for g in generators], -1)
    for which, *coins in u:
        chain = (which * len(policy.chains)).astype(int)
        for step in range(steps):
            done = coins[step] < probabilities[chain, step]
            sign = np.where(coins[steps + step] < 0.5, -1.0, 1.0)
            names = np.where(done, operations[chain, step], "")
            _operate(images, names, sign * strengths[chain, step])
    return images


def _columns(policy):
    """Operations, probabilities and strengths, each `(chains, steps)`."""
    columns = zip(*itertools.chain.from_iterable(policy.chains))
    return [np.array(column).reshape(len(policy.chains), -1) for column in columns]


def _operate(images, names, strength):
    """Changes `images` in place; the empty name is no operation."""
    for name in set(names.tolist()) - {""}:
        chosen = np.flatnonzero(names == name)
        images[chosen] = OPERATIONS[name](images[chosen], strength[chosen])
