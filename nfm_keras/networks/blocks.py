"""Parts that several networks share."""

import random

import keras
import numpy as np
from keras import layers, ops

from nfm_keras.backend import batch_norm, keras_private, replicas
from nfm_keras.backend import random as nfm_random
from nfm_keras.backend.inner import set_weights
from nfm_keras.backend.wrong_gradients import CHANNELS
from nfm_keras.checks import check_number

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
        outputs, mean, variance = batch_norm.normalized(
            inputs, self.gamma, self.beta, self.epsilon
        )
        self._move(self.moving_mean, mean)
        self._move(self.moving_variance, variance)
        return outputs

    def _fuses(self, inputs, mask):
        return (
            batch_norm.has_kernel(inputs)
            and self.axis in (-1, 3)
            and self.scale
            and self.center
            and mask is None
            and not (self.renorm or self.synchronized)
        )

    def _move(self, average, value):
        average.assign(average * self.momentum + value * (1 - self.momentum))


@keras.saving.register_keras_serializable(package="nfm_keras")
class SavedDropout(layers.Dropout):
    """`keras.layers.Dropout` that is saved with its count, and right on replicas.

    Keras forgets the state of its generator, so that a run resumed from a checkpoint
    would draw its first masks again; here it draws those that the run would have
    drawn. A mask is a function of the seed, the count of calls and the replica (all
    of which have the same mask in Keras), drawn in 32 bits whatever the precision
    (in bfloat16 Keras drops another share than asked for). As Keras' own it drops in
    every training loop, not in that of `NFMModel` alone.

    Args:
        rate: Share of the inputs set to zero.
        noise_shape: As in `keras.layers.Dropout`; `(None, 1, 1)` drops whole samples
            of `(batch, tokens, features)`.
        seed: Integer; by default one that follows `keras.utils.set_random_seed`.
        **kwargs: As there.

    Example:

    >>> branch = SavedDropout(0.1, noise_shape=(None, 1, 1))(keras.Input((16, 32)))
    """

    def __init__(self, rate, noise_shape=None, seed=None, **kwargs):
        # As Keras chooses it, only here and now: left to itself, PyTorch's dropout
        # draws from the global generator and not from the layer's.
        seed = random.randint(1, 10**9) if seed is None else seed
        super().__init__(rate, noise_shape, seed, **kwargs)

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        seed, count = ops.unstack(self.seed_generator.next())
        key = nfm_random.fold(nfm_random.fold(nfm_random.key(0), seed), count)
        key = nfm_random.fold(key, replicas.replica_id())
        sides = ops.shape(inputs)
        given = self.noise_shape or (None,) * len(sides)
        shape = [side if own is None else own for own, side in zip(given, sides)]
        kept = nfm_random.uniform(key, shape) >= self.rate
        scaled = inputs / ops.cast(max(1 - self.rate, 2**-23), inputs.dtype)
        return ops.where(kept, scaled, ops.zeros((), inputs.dtype))

    def save_own_variables(self, store):
        if self.rate > 0:
            store["generator"] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store):
        if self.rate > 0 and "generator" in store:
            self.seed_generator.state.assign(store["generator"])


def with_keras_layers(model):
    """Returns a copy of a model that plain Keras loads, as far as it has the layers.

    `BatchNormalization` and `SavedDropout` become Keras' own, which give the same
    results outside of training.

    Args:
        model: Functional model.
    """

    def clone(layer):
        if keras_private.graph_of(layer) is not None:
            return with_keras_layers(layer)
        if isinstance(layer, keras.Model):  # of a class of its own, which has no graph
            return layer
        kind = _KERAS_LAYERS.get(type(layer), type(layer))
        return kind.from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=clone)
    set_weights(copy, model.get_weights())
    return copy


_KERAS_LAYERS = {
    BatchNormalization: layers.BatchNormalization,
    SavedDropout: layers.Dropout,
}


def image_input(input_shape):
    """Returns the `keras.Input` of a network of images, named `images`.

    Args:
        input_shape: `(height, width, channels)`.

    Raises:
        ValueError: For a shape of another length.
    """
    if len(input_shape) != 3:
        raise ValueError(
            "`input_shape` must be (height, width, channels). "
            f"Received: input_shape={tuple(input_shape)}"
        )
    return keras.Input(input_shape, name="images")


