"""The library on JAX where TensorFlow is not installed, in a process of its own."""

import importlib.util
import os
import subprocess
import sys

import pytest
from conftest import BACKEND

ABSENT = ("tensorflow", "tensorflow_datasets")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="does not depend on the backend")
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX")
def test_train_and_evaluate_on_jax_without_tensorflow():
    done = subprocess.run(
        [sys.executable, __file__],
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["clean", "white_noise@0.1", "pgd@8/255"]


class Absent:
    """As if the packages were not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def train_and_evaluate():
    sys.meta_path.insert(0, Absent())
    import keras

    import nfm_keras as nfm
    from nfm_keras import data, evaluation, networks
    from nfm_keras.training import optimizers

    assert keras.backend.backend() == "jax"
    train, _, test = data.load("digits", limit=640)
    spec = train.spec
    settings = {"depth": 2, "mean": spec.mean, "std": spec.std}
    network = networks.build("mlp", spec.shape, 10, **settings)
    rescale = keras.layers.Rescaling(1 / 255)
    model = nfm.NFMModel(network, nfm.Mixing(sigma_add=0.1), preprocess=rescale)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizers.build("adam", 1e-2), loss, metrics=["accuracy"])
    steps = data.steps_per_epoch(train, 64)
    model.fit(data.batches(train, 64), epochs=4, steps_per_epoch=steps, verbose=0)
    scores = evaluation.evaluate(
        model.classifier,
        test,
        ["clean", "white_noise@0.1", "pgd@8/255"],
        limit=200,
        attack_limit=50,
    )
    assert scores[0].value > 50, scores
    assert not sys.modules.keys() & set(ABSENT)
    print(*(score.perturbation for score in scores))


if __name__ == "__main__":
    train_and_evaluate()
