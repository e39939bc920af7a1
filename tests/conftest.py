import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import keras
import pytest

BACKEND = keras.backend.backend()


@pytest.fixture(autouse=True)
def fresh_keras():
    """Every test starts from the same seed, float32 and no layer names in use."""
    keras.utils.clear_session()
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(0)


@pytest.fixture(params=[False, True], ids=["graph", "xla"])
def jit(request):
    """Both ways to compile a training step (PyTorch: as it is)."""
    if BACKEND == "torch" and request.param:
        pytest.skip("torch.compile takes minutes")
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
