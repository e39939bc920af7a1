"""Replicas: several of them in a process of its own, which has two devices."""

import keras
import numpy as np
import programs
import pytest
from conftest import BACKEND
from keras import ops

from nfm_keras.backend import replicas
from nfm_keras.networks.blocks import SavedDropout

needs_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow")


@pytest.mark.backends
def test_one_replica_is_asked_of_itself_alone():
    assert replicas.replica_id() == 0
    for flag in (True, False):
        answer = replicas.in_all(ops.convert_to_tensor(flag))
        assert bool(ops.convert_to_numpy(answer)) == flag
    norm = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])
    norm.set_weights([w + 0.1 for w in norm.get_weights()])
    before = norm.get_weights()
    replicas.average_statistics(norm)
    for a, b in zip(before, norm.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@needs_tensorflow
def test_means_of_one_replica_are_the_numbers():
    np.testing.assert_array_equal(replicas.means([1.5, 2]), [1.5, 2.0])


@needs_tensorflow
def test_two_replicas_agree():
    done = programs.run(__file__)
    assert done.returncode == 0, done.stderr[-3000:]


def two_replicas():
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        norm = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization()])
        dropout = SavedDropout(0.5, seed=1)

    @tf.function
    def dropped():
        return dropout(tf.ones((4, 100)), training=True)

    masks = [
        mask.numpy()
        for _ in range(2)
        for mask in strategy.experimental_local_results(strategy.run(dropped))
    ]
    assert len({mask.tobytes() for mask in masks}) == 4  # 2 calls in 2 replicas
    assert 0.45 < np.mean(np.equal(masks, 0)) < 0.55
    copies = dropout.seed_generator.state.value.values
    assert [copy.numpy().tolist() for copy in copies] == [[1, 2]] * 2

    @tf.function
    def ask():
        number = tf.cast(replicas.replica_id(), "float32")
        mean = norm.layers[0].moving_mean
        mean.assign(mean + number)
        replicas.average_statistics(norm)
        return (
            *(number, replicas.in_all(number < 1), replicas.in_all(number < 2)),
            *(replicas.means([number, 3.0]), mean.value + 0),
        )

    answers = [strategy.experimental_local_results(x) for x in strategy.run(ask)]
    ids, some, both, means, moving = (np.array(answer).tolist() for answer in answers)
    assert ids == [0, 1]
    assert some == [False, False] and both == [True, True]
    assert means == [[0.5, 3.0]] * 2
    assert moving == [[0.5]] * 2


if __name__ == "__main__":
    two_replicas()
