"""Configs of runs that take seconds, and what is in the checkpoint of one."""

import dataclasses

import h5py

from nfm_keras import training

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
