import keras
import numpy as np
import pytest
import scipy.stats
from conftest import BACKEND, compiled
from keras import layers, ops

import nfm_keras as nfm
from nfm_keras.mixing.schedule import MixingSchedule, ramp

pytestmark = pytest.mark.backends

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 5)).astype("float32")
Y = RNG.integers(0, 3, 8)


class Traced(layers.Layer):
    """Counts how often it is called from Python."""

    calls = 0

    def call(self, x):
        self.calls += 1
        return x


def model_of(mixing, scheduled=True, spy=None):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    x = nfm.NoisyFeatureMixup(name="site")(inputs)
    x = spy(x) if spy else x
    model = nfm.NFMModel(
        keras.Model(inputs, layers.Dense(3)(x)), mixing, scheduled=scheduled
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    return model


def losses(model, *callbacks, epochs=4):
    fit = model.fit(
        X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks
    )
    return fit.history["loss"]


def test_ramps():
    assert [ramp("rise", 4)(e) for e in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert [ramp("fall", 4)(e) for e in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.25]
    assert ramp("constant", 4)(3) == 1.0
    with pytest.raises(ValueError, match="Unknown ramp.*Received: 'up'"):
        ramp("up", 4)


def test_levels_scale_alpha_and_noise():
    mixing = nfm.Mixing(alpha=2.0, sigma_add=1.0, sigma_mult=0.0, noise="gaussian")
    levels = ops.convert_to_tensor([0.25, 0.5, 1.0])
    draw = compiled(lambda step: mixing.draw(0, step, 4, 1, levels=levels).lam)
    lam = [float(draw(ops.convert_to_tensor(i))) for i in range(300)]
    assert scipy.stats.kstest(lam, scipy.stats.beta(0.5, 0.5).cdf).pvalue > 1e-4
    full = mixing.perturb(ops.zeros((4, 3)), mixing.draw(0, 0, 4, 1))
    half = mixing.perturb(ops.zeros((4, 3)), mixing.draw(0, 0, 4, 1, levels=levels))
    np.testing.assert_allclose(ops.convert_to_numpy(half), full * np.float32(0.5))
    off = mixing.draw(0, 0, 4, 1, levels=ops.convert_to_tensor([1.0, 1.0, 0.0]))
    assert int(off.site) == -1 and float(off.lam) == 1


def test_without_a_callback_a_scheduled_model_trains_as_any_other():
    mixing = nfm.Mixing()
    plain, scheduled = (losses(model_of(mixing, s)) for s in (False, True))
    np.testing.assert_allclose(plain, scheduled, rtol=1e-5)


def test_after_the_last_epoch_of_mixing_training_is_plain():
    mixing = nfm.Mixing(sigma_add=2.0)
    erm = nfm.Mixing(alpha=0.0, sigma_add=0.0, sigma_mult=0.0)
    off = losses(model_of(mixing), MixingSchedule(off_epoch=0))
    np.testing.assert_allclose(off, losses(model_of(erm)), rtol=1e-5)
    later = losses(model_of(mixing), MixingSchedule(off_epoch=2))
    full = losses(model_of(mixing))
    np.testing.assert_allclose(later[:2], full[:2], rtol=1e-6)
    assert abs(later[2] - full[2]) > 1e-3


def test_after_the_last_epoch_of_mixing_samples_have_their_own_masks():
    """Also at a lone site, which is passed whatever is drawn."""
    tokens = np.array([[1, 0, 0, 0, 0], [1, 2, 3, 4, 5], [1, 2, 0, 0, 0]])

    class Counted(layers.Layer):
        def compute_mask(self, x, mask=None):
            return None

        def call(self, x, mask=None):
            count = ops.sum(ops.cast(mask, "float32"), axis=1, keepdims=True)
            return count + 0.0 * ops.mean(x, axis=1)

    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(6, 1, mask_zero=True)(inputs)
    counted = Counted()(nfm.NoisyFeatureMixup(name="site")(x))
    model = nfm.NFMModel(
        keras.Model(inputs, counted), nfm.Mixing(1.0, 0.0, 0.0), scheduled=True
    )
    model.compile(keras.optimizers.SGD(0.0), "mse")
    schedule = MixingSchedule(off_epoch=1)
    own = (tokens > 0).sum(1, keepdims=True).astype("float32")
    fitted = model.fit(tokens, own, epochs=2, verbose=0, callbacks=[schedule])
    assert fitted.history["loss"][1] == 0 < fitted.history["loss"][0]


def test_nothing_is_traced_again():
    spy = Traced()
    model = model_of(nfm.Mixing(), spy=spy)
    schedule = MixingSchedule(noise=ramp("rise", 6), alpha=ramp("fall", 6))
    losses(model, schedule, epochs=1)
    calls = spy.calls
    losses(model, schedule, epochs=6)
    assert spy.calls == calls + 6 * (BACKEND == "torch")


def test_a_fit_after_one_with_a_schedule_mixes_as_the_model_says():
    model = model_of(nfm.Mixing())
    schedule = MixingSchedule(noise=ramp("fall", 3), off_epoch=1)
    losses(model, schedule, epochs=2)
    np.testing.assert_array_equal(ops.convert_to_numpy(model.levels), 1)


@pytest.mark.parametrize("level", [float("nan"), -1.0, None])
def test_a_factor_that_is_none_is_named_with_its_epoch(level):
    schedule = MixingSchedule(noise=lambda epoch: level if epoch else 1.0)
    with pytest.raises(ValueError, match=r"`noise\(1\)` must be .*Received: "):
        losses(model_of(nfm.Mixing()), schedule)
    with pytest.raises(ValueError, match="`alpha` must be a function.*Received: 0.5"):
        MixingSchedule(alpha=0.5)


def test_bad_schedules_are_refused():
    with pytest.raises(ValueError, match="`off_epoch` must be .*Received: -1"):
        MixingSchedule(off_epoch=-1)
    with pytest.raises(ValueError, match="made with scheduled=True. Received:"):
        losses(model_of(nfm.Mixing(), scheduled=False), MixingSchedule())
    plain = nfm.Mixing(alpha=0.0, sigma_add=0.0, sigma_mult=0.0)
    for name in ("alpha", "noise"):
        with pytest.raises(ValueError, match=f"`{name}` has nothing to scale .*: Mixi"):
            losses(model_of(plain), MixingSchedule(**{name: ramp("rise", 3)}))
