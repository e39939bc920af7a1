"""The loss of a mixed batch is lam * loss(y) + (1 - lam) * loss(y[partner])."""

import functools
import itertools

import keras
import numpy as np
import pytest
from conftest import BACKEND, compiled
from keras import layers, ops

import nfm_keras as nfm
from nfm_keras.mixing.labels.loss import check_reductions, output_loss
from nfm_keras.mixing.labels.pairs import LabelMixing

pytestmark = pytest.mark.backends

N, T, K = 6, 4, 3
RNG = np.random.default_rng(0)
PARTNER = np.array([2, 0, 1, 5, 3, 4])
LAM, LAMS = np.float32(0.9), RNG.random(N).astype("float32")
WEIGHT = RNG.random(N).astype("float32") + 0.5
REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "none", "mean_with_sample_weight")
CLASSES = RNG.integers(0, K, N)
ONE_HOT = np.eye(K, dtype="float32")
MASKS = ONE_HOT[RNG.integers(0, K, (N, T, T))]
LABELS = {  # labels and the shape of the outputs
    "integer": (CLASSES, (N, K)),
    "integer column": (CLASSES[:, None], (N, K)),
    "one-hot float": (ONE_HOT[CLASSES], (N, K)),
    "soft": (
        RNG.random((N, K)).astype("float32") * [[0], [3], [1], [1], [1], [1]],
        (N, K),
    ),
    "dense": (RNG.integers(0, K, (N, T, T)), (N, T, T, K)),
    "dense one-hot bytes": (MASKS.astype("uint8"), (N, T, T, K)),
    "dense float": (MASKS, (N, T, T, K)),
    "sequence": (RNG.integers(0, K, (N, T)), (N, T, K)),
}
OUTPUTS = {
    shape: RNG.dirichlet(np.ones(K), shape[:-1]).astype("float32")
    for shape in sorted({shape for _, shape in LABELS.values()})
}


def elementwise(y, p):
    """Cross-entropy, of class numbers or of vectors: a value an element."""
    if len(y.shape) == len(p.shape) and y.shape[-1] != K:
        y = ops.squeeze(y, -1)
    if len(y.shape) < len(p.shape):
        y = ops.one_hot(ops.cast(y, "int32"), K)
    return -ops.sum(ops.cast(y, p.dtype) * ops.log(p), axis=-1)


def per_image(y, p):
    values = elementwise(y, p)
    return ops.mean(ops.reshape(values, (ops.shape(p)[0], -1)), axis=1) ** 2


def scalar(y, p):
    return ops.mean(elementwise(y, p)) ** 2


SHAPES = {"element": elementwise, "image": per_image, "scalar": scalar}


def loss_of(function, reduction):
    class Own(keras.losses.Loss):
        call = staticmethod(function)

    return Own(reduction=reduction)


def in_full(weight, shape):
    return np.broadcast_to(weight.reshape((-1,) + (1,) * (len(shape) - 1)), shape)


def reduced(values, weight, reduction):
    """What Keras' reductions are, for weights that go along the batch."""
    divisor = values.size
    if weight is not None:
        weight = in_full(weight, values.shape) if values.ndim else weight
        values = values * weight
        divisor = values.size
        if reduction == "mean_with_sample_weight":
            divisor = weight.sum()
    if reduction == "none":
        return values
    return values.sum() / (1 if reduction == "sum" else divisor)


def expected(function, labels, outputs, lam, weight, reduction):
    def values(y):
        return ops.convert_to_numpy(function(ops.convert_to_tensor(y), outputs))

    if weight is not None:
        weight = lam * weight + (1 - lam) * weight[PARTNER]
    share = np.asarray(lam)
    if labels.dtype.kind == "f":
        share = share.reshape(share.shape + (1,) * (labels.ndim - 1) * share.ndim)
        mixed = share * labels + (1 - share) * labels[PARTNER]
        return reduced(values(mixed), weight, reduction)
    own, other = values(labels), values(labels[PARTNER])
    if share.ndim:
        share = in_full(share, own.shape)
    # One loss is taken of each, and both are weighed.
    terms = share * own, (1 - share) * other
    return sum(reduced(term, weight, reduction) for term in terms)


