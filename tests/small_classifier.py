"""A classifier to export: small, and with weights of every kind."""

import keras
import numpy as np


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
