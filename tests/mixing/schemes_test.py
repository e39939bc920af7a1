import numpy as np
import pytest
from keras import ops

from nfm_keras.mixing import schemes

pytestmark = pytest.mark.backends

NAMES = ["site_0", "site_1", "site_2"]


@pytest.mark.parametrize(
    "scheme, alpha, sigma_add, sigma_mult, sites",
    [
        ("erm", 0, 0, 0, 1),
        ("noise", 0, 0.4, 0.2, 1),
        ("mixup", 1, 0, 0, 1),
        ("noisy_mixup", 1, 0.4, 0.2, 1),
        ("manifold_mixup", 1, 0, 0, 3),
        ("nfm", 1, 0.4, 0.2, 3),
        ("nfm_star", 1, 1.0, 0.5, 3),
        ("noise_reference", 1e-8, 0.2, 0, 1),
        ("label_smoothing", 0, 0, 0, 1),
        ("cutmix", 1, 0, 0, 1),
        ("puzzlemix", 1, 0, 0, 1),
        ("adversarial", 0, 0, 0, 1),
        ("noisymix", 1, 0.5, 0.5, 3),
    ],
)
def test_schemes_are_the_settings_of_the_paper(
    scheme, alpha, sigma_add, sigma_mult, sites
):
    mixing = schemes.mixing(scheme, NAMES)
    assert (mixing.alpha, mixing.sigma_add) == (alpha, sigma_add)
    assert (mixing.sigma_mult, mixing.sites) == (sigma_mult, tuple(NAMES[:sites]))
    silent = {"erm", "label_smoothing", "adversarial"}
    assert mixing.is_identity == (scheme in silent)


def test_the_schemes_limits_are_each_other():
    """nfm with sigma -> 0 is manifold mixup; with the input alone, mixup."""
    nfm = schemes.mixing("nfm", NAMES, sigma_add=0.0, sigma_mult=0.0)
    assert nfm == schemes.mixing("manifold_mixup", NAMES)
    manifold = schemes.mixing("manifold_mixup", NAMES, sites=NAMES[:1])
    mixup = schemes.mixing("mixup", NAMES)
    assert manifold == mixup
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    draw = mixup.draw(0, 4, 8, 1)
    lam, partner = (ops.convert_to_numpy(v) for v in (draw.lam, draw.partner))
    np.testing.assert_allclose(
        ops.convert_to_numpy(mixup.apply(ops.convert_to_tensor(x), draw)),
        lam * x + (1 - lam) * x[partner],
        atol=1e-6,
    )


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ValueError, match="Unknown scheme.*'nfm'.*Received: 'nfn'"):
        schemes.mixing("nfn", NAMES)


def test_the_reference_noise_shuffles_the_batch_and_never_mixes():
    mixing = schemes.mixing("noise_reference", NAMES)
    lam = [float(mixing.draw(0, step, 2, 1).lam) for step in range(40)]
    assert set(lam) == {0.0, 1.0}


def test_techniques_take_their_own_settings_alone():
    assert schemes.technique("nfm", attack_steps=None) is None
    assert schemes.technique("adversarial", attack_norm="l2").attack_norm == "l2"
    assert schemes.technique("puzzlemix").attack_epsilon == 10 / 255
    assert schemes.mixing("noisymix", NAMES).sparsity == 0.65
    with pytest.raises(
        ValueError, match="`attack_steps` must not .*to adversarial.*: 3"
    ):
        schemes.technique("nfm", attack_steps=3)
    with pytest.raises(ValueError, match="'puzzlemix' adds no noise.*sigma_mult=0.1"):
        schemes.mixing("puzzlemix", NAMES, sigma_mult=0.1)
