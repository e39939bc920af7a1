"""Small networks with an honest gradient, trained for `benchmarks.masking`."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

import nfm_keras as nfm
from nfm_keras import networks
from nfm_keras.mixing import schemes

RADII = {"digits": (8 / 255, 0.1), "fashion_mnist": (2 / 255, 8 / 255)}
"""The radii that are attacked, in units of [0, 1] pixels."""


class Network(NamedTuple):
    """A classifier of [0, 1] images to logits, and its stand-in if it is masked."""

    name: str
    dataset: str
    classifier: Callable
    twin: Callable | None = None


@functools.cache
def splits(dataset, data_dir, limit=5000):
    """Returns the training and test sets, images in [0, 1]."""
    loaded = nfm.data.load(dataset, data_dir, limit=limit)
    return [(s.images / np.float32(255), s.labels) for s in (loaded.train, loaded.test)]


def trained(train, seed, network="mlp", scheme="erm", epochs=20, **options):
    """Returns a classifier of ours, trained with a scheme."""
    keras.utils.set_random_seed(seed)
    images, labels = train
    built = networks.build(network, images.shape[1:], 10, **options)
    model = nfm.NFMModel(
        built,
        schemes.mixing(scheme, nfm.find_sites(built)),
        seed=seed,
        technique=schemes.technique(scheme),
    )
    return fitted(model, train, epochs).classifier


def convolutional(train, seed, activation="relu", pool="strides", norm=False, epochs=5):
    """Returns a trained network of two convolutions."""
    keras.utils.set_random_seed(seed)
    strides = 2 if pool == "strides" else 1
    parts: list = [keras.Input(train[0].shape[1:])]
    for channels in (16, 32):
        parts.append(layers.Conv2D(channels, 3, strides, padding="same"))
        parts += [layers.BatchNormalization()] if norm else []
        parts.append(_activated(activation))
        parts += [layers.MaxPooling2D()] if pool == "max" else []
    parts += [layers.Flatten(), layers.Dense(64), _activated(activation)]
    parts.append(layers.Dense(10, name="logits"))
    return fitted(keras.Sequential(parts), train, epochs)


def _activated(activation):
    if callable(activation):
        return activation()
    return layers.Activation(activation)


def fitted(model, train, epochs):
    """Returns a model of logits, trained by Adam."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss)
    model.fit(*train, batch_size=64, epochs=epochs, verbose=0)
    return model


def healthy(seed, data_dir):
    """Yields twenty networks whose gradient is honest."""
    digits, fashion = (splits(name, data_dir)[0] for name in RADII)

    def small(name, **options):
        return Network(name, "digits", trained(digits, seed, **options))

    yield small("mlp, erm")
    yield small("mlp, mixup", scheme="mixup")
    yield small("mlp, manifold mixup", scheme="manifold_mixup")
    yield small("mlp, noise", scheme="noise")
    yield small("mlp, nfm", scheme="nfm")
    yield small("mlp, adversarial training", scheme="adversarial")
    yield small("mlp of width 4", width=4.0)
    yield small("mlp of one layer, narrow", depth=1, width=0.25)
    yield small("mlp of eight layers", depth=8)
    yield small("mlp, 200 epochs", epochs=200)
    yield small("small_resnet, erm", network="small_resnet", epochs=8)
    yield small("small_resnet, nfm", network="small_resnet", scheme="nfm", epochs=8)
    mlp = trained(digits, seed + 1)
    for scale in (1e-3, 1000.0):
        scaled = functools.partial(_scaled, mlp, scale)
        yield Network(f"mlp, logits times {scale:g}", "digits", scaled)
    cold = distilled(mlp, digits, seed)
    yield Network("mlp, distilled at temperature 10", "digits", cold)

    def conv(name, **options):
        return Network(name, "fashion_mnist", convolutional(fashion, seed, **options))

    yield conv("convolutions, ReLU")
    yield conv("convolutions, GELU, batch norm", activation="gelu", norm=True)
    yield conv("convolutions, tanh", activation="tanh")
    yield conv("convolutions, max pooling", pool="max")
    yield conv("convolutions, 30 epochs", epochs=30)


def distilled(teacher, train, seed, temperature=10.0):
    """Returns a network that learnt a teacher's soft labels at a high temperature.

    It is used without the temperature: its logits are as many times larger.
    """
    keras.utils.set_random_seed(seed)
    images, _ = train
    hot = ops.softmax(teacher(images) / temperature)
    student = networks.build("mlp", images.shape[1:], 10)
    cooled = layers.Rescaling(1 / temperature)(student.output)
    model = keras.Model(student.input, cooled)
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
    soft = ops.convert_to_numpy(hot)
    model.fit(images, soft, batch_size=64, epochs=60, verbose=0)
    return student


def _scaled(classifier, scale, images):
    return scale * classifier(images)
