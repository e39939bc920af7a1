"""Keys and samplers that compile everywhere.

A key is a value: `fold` derives new ones from it, and a sampler's result is a
pure function of its key. Everything runs eagerly, in a graph and under XLA, on
the TensorFlow, JAX and PyTorch backends. Keras' own `keras.random` does not: on
TensorFlow it takes no tensor as a seed, and its `beta` and `gamma` have no XLA
kernel and return 0.5 for small parameters.
"""

import functools
import hashlib
import math
import numbers

import keras
import numpy as np
import scipy.special
from keras import ops

from nfm_keras.checks import is_number

_BACKEND = keras.backend.backend()
if _BACKEND == "tensorflow":
    import tensorflow as tf

    _PHILOX = tf.random.Algorithm.PHILOX.value
elif _BACKEND == "jax":
    import jax
else:
    import torch

# How many candidates a gamma sampler looks at. The first is accepted with a
# probability of at least 0.95, so that all fail once in 2.5e10 draws.
_GAMMA_CANDIDATES = 8
# Two gamma draws, each of a normal and a uniform a candidate and one more.
BETA_UNIFORMS = 2 * (2 * _GAMMA_CANDIDATES + 1)
# In the place of numbers that are not positive, whose log would be NaN.
_TINY = 2.0**-24


def check_seed(seed: int) -> int:
    """Returns a seed as an integer of Python's, which a record can hold.

    Raises:
        ValueError: For anything but an integer.
    """
    if not is_number(seed, numbers.Integral):
        raise ValueError(f"`seed` must be an integer. Received: {seed!r}")
    return int(seed)


def key(seed: int):
    """Returns the key that a seed stands for.

    Args:
        seed: Any Python integer.
    """
    if _BACKEND == "tensorflow":
        words = [seed & 0x7FFFFFFF, (seed >> 31) & 0x7FFFFFFF]
        return tf.constant(words, tf.int32)
    if _BACKEND == "jax":
        base = jax.random.PRNGKey(seed & 0x7FFFFFFF)
        return jax.random.fold_in(base, (seed >> 31) & 0x7FFFFFFF)
    return int(seed)


def fold(key, value):
    """Returns a new key, as random as another integer's.

    Args:
        key: A key.
        value: Integer or scalar integer tensor.
    """
    if _BACKEND == "tensorflow":
        return tf.stack([bits(key, ()), tf.cast(value, tf.int32)])
    if _BACKEND == "jax":
        return jax.random.fold_in(key, value)
    digest = hashlib.blake2b(f"{key},{int(value)}".encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "little") >> 1


def bits(key, shape):
    """Draws integers all of whose 32 bits are random.

    Args:
        key: A key.
        shape: Of the result; may hold tensors on TensorFlow.

    Returns:
        int32 tensor of that shape.
    """
    if _BACKEND == "tensorflow":
        return _philox(shape, *_scrambled(key), tf.int32)
    if _BACKEND == "jax":
        words = jax.random.bits(key, shape, "uint32")
        return jax.lax.bitcast_convert_type(words, "int32")
    device = ops.zeros(()).device
    return torch.randint(
        -(2**31),
        2**31,
        tuple(shape),
        generator=torch.Generator(device).manual_seed(key),
        device=device,
        dtype=torch.int32,
    )


def _scrambled(key):
    """The key and counter of Philox that `tf.random` makes of a seed.

    By fewer operations: a step makes them seven times, and builds its graph first.
    """
    seed = tf.constant([0x02461E293EC8F720], tf.uint64)
    words = _philox([4], seed, tf.cast(key, tf.uint64), tf.uint32)
    first, second = tf.split(tf.bitcast(tf.reshape(words, [2, 2]), tf.uint64), 2)
    return first, tf.concat([tf.zeros([1], tf.uint64), second], 0)


def _philox(shape, key, counter, dtype):
    # Whole numbers and Philox by name. Left to choose, TensorFlow takes another
    # generator under XLA; its floats differ between graph and XLA even so.
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=shape, key=key, counter=counter, alg=_PHILOX, dtype=dtype
    )


