import dataclasses
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import keras
import numpy as np
import pytest

BACKEND = keras.backend.backend()


@pytest.fixture(autouse=True)
def fresh_keras():
    """Every test starts from the same seed, float32 and no layer names in use."""
    # By default it collects garbage as well: a quarter of a second a test.
    keras.utils.clear_session(free_memory=False)
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(0)


# How a training step is compiled: TensorFlow's graph or XLA; JAX has XLA alone and
# PyTorch runs as it is, since torch.compile takes minutes.
JITS = {"tensorflow": [False, True], "jax": [True], "torch": [False]}[BACKEND]


@pytest.fixture(params=JITS, ids=lambda jit: "xla" if jit else "plain")
def jit(request):
    return request.param


def compiled(function, jit=False):
    """The function as a training step would run it."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=jit, reduce_retracing=True)
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    return function


def scored(perturbation, right, **changes):
    """A `Score` of images that were classified correctly, or not."""
    from nfm_keras.records.score import Score, pack

    right = np.asarray(right, bool)
    n, correct = len(right), int(right.sum())
    score = Score(
        perturbation=perturbation,
        severity=1.0,
        protocol="none",
        value=100 * correct / n,
        low=0.0,
        high=100.0,
        n=n,
        correct=correct,
        seed=0,
        seconds=0.1,
        settings={},
        hits=pack(right),
    )
    return dataclasses.replace(score, **changes)
