"""Batch normalisation of images in training, by TensorFlow's fused kernel."""

import keras


def has_kernel(inputs):
    """Returns whether the kernel takes a batch: on TensorFlow, of images, no float64.

    Args:
        inputs: Tensor.
    """
    return (
        keras.backend.backend() == "tensorflow"
        and len(inputs.shape) == 4
        and keras.backend.standardize_dtype(inputs.dtype) != "float64"
    )


def normalized(inputs, gamma, beta, epsilon):
    """Normalises a batch by its own mean and variance.

    Args:
        inputs: Tensor `(batch, height, width, channels)` that `has_kernel`.
        gamma: Variable `(channels,)`, the factor.
        beta: Variable `(channels,)`, the offset.
        epsilon: float, added to the variance.

    Returns:
        `(outputs, mean, variance)`: a tensor like `inputs`, and float32 `(channels,)`,
        the variance that of the population, as Keras has it.
    """
    import tensorflow as tf

    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=tf.convert_to_tensor(gamma),
        offset=tf.convert_to_tensor(beta),
        mean=tf.zeros((0,)),
        variance=tf.zeros((0,)),
        epsilon=epsilon,
    )
    # The kernel gives the unbiased variance.
    count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
    return outputs, mean, variance * (count - 1) / count
