"""Configs of runs that take seconds, and what is in the checkpoint of one."""

import dataclasses

import h5py
import keras
from keras import layers

from nfm_keras import training
from nfm_keras.mixing import NoisyFeatureMixup

NFM = training.Config(
    scheme="nfm",
    dataset="digits",
    network="small_resnet",
    width=0.25,
    limit=256,
    epochs=2,
    batch_size=64,
    learning_rate=0.05,
    seed=3,
)
# The quickest to compile of those that have convolutions and batch statistics.
CONVOLUTIONS = dataclasses.replace(NFM, network="small_run:convolutional", width=1.0)
# On a CPU, PyTorch 2.13 with two threads does not repeat a network with convolutions:
# of two undisturbed runs with the same images, draws and weights, the first step's
# gradient of one kernel (1x1, strides 2) differs in its last bits.
MLP = dataclasses.replace(NFM, network="mlp", depth=2)
LAYERED = MLP if keras.backend.backend() == "torch" else CONVOLUTIONS
# The recipe of the vision transformers, and their options.
VIT = dataclasses.replace(
    NFM,
    network="vit_lite",
    width=1 / 16,
    depth=2,
    patch_size=4,
    attention_dropout=0.2,
    stochastic_depth=0.3,
    policy="autoaugment",
    optimizer="adamw",
    learning_rate=5e-4,
    weight_decay=3e-2,
    schedule="cosine",
    warmup_epochs=1,
    label_smoothing=0.1,
)


def convolutional(input_shape, num_classes):
    """A convolution and its statistics between two sites."""
    inputs = keras.Input(input_shape)
    x = NoisyFeatureMixup(name="site_0")(inputs)
    x = layers.Conv2D(4, 3, strides=2, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Flatten()(NoisyFeatureMixup(name="site_1")(x))
    return keras.Model(inputs, layers.Dense(num_classes)(x))


def train(config, folder, **options):
    return training.train(config, folder, verbose=0, **options)


def arrays(folder):
    """Everything in the newest checkpoint: weights, optimiser and step."""
    newest = sorted((folder / "checkpoints").iterdir())[-1]
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(newest / "model.weights.h5") as file:
        file.visititems(visit)
    return found
