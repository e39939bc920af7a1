"""Parts that several networks share."""

import math
import numbers
import random

import keras
from keras import layers

# PyTorch's default for convolutions and dense layers, with which the published
# numbers were made: U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
TORCH_UNIFORM = {
    "class_name": "VarianceScaling",
    "config": {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"},
}


@keras.saving.register_keras_serializable(package="nfm_keras")
class BatchNormalization(layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with TensorFlow's fused training kernel.

    Same arguments, weights and results; on a CPU a training step of a small
    ResNet takes about half as long. Where the kernel does not apply (another
    backend, rank other than 4, an axis other than the last, renorm or
    synchronised statistics, float64) it is the plain layer.

    Args:
        axis: As in `keras.layers.BatchNormalization`.
        momentum: As there; default 0.9, PyTorch's `momentum=0.1`.
        epsilon: As there; default 1e-5, PyTorch's.
        **kwargs: As there.
    """

    def __init__(self, axis=-1, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(axis=axis, momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs, training=None, mask=None):
        if not (training and self.trainable) or not self._fuses(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.zeros((0,)),
            variance=tf.zeros((0,)),
            epsilon=self.epsilon,
        )
        # The kernel gives the unbiased variance; Keras keeps the population's.
        count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
        variance *= (count - 1) / count
        self._move(self.moving_mean, mean)
        self._move(self.moving_variance, variance)
        return outputs

    def _fuses(self, inputs, mask):
        return (
            keras.backend.backend() == "tensorflow"
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and self.scale
            and self.center
            and mask is None
            and not (self.renorm or self.synchronized)
            and keras.backend.standardize_dtype(inputs.dtype) != "float64"
        )

    def _move(self, average, value):
        average.assign(average * self.momentum + value * (1 - self.momentum))


@keras.saving.register_keras_serializable(package="nfm_keras")
class SavedDropout(layers.Dropout):
    """`keras.layers.Dropout` that is saved with the state of its generator.

    Keras forgets that state, so that a run resumed from a checkpoint would draw
    its first masks again; here it draws those that the run would have drawn. As
    Keras' own it drops in every training loop, not in that of `NFMModel` alone.

    Args:
        rate: Share of the inputs set to zero.
        noise_shape: As in `keras.layers.Dropout`; `(None, 1, 1)` drops whole samples
            of `(batch, tokens, features)`.
        seed: Integer; by default one that follows `keras.utils.set_random_seed`.
        **kwargs: As there.

    Example:

    >>> branch = SavedDropout(0.1, noise_shape=(None, 1, 1))(branch)
    """

    def __init__(self, rate, noise_shape=None, seed=None, **kwargs):
        # As Keras chooses it, only here and now: left to itself, PyTorch's dropout
        # draws from the global generator and not from the layer's.
        seed = random.randint(1, 10**9) if seed is None else seed
        super().__init__(rate, noise_shape, seed, **kwargs)

    def save_own_variables(self, store):
        if self.rate > 0:
            store["generator"] = keras.ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store):
        if self.rate > 0 and "generator" in store:
            self.seed_generator.state.assign(store["generator"])


def image_input(input_shape):
    """`keras.Input` of `(height, width, channels)`, named `images`."""
    if len(input_shape) != 3:
        raise ValueError(
            "`input_shape` must be (height, width, channels). "
            f"Received: input_shape={tuple(input_shape)}"
        )
    return keras.Input(input_shape, name="images")


def normalize(x, mean, std):
    """[0, 1] images -> standardised ones, in float32 whatever the policy."""
    if mean is None:
        return x
    scale = [1 / s for s in std]
    offset = [-m / s for m, s in zip(mean, std)]
    return layers.Rescaling(scale, offset, dtype="float32", name="normalize")(x)


def conv(
    x, filters, kernel, strides=1, name=None, initializer=TORCH_UNIFORM, bias=False
):
    """Convolution padded symmetrically as in PyTorch.

    Padding "same" is that for stride 1, but at stride 2 it pads only the lower
    right of an image of even size, which shifts the grid by a pixel.
    """
    if strides > 1 and kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=name and f"{name}_pad")(x)
    return layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="same" if strides == 1 else "valid",
        use_bias=bias,
        kernel_initializer=initializer,
        name=name,
    )(x)


def logits(x, num_classes):
    """Dense layer without activation, in float32."""
    return layers.Dense(
        num_classes, kernel_initializer=TORCH_UNIFORM, dtype="float32", name="logits"
    )(x)


def norm_relu(x, name, momentum=0.9):
    x = BatchNormalization(momentum=momentum, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def dropped(x, rate, name, noise_shape=None):
    """`x` through `SavedDropout`, or `x` itself where nothing is dropped."""
    return SavedDropout(rate, noise_shape, name=name)(x) if rate > 0 else x


def channels(width, base):
    """`base` channels times `width`, at least one."""
    if not isinstance(width, numbers.Real) or not 0 < width < math.inf:
        raise ValueError(f"`width` must be positive. Received: width={width!r}")
    return max(1, round(base * width))


def check_count(name, value):
    """Raises unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(
            f"`{name}` must be an integer of at least 1. Received: {name}={value!r}"
        )


def check_rate(name, value):
    """Raises unless `value` is a share that leaves something: in [0, 1)."""
    if not isinstance(value, numbers.Real) or not 0 <= value < 1:
        raise ValueError(f"`{name}` must be in [0, 1). Received: {name}={value!r}")
