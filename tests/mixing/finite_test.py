import keras
import numpy as np
import pytest
from conftest import QUICK
from keras import ops

import nfm_keras as nfm
from nfm_keras.training import FiniteLoss, TrainingDiverged

pytestmark = pytest.mark.backends

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype("float32")
Y = np.arange(60) % 3
STEPS = 6
BAD = 3  # the step whose batch is not finite
COMPILED = {"jit_compile": QUICK}


def compiled(skip, mixing=None, rate=0.1, **options):
    """A network with batch norm, momentum and sites, from fixed weights."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    x = nfm.NoisyFeatureMixup(name="site_0")(inputs)
    x = keras.layers.BatchNormalization()(keras.layers.Dense(5)(x))
    x = nfm.NoisyFeatureMixup(name="site_1")(keras.layers.Activation("relu")(x))
    network = keras.Model(inputs, keras.layers.Dense(3)(x))
    model = nfm.NFMModel(network, mixing or nfm.Mixing(), skip_nonfinite=skip)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    model.compile(optimizer, loss, metrics=["accuracy"], **COMPILED | options)
    return model


def fit(model, x, y=Y, epochs=1, callbacks=()):
    size = len(x) // STEPS if len(x) == 60 else 10
    options = {"batch_size": size, "epochs": epochs, "shuffle": False, "verbose": 0}
    return model.fit(x, y, callbacks=list(callbacks), **options).history


def spoilt(value=np.nan):
    x = X.copy()
    x[10 * BAD] = value
    return x


def state(model):
    variables = [*model.variables, *model.optimizer.variables]
    return {v.path: ops.convert_to_numpy(v) for v in variables}


def test_the_first_bad_step_is_named_with_its_draw_and_rate(tmp_path):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([BAD - 1], [0.1, 0.05])
    model = compiled(False, rate=schedule)
    with pytest.raises(TrainingDiverged) as caught:
        fit(model, spoilt(), callbacks=[FiniteLoss()])
    draw = model.mixing.draw(0, BAD, 10, 2)
    site, lam = int(draw.site), float(ops.convert_to_numpy(draw.lam))
    expected = f"step {BAD} is not finite (learning rate 0.05, site site_{site}, "
    assert expected + f"lambda {lam:.4f})" in str(caught.value)
    assert str(caught.value).endswith("Received: 3 step(s) with such a loss")
    assert ops.convert_to_numpy(model.nonfinite)[1] == BAD


def test_a_skipped_step_changes_nothing_but_the_counts():
    model = compiled(True)
    fit(model, X[:10], Y[:10])
    for value in (np.nan, np.inf):
        before = state(model)
        bad = X[:10].copy()
        bad[0] = value
        fit(model, bad, Y[:10])
        after = state(model)
        moved = {
            path.split("/")[-1]
            for path in before
            if not np.array_equal(before[path], after[path])
        }
        assert moved == {"step", "nonfinite", "iteration"}, value


def test_a_run_that_skips_a_step_is_the_run_without_it():
    """Of plain training at a constant rate, which knows no step numbers."""
    plain = nfm.Mixing(alpha=0.0, sigma_add=0.0, sigma_mult=0.0)
    kept = np.r_[0 : 10 * BAD, 10 * (BAD + 1) : 60]
    spoilt_run, shorter = compiled(True, plain), compiled(True, plain)
    history = fit(spoilt_run, spoilt(), callbacks=[FiniteLoss()])
    assert history["skipped_steps"] == [1]
    expected = fit(shorter, X[kept], Y[kept])
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-6)
    for a, b in zip(
        spoilt_run.model.get_weights(), shorter.model.get_weights(), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_a_good_run_does_not_depend_on_the_guard():
    runs = [compiled(skip) for skip in (False, True)]
    histories = [fit(model, X, epochs=2) for model in runs]
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-6)
    for a, b in zip(*(model.get_weights() for model in runs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def rooted(kernel, optimizer, **options):
    """Plain training of the root of a sum: at 0 it has no derivative."""
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer=kernel)
    model = nfm.NFMModel(
        keras.Model(inputs, ops.sqrt(layer(inputs))),
        nfm.Mixing(alpha=0.0, sigma_add=0.0, sigma_mult=0.0),
        skip_nonfinite=True,
    )
    model.compile(optimizer, "mse", **options)
    return model


def test_a_bad_gradient_of_a_finite_loss_is_skipped_too():
    model = rooted("zeros", keras.optimizers.SGD(0.1), **COMPILED)
    with pytest.raises(TrainingDiverged, match="The last 24 steps were all skipped"):
        fit(model, X, X[:, :1], epochs=9, callbacks=[FiniteLoss()])
    np.testing.assert_array_equal(model.model.get_weights()[0], np.zeros((4, 1)))


def test_a_bad_gradient_is_not_kept_while_gradients_accumulate():
    """Of a loss that is finite: its step alone is lost, the update goes on."""
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)
    model = rooted("ones", optimizer, jit_compile=False)
    x = np.ones((60, 4), "float32")
    x[10 * BAD + 1] = 0
    fit(model, x, X[:, :1], callbacks=[FiniteLoss()])
    assert ops.convert_to_numpy(model.nonfinite).tolist() == [1, BAD]
    assert all(np.isfinite(value).all() for value in state(model).values())
    kernel = model.model.get_weights()[0]
    assert np.isfinite(kernel).all() and not np.allclose(kernel, 1)


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "loss scaled"])
def test_an_update_after_a_skipped_one_is_of_its_own_gradients(wrapped):
    """Of four batches, two an update, the second is not finite: the last two count.

    An optimiser that scales the loss leaves the second out itself, and the third takes
    its place beside the first.
    """
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    if wrapped:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    inputs = keras.Input((2,))
    x = nfm.NoisyFeatureMixup()(inputs)
    network = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(x))
    model = nfm.NFMModel(network, nfm.Mixing(0, 0, 0), skip_nonfinite=True)
    model.compile(optimizer, "mse")
    x = np.arange(8, dtype="float32").reshape(4, 2) / 8
    before = network.get_weights()[0]
    gradients = [2 * (row @ before - 1) * row[:, None] for row in x]
    x[1] = np.nan
    model.fit(x, np.ones((4, 1)), batch_size=1, shuffle=False, verbose=0)
    counted = gradients[0 if wrapped else 3] + gradients[2]
    expected = before - 0.1 * counted / 2
    np.testing.assert_allclose(network.get_weights()[0], expected, rtol=1e-5)


def test_weights_whose_sum_overflows_are_finite():
    inputs = keras.Input((4,), dtype="float16")
    dense = keras.layers.Dense(1, dtype="float16", kernel_initializer="ones")
    network = keras.Model(inputs, dense(nfm.NoisyFeatureMixup(dtype="float16")(inputs)))
    model = nfm.NFMModel(network, nfm.Mixing(0, 0, 0), skip_nonfinite=True)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    dense.set_weights([np.full((4, 1), 3e4), np.zeros(1)])
    model.fit(np.zeros((2, 4), "float16"), np.ones((2, 1), "float16"), verbose=0)
    assert ops.convert_to_numpy(model.nonfinite).tolist() == [0, 0]
    assert ops.convert_to_numpy(dense.bias)[0] > 0