def normalize(x, mean, std):
    """Standardises [0, 1] images, in float32 whatever the policy.

    Args:
        x: Symbolic tensor `(batch, ..., channels)`.
        mean, std: Per channel; both `None` for no normalisation.

    Returns:
        Symbolic tensor like `x`.
    """
    if mean is std is None:
        return x
    for name, values, above in (("mean", mean, None), ("std", std, 0)):
        if np.shape(values) != x.shape[-1:]:
            raise ValueError(
                f"`{name}` must have a number for each channel of {x.shape}, or both "
                f"`mean` and `std` be None. Received: {name}={values!r}"
            )
        for value in values:
            check_number(name, value, above=above)
    scale = [1 / s for s in std]
    offset = [-m / s for m, s in zip(mean, std)]
    return layers.Rescaling(scale, offset, dtype="float32", name="normalize")(x)


def conv(
    x, filters, kernel, strides=1, name=None, initializer=TORCH_UNIFORM, bias=False
):
    """Applies a convolution that is padded symmetrically, as in PyTorch.

    Padding "same" is that for stride 1, but at stride 2 it pads only the lower
    right of an image of even size, which shifts the grid by a pixel.

    Args:
        x: Symbolic tensor `(batch, height, width, channels)`.
        filters: Number of channels of the result.
        kernel: Side of the kernel, odd.
        strides: Pixels between the places of the kernel.
        name: Of the layer.
        initializer: Of the kernel.
        bias: Whether it has one, whose first values are PyTorch's too.

    Returns:
        Symbolic tensor `(batch, height / strides, width / strides, filters)`.
    """
    if strides > 1 and kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=name and f"{name}_pad")(x)
    elif strides > 1 and x.shape[-1] < CHANNELS:
        # The same, without the convolution that oneDNN does not train rightly.
        x = layers.AveragePooling2D(1, strides, name=name and f"{name}_every")(x)
        strides = 1
    return layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="same" if strides == 1 else "valid",
        use_bias=bias,
        kernel_initializer=initializer,
        bias_initializer=torch_bias(kernel * kernel * x.shape[-1]),
        name=name,
    )(x)


def logits(x, num_classes, bias=False):
    """Applies the last layer: dense, without activation, in float32.

    Args:
        x: Symbolic tensor `(batch, features)`.
        num_classes: Number of logits.
        bias: Whether its biases begin as PyTorch's do; at 0 otherwise.
    """
    return layers.Dense(
        num_classes,
        kernel_initializer=TORCH_UNIFORM,
        bias_initializer=torch_bias(x.shape[-1]) if bias else "zeros",
        dtype="float32",
        name="logits",
    )(x)


def torch_bias(fan_in):
    """Returns the initialiser of PyTorch's biases, U(-1/sqrt(fan_in), 1/sqrt(fan_in)).

    Args:
        fan_in: int, numbers that one output is computed from.
    """
    bound = fan_in**-0.5
    return keras.initializers.RandomUniform(-bound, bound)


def norm_relu(x, name, momentum=0.9):
    """Applies batch normalisation and ReLU.

    Args:
        x: Symbolic tensor.
        name: That the names of both layers begin with.
        momentum: As in `BatchNormalization`.
    """
    x = BatchNormalization(momentum=momentum, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def dropped(x, rate, name, noise_shape=None):
    """Applies `SavedDropout`, where anything is dropped.

    Args:
        x: Symbolic tensor.
        rate: As in `SavedDropout`; at 0 there is no layer.
        name: Of the layer.
        noise_shape: As in `SavedDropout`.
    """
    return SavedDropout(rate, noise_shape, name=name)(x) if rate > 0 else x


def add_branch(x, branch, drop_rate, name):
    """Adds a residual branch, which is dropped from so many samples in training.

    Args:
        x, branch: Tensors `(batch, tokens, features)`.
        drop_rate: Share of the samples that go without.
        name: Of the sum.
    """
    branch = dropped(branch, drop_rate, f"{name}_drop", noise_shape=(None, 1, 1))
    return layers.Add(name=name)([x, branch])


def channels(width, base):
    """Returns a number of channels times the width of a network, at least one.

    Args:
        width: Positive number.
        base: int, the channels at width 1.

    Raises:
        ValueError: For another width.
    """
    check_number("width", width, above=0)
    return max(1, round(base * width))
