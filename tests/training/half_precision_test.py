"""Runs in half precision: their loss is scaled, what they leave is in float32."""

import dataclasses

import keras
import numpy as np
import pytest
from small_run import NFM, train

from nfm_keras import data, training
from nfm_keras.training import checkpoints
from nfm_keras.training import run as running

pytestmark = pytest.mark.backends


CONSTANT = dataclasses.replace(NFM, schedule="constant")


def half(precision, folder):
    """A run in half precision: its model and record.

    In float16 it begins at a scale at which all gradients overflow.
    """
    compiled = []

    def spy(*args):
        compiled.append(compile_model(*args))
        if precision == "mixed_float16":
            compiled[0].optimizer.dynamic_scale.assign(2.0**40)
        return compiled[0]

    compile_model = training.compile_model
    settings = {"scheme": "erm", "network": "mlp", "depth": 2}
    settings |= {"precision": precision, "batch_size": 8, "epochs": 6}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "compile_model", spy)
        record = train(dataclasses.replace(CONSTANT, **settings), folder)
    return compiled[0], record


@pytest.fixture(scope="module")
def float16(tmp_path_factory):
    """A run in float16: its folder, model and record."""
    folder = tmp_path_factory.mktemp("runs") / "float16"
    return folder, *half("mixed_float16", folder)


def check_saved(folder, model):
    saved = keras.saving.load_model(folder / training.CLASSIFIER, compile=False)
    assert {layer.dtype_policy.name for layer in saved.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    images = data.load("digits", limit=100).test.images
    mixed = model.predict(images, verbose=0).astype("float32")
    plain = saved.predict(images / np.float32(255), verbose=0)
    assert plain.dtype == np.float32
    mixed, plain = (keras.ops.softmax(z) for z in (mixed, plain))
    np.testing.assert_allclose(mixed, plain, atol=2e-2)


def test_mixed_precision_is_saved_as_float32(float16):
    folder, model, _ = float16
    check_saved(folder, model)


@pytest.mark.slow
def test_bfloat16_is_saved_as_float32(tmp_path):
    model, _ = half("mixed_bfloat16", tmp_path)
    check_saved(tmp_path, model)


def test_float16_scales_the_loss_and_an_overflow_costs_one_step(float16):
    """At a scale at which all gradients overflow, weights wait until it came down."""
    folder, model, record = float16
    optimizer = model.optimizer
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    scale = float(keras.ops.convert_to_numpy(optimizer.dynamic_scale))
    done = int(keras.ops.convert_to_numpy(optimizer.iterations))
    assert scale < 2.0**40 and 6 * 32 - 40 <= done < 6 * 32
    assert np.isfinite(record.history["loss"]).all()
    assert record.history["val_loss"][-1] < record.history["val_loss"][0] - 0.05
    # And a run that goes on has the scale that it had.
    again = training.Config(**record.config)
    model = training.compile_model(*training.resolve(again), steps=32)
    checkpoints.restore(model, folder / "checkpoints")
    assert float(keras.ops.convert_to_numpy(model.optimizer.dynamic_scale)) == scale
    keras.config.set_dtype_policy("float32")