def draw(lam=LAM):
    return nfm.Draw(
        None,
        ops.convert_to_tensor(lam),
        ops.convert_to_tensor(PARTNER, "int32"),
        None,
        None,
    )


def losses(cases, kind, weighted, lam, weight):
    """The mixed losses of a list of labels and reductions."""
    mixing = LabelMixing(draw(lam))
    return [
        output_loss(
            loss_of(SHAPES[kind], reduction),
            mixing,
            ops.convert_to_tensor(LABELS[name][0]),
            ops.convert_to_tensor(OUTPUTS[LABELS[name][1]]),
            weight if weighted else None,
        )
        for name, reduction in cases
    ]


def check(kind, per_sample, weighted, reductions, run=lambda function: function):
    lam = LAMS if per_sample else LAM
    names = [
        name
        for name, (labels, _) in LABELS.items()
        if kind != "scalar" or not per_sample or labels.dtype.kind == "f"
    ]
    cases = list(itertools.product(names, reductions))
    found = run(functools.partial(losses, cases, kind, weighted))(
        ops.convert_to_tensor(lam), ops.convert_to_tensor(WEIGHT)
    )
    weight = WEIGHT if weighted else None
    for (name, reduction), value in zip(cases, found, strict=True):
        labels, shape = LABELS[name]
        outputs = ops.convert_to_tensor(OUTPUTS[shape])
        wanted = expected(SHAPES[kind], labels, outputs, lam, weight, reduction)
        np.testing.assert_allclose(
            ops.convert_to_numpy(value), wanted, 2e-5, err_msg=f"{name} {reduction}"
        )


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize("per_sample", [False, True], ids=["lam", "lams"])
@pytest.mark.parametrize("kind", SHAPES)
def test_the_closed_form(kind, per_sample, weighted):
    check(kind, per_sample, weighted, REDUCTIONS)


@pytest.mark.parametrize("kind", SHAPES)
def test_the_closed_form_compiled(kind, jit):
    reductions = ["sum_over_batch_size"]
    check(kind, kind != "scalar", True, reductions, lambda run: compiled(run, jit))


def test_what_has_no_values_for_the_samples_is_refused():
    outputs = ops.convert_to_tensor(OUTPUTS[N, K])
    mixing = LabelMixing(draw(LAMS))
    with pytest.raises(ValueError, match="each sample, the loss .* Received: .*\\(\\)"):
        output_loss(loss_of(scalar, "sum"), mixing, CLASSES, outputs)

    class Reduces(keras.losses.Loss):
        def __call__(self, y_true, y_pred, sample_weight=None):
            return scalar(y_true, y_pred)

    with pytest.raises(ValueError, match="leave the reduction to Keras.*Reduces"):
        output_loss(Reduces(name="mine"), mixing, CLASSES, outputs)
    value = output_loss(Reduces(), LabelMixing(draw()), CLASSES, outputs)
    own, other = (
        float(scalar(ops.convert_to_tensor(y), outputs))
        for y in (CLASSES, CLASSES[PARTNER])
    )
    assert float(value) == pytest.approx(LAM * own + (1 - LAM) * other, rel=1e-5)


KERAS_LOSSES = {
    "dice": (keras.losses.Dice(), "dense one-hot bytes"),
    "tversky": (keras.losses.Tversky(axis=(1, 2)), "dense one-hot bytes"),
    "sparse": (keras.losses.SparseCategoricalCrossentropy(), "sequence"),
    "ctc": (keras.losses.CTC(), "ctc"),
    "bits": (keras.losses.BinaryCrossentropy(), "dense one-hot bytes"),
}


@pytest.mark.parametrize("name", KERAS_LOSSES)
def test_losses_of_keras_whatever_their_shape(name):
    loss, kind = KERAS_LOSSES[name]
    if kind == "ctc":
        labels = RNG.integers(1, K, (N, 2)).astype("int32")
        outputs = RNG.normal(size=(N, 5, K)).astype("float32")
    else:
        labels, outputs = LABELS[kind][0], OUTPUTS[LABELS[kind][1]]
    own, other = (
        ops.convert_to_numpy(loss(y, ops.convert_to_tensor(outputs)))
        for y in (labels, labels[PARTNER])
    )
    value = output_loss(
        loss, LabelMixing(draw()), labels, ops.convert_to_tensor(outputs)
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(value), LAM * own + (1 - LAM) * other, rtol=1e-5
    )


