"""Parts that several networks share."""

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


def normalize(x, mean, std):
    """[0, 1] images -> standardised ones, in float32 whatever the policy."""
    if mean is None:
        return x
    scale = [1 / s for s in std]
    offset = [-m / s for m, s in zip(mean, std)]
    return layers.Rescaling(scale, offset, dtype="float32", name="normalize")(x)


def conv(x, filters, kernel, strides=1, name=None):
    """Convolution without bias, padded symmetrically as in PyTorch.

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
        use_bias=False,
        kernel_initializer=TORCH_UNIFORM,
        name=name,
    )(x)


def logits(x, num_classes):
    """Dense layer without activation, in float32."""
    return layers.Dense(
        num_classes, kernel_initializer=TORCH_UNIFORM, dtype="float32", name="logits"
    )(x)


def norm_relu(x, name):
    x = BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def channels(width, base):
    """`base` channels times `width`, at least one."""
    return max(1, round(base * width))
