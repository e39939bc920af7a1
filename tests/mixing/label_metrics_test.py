"""Metrics of a mixed batch lie between those on own and on partners' labels."""

import keras
import numpy as np
import pytest
from conftest import FOR_VALUES
from keras import layers, ops

import nfm_keras as nfm

pytestmark = [
    pytest.mark.backends,
    # Keras' confusion matrix asks JAX for int64.
    pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64"),
]

N, T, K = 6, 4, 3
SPARSE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
QUIET = {"sigma_add": 0.0, "sigma_mult": 0.0}
RNG = np.random.default_rng(0)
X = RNG.random((2 * N, T, T, 2)).astype("float32")
Y = RNG.integers(0, K, (2 * N, T, T))
KERNEL = RNG.normal(size=(1, 1, 2, K)).astype("float32") * 4


def right(y, p):
    y, p = ops.cast(y, "int32"), ops.cast(ops.argmax(p, -1), "int32")
    return ops.cast(y == p, "float32")


def per_pixel(y, p):
    return right(y, p)


def per_image(y, p):
    return ops.mean(right(y, p), axis=(1, 2)) ** 2


def scalar(y, p):
    return ops.mean(right(y, p)) ** 2


class Hits(keras.Metric):
    """Counts in integers and does not heed weights."""

    def __init__(self, **kwargs):
        super().__init__(name="hits", **kwargs)
        self.hits = self.add_variable((), "zeros", "int32", name="hits")

    def update_state(self, y, p, sample_weight=None):
        hits = ops.sum(ops.argmax(p, -1) == ops.cast(y, ops.argmax(p, -1).dtype))
        self.hits.assign(self.hits + ops.cast(1000 * hits, "int32"))

    def result(self):
        return ops.convert_to_tensor(self.hits)


class TopClass(keras.metrics.MeanIoU):
    """As many have it: outputs become classes first."""

    def __init__(self):
        super().__init__(K, name="top")

    def update_state(self, y, p, sample_weight=None):
        return super().update_state(y, ops.argmax(p, -1), sample_weight)


def segmenter():
    inputs = keras.Input((T, T, 2))
    conv = layers.Conv2D(K, 1, use_bias=False)
    network = keras.Model(inputs, conv(nfm.NoisyFeatureMixup(name="site")(inputs)))
    conv.set_weights([KERNEL])
    return network


def fitted(metrics, weight=None, **settings):
    """A model and what it says of an epoch of two batches."""
    model = nfm.NFMModel(segmenter(), nfm.Mixing(**QUIET, **settings))
    optimizer = keras.optimizers.SGD(0.0)
    model.compile(
        optimizer,
        SPARSE,
        metrics=metrics,
        weighted_metrics=[keras.metrics.MeanMetricWrapper(per_pixel, "weighted")],
        **FOR_VALUES,
    )
    history = model.fit(
        X, Y, sample_weight=weight, batch_size=N, shuffle=False, verbose=0
    )
    return model, {name: value[0] for name, value in history.history.items()}


def halves(model):
    """lam, predictions, own and partners' labels of each of the two batches."""
    for step in range(2):
        lam, partner = model.draw_at(step, N)[1:3]
        lam, partner = ops.convert_to_numpy(lam), ops.convert_to_numpy(partner)
        x, y = X[step * N :][:N], Y[step * N :][:N]
        along = lam.reshape(lam.shape + (1, 1, 1)) if lam.ndim else lam
        mixed = along * x + (1 - along) * x[partner]
        p = model.classifier.predict(mixed, verbose=0)
        yield lam, p, y, y[partner]


def cells(y, p):
    matrix = np.zeros((K, K))
    np.add.at(matrix, (y.ravel(), p.argmax(-1).ravel()), 1)
    return matrix


def iou(matrix):
    return (np.diag(matrix) / (matrix.sum(0) + matrix.sum(1) - np.diag(matrix))).mean()


def test_metrics_of_any_shape():
    metrics = [per_pixel, per_image, scalar, "accuracy", Hits(), TopClass()]
    metrics += [keras.metrics.MeanIoU(K, sparse_y_pred=False)]
    model, found = fitted(metrics)
    wanted = {name: 0.0 for name in ("per_pixel", "per_image", "scalar", "hits")}
    matrix = 0
    for lam, p, own, partner in halves(model):
        for share, y in ((lam, own), (1 - lam, partner)):
            hit = (p.argmax(-1) == y).astype("float64")
            wanted["per_pixel"] += share * hit.mean() / 2
            wanted["per_image"] += share * (hit.mean((1, 2)) ** 2).mean() / 2
            wanted["scalar"] += share * hit.mean() ** 2 / 2
            wanted["hits"] += 1000 * share * hit.sum()
            matrix = matrix + share * cells(y, p)
    for name, value in wanted.items():
        assert found[f"mixed_{name}"] == pytest.approx(value, rel=1e-3), name
    assert found["mixed_accuracy"] == pytest.approx(wanted["per_pixel"], rel=1e-4)
    for name in ("mean_io_u", "top"):
        assert found[f"mixed_{name}"] == pytest.approx(iou(matrix), rel=1e-4)
    clean = model.evaluate(X, Y, verbose=0, return_dict=True)
    p = model.classifier.predict(X, verbose=0)
    assert clean["mean_io_u"] == pytest.approx(iou(cells(Y, p)), rel=1e-5)
    assert clean["hits"] == 1000 * (p.argmax(-1) == Y).sum()


