import dataclasses
import math

import keras
import numpy as np
import pytest
import scipy.stats
from conftest import BACKEND, compiled
from keras import ops

import nfm_keras as nfm
from nfm_keras.mixing.interpolation import interpolate

pytestmark = pytest.mark.backends

QUIET = {"sigma_add": 0.0, "sigma_mult": 0.0}


def features(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def numpy(x):
    return ops.convert_to_numpy(x)


def draws(mixing, count, **kwargs):
    settings = {"seed": 0, "batch_size": 8, "num_sites": 4} | kwargs
    draw = compiled(lambda step: mixing.draw(step=step, **settings))
    return [draw(ops.convert_to_tensor(step)) for step in range(count)]


def test_site_is_uniform():
    sites = [int(numpy(d.site)) for d in draws(nfm.Mixing(), 400)]
    assert scipy.stats.chisquare(np.bincount(sites, minlength=4)).pvalue > 1e-4


@pytest.mark.parametrize(
    "weights", [(3, 1, 1, 1), (0, 1, 0.5, 0), (0, 0, 1, 4)], ids=str
)
def test_sites_are_as_likely_as_their_weights(weights):
    """One of weight 0 never comes."""
    mixing = nfm.Mixing(site_weights=weights)
    sites = [int(numpy(d.site)) for d in draws(mixing, 400)]
    seen, share = np.bincount(sites, minlength=4), np.array(weights) / sum(weights)
    assert not seen[share == 0].any()
    drawn = share > 0
    assert scipy.stats.chisquare(seen[drawn], 400 * share[drawn]).pvalue > 1e-4


def test_equal_weights_are_the_draw_without():
    plain, even = (draws(nfm.Mixing(site_weights=w), 50) for w in (None, (1, 1, 1, 1)))
    assert [int(d.site) for d in plain] == [int(d.site) for d in even]


@pytest.mark.parametrize(
    "weights, sites, message",
    [
        ((1, -1), None, "`site_weights` must be finite .* Received: \\[1, -1\\]"),
        ((0, 0), None, "not all 0"),
        ((), None, "not all 0"),
        ((1, float("nan")), None, "must be finite"),
        ((1, 2, 3), ("a", "b"), "one for each of the sites. Received: 3 .* 2 site"),
    ],
    ids=str,
)
def test_bad_weights_of_sites_are_refused(weights, sites, message):
    with pytest.raises(ValueError, match=message):
        nfm.Mixing(site_weights=weights, sites=sites)


def test_weights_of_sites_go_with_the_models_sites():
    network = nfm.networks.mlp((2,), 2, depth=2)
    names = nfm.find_sites(network)
    weights = range(1, len(names) + 1)
    model = nfm.NFMModel(network, nfm.Mixing(site_weights=weights))
    assert model.mixing.site_weights == tuple(map(float, weights))
    with pytest.raises(ValueError, match=f"Received: 1 weight.* for {len(names)} site"):
        nfm.NFMModel(network, nfm.Mixing(site_weights=[1]))
    with pytest.raises(ValueError, match="in the order of the graph"):
        mixing = nfm.Mixing(site_weights=(1, 2), sites=(names[1], names[0]))
        nfm.NFMModel(network, mixing)


def test_lambda_has_beta_law_over_steps():
    lam = [float(numpy(d.lam)) for d in draws(nfm.Mixing(alpha=2.0, beta=0.5), 300)]
    assert scipy.stats.kstest(lam, scipy.stats.beta(2.0, 0.5).cdf).pvalue > 1e-4


def test_lambda_per_sample_differs_within_the_batch():
    mixing = nfm.Mixing(per_sample=True, **QUIET)
    draw = mixing.draw(0, 0, 2000, 1)
    assert scipy.stats.kstest(numpy(draw.lam), "uniform").pvalue > 1e-4
    x = features(2000, 3)
    lam, partner = numpy(draw.lam)[:, None], x[numpy(draw.partner)]
    np.testing.assert_allclose(
        numpy(mixing.apply(ops.convert_to_tensor(x), draw)),
        lam * x + (1 - lam) * partner,
        rtol=1e-5,
        atol=1e-6,
    )


def test_probability_is_that_of_a_batch_being_mixed():
    found = draws(nfm.Mixing(probability=0.3), 300)
    mixed = np.array([int(numpy(d.site)) >= 0 for d in found])
    assert abs(mixed.mean() - 0.3) < 0.1
    assert all(float(numpy(d.lam)) == 1 for d, m in zip(found, mixed) if not m)


def test_a_draw_is_a_pure_function_of_seed_and_step():
    a, b = nfm.Mixing().draw(3, 5, 16, 4), nfm.Mixing().draw(3, 5, 16, 4)
    assert all(np.array_equal(numpy(x), numpy(y)) for x, y in zip(a[:3], b[:3]))
    c = nfm.Mixing().draw(3, 6, 16, 4)
    assert not np.array_equal(numpy(a.partner), numpy(c.partner))


def test_replicas_share_site_and_lambda_but_not_partner_and_noise():
    a, b = (nfm.Mixing().draw(0, 1, 64, 4, replica=r) for r in (0, 1))
    assert int(numpy(a.site)) == int(numpy(b.site))
    assert float(numpy(a.lam)) == float(numpy(b.lam))
    assert not np.array_equal(numpy(a.partner), numpy(b.partner))
    x = ops.zeros((64, 8))
    noise = [numpy(nfm.Mixing().perturb(x, d)) for d in (a, b)]
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.2


def test_gaussian_noise_has_its_moments():
    mixing = nfm.Mixing(sigma_add=0.3, sigma_mult=0.2, noise="gaussian")
    draw = mixing.draw(0, 0, 400, 1)
    for value in (0.0, 2.0):
        out = numpy(mixing.perturb(ops.full((400, 100), value), draw))
        variance = 0.3**2 + (0.2 * value) ** 2
        assert abs(out.mean() - value) < 5 * math.sqrt(variance / out.size)
        assert abs(out.var() / variance - 1) < 0.05
        assert scipy.stats.kurtosis(out.ravel()) == pytest.approx(0, abs=0.15)


def test_beta_scaled_noise_has_the_moments_of_the_authors_code():
    mixing = nfm.Mixing(sigma_add=0.4, sigma_mult=0.2)
    only = dataclasses.replace(mixing, sigma_add=0.0)

    def noise(step):
        draw = mixing.draw(0, step, 64, 1)
        return (
            mixing.perturb(ops.zeros((64, 16)), draw),
            only.perturb(ops.ones((64, 16)), draw) - 1,
        )

    noise, steps = compiled(noise), [ops.convert_to_tensor(i) for i in range(200)]
    add, mult = (
        [numpy(x) for x in both] for both in zip(*(noise(step) for step in steps))
    )
    # b ~ Beta(2, 5): E[b^2] = 3 / 28. N(0, 1) has variance 1, U(-1, 1) 1 / 3.
    assert np.var(add) == pytest.approx(0.4**2 * 3 / 28, rel=0.15)
    assert np.var(mult) == pytest.approx(0.2**2 * 3 / 28 / 3, rel=0.15)
    scales = [x.std() / 0.4 for x in add]
    assert np.mean(scales) == pytest.approx(2 / 7, rel=0.1)
    # One b a batch: given it, the noise is plain normal and plain uniform.
    assert np.mean([scipy.stats.kurtosis(x.ravel()) for x in add]) < 0.1
    widest = np.array([abs(x).max() for x in mult])
    assert (widest < 0.2).all()
    np.testing.assert_allclose(widest, [x.std() * 3**0.5 for x in mult], rtol=0.06)


def test_noise_then_mix_is_mix_then_noise():
    """Section 3 of the paper: given xi and xi', perturbing both samples and mixing
    is mixing and then perturbing with the mixed noise."""
    mixing = nfm.Mixing(sigma_add=0.3, sigma_mult=0.0, noise="gaussian")
    draw = mixing.draw(0, 0, 16, 1)
    x = ops.convert_to_tensor(features(16, 5))
    xi = mixing.perturb(ops.zeros((16, 5)), draw)
    noise_first = mixing.mix(x + xi, draw)
    mix_first = mixing.mix(x, draw) + mixing.mix(xi, draw)
    np.testing.assert_allclose(numpy(noise_first), numpy(mix_first), atol=1e-6)
    # apply() mixes before it perturbs: the noise itself is not mixed.
    np.testing.assert_allclose(
        numpy(mixing.apply(x, draw)), numpy(mixing.mix(x, draw) + xi), atol=1e-6
    )


def test_order_of_the_two_noises_is_that_of_equation_2():
    mixing = nfm.Mixing(alpha=0.0, noise="gaussian")
    draw = mixing.draw(0, 0, 8, 1)
    add = dataclasses.replace(mixing, sigma_mult=0.0)
    mult = dataclasses.replace(mixing, sigma_add=0.0)
    x = ops.convert_to_tensor(features(8, 3))
    xi = add.perturb(ops.zeros((8, 3)), draw)
    np.testing.assert_allclose(
        numpy(mixing.apply(x, draw)), numpy(mult.perturb(x, draw) + xi), atol=1e-6
    )


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_integers_are_not_mixed(dtype):
    """Cast to their dtype lam is 0, and the label that of the partner alone."""
    labels = np.arange(4).astype(dtype)
    draw = nfm.Mixing().draw(0, 0, 4, 1)
    with pytest.raises(ValueError, match=f"one_hot.*Received: dtype={dtype}"):
        nfm.Mixing().mix(labels, draw)
    assert nfm.Mixing(alpha=0.0).mix(labels, draw) is labels


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_interpolate_keeps_its_ends_exactly_and_the_dtype(lam, dtype):
    a, b = (ops.cast(features(4, 2) + i, dtype) for i in (0, 9))
    out = interpolate(a, b, ops.convert_to_tensor(lam))
    assert out.dtype == a.dtype
    if lam in (0.0, 1.0):
        expected = a if lam else b
        assert np.array_equal(
            numpy(ops.cast(out, "float32")), numpy(ops.cast(expected, "float32"))
        )


@pytest.mark.parametrize(
    "shape", [(6,), (6, 3), (6, 2, 3), (6, 2, 2, 3), (1, 2, 3, 1, 2)]
)
def test_features_of_any_rank_and_a_batch_of_one(shape):
    mixing = nfm.Mixing()
    x = ops.convert_to_tensor(features(*shape))
    out = mixing.apply(x, mixing.draw(0, 0, shape[0], 1))
    assert tuple(out.shape) == shape and np.isfinite(numpy(out)).all()


def test_layer_is_silent_outside_a_scope_and_at_other_sites():
    a, b = nfm.NoisyFeatureMixup(name="a"), nfm.NoisyFeatureMixup(name="b")
    x = ops.convert_to_tensor(features(8, 4))
    assert a(x) is x or np.array_equal(numpy(a(x)), numpy(x))
    mixing = nfm.Mixing()
    draw = mixing.draw(0, 0, 8, 2)._replace(site=ops.convert_to_tensor(1))
    with nfm.mixing_scope(mixing, draw, [a, b]):
        assert np.array_equal(numpy(a(x)), numpy(x))
        assert not np.allclose(numpy(b(x)), numpy(x))
        expected = numpy(mixing.apply(x, draw))
        np.testing.assert_allclose(numpy(b(x)), expected, atol=1e-6)
    with nfm.mixing_scope(mixing, draw, [a]):  # b is not eligible
        assert np.array_equal(numpy(b(x)), numpy(x))


def test_layer_mixes_a_structure_with_one_draw():
    layer = nfm.NoisyFeatureMixup()
    mixing = nfm.Mixing(**QUIET)
    draw = mixing.draw(0, 0, 8, 1)
    x = features(8, 4)
    inputs = {"a": ops.convert_to_tensor(x), "b": ops.convert_to_tensor(2 * x)}
    with nfm.mixing_scope(mixing, draw, [layer]):
        out = layer(inputs)
    np.testing.assert_allclose(2 * numpy(out["a"]), numpy(out["b"]), rtol=1e-6)


def test_layer_refuses_integers():
    layer = nfm.NoisyFeatureMixup(name="tokens")
    mixing = nfm.Mixing()
    with (
        nfm.mixing_scope(mixing, mixing.draw(0, 0, 4, 1), [layer]),
        pytest.raises(ValueError, match="after the embedding.*Received: dtype=int32"),
    ):
        layer(ops.zeros((4, 3), dtype="int32"))


def test_layer_survives_serialisation():
    layer = nfm.NoisyFeatureMixup(name="site_1")
    config = keras.saving.serialize_keras_object(layer)
    assert keras.saving.deserialize_keras_object(config).name == "site_1"


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.function")
@pytest.mark.parametrize("jit", [False, True])
def test_step_and_batch_size_may_be_tensors(jit):
    import tensorflow as tf

    mixing = nfm.Mixing()

    @tf.function(jit_compile=jit, reduce_retracing=True)
    def traced(step, x):
        draw = mixing.draw(0, step, tf.shape(x)[0], 4)
        return draw.site, draw.lam, draw.partner, mixing.apply(x, draw)

    for step, size in ((0, 8), (1, 8), (2, 5)):
        x = tf.constant(features(size, 3))
        site, lam, partner, out = traced(tf.constant(step), x)
        draw = mixing.draw(0, step, size, 4)
        assert int(site) == int(draw.site)
        np.testing.assert_allclose(lam, draw.lam, rtol=1e-5)
        np.testing.assert_array_equal(partner, draw.partner)
        np.testing.assert_allclose(out, mixing.apply(x, draw), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["alpha", "beta", "sigma_add", "sigma_mult"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "1", True])
def test_bad_numbers_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be .*Received: "):
        nfm.Mixing(**{name: value})


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"probability": 1.5}, "`probability` must be .* at most 1. Received: 1.5"),
        ({"noise": "laplace"}, "`noise` must be one of .*Received: noise='laplace'"),
        ({"sites": ["a", "a"]}, r"different names.*\['a'\] twice"),
        ({"sites": []}, "non-empty"),
        ({"beta": 0.0}, "`beta` must be positive where `alpha` is"),
    ],
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        nfm.Mixing(**fields)


def test_mixing_is_a_value():
    mixing = nfm.Mixing(alpha=0.5, sites=["a", "b"])
    assert nfm.Mixing(**mixing.get_config()) == mixing
    assert hash(mixing) == hash(nfm.Mixing(alpha=0.5, sites=("a", "b")))
    assert nfm.Mixing(alpha=0, **QUIET).is_identity
    assert not nfm.Mixing(alpha=0).is_identity and not nfm.Mixing(alpha=0).mixes
