import dataclasses

import keras
import numpy as np
import pytest
from small_run import NFM, VIT

from nfm_keras import data, training

pytestmark = pytest.mark.backends


def test_the_scheme_decides_on_label_smoothing():
    smoothed, _ = training.resolve(dataclasses.replace(NFM, scheme="label_smoothing"))
    assert smoothed.label_smoothing == 0.1


def test_the_options_of_a_network_reach_its_builder():
    config, network = training.resolve(VIT)
    names = {layer.name for layer in network.layers}
    assert "block2_sum1" in names and "block3_sum1" not in names
    assert network.get_layer("patches").kernel_size == (4, 4)
    assert network.get_layer("block1_attention").dropout.rate == 0.2
    assert network.get_layer("block2_sum1_drop").rate == 0.3
    assert config.policy == "autoaugment"
    assert config.patch_size == 4 and config.dropout is None


def test_the_norm_of_all_gradients_is_clipped():
    config = dataclasses.replace(
        NFM, network="mlp", momentum=0.0, schedule="constant", global_clipnorm=0.01
    )
    config, network = training.resolve(config)
    model = training.compile_model(config, network, steps=4)
    images, labels, _ = data.load("digits", limit=64).train
    before = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    model.train_on_batch(images, labels)
    after = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    moved = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(after, before)))
    assert moved == pytest.approx(NFM.learning_rate * 0.01, rel=1e-3)


def test_the_schedule_counts_the_steps_while_gradients_accumulate():
    config = dataclasses.replace(
        NFM,
        network="mlp",
        epochs=4,
        gradient_accumulation=2,
        learning_rate=0.1,
        rate_drops=(2.0, 3.0, 3.6),
    )
    config, network = training.resolve(config)
    built = training.compile_model(config, network, steps=5).optimizer
    optimizer = type(built).from_config(built.get_config())
    weight = keras.Variable(np.ones(3, "float32"))
    optimizer.build([weight])
    rates = []
    for _ in range(20):
        rates.append(float(keras.ops.convert_to_numpy(optimizer.learning_rate)))
        optimizer.apply([keras.ops.zeros(3)])
    expected = [0.1] * 10 + [0.01] * 5 + [1e-3] * 3 + [1e-4] * 2
    np.testing.assert_allclose(rates, expected, rtol=1e-5)
