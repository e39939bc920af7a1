import keras
import numpy as np
import pytest
import scipy.stats
from conftest import BACKEND, compiled
from keras import ops

from nfm_keras.backend import random

pytestmark = pytest.mark.backends

N = 20_000
ALPHA_BETA = [
    (1e-8, 1e-8),
    (0.01, 0.01),
    (0.2, 0.2),
    (0.5, 3.0),
    (1.0, 1.0),
    (2.0, 5.0),
    (10.0, 0.3),
    (100.0, 100.0),
    (1e3, 1e3),
]


def sample(function, *args):
    return ops.convert_to_numpy(function(*args)).astype("float64")


@pytest.mark.parametrize("alpha, beta", ALPHA_BETA)
def test_beta_has_its_moments_and_its_law(alpha, beta):
    lam = sample(random.beta, random.key(1), alpha, beta, (N,))
    mean, var, _, kurtosis = scipy.stats.beta.stats(alpha, beta, moments="mvsk")
    assert abs(lam.mean() - mean) < 4.5 * np.sqrt(var / N)
    # The variance of a sample variance, from the fourth moment; where lam is 0 or 1
    # that is 0 to first order and the square of the mean's error counts.
    fourth = kurtosis + 2 if np.isfinite(kurtosis) else 0
    assert abs(lam.var() - var) < 4.5 * var * np.sqrt(fourth / N) + 20 * var / N
    # Between the ends, to which float32 rounds a part of the mass.
    grid = np.linspace(0.001, 0.999, 500)
    below = np.searchsorted(np.sort(lam), grid, side="right") / N
    assert abs(below - scipy.stats.beta.cdf(grid, alpha, beta)).max() < 2.2 / np.sqrt(N)


@pytest.mark.parametrize("alpha, beta, mean", [(1e-8, 1e-8, 0.5), (1e-8, 3e-8, 0.25)])
def test_beta_of_almost_zero_is_zero_or_one_and_never_between(alpha, beta, mean):
    lam = sample(random.beta, random.key(2), alpha, beta, (N,))
    # Between 1e-6 and 1 - 1e-6 lies a mass of 3e-7.
    assert ((lam > 1e-6) & (lam < 1 - 1e-6)).sum() <= 1
    assert abs(lam.mean() - mean) < 0.015


@pytest.mark.parametrize("alpha, beta", [(1e-8, 1e3), (1e3, 1e-8), (1e-8, 1.0)])
def test_beta_of_extremes_is_finite(alpha, beta):
    lam = sample(random.beta, random.key(3), alpha, beta, (N,))
    assert np.isfinite(lam).all() and abs(lam.mean() - alpha / (alpha + beta)) < 1e-3


def test_a_sample_is_a_function_of_its_key_however_it_is_compiled(jit):
    def draws(step):
        key = random.fold(random.key(5), step)
        return (
            random.beta(key, 0.3, 0.7, (50,)),
            random.permutation(key, 64),
            random.uniform(key, (50,)),
        )

    eager = [ops.convert_to_numpy(x) for x in draws(7)]
    step = ops.convert_to_tensor(7, "int32")
    for a, b in zip(eager, compiled(draws, jit)(step)):
        np.testing.assert_allclose(a, ops.convert_to_numpy(b), rtol=2e-5, atol=1e-6)


def test_keys_of_other_seeds_and_steps_give_other_samples():
    keys = [random.fold(random.key(s), t) for s in (0, 1, 2**31, 2**40) for t in (0, 1)]
    samples = {tuple(sample(random.uniform, key, (4,))) for key in keys}
    assert len(samples) == len(keys)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow's generator")
@pytest.mark.parametrize("seed, value", [(0, 0), (2**40 + 7, -3), (12345, 2**31 - 1)])
def test_keys_and_bits_are_those_of_tf_random(seed, value):
    import tensorflow as tf

    key = random.fold(random.key(seed), value)
    folded = tf.random.fold_in(random.key(seed), value, alg="philox")
    np.testing.assert_array_equal(key, folded)
    for shape in [(), (5,), (3, 7)]:
        words = tf.random.stateless_uniform(
            shape, key, None, None, tf.int32, alg="philox"
        )
        np.testing.assert_array_equal(random.bits(key, shape), words)


def test_permutation_is_one_and_uniform():
    draw = compiled(lambda i: random.permutation(random.fold(random.key(0), i), 5))
    orders = np.array([sample(draw, ops.convert_to_tensor(i)) for i in range(600)])
    assert (np.sort(orders, axis=1) == np.arange(5)).all()
    counts = np.array([np.bincount(column.astype(int)) for column in orders.T])
    assert scipy.stats.chisquare(counts.ravel()).pvalue > 1e-4


def test_uniform_follows_its_law():
    u = sample(random.uniform, random.key(0), (N,))
    assert scipy.stats.kstest(u, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("word", [0, -1], ids=["no_bit_set", "all_bits_set"])
def test_uniform_never_is_0_or_1(monkeypatch, word):
    extreme = ops.full((1,), word, dtype="int32")
    monkeypatch.setattr(random, "bits", lambda key, shape: extreme)
    assert 0 < sample(random.uniform, None, (1,))[0] < 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_noise_follows_its_laws_in_every_dtype(dtype):
    low, high = random.halves(random.key(1), (100, N // 100))
    z, u = random.noise_normal(low, dtype), random.noise_uniform(high, dtype)
    assert keras.backend.standardize_dtype(z.dtype) == dtype
    z, u = (sample(ops.cast, x, "float32").ravel() for x in (z, u))
    rounding = 1 / 256 if dtype == "bfloat16" else 1e-3
    assert scipy.stats.ks_1samp(z, scipy.stats.norm.cdf).statistic < 0.015 + rounding
    cdf = scipy.stats.uniform(-1, 2).cdf
    assert scipy.stats.ks_1samp(u, cdf).statistic < 0.015 + rounding
    assert abs(z.var() - 1) < 0.05 and abs(u.var() * 3 - 1) < 0.04
    assert abs(np.corrcoef(z, u)[0, 1]) < 0.03
    assert abs(np.corrcoef(z[1:], z[:-1])[0, 1]) < 0.03


def test_noise_table_has_mean_zero_and_variance_one_exactly():
    every = ops.arange(65536, dtype="int32")
    z, u = (
        sample(f, every, "float32") for f in (random.noise_normal, random.noise_uniform)
    )
    assert abs(z.mean()) < 1e-7 and abs(z.var() - 1) < 1e-6 and abs(u.mean()) < 1e-7
    assert scipy.stats.kurtosis(z) == pytest.approx(0, abs=2e-3)
