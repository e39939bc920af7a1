import keras
import numpy as np
import pytest
from keras import ops

from nfm_keras.mixing.techniques import losses

pytestmark = pytest.mark.backends

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 4)).astype("float32") * 3
LABELS = RNG.integers(0, 4, 6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_smoothed_crossentropy_is_that_of_smoothed_one_hot_labels(smoothing):
    reference = keras.losses.CategoricalCrossentropy(True, label_smoothing=smoothing)
    expected = float(reference(np.eye(4)[LABELS], LOGITS))
    loss = losses.SmoothedCrossentropy(smoothing)
    assert float(loss(LABELS, LOGITS)) == pytest.approx(expected, rel=1e-5)
    column = LABELS[:, None].astype("float32")  # as data may bring them
    assert float(loss(column, LOGITS)) == pytest.approx(expected, rel=1e-5)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    assert again.label_smoothing == smoothing
    with pytest.raises(ValueError, match="`label_smoothing` must be .*: 1"):
        losses.SmoothedCrossentropy(1)


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        keras.losses.SparseCategoricalCrossentropy(),
        keras.losses.SparseCategoricalCrossentropy(reduction="sum"),
        losses.SmoothedCrossentropy(0.0),
    ],
    ids=["name", "mean", "sum", "smoothed"],
)
def test_sample_losses_are_those_before_the_reduction(loss):
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    outputs = LOGITS if isinstance(loss, losses.SmoothedCrossentropy) else p
    found = losses.sample_losses(loss, ops.convert_to_tensor(LABELS), outputs)
    expected = -np.log(p[np.arange(6), LABELS])
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-4)


def test_sample_losses_average_what_is_within_a_sample():
    maps = RNG.normal(size=(3, 2, 2, 5)).astype("float32")
    found = losses.sample_losses("mse", ops.zeros((3, 2, 2, 5)), maps)
    expected = np.square(maps).mean((1, 2, 3))
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="one output and one loss. Received: loss="):
        losses.sample_losses({"a": "mse"}, maps, maps)


def test_jensen_shannon_divergence():
    same = ops.convert_to_tensor(np.tile(LOGITS, (3, 1)))
    assert float(losses.jensen_shannon(same, 3)) == pytest.approx(0, abs=1e-6)
    apart = ops.convert_to_tensor(np.repeat(30 * np.eye(3, dtype="float32"), 5, 0))
    assert float(losses.jensen_shannon(apart, 3)) == pytest.approx(np.log(3), rel=1e-4)
    views = RNG.normal(size=(3, 5, 4))
    p = np.exp(views) / np.exp(views).sum(-1, keepdims=True)
    expected = (p * np.log(p / p.mean(0))).sum(-1).mean()
    logits = ops.convert_to_tensor(views.reshape(15, 4), "float32")
    assert float(losses.jensen_shannon(logits, 3)) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="one output. Received: a list of outputs"):
        losses.jensen_shannon([logits], 3)
