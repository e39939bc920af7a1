"""Labels with a value a pixel are cut, pasted and moved like the images."""

import keras
import numpy as np
import pytest
from conftest import BACKEND, JITS
from keras import layers, ops

import nfm_keras as nfm
from nfm_keras.mixing.labels.pairs import LabelMixing
from nfm_keras.mixing.techniques import CutMix, PuzzleMix

pytestmark = pytest.mark.backends

N, SIZE, K = 8, 8, 3
RNG = np.random.default_rng(0)
MASKS = RNG.integers(0, K, (N, SIZE, SIZE)).astype("uint8")
IMAGES = np.eye(K, dtype="float32")[MASKS]  # an image shows its mask
SPARSE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
CROSS = keras.losses.CategoricalCrossentropy(from_logits=True)
QUIET = {"sigma_add": 0, "sigma_mult": 0}


def identity(shape):
    inputs = keras.Input(shape)
    scale = keras.initializers.Identity(50.0)
    dense = layers.Dense(K, use_bias=False, kernel_initializer=scale)
    return keras.Model(inputs, dense(inputs))


def model_of(technique, loss, per_sample=False, jit="auto", metrics=None):
    """Its logits are 50 times the images: the loss is 0 where labels fit them."""
    network = identity((SIZE, SIZE, K))
    mixing = nfm.Mixing(per_sample=per_sample, **QUIET)
    model = nfm.NFMModel(network, mixing, technique=technique)
    optimizer = keras.optimizers.SGD(0.0)
    model.compile(optimizer, loss, metrics=metrics, jit_compile=jit)
    return model


def history(model, labels, traced=True):
    # A graph of TensorFlow takes seconds to trace: one is enough.
    model.run_eagerly = BACKEND == "tensorflow" and not traced
    once = {"batch_size": N, "shuffle": False, "verbose": 0}
    found = model.fit(IMAGES, labels, epochs=3, **once).history
    return {name: np.array(values) for name, values in found.items()}


LABELS = {
    "integer": (MASKS, SPARSE),
    "column": (MASKS[..., None], SPARSE),
    "bytes": (IMAGES.astype("uint8"), CROSS),
    "float": (IMAGES, CROSS),
}


@pytest.mark.parametrize("kind", LABELS)
def test_cutmix_pastes_masks(kind):
    per_sample = kind in ("integer", "float")
    jit = JITS[-1 if kind == "integer" else 0]  # XLA compiles slowly: once
    labels, loss = LABELS[kind]
    metrics = ["accuracy"] if kind == "integer" else None
    model = model_of(CutMix(), loss, per_sample, jit, metrics)
    found = history(model, labels, traced=kind == "integer")
    assert np.abs(found["loss"]).max() < 1e-5
    if metrics:
        assert found["mixed_accuracy"].min() == pytest.approx(1, abs=1e-6)


def entropy(y, logits):
    return -ops.sum(ops.softmax(logits) * ops.log_softmax(logits), axis=-1)


def test_puzzlemix_moves_masks():
    """Where a pixel of both images is seen, both have half of the probability."""
    technique = PuzzleMix(grids=(2, 4))
    for kind in ("integer", "bytes", "float"):
        labels, loss = LABELS[kind]
        model = model_of(technique, loss, metrics=[entropy])
        found = history(model, labels, traced=kind == "integer")
        np.testing.assert_allclose(
            found["loss"], found["mixed_entropy"], 1e-4, 1e-5, err_msg=kind
        )
    with pytest.raises(ValueError, match="pixel of the image, the loss 'dice' must"):
        history(model_of(technique, keras.losses.Dice()), IMAGES.astype("uint8"))


def test_masks_of_one_class_may_lack_the_axis_that_their_outputs_have():
    inputs = keras.Input((SIZE, SIZE, K))
    network = keras.Model(inputs, layers.Conv2D(1, 1)(inputs))
    start, losses = network.get_weights(), []
    for labels in (MASKS % 2, (MASKS % 2)[..., None]):
        network.set_weights(start)
        technique = PuzzleMix(grids=(2, 4))
        model = nfm.NFMModel(network, nfm.Mixing(**QUIET), technique=technique)
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss)
        losses.append(history(model, labels, traced=False)["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="others always know sizes")
def test_images_of_a_size_that_tensorflow_does_not_know_are_cut():
    import tensorflow as tf

    def stream(*shapes):
        kinds = zip(shapes, (tf.float32, tf.int32))
        specs = tuple(tf.TensorSpec(shape, dtype) for shape, dtype in kinds)
        pairs = tf.data.Dataset.from_generator(
            lambda: zip(IMAGES, MASKS), output_signature=specs
        )
        return pairs.batch(N)

    def fit(technique, images):
        network = identity((None, None, K))
        mixing = nfm.Mixing(per_sample=True, **QUIET)
        model = nfm.NFMModel(network, mixing, technique=technique)
        model.compile(keras.optimizers.SGD(0.0), SPARSE)
        given = stream(images, (None, None))
        options = {"steps_per_epoch": 1, "shuffle": False, "verbose": 0}
        return model.fit(given, **options).history["loss"][0]

    unknown = None, None, K
    assert fit(CutMix(), unknown) < 1e-5
    with pytest.raises(ValueError, match="sizes of masks.*must be known.*ensure_shape"):
        fit(CutMix(), (SIZE, SIZE, K))
    with pytest.raises(ValueError, match="PuzzleMix.*a size that is known"):
        fit(PuzzleMix(grids=(2,)), unknown)


def test_masks_of_another_size_are_refused():
    draw = nfm.Mixing().draw(0, 0, N, 1)
    batch = CutMix().prepare(None, ops.convert_to_tensor(IMAGES), None, draw)
    mixing = LabelMixing(batch.draw, batch.cut)
    with pytest.raises(ValueError, match="size of the images.*8x8.*\\(8, 4, 4, 3\\)"):
        mixing.pair(IMAGES[:, ::2, ::2])
    small = ops.convert_to_tensor(MASKS[:, ::2, ::2])
    with pytest.raises(ValueError, match="size of the images.*8x8.*\\(8, 4, 4\\)"):
        mixing.pair_for(SPARSE, small, ops.zeros((N, 4, 4, K)))
    words = mixing.pair_for(CROSS, small, ops.zeros((N, 4, 4)))  # no map, a sequence
    assert float(words.share) == float(batch.draw.lam)
    pair = mixing.pair(np.arange(N))  # a class an image has a lam
    np.testing.assert_array_equal(pair.own, np.arange(N))
    np.testing.assert_array_equal(pair.partner, draw.partner)
    assert float(pair.share) == float(batch.draw.lam)
