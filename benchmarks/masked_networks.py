"""Networks that hide a gradient, for `benchmarks.masking`.

Each is an honest one with something in front, behind or around it that an attack cannot
follow. Its `twin` is the honest stand-in: the same function, or nearly, with a
gradient. What breaks the twin is tried on the network.
"""

import functools

import keras
import numpy as np
from keras import layers, ops

from benchmarks.healthy_networks import (
    RADII,
    Network,
    convolutional,
    fitted,
    splits,
    trained,
)


def masked(seed, data_dir):
    """Yields twenty networks that hide their gradient."""
    digits, fashion = (splits(name, data_dir)[0] for name in RADII)
    bases = {
        "digits": trained(digits, seed),
        "fashion_mnist": convolutional(fashion, seed),
    }
    for name, dataset, disguise in DISGUISES:
        base = bases[dataset]
        yield Network(name, dataset, functools.partial(disguise, base), base)
    yield _with_thermometer(fashion, seed)
    yield _with_winners(fashion, seed)
    yield _with_steep_units(digits, seed)


def quantised(base, images, levels):
    return base(ops.round(images * levels) / levels)


def softly_quantised(base, images, levels, steepness):
    scaled = images * levels
    low = ops.stop_gradient(ops.floor(scaled))
    rise = ops.sigmoid(steepness * (scaled - low - 0.5))
    return base((low + rise) / levels)


def jpeg_like(base, images, step=0.1):
    """Rounds the cosine transform of the rows and columns."""
    side = images.shape[1]
    k, x = np.arange(side)[:, None], np.arange(side) + 0.5
    basis = np.sqrt(2 / side) * np.cos(np.pi * k * x / side)
    basis[0] /= np.sqrt(2)
    basis = basis.astype("float32")
    coefficients = ops.einsum("ux,bxyc,vy->buvc", basis, images, basis)
    rounded = ops.round(coefficients / step) * step
    return base(ops.einsum("ux,buvc,vy->bxyc", basis, rounded, basis))


def stopped(base, images):
    return base(ops.stop_gradient(images))


def through(base, images, pattern):
    """Lets the gradient through some pixels alone."""
    height, width = images.shape[1:3]
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    kept = pattern(rows, columns, height).astype("float32")[None, :, :, None]
    return base(kept * images + (1 - kept) * ops.stop_gradient(images))


def checkerboard(rows, columns, height):
    return (rows + columns) % 2 == 0


