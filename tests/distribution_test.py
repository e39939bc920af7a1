"""Training on two logical devices, in a process of its own."""

import collections
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import nfm_keras as nfm
from nfm_keras.mixing import current_scope
from nfm_keras.trainer import _replica_id

STEPS, BATCH = 6, 16
RNG = np.random.default_rng(0)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.distribute is TensorFlow's"
)
def test_two_replicas_train_as_one():
    # A strategy that failed leaves its process unusable for the next one.
    done = subprocess.run(
        [sys.executable, __file__],
        env=os.environ | {"KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["draws", "zeros", "identity"]


class Spy(layers.Layer):
    """Notes the draw in force in each replica, and the features after the sites."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, features):
        import tensorflow as tf

        if (scope := current_scope()) is not None:
            draw = scope[1]
            noted = [_replica_id(), draw.site, draw.lam, draw.partner, features]
            tf.numpy_function(lambda *a: self.seen.append(a), noted, [])
        return features


def compiled(mixing, rate):
    inputs = keras.Input((5,))
    x, spy = inputs, Spy()
    for name in ("site_0", "site_1"):
        x = nfm.NoisyFeatureMixup(name=name)(x)
    network = keras.Model(inputs, layers.Dense(3)(spy(x)))
    model = nfm.NFMModel(network, mixing)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate), loss, metrics=["accuracy"])
    return model, spy


def fit(model, x):
    import tensorflow as tf

    y = np.arange(len(x)) % 3
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)
    return model.fit(batches, epochs=1, shuffle=False, verbose=0).history


def check_draws(strategy):
    """Site and lam are shared; partner and noise are each replica's own."""
    with strategy.scope():
        model, spy = compiled(nfm.Mixing(), 0.1)
    before = model.model.get_weights()
    # Mixing does nothing to images that are all the same: what is left is noise.
    history = fit(model, np.ones((STEPS * BATCH, 5), "float32"))
    assert np.isfinite(history["loss"]).all()
    assert all((a != b).any() for a, b in zip(before, model.model.get_weights()))
    assert int(keras.ops.convert_to_numpy(model.step.value)) == STEPS
    steps = collections.defaultdict(list)
    for replica, site, lam, partner, features in spy.seen:
        steps[float(lam)].append((int(replica), int(site), partner, features))
    assert len(steps) == STEPS
    pairs = [sorted(pair, key=lambda noted: noted[0]) for pair in steps.values()]
    for (replica_a, site_a, _, a), (replica_b, site_b, _, b) in pairs:
        assert (replica_a, replica_b) == (0, 1) and site_a == site_b
        assert a.shape == b.shape == (BATCH // 2, 5)
        assert np.mean(np.isclose(a, b, atol=1e-6)) < 0.1
    assert {pair[0][1] for pair in pairs} == {0, 1}
    assert not any((a[2] == b[2]).all() for a, b in pairs)


def check_zeros(strategy):
    """Where all logits are 0 the loss is log 3, however images are mixed."""
    with strategy.scope():
        model, _ = compiled(nfm.Mixing(), 0.0)
        model.model.set_weights([np.zeros((5, 3)), np.zeros(3)])
    history = fit(model, RNG.normal(size=(STEPS * BATCH, 5)).astype("float32"))
    assert abs(history["loss"][0] - np.log(3)) < 1e-5, history


def check_identity(strategy):
    """Plain training logs on two devices what it logs on one."""
    mixing = nfm.Mixing(alpha=0.0, sigma_add=0.0, sigma_mult=0.0)
    x = RNG.normal(size=(STEPS * BATCH, 5)).astype("float32")
    one, _ = compiled(mixing, 0.0)
    with strategy.scope():
        two, _ = compiled(mixing, 0.0)
        two.model.set_weights(one.model.get_weights())
    expected, received = fit(one, x), fit(two, x)
    assert expected.keys() == received.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(received[name], values, rtol=1e-5)


def main():
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, logical)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for check in (check_draws, check_zeros, check_identity):
        keras.utils.set_random_seed(0)
        check(strategy)
        print(check.__name__.removeprefix("check_"))


if __name__ == "__main__":
    main()
