"""Makes the files beside it: a small network, and what the original AutoAttack does.

    python tests/data/autoattack/make.py network
    python tests/data/autoattack/make.py record

The first needs this package, and trains the network on the digits of scikit-learn. The
second needs none of this package, but in an environment of its own

    pip install torch==2.13.0 pyautoattack==0.2.0

and takes the authors' code (https://github.com/fra31/auto-attack, packaged by them).
`README.md` says what the files hold.
"""

import json
import pathlib
import platform
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent
NETWORK, RECORD = HERE / "network.npz", HERE / "original.json"

IMAGES, SEEDS = 100, 10
# Where about half of the images that are classified correctly hold.
EPSILON = {"linf": 0.12, "l2": 0.6}
# The authors' are 100, 5000 and 9: fewer, for the sake of the tests' time.
STEPS, QUERIES, TARGETS = 20, 200, 4
# Their names and ours, and the letter of who breaks an image first.
ATTACKS = {
    "apgd-ce": ("apgd_ce", "e"),
    "apgd-t": ("apgd_t", "t"),
    "fab-t": ("fab_t", "f"),
    "square": ("square", "s"),
}


def network():
    """Trains on noisy digits, and writes weights and the first test images."""
    import keras
    from keras import layers

    from nfm_keras import data

    keras.utils.set_random_seed(0)
    digits = data.load("digits")
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.GaussianNoise(0.15),
            layers.Conv2D(12, 3, activation="relu"),
            layers.Conv2D(12, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    images = digits.train.images / np.float32(255)
    model.fit(images, digits.train.labels, batch_size=64, epochs=30, verbose=2)
    images, labels = digits.test.images[:IMAGES], digits.test.labels[:IMAGES]
    weights = {f"weight_{i}": w for i, w in enumerate(model.get_weights())}
    np.savez_compressed(
        NETWORK, images=images, labels=labels.astype("uint8"), **weights
    )


def record():
    """Attacks the images with the authors' code, seed by seed."""
    import torch

    given = np.load(NETWORK)
    images = torch.tensor(given["images"].transpose(0, 3, 1, 2) / np.float32(255))
    labels = torch.tensor(given["labels"].astype("int64"))
    model = _module(torch, given)
    found = {
        "source": "pyautoattack 0.2.0",
        "command": "python tests/data/autoattack/make.py record",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "settings": {"steps": STEPS, "queries": QUERIES, "targets": TARGETS},
        "images": IMAGES,
        "norms": {},
    }
    for norm in EPSILON:
        runs = [_attacked(norm, seed, model, images, labels) for seed in range(SEEDS)]
        found["norms"][norm] = {
            "epsilon": EPSILON[norm],
            **{name: [run[name] for run in runs] for name in runs[0]},
        }
    RECORD.write_text(json.dumps(found, indent=1) + "\n")


def _module(torch, given):
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 12, 3),
        torch.nn.ReLU(),
        torch.nn.Conv2d(12, 12, 3),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(192, 10),
    )
    weights = [torch.tensor(given[f"weight_{i}"]) for i in range(6)]
    kernels = (weights[0].permute(3, 2, 0, 1), weights[2].permute(3, 2, 0, 1))
    # Keras flattens (height, width, channels), PyTorch (channels, height, width).
    dense = weights[4].reshape(4, 4, 12, 10).permute(3, 2, 0, 1).reshape(10, 192)
    values = (kernels[0], weights[1], kernels[1], weights[3], dense, weights[5])
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), values, strict=True):
            parameter.copy_(value)
    return model.eval()


def _attacked(norm, seed, model, images, labels):
    """Which attack broke each image, and which images each attack breaks alone."""
    from pyautoattack import AutoAttack
    from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted

    kind = {"linf": "Linf", "l2": "L2"}[norm]
    attack = AutoAttack(model, norm=kind, eps=EPSILON[norm], seed=seed)
    given = {"n_iter": STEPS, "norm": kind, "eps": EPSILON[norm], "device": "cpu"}
    # Not by setting `n_iter`: the checkpoints are made of it at the start.
    attack.apgd = APGDAttack(model, logger=attack.logger, **given)
    attack.apgd_targeted = APGDAttack_targeted(
        model, n_target_classes=TARGETS, logger=attack.logger, **given
    )
    attack.fab.n_iter, attack.fab.n_target_classes = STEPS, TARGETS
    attack.square.n_queries = QUERIES - 1  # it does not count the start
    names = list(attack.attacks_to_run)
    assert names == list(ATTACKS)
    alone = {}
    for name in names:
        attack.attacks_to_run = [name]
        alone[name] = _broken(model, attack, images, labels)
    # One after the other on what is left: the seed is set anew for each attack.
    wrong = (model(images).argmax(1) != labels).numpy()
    first = np.where(wrong, "c", "-")
    for name in names:
        left = np.flatnonzero(first == "-")
        attack.attacks_to_run = [name]
        found = _broken(model, attack, images[left], labels[left])
        first[left[found]] = ATTACKS[name][1]
    text = {ATTACKS[name][0]: _bits(alone[name]) for name in names}
    return {"first": "".join(first)} | text


def _broken(model, attack, images, labels):
    points, _ = attack.run_standard_evaluation(images, labels, batch_size=len(images))
    return (model(points).argmax(1) != labels).numpy()


def _bits(values):
    return "".join("x" if value else "-" for value in values)


if __name__ == "__main__":
    {"network": network, "record": record}[sys.argv[1]]()
