"""Keys and samplers that compile everywhere.

A key is a value: `fold` derives new ones from it, and a sampler's result is a
pure function of its key. Everything runs eagerly, in a graph and under XLA, on
the TensorFlow, JAX and PyTorch backends. Keras' own `keras.random` does not: on
TensorFlow it takes no tensor as a seed, and its `beta` and `gamma` have no XLA
kernel and return 0.5 for small parameters.
"""

import hashlib

import keras
from keras import ops

_BACKEND = keras.backend.backend()
if _BACKEND == "tensorflow":
    import tensorflow as tf
elif _BACKEND == "jax":
    import jax
else:
    import torch

# How many candidates a gamma sampler looks at. The first is accepted with a
# probability of at least 0.95, so that all fail once in 2.5e10 draws.
_GAMMA_CANDIDATES = 8
# The smallest uniform: log(0) would turn a Beta draw into NaN.
_TINY = 2.0**-24


def key(seed: int):
    """Returns the key that an integer seed stands for (any Python integer)."""
    if _BACKEND == "tensorflow":
        words = [seed & 0x7FFFFFFF, (seed >> 31) & 0x7FFFFFFF]
        return tf.constant(words, tf.int32)
    if _BACKEND == "jax":
        base = jax.random.PRNGKey(seed & 0x7FFFFFFF)
        return jax.random.fold_in(base, (seed >> 31) & 0x7FFFFFFF)
    return int(seed)


def fold(key, value):
    """Returns a new key from `key` and an integer, which may be a tensor."""
    if _BACKEND == "tensorflow":
        value = tf.cast(value, tf.int32)
        return tf.random.experimental.stateless_fold_in(key, value, alg="philox")
    if _BACKEND == "jax":
        return jax.random.fold_in(key, value)
    digest = hashlib.blake2b(f"{key},{int(value)}".encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "little") >> 1


def uniform(key, shape, dtype="float32"):
    """Draws from U(0, 1), the ends excluded."""
    if _BACKEND == "tensorflow":
        # Philox by name: left to itself TensorFlow takes another generator
        # under XLA, and a compiled run would see other draws.
        sample = tf.random.stateless_uniform(shape, key, dtype=dtype, alg="philox")
    elif _BACKEND == "jax":
        sample = jax.random.uniform(key, shape, dtype=dtype)
    else:
        sample = _torch_sample(torch.rand, key, shape, dtype)
    return ops.maximum(sample, ops.cast(_TINY, dtype))


def normal(key, shape, dtype="float32"):
    """Draws from N(0, 1)."""
    if _BACKEND == "tensorflow":
        return tf.random.stateless_normal(shape, key, dtype=dtype, alg="philox")
    if _BACKEND == "jax":
        return jax.random.normal(key, shape, dtype=dtype)
    return _torch_sample(torch.randn, key, shape, dtype)


def permutation(key, size):
    """Draws a uniform permutation of `0 .. size - 1`, int32, shape `(size,)`."""
    return ops.cast(ops.argsort(uniform(key, (size,))), "int32")


def beta(key, alpha, beta, shape=()):
    """Draws from Beta(alpha, beta), right from 1e-8 to 1e3 and at both ends.

    The ratio of two gamma draws, taken in log space: `alpha = 1e-8` gives 0 or
    1 and never 0.5, as a ratio of two underflown numbers would.

    Args:
        key: A key.
        alpha: Positive number, or tensor that broadcasts to `shape`.
        beta: Positive number, or tensor that broadcasts to `shape`.
        shape: Shape of the result; may hold tensors on TensorFlow.

    Returns:
        float32 tensor of that shape, in [0, 1].

    Example:

    >>> lam = beta(key(0), 1.0, 1.0)
    """
    log_x = _log_gamma(fold(key, 0), alpha, shape)
    log_y = _log_gamma(fold(key, 1), beta, shape)
    return ops.sigmoid(log_x - log_y)


def _log_gamma(key, concentration, shape):
    """log of Gamma(a, 1) draws: Marsaglia and Tsang (2000) at a + 1, with
    log G(a) = log G(a + 1) + log(U) / a to get back to a."""
    a = ops.convert_to_tensor(concentration, "float32")
    d = a + (1 - 1 / 3)
    x = normal(fold(key, 0), (_GAMMA_CANDIDATES, *shape))
    u = uniform(fold(key, 1), (_GAMMA_CANDIDATES + 1, *shape))
    cube_root = 1 + x / ops.sqrt(9 * d)
    log_v = 3 * ops.log(ops.maximum(cube_root, _TINY))
    bound = x * x / 2 + d * (1 - ops.exp(log_v) + log_v)
    accepted = ops.logical_and(cube_root > 0, ops.log(u[:-1]) < bound)
    chosen = log_v[-1]
    for i in reversed(range(_GAMMA_CANDIDATES - 1)):
        chosen = ops.where(accepted[i], log_v[i], chosen)
    return ops.log(d) + chosen + ops.log(u[-1]) / a


def _torch_sample(sampler, key, shape, dtype):
    device = ops.zeros(()).device
    generator = torch.Generator(device).manual_seed(key)
    dtype = getattr(torch, dtype)
    return sampler(tuple(shape), generator=generator, device=device, dtype=dtype)
