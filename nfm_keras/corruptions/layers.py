"""Common corruptions as augmentation: a map for tf.data and a Keras layer.

Both give every image a corruption and a severity of its own. Training on corruptions
that one then evaluates on says little about robustness to unseen ones: the four of
`EXTRA` are there to be trained or tuned on.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from nfm_keras.backend.host import call_from_tensorflow, call_host
from nfm_keras.checks import check_count, check_number
from nfm_keras.corruptions.constants import SEVERITIES, STANDARD
from nfm_keras.corruptions.corruption import Corruption
from nfm_keras.data.images import image_generators
from nfm_keras.types import Tensor


def corrupt_map(
    kinds: Sequence[str] = STANDARD,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
) -> Callable[[Tensor, tuple[Tensor, Tensor]], tuple[Tensor, Tensor]]:
    """Returns a function for `tf.data.Dataset.map` that corrupts batches.

    Each image gets one of the kinds and severities, all equally likely. What is drawn
    for an image depends on (seed, number of its batch, its place in the batch) and on
    nothing else, so that a parallel map gives the same as a serial one. The number
    comes from `enumerate`: put it after `repeat` to draw anew in each epoch, before it
    to repeat the same corruptions.

    Args:
        kinds: names of corruptions, as in `Corruption`.
        severities: integers from 1 to 5.
        seed: int.

    Returns:
        Function from `(number, (images, labels))` to `(images, labels)`; images are
        `(batch, height, width, channels)`, uint8 or float in [0,1], and keep their
        dtype and shape. It runs on the host and in Python, one call at a time.

    Raises:
        ValueError: If a kind or severity is unknown, or there is none.

    Example:

    >>> import tensorflow as tf
    >>> images, labels = np.zeros((4, 8, 8, 3), "uint8"), np.arange(4)
    >>> dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    >>> dataset = dataset.repeat().batch(2).enumerate()
    >>> dataset = dataset.map(corrupt_map(["fog", "snow"]))
    """
    corrupt = functools.partial(_corrupt, _corruptions(kinds, severities), 1.0, seed)

    def corrupt_batch(number, batch):
        images, labels = batch
        kind = images.shape, images.dtype.name
        return *call_from_tensorflow(corrupt, [kind], (images, number)), labels

    return corrupt_batch


@keras.saving.register_keras_serializable(package="nfm_keras")
class RandomCorruption(keras.layers.Layer):
    """Corrupts images in training and returns them as they are otherwise.

    With `training=True` each image is corrupted with probability `rate`, by one of the
    kinds and severities, all equally likely. What is drawn depends on (seed, number of
    the call, place in the batch) and on nothing else: not on the Keras backend, nor on
    how the model is compiled. The number of the call is a weight that is not trained
    and is saved with the model, so that a resumed training goes on with new draws.

    The corruptions run on the host, in NumPy: eagerly and in a graph on TensorFlow,
    under `jax.jit` on JAX, and on PyTorch. XLA on TensorFlow cannot call the host:
    `compile` leaves XLA off in a model that holds this layer, and a
    `tf.function(jit_compile=True)` around it is refused. No gradient goes through the
    layer, so it belongs before the first weights.

    Args:
        kinds: names of corruptions, as in `Corruption`.
        severities: integers from 1 to 5.
        rate: float in [0, 1]. Probability that an image is corrupted.
        seed: int.

    Call arguments:
        images: `(batch, height, width, channels)`, uint8 or float in [0,1].
        training: bool.

    Input shape:
        `(batch, height, width, channels)` with 1 or 3 channels.

    Output shape:
        Same as the input, of the same dtype and range (in mixed precision floats
        are of the compute dtype).

    Raises:
        ValueError: If a kind or severity is unknown, there is none, or the rate is out
            of [0, 1]; when called, if the images are of another rank or dtype.

    Example:

    >>> corrupt = RandomCorruption(["gaussian_noise"], severities=[5], rate=0.5)
    >>> images = np.full((4, 8, 8, 3), 128, "uint8")
    >>> np.array_equal(corrupt(images), images)
    True
    >>> corrupt(images, training=True).shape == images.shape
    True
    """

    def __init__(
        self,
        kinds: Sequence[str] = STANDARD,
        severities: Sequence[int] = SEVERITIES,
        rate: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        # Images come through in the dtype in which they come.
        super().__init__(autocast=False, **kwargs)
        self._corruptions = _corruptions(kinds, severities)
        check_number("rate", rate, least=0, most=1)
        check_count("seed", seed, least=0)
        self.kinds, self.severities = tuple(kinds), tuple(severities)
        self.rate, self.seed = float(rate), int(seed)
        # Not a `SeedGenerator`, whose state is not saved with the model.
        self.calls = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int32",
            trainable=False,
            aggregation="only_first_replica",
            name="calls",
        )
        self.supports_jit = keras.backend.backend() != "tensorflow"

    def call(self, images: Tensor, training: bool = False) -> Tensor:
        _check(images)
        if not training:
            return ops.cast(images, self._dtype_of(images))
        corrupt = functools.partial(_corrupt, self._corruptions, self.rate, self.seed)
        self.calls.assign_add(1)
        kind = images.shape, keras.backend.standardize_dtype(images.dtype)
        given = ops.stop_gradient(images), self.calls.value - 1
        corrupted = call_host(corrupt, [kind], *given)[0]
        return ops.cast(corrupted, self._dtype_of(images))

    def compute_output_spec(
        self, images: Tensor, training: bool = False
    ) -> keras.KerasTensor:
        # Else PyTorch would trace the layer with images that hold no values.
        _check(images)
        return keras.KerasTensor(images.shape, self._dtype_of(images))

    def _dtype_of(self, images):
        """That of the images; of floats in mixed precision the compute dtype."""
        dtype = keras.backend.standardize_dtype(images.dtype)
        mixed = self.compute_dtype != self.variable_dtype
        floats = keras.backend.is_float_dtype(dtype)
        return self.compute_dtype if mixed and floats else dtype

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kinds": list(self.kinds),
            "severities": list(self.severities),
            "rate": self.rate,
            "seed": self.seed,
        }


def _corrupt(corruptions, rate, seed, images, number):
    """Corrupts a batch on the host: every image hit gets a corruption of its own."""
    images, number = np.asarray(images), int(number)
    generator = next(image_generators(seed, "random_corruption", [number]))
    # A row an image, so that what one meets does not depend on how many follow it.
    uniform = generator.random((len(images), 2))
    choices = np.floor(uniform[:, 0] * len(corruptions)).astype(int)
    choices[uniform[:, 1] >= rate] = -1
    indices = number * 2**32 + np.arange(len(images))
    corrupted = images.copy()
    for choice in np.unique(choices[choices >= 0]):
        at = np.flatnonzero(choices == choice)
        corrupted[at] = _same_range(corruptions[choice], images[at], indices[at], seed)
    return (corrupted,)


def _same_range(corruption, images, indices, seed):
    if images.dtype == np.uint8:
        return corruption(images, indices, seed=seed)
    # bfloat16 is no floating point type to NumPy.
    corrupted = corruption(images.astype("float32"), indices, seed=seed)
    return corrupted / np.float32(255)


def _corruptions(kinds, severities):
    lists = isinstance(kinds, Sequence) and isinstance(severities, Sequence)
    if not lists or isinstance(kinds, str) or not len(kinds) or not len(severities):
        raise ValueError(
            "`kinds` and `severities` must be lists with at least one element. "
            f"Received: kinds={kinds!r}, severities={severities!r}"
        )
    # A JPEG at the end makes files of ImageNet-C comparable; training needs none.
    pairs = itertools.product(kinds, severities)
    return tuple(Corruption(*pair, jpeg=False) for pair in pairs)


def _check(images):
    dtype = keras.backend.standardize_dtype(images.dtype)
    is_pixels = dtype == "uint8" or keras.backend.is_float_dtype(dtype)
    if len(images.shape) != 4 or not is_pixels:
        raise ValueError(
            "`images` must be (batch, height, width, channels), uint8 or float in "
            f"[0,1]. Received: {dtype} of shape {tuple(images.shape)}"
        )