def uniform(key, shape):
    """Draws from U(0, 1): one of 2**23 values, never an end.

    Args:
        key: A key.
        shape: As in `bits`.

    Returns:
        float32 tensor of that shape.
    """
    # Not 24 bits: the half added to the largest would round up to 1.
    return (ops.cast(_high(bits(key, shape), 23), "float32") + 0.5) * 2.0**-23


def halves(key, shape):
    """Draws two independent tensors of 16 random bits.

    Args:
        key: A key.
        shape: As in `bits`.

    Returns:
        Two int32 tensors of that shape, in [0, 65536).
    """
    both = bits(key, shape)
    return ops.bitwise_and(both, 0xFFFF), _high(both, 16)


def noise_normal(half, dtype):
    """Turns 16 random bits into noise of the law N(0, 1).

    65,536 equally likely quantiles, scaled to variance 1; none is beyond 4.3. On a
    CPU that is twice as fast as TensorFlow's normal and, other than it, the same
    number in a graph and under XLA.

    Args:
        half: int32 tensor of `halves`.
        dtype: str, of the noise.
    """
    return ops.take(ops.convert_to_tensor(_quantiles(), dtype), half, axis=0)


def noise_uniform(half, dtype):
    """Turns 16 random bits into noise of the law U(-1, 1), mean exactly 0.

    Args:
        half: int32 tensor of `halves`.
        dtype: str, of the noise.
    """
    return ops.cast((ops.cast(half, "float32") + 0.5) * 2.0**-15 - 1, dtype)


@functools.cache
def _quantiles():
    table = scipy.special.ndtri((np.arange(65536) + 0.5) / 65536)
    return (table / table.std()).astype("float32")


def _inverse_normal(u):
    return math.sqrt(2) * ops.erfinv(2 * u - 1)


def _high(words, count):
    """The `count` highest bits of int32 words, as numbers that are not negative."""
    return ops.bitwise_and(ops.right_shift(words, 32 - count), (1 << count) - 1)


def permutation(key, size):
    """Draws a uniform permutation of `0 .. size - 1`.

    Args:
        key: A key.
        size: Integer, or scalar tensor on TensorFlow.

    Returns:
        int32 tensor `(size,)`.
    """
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
    return beta_from_uniform(uniform(key, (BETA_UNIFORMS, *shape)), alpha, beta)


def beta_from_uniform(u, alpha, beta):
    """Returns what `beta` makes of uniforms.

    Args:
        u: float32 `(BETA_UNIFORMS, ...)` from U(0, 1).
        alpha: As in `beta`.
        beta: As in `beta`.

    Returns:
        float32 tensor of the other axes of `u`.
    """
    # Both gamma draws at once.
    zeros = ops.zeros_like(u[0])
    laws = [ops.convert_to_tensor(law, "float32") + zeros for law in (alpha, beta)]
    u = ops.reshape(u, (2, BETA_UNIFORMS // 2, *ops.shape(zeros)))
    log_gamma = _log_gamma(u, ops.stack(laws))
    return ops.sigmoid(log_gamma[0] - log_gamma[1])


def _log_gamma(u, a):
    """Logarithms `(2, ...)` of draws from Gamma(a, 1), of uniforms `(2, n, ...)`.

    By Marsaglia and Tsang (2000) at a + 1, and log G(a) = log G(a + 1) + log(U) / a.
    """
    d = a + (1 - 1 / 3)
    wide = ops.expand_dims(d, 1)
    x = _inverse_normal(u[:, :_GAMMA_CANDIDATES])
    cube_root = 1 + x / ops.sqrt(9 * wide)
    log_v = 3 * ops.log(ops.maximum(cube_root, _TINY))
    bound = x * x / 2 + wide * (1 - ops.exp(log_v) + log_v)
    log_u = ops.log(u[:, _GAMMA_CANDIDATES:])
    accepted = ops.logical_and(cube_root > 0, log_u[:, :-1] < bound)
    first = ops.argmax(ops.cast(accepted, "int32"), axis=1)
    shares = ops.one_hot(first, _GAMMA_CANDIDATES, axis=1, dtype="float32")
    chosen = ops.sum(log_v * shares, axis=1)
    return ops.log(d) + chosen + log_u[:, -1] / a
