import keras
import numpy as np
import pytest
from keras import ops

from nfm_keras.backend.gradients import value_and_grad
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
    masks = (maps > 0).astype("uint8")
    found = losses.sample_losses(keras.losses.Dice(), masks, maps)
    expected = keras.losses.Dice()(masks, maps)
    np.testing.assert_allclose(ops.convert_to_numpy(found), [float(expected)] * 3)
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
    two = ops.concatenate([0 * logits[:, :1], logits[:, :1]], axis=1)
    of_two, of_one = (losses.jensen_shannon(z, 3) for z in (two, logits[:, :1]))
    assert float(of_one) == pytest.approx(float(of_two), rel=1e-6) and of_one > 0.01
    with pytest.raises(ValueError, match="one output. Received: a list of outputs"):
        losses.jensen_shannon([logits], 3)


MARGINS = {
    "sparse": (keras.losses.SparseCategoricalCrossentropy(from_logits=True), LABELS),
    "one-hot": (
        keras.losses.CategoricalCrossentropy(from_logits=True),
        np.eye(4, dtype="float32")[LABELS],
    ),
    "ours": (losses.SmoothedCrossentropy(0.0), LABELS),
    "name": ("crossentropy", LABELS),
}


def gradient(function, loss, labels, logits):
    def values(logits, labels):
        outputs = ops.softmax(logits) if isinstance(loss, str) else logits
        found = function(loss, labels, outputs)
        return found, found

    run = value_and_grad(values)
    return ops.convert_to_numpy(
        run(ops.convert_to_tensor(logits), ops.convert_to_tensor(labels))[2]
    )


@pytest.mark.parametrize("name", MARGINS)
def test_margins_go_where_cross_entropy_goes_and_never_forget_the_class(name):
    loss, labels = MARGINS[name]

    def unit(gradients):
        return gradients / np.linalg.norm(gradients, axis=1, keepdims=True)

    plain = gradient(losses.sample_losses, loss, labels, LOGITS)
    margins = gradient(losses.margin_losses, loss, labels, LOGITS)
    np.testing.assert_allclose(unit(margins), unit(plain), atol=1e-3)
    ahead = LOGITS + 40 * np.eye(4, dtype="float32")[LABELS]
    far = gradient(losses.margin_losses, loss, labels, ahead)
    np.testing.assert_allclose(far[np.arange(6), LABELS], -1, atol=1e-3)
    np.testing.assert_allclose(far.sum(1), 0, atol=1e-3)


def test_other_losses_and_soft_labels_keep_their_gradient():
    soft = RNG.dirichlet(np.ones(4), 6).astype("float32")
    cross_entropy = keras.losses.CategoricalCrossentropy(from_logits=True)
    for loss in (keras.losses.MeanSquaredError(), cross_entropy):
        plain, margins = (
            gradient(function, loss, soft, LOGITS)
            for function in (losses.sample_losses, losses.margin_losses)
        )
        np.testing.assert_allclose(margins, plain, atol=1e-6)


def test_margins_of_bits_and_of_several_classes_a_sample():
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    bits = (LABELS % 2).astype("float32")[:, None]
    far = gradient(losses.margin_losses, loss, bits, 40 * (2 * bits - 1))
    np.testing.assert_allclose(far, 1 - 2 * bits)
    maps = RNG.normal(size=(2, 3, 4)).astype("float32") * 3
    y = RNG.integers(0, 4, (2, 3))
    loss = MARGINS["sparse"][0]
    plain, margins = (
        gradient(function, loss, y, maps).reshape(2, -1)
        for function in (losses.sample_losses, losses.margin_losses)
    )
    ratio = margins / plain
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1], ratio.shape), 1e-3)
    assert (ratio >= 0.99).all()
