import keras
import numpy as np
import pytest
from conftest import BACKEND
from keras import ops

from nfm_keras.training import optimizers

pytestmark = pytest.mark.backends

SETTINGS = {
    "plain": (0.0, False, 0.0),
    "weight_decay": (0.0, False, 0.05),
    "momentum": (0.9, False, 0.05),
    "nesterov": (0.9, True, 0.05),
}
STEPS, RATE = 5, 0.1


def model():
    """Weights of every kind: kernel, bias, gamma, beta."""
    layers = [
        keras.Input((4,)),
        keras.layers.Dense(3),
        keras.layers.BatchNormalization(),
    ]
    network = keras.Sequential(layers)
    rng = np.random.default_rng(0)
    for variable in network.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return network


def gradients(variables):
    rng = np.random.default_rng(1)
    shapes = [tuple(v.shape) for v in variables]
    return [
        [rng.normal(size=s).astype("float32") for s in shapes] for _ in range(STEPS)
    ]


def numpy_sgd(weights, steps, momentum, nesterov, weight_decay):
    """The update in the documentation of torch.optim.SGD."""
    weights = [w.astype("float64") for w in weights]
    buffers = [0.0] * len(weights)
    for grads in steps:
        for i, grad in enumerate(grads):
            grad = grad + weight_decay * weights[i]
            buffers[i] = momentum * buffers[i] + grad
            step = grad + momentum * buffers[i] if nesterov else buffers[i]
            weights[i] = weights[i] - RATE * step
    return weights


def torch_sgd(weights, steps, momentum, nesterov, weight_decay):
    import torch

    parameters = [torch.nn.Parameter(torch.tensor(w)) for w in weights]
    options = {"nesterov": nesterov, "weight_decay": weight_decay}
    sgd = torch.optim.SGD(parameters, lr=RATE, momentum=momentum, **options)
    for grads in steps:
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.grad = torch.tensor(grad)
        sgd.step()
    return [p.detach().numpy() for p in parameters]


@pytest.mark.parametrize("setting", SETTINGS)
def test_sgd_is_that_of_pytorch(setting):
    momentum, nesterov, weight_decay = SETTINGS[setting]
    variables = model().trainable_variables
    assert len(variables) == 4
    start = [ops.convert_to_numpy(v) for v in variables]
    steps = gradients(variables)
    optimizer = optimizers.build(
        "sgd", RATE, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
    )
    for grads in steps:
        optimizer.apply([ops.convert_to_tensor(g) for g in grads], variables)
    oracles = [numpy_sgd] + [torch_sgd] * (BACKEND == "torch")
    for oracle in oracles:
        expected = oracle(start, steps, momentum, nesterov, weight_decay)
        for variable, value in zip(variables, expected, strict=True):
            received = ops.convert_to_numpy(variable)
            np.testing.assert_allclose(received, value, rtol=1e-5, atol=1e-6)


def test_fit_decays_every_parameter(jit):
    """Without a gradient, weights shrink by 1 - rate * l2 a step, all of them."""
    network = model()
    start = [ops.convert_to_numpy(v) for v in network.trainable_variables]
    network.compile(
        optimizers.SGD(RATE, l2=0.5), "mse", jit_compile=jit and BACKEND != "torch"
    )
    x, y, nothing = np.ones((6, 4)), np.ones((6, 3)), np.zeros(6)
    network.fit(x, y, batch_size=2, sample_weight=nothing, shuffle=False, verbose=0)
    for variable, value in zip(network.trainable_variables, start, strict=True):
        received = ops.convert_to_numpy(variable)
        np.testing.assert_allclose(received, value * 0.95**3, rtol=1e-5)


def test_sgd_is_saved_with_its_l2():
    optimizer = optimizers.SGD(0.2, l2=0.3, momentum=0.5, nesterov=True)
    config = keras.saving.serialize_keras_object(optimizer)
    loaded = keras.saving.deserialize_keras_object(config)
    assert type(loaded) is optimizers.SGD
    assert (loaded.l2, loaded.momentum, loaded.nesterov) == (0.3, 0.5, True)


def rate(schedule, step):
    return float(ops.convert_to_numpy(schedule(ops.convert_to_tensor(step, "int32"))))


@pytest.mark.parametrize("steps", [1, 391])
@pytest.mark.parametrize("drops", [None, (100, 150, 180), (22.5, 30)], ids=str)
def test_the_step_schedule_drops_as_the_authors_or_as_told(steps, drops):
    """The first epoch at the lower rate has the index 101, 151, 181 in their code."""
    steps *= 2
    schedule = optimizers.schedule("step", 0.1, 200, steps, drops=drops)
    starts = enumerate(drops or (101, 151, 181), start=1)
    expected = {0: 0.1} | {epoch: 0.1 * 0.1**n for n, epoch in starts}
    for epoch, value in expected.items():
        assert rate(schedule, epoch * steps) == pytest.approx(value)  # its first step
        if epoch:  # the step before
            assert rate(schedule, epoch * steps - 1) == pytest.approx(10 * value)
    assert rate(schedule, 200 * steps) == pytest.approx(min(expected.values()))


def test_cosine_ends_at_0_after_a_linear_warm_up():
    plain = optimizers.schedule("cosine", 0.4, 10, 20)
    for step, value in ((0, 0.4), (100, 0.2), (200, 0.0), (300, 0.0)):
        assert rate(plain, step) == pytest.approx(value, abs=1e-7)
    warm = optimizers.schedule("cosine", 0.4, 10, 20, warmup_epochs=2)
    for step, value in ((0, 0.0), (10, 0.1), (40, 0.4), (120, 0.2), (200, 0.0)):
        assert rate(warm, step) == pytest.approx(value, abs=1e-7)
    assert optimizers.schedule("constant", 0.4, 10, 20) == 0.4


@pytest.mark.parametrize(
    "options, message",
    [
        ({"name": "stepp"}, "Unknown schedule. Did you mean 'step'.*Received: 'stepp'"),
        ({"name": "step", "warmup_epochs": 1}, "Warm-up .*schedule='step', warmup.*=1"),
        ({"name": "cosine", "drops": (1,)}, "`rate_drops` .*rate_drops=.1,"),
        ({"name": "step", "drops": (2, 1)}, "`rate_drops` .*rate_drops=.2, 1"),
        ({"name": "cosine", "warmup_epochs": -1}, "`warmup_epochs` .*Received: -1"),
        ({"name": "cosine", "warmup_epochs": 11}, "`warmup_epochs` .*Received: 11"),
    ],
    ids=str,
)
def test_bad_schedules_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        optimizers.schedule(learning_rate=0.1, epochs=10, steps_per_epoch=2, **options)


def test_optimizers_by_name():
    assert isinstance(optimizers.build("adam", 0.1), keras.optimizers.Adam)
    adamw = optimizers.build("adamw", 0.1, weight_decay=0.02, use_ema=True)
    assert isinstance(adamw, keras.optimizers.AdamW)
    assert adamw.weight_decay == 0.02 and adamw.use_ema
    with pytest.raises(ValueError, match="Unknown optimizer.*Received: 'ad'"):
        optimizers.build("ad", 0.1)


def test_rates_scale_with_the_batch():
    scaled = optimizers.scaled_rate
    assert scaled(0.1, 512) == 0.1
    assert scaled(0.1, 512, 128) == pytest.approx(0.4)
    assert scaled(0.1, 512, 128, "adamw") == pytest.approx(0.2)
    assert scaled(0.1, 32, 128, "adam") == pytest.approx(0.05)
    with pytest.raises(ValueError, match="Received: 0"):
        scaled(0.1, 512, 0)