def test_metrics_that_make_their_variables_late():
    """`F1Score` of the vectors, of a batch whose step is the first of the model."""
    inputs = keras.Input((K,))
    network = keras.Model(inputs, nfm.NoisyFeatureMixup(name="site")(inputs))
    model = nfm.NFMModel(network, nfm.Mixing(**QUIET))
    late = keras.metrics.F1Score("micro", threshold=0.5)
    model.compile("sgd", "mse", metrics=[late], **FOR_VALUES)
    vectors = np.eye(K, dtype="float32")
    draw = model.draw_at(0, K)
    with nfm.mixing_scope(model.mixing, draw, model.site_layers):
        for _ in range(2):
            logs = model.compute_metrics(vectors, vectors, model(vectors))
    own = ops.convert_to_numpy(draw.partner) == np.arange(K)
    lam = float(ops.convert_to_numpy(draw.lam))
    hits = own.sum() + (~own).sum() * max(lam, 1 - lam)
    assert float(logs["mixed_f1_score"]) == pytest.approx(hits / K, rel=1e-5)


def test_metrics_where_each_sample_has_its_lam():
    weight = RNG.random(2 * N).astype("float32")
    metrics = [per_pixel, per_image, keras.metrics.MeanIoU(K, sparse_y_pred=False)]
    model, found = fitted(metrics, weight, per_sample=True)
    pixel, image, matrix, weighted, total = 0, 0, 0, 0, 0
    for step, (lam, p, own, partner) in enumerate(halves(model)):
        w = weight[step * N :][:N]
        other = ops.convert_to_numpy(model.draw_at(step, N).partner)
        w = lam * w + (1 - lam) * w[other]
        total += w.sum()
        for share, y in ((lam, own), (1 - lam, partner)):
            hit = (p.argmax(-1) == y).mean((1, 2))
            pixel += (share * hit).mean() / 2
            image += (share * hit**2).mean() / 2
            weighted += (w * share * hit).sum()
            for one, *pair in zip(share, y, p):
                matrix = matrix + one * cells(*pair)
    assert found["mixed_per_pixel"] == pytest.approx(pixel, rel=1e-4)
    assert found["mixed_per_image"] == pytest.approx(image, rel=1e-4)
    assert found["mixed_mean_io_u"] == pytest.approx(iou(matrix), rel=1e-4)
    assert found["mixed_weighted"] == pytest.approx(weighted / total, rel=1e-4)


def test_what_a_lam_a_sample_cannot_weigh_is_refused():
    with pytest.raises(ValueError, match="each sample, the metric 'scalar' must"):
        fitted([scalar], per_sample=True)


def two_outputs(loss, **settings):
    inputs = keras.Input((3,))
    x = nfm.NoisyFeatureMixup(name="site")(inputs)
    outputs = [layers.Dense(K, name="kind")(x), layers.Dense(1, name="size")(x)]
    if isinstance(loss, dict):
        outputs = dict(zip(("kind", "size"), outputs))
    model = nfm.NFMModel(keras.Model(inputs, outputs), nfm.Mixing(**QUIET))
    model.compile(keras.optimizers.SGD(0.0), loss, run_eagerly=True, **settings)
    return model


FEATURES = RNG.random((N, 3)).astype("float32")
KIND, SIZE = RNG.integers(0, K, N), RNG.random((N, 1)).astype("float32")
WEIGHT = np.linspace(0.1, 3, N).astype("float32")


def losses_of(model, start, y, weight=None):
    """Of the first step from the same weights, and so of the same draw."""
    model.set_weights(start)
    model.step.assign(0)
    logs = model.train_on_batch(FEATURES, y, sample_weight=weight, return_dict=True)
    return {name: float(value) for name, value in logs.items()}


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_outputs_without_a_loss_or_without_weights():
    model = two_outputs({"kind": SPARSE, "size": "mse"})
    start, y = model.get_weights(), {"kind": KIND, "size": SIZE}
    whole = losses_of(model, start, y)
    both = losses_of(model, start, y, {"kind": WEIGHT, "size": WEIGHT})
    one = losses_of(model, start, y, {"kind": WEIGHT})
    assert one["kind_loss"] == pytest.approx(both["kind_loss"], rel=1e-5)
    assert one["size_loss"] == pytest.approx(whole["size_loss"], rel=1e-5)
    assert one["size_loss"] != pytest.approx(both["size_loss"], rel=1e-3)
    with pytest.raises(ValueError, match="`sample_weight` must have.*'kind', 'size'"):
        losses_of(model, start, y, {"knid": WEIGHT})
    alone = two_outputs([SPARSE, None], loss_weights=[2.0, None])
    for labels in ([KIND, None], [KIND]):
        found = losses_of(alone, start, labels)["loss"]
        assert found == pytest.approx(2 * whole["kind_loss"], rel=1e-5)