def test_float_targets_of_several_outputs_each_are_no_class_numbers():
    """Pinball: three quantiles of one number."""

    def pinball(y, q):
        levels = ops.convert_to_tensor([0.1, 0.5, 0.9], q.dtype)
        return ops.maximum(levels * (y - q), (levels - 1) * (y - q))

    y = RNG.normal(size=(N, 1)).astype("float32")
    outputs = ops.convert_to_tensor(OUTPUTS[N, K])
    loss = loss_of(pinball, "sum_over_batch_size")
    mixed = LAM * y + (1 - LAM) * y[PARTNER]
    value = output_loss(loss, LabelMixing(draw()), y, outputs)
    assert float(value) == pytest.approx(float(loss(mixed, outputs)), rel=1e-5)


@pytest.mark.parametrize("shape", [(N,), (N, 1)])
def test_floats_that_a_loss_sees_no_fractions_of_are_class_numbers(shape):
    outputs = ops.convert_to_tensor(OUTPUTS[N, K])
    y = CLASSES.astype("float32").reshape(shape)
    for function in (elementwise, scalar):
        loss = loss_of(function, "sum_over_batch_size")
        value = output_loss(loss, LabelMixing(draw()), y, outputs)
        own, other = (
            float(loss(ops.convert_to_tensor(part), outputs))
            for part in (y, y[PARTNER])
        )
        assert float(value) == pytest.approx(LAM * own + (1 - LAM) * other, rel=1e-5)


def test_a_step_on_labels_that_do_not_sum_to_one():
    """softmax * sum(label) - label: rows of zeros move nothing, on every backend."""
    labels = np.array([[0, 0, 0], [2, 0, 1], [0.5, 0.25, 0.25]], "float32")
    identity, inputs = np.eye(3, dtype="float32"), keras.Input((3,))
    dense = layers.Dense(3, use_bias=False)
    network = keras.Model(inputs, dense(nfm.NoisyFeatureMixup(name="s")(inputs)))
    dense.set_weights([identity])
    model = nfm.NFMModel(network, nfm.Mixing(0.0, sigma_add=1e-9, sigma_mult=0.0))

    def own(y, p):
        return keras.losses.categorical_crossentropy(y, p, from_logits=True)

    model.compile(keras.optimizers.SGD(1.0), own)
    model.fit(identity, labels, batch_size=3, shuffle=False, verbose=0)
    p = np.exp(identity) / np.exp(identity).sum(1, keepdims=True)
    gradient = (p * labels.sum(1, keepdims=True) - labels) / 3
    np.testing.assert_allclose(dense.get_weights()[0], identity - gradient, atol=1e-6)


def test_a_loss_without_a_reduction_is_refused_where_nothing_can_follow_it():
    losses = [None, keras.losses.MeanSquaredError(reduction="none", name="mine")]
    if BACKEND == "tensorflow":
        assert check_reductions(losses) is None
        return
    with pytest.raises(ValueError, match="reduction='sum'.*'mine' with.*'none'"):
        check_reductions(losses)


@pytest.mark.parametrize("loss", [keras.losses.Hinge(), keras.losses.SquaredHinge()])
def test_a_hinge_of_floats_is_that_of_integers(loss):
    """Keras takes 0 for -1 where all labels of a batch are 0 and 1: not of blended."""
    labels = (CLASSES > 0).astype("float32")[:, None]
    values = RNG.normal(size=(N, 1)).astype("float32")
    scores = ops.convert_to_tensor(values)
    mixing = LabelMixing(
        nfm.Mixing().draw(0, 0, N, 1)._replace(partner=PARTNER, lam=LAM)
    )
    found, same = (
        ops.convert_to_numpy(output_loss(loss, mixing, y, scores, None))
        for y in (labels, labels.astype("int32"))
    )
    assert found == pytest.approx(float(same))
    signs = 2 * labels - 1
    power = 2 if "squared" in loss.name else 1
    own, partner = (
        np.mean(np.maximum(1 - y * values, 0) ** power) for y in (signs, signs[PARTNER])
    )
    assert found == pytest.approx(LAM * own + (1 - LAM) * partner, rel=1e-5)