def upper_half(rows, columns, height):
    return (rows < height // 2) & (columns >= 0)


def one_in_eight(rows, columns, height):
    return (3 * rows + columns) % 8 == 0


def for_dark_images(base, images):
    """Lets the gradient of every other image through, by the parity of its level."""
    level = ops.sum(ops.stop_gradient(images), axis=(1, 2, 3), keepdims=True)
    kept = ops.cast(ops.floor(level) % 2 < 1, "float32")
    return base(kept * images + (1 - kept) * ops.stop_gradient(images))


def with_signs(base, images):
    """Turns the sign of the gradient of every third pixel around."""
    height, width = images.shape[1:3]
    numbers = np.arange(height * width).reshape(height, width)
    signs = np.where(numbers % 3 == 0, -1.0, 1.0).astype("float32")[None, :, :, None]
    still = ops.stop_gradient(images)
    return base(still + signs * (images - still))


def reversed_gradient(base, images):
    logits = base(images)
    return 2 * ops.stop_gradient(logits) - logits


def noisy(base, images):
    """Adds noise to the input, anew at each pass."""
    return base(images + 0.05 * keras.random.normal(ops.shape(images), seed=NOISE))


def rippled(base, images):
    return base(images + 0.01 * ops.sin(2000.0 * images))


def softly_rippled(base, images):
    return base(images + 0.02 * ops.sin(200.0 * images))


def probabilities(base, images):
    return ops.softmax(20 * base(images))


def saturated(base, images):
    return ops.tanh(5 * base(images))


def rounded_logits(base, images):
    return ops.round(2 * base(images)) / 2


def root(base, images):
    """Adds a root whose slope is infinite where a pixel is 0."""
    logits = base(images)
    dark = ops.sqrt(ops.square(images[:, 0, 0, :1]))
    return logits + 0.0 * dark


NOISE = keras.random.SeedGenerator(0)

REFUSED = ("softmax called logits",)
"""Networks that every attack refuses with an error."""

DISGUISES = (
    ("input of 16 levels", "digits", functools.partial(quantised, levels=16)),
    ("input of 256 levels", "fashion_mnist", functools.partial(quantised, levels=255)),
    (
        "input of 16 soft levels",
        "fashion_mnist",
        functools.partial(softly_quantised, levels=16, steepness=60.0),
    ),
    ("rounded cosine transform", "fashion_mnist", jpeg_like),
    ("stop_gradient", "digits", stopped),
    (
        "gradient through a checkerboard",
        "digits",
        functools.partial(through, pattern=checkerboard),
    ),
    (
        "gradient through the upper half",
        "fashion_mnist",
        functools.partial(through, pattern=upper_half),
    ),
    (
        "gradient through one pixel in eight",
        "digits",
        functools.partial(through, pattern=one_in_eight),
    ),
    ("gradient for every other image", "fashion_mnist", for_dark_images),
    ("gradient of wrong sign in a third", "digits", with_signs),
    ("gradient reversed", "fashion_mnist", reversed_gradient),
    ("noise on the input", "digits", noisy),
    ("steep ripple", "digits", rippled),
    ("soft ripple", "fashion_mnist", softly_rippled),
    ("softmax called logits", "fashion_mnist", probabilities),
    ("saturated logits", "digits", saturated),
    ("rounded logits", "fashion_mnist", rounded_logits),
)


def _with_thermometer(train, seed, levels=10):
    """A network of as many binary channels as levels, one for each that is reached."""
    thresholds = np.arange(1, levels + 1, dtype="float32") / (levels + 1)

    def hard(images):
        return ops.cast(images > thresholds, "float32")

    def soft(images):
        return ops.sigmoid(20.0 * (images - thresholds))

    coded = ops.convert_to_numpy(hard(train[0])), train[1]
    network = convolutional(coded, seed, epochs=3)

    def classifier(encode, images):
        return network(encode(images), training=False)

    name, dataset = "thermometer encoding", "fashion_mnist"
    hidden, twin = (functools.partial(classifier, encode) for encode in (hard, soft))
    return Network(name, dataset, hidden, twin)


class Winners(layers.Layer):
    """Keeps the largest activations of an image, one in ten, and no other."""

    def __init__(self, soft=False):
        super().__init__()
        self.soft = soft

    def call(self, features):
        flat = ops.reshape(features, (-1, int(np.prod(features.shape[1:]))))
        count = max(1, flat.shape[1] // 10)
        least = ops.top_k(flat, count)[0][:, -1:]
        kept = ops.where(flat >= least, flat, 0.0)
        return ops.reshape(kept, (-1, *features.shape[1:]))


def _with_winners(train, seed):
    network = convolutional(train, seed, activation=Winners)
    twin = convolutional(train, seed + 1)
    return Network("k winners take all", "fashion_mnist", network, twin)


def _with_steep_units(train, seed, steepness=60.0):
    """Sigmoid units so steep that most have no slope in float32."""
    network = trained(train, seed)
    dense = [layer for layer in network.layers if isinstance(layer, layers.Dense)]

    def forward(images, slope):
        first = ops.reshape(images, (-1, int(np.prod(images.shape[1:]))))
        kernel, bias = dense[0].kernel, dense[0].bias
        units = ops.sigmoid(slope * (ops.matmul(first, kernel) + bias))
        for layer in tail:
            units = layer(units)
        return units

    keras.utils.set_random_seed(seed)
    tail = [layers.Dense(64, "relu"), layers.Dense(10)]
    features = ops.convert_to_numpy(_units(train[0], dense[0], steepness))
    inputs = keras.Input((features.shape[1],))
    head = keras.Model(inputs, tail[1](tail[0](inputs)))
    fitted(head, (features, train[1]), 20)
    hidden = functools.partial(forward, slope=steepness)
    twin = functools.partial(forward, slope=4.0)
    return Network("steep sigmoid units", "digits", hidden, twin)


def _units(images, layer, slope):
    flat = np.reshape(images, (len(images), -1))
    return ops.sigmoid(slope * (ops.matmul(flat, layer.kernel) + layer.bias))
