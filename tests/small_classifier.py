"""A classifier to export, with weights of every kind; images to judge one on."""

import types

import keras
import numpy as np

STD = (0.247, 0.2435, 0.2616)


def small_classifier(middle=(), activation=None, dtype=None, classes=5):
    """A small classifier with batch statistics and weights that are not the start's."""
    keras.utils.set_random_seed(0)
    dtype = keras.DTypePolicy(dtype or "float32")
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3), name="pixels"),
            layers.Rescaling(4.0, -2.0, dtype=dtype),
            layers.Conv2D(8, 3, use_bias=False, dtype=dtype),
            *middle,
            layers.BatchNormalization(dtype=dtype),
            layers.ReLU(dtype=dtype),
            layers.Dropout(0.5, dtype=dtype),
            layers.GlobalAveragePooling2D(dtype=dtype),
            layers.Dense(classes, activation=activation, dtype=dtype),
        ]
    )
    generator = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(size=weight.shape))
    model.layers[-1].bias.assign(generator.normal(size=classes))
    return model


def images_of_five_classes(network):
    """31 random images as bytes, of which a network is right on all but every sixth."""
    images = np.random.default_rng(0).integers(0, 256, (31, 8, 8, 3)).astype("uint8")
    logits = keras.ops.convert_to_numpy(network(images.astype("float32") / 255))
    labels = np.where(np.arange(31) % 6, logits.argmax(1), logits.argmin(1))
    spec = types.SimpleNamespace(std=STD, num_classes=5)
    return types.SimpleNamespace(images=images, labels=labels, spec=spec)
