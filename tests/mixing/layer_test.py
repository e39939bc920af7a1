"""A site as a Keras layer: Keras' own test of layers, dtypes and masks."""

import keras
import numpy as np
import pytest
from conftest import BACKEND
from keras import layers, ops
from keras.src.testing import TestCase

import nfm_keras as nfm
from nfm_keras.backend import keras_private
from nfm_keras.corruptions.layers import RandomCorruption
from nfm_keras.mixing.scope import current_scope
from nfm_keras.networks import blocks, vision_transformer

pytestmark = [
    pytest.mark.backends,
    # Keras' own, of what its test of layers and a layer of this file do.
    pytest.mark.filterwarnings("ignore:The model does not have any trainable"),
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed"),
    pytest.mark.filterwarnings("ignore:Layer 'mask' .of type Mask. was passed"),
]

IMAGES = (2, 8, 8, 3)
OURS = {
    "site": (nfm.NoisyFeatureMixup, {}, (2, 3, 4)),
    "site in a branch": (nfm.NoisyFeatureMixup, {"allow_bypass": True}, (2, 4)),
    "batch norm": (blocks.BatchNormalization, {}, IMAGES),
    "batch norm of a matrix": (blocks.BatchNormalization, {}, (4, 3)),
    "dropout": (blocks.SavedDropout, {"rate": 0.3, "seed": 1}, (2, 3, 4)),
    "no dropout": (blocks.SavedDropout, {"rate": 0.0}, (2, 3)),
    "depth": (blocks.SavedDropout, {"rate": 0.3, "noise_shape": (None, 1)}, (4, 3)),
    "class token": (vision_transformer.ClassTokenAndPositions, {}, (2, 3, 4)),
    "attention": (vision_transformer.SelfAttention, {"heads": 2}, (2, 3, 8)),
    "corruption": (RandomCorruption, {"kinds": ["brightness"]}, IMAGES),
}


@pytest.mark.parametrize("name", OURS)
def test_keras_own_test_of_layers(name):
    kind, settings, shape = OURS[name]
    trains = kind is not RandomCorruption  # an input without gradients
    case = TestCase()
    case.setUp()
    case.run_layer_test(kind, settings, input_shape=shape, run_training_check=trains)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_floats_come_back_in_the_compute_dtype_and_integers_as_they_are(policy):
    site = nfm.NoisyFeatureMixup(dtype=policy)
    dtype = "bfloat16" if "bfloat16" in policy else "float32"
    floats, numbers = site([ops.ones((2, 3)), ops.ones((2, 3), "int32")])
    assert keras.backend.standardize_dtype(floats.dtype) == dtype
    assert keras.backend.standardize_dtype(numbers.dtype) == "int32"
    spec = site(keras.KerasTensor((2, 3), "int32"))
    assert spec.dtype == "int32"


class Mask(layers.Layer):
    """Gives the mask of what it sees."""

    def call(self, x, mask=None):
        return ops.cast(mask, "float32")


MASKED = np.arange(5) < np.array([[2], [5], [1], [3]])


@pytest.mark.parametrize("at", [0, 1, -1], ids=["here", "elsewhere", "nowhere"])
def test_a_mixed_sample_shows_what_it_or_its_partner_shows(at):
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(9, 3, mask_zero=True)(inputs)
    x = nfm.NoisyFeatureMixup(name="first")(x)
    outputs = [Mask()(x), nfm.NoisyFeatureMixup(name="second")(x)]
    model = keras.Model(inputs, outputs)
    mixing, sites = nfm.Mixing(), nfm.site_layers(model)
    draw = mixing.draw(0, 0, 4, 2)._replace(site=ops.convert_to_tensor(at))
    tokens = np.where(MASKED, 3, 0)
    with nfm.mixing_scope(mixing, draw, sites):
        mask, last = model(tokens)
        own = current_scope().own_mask(keras_private.mask_of(last))
    union = MASKED | MASKED[ops.convert_to_numpy(draw.partner)]
    expected = union if at == 0 else MASKED
    np.testing.assert_array_equal(ops.convert_to_numpy(mask), expected)
    np.testing.assert_array_equal(ops.convert_to_numpy(own), MASKED)
    seen = ops.convert_to_numpy(keras_private.mask_of(last))
    np.testing.assert_array_equal(seen, union if at >= 0 else MASKED)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="others always know sizes")
@pytest.mark.parametrize("jit", [False, True])
def test_own_masks_are_known_again_whatever_length_a_batch_has(jit):
    import tensorflow as tf

    draw = nfm.Mixing().draw(0, 0, 4, 1)

    def own_masks(mask, other):
        with nfm.mixing_scope(nfm.Mixing(), draw, [nfm.NoisyFeatureMixup()]):
            union = current_scope().union(mask, 0)
            merged = ops.logical_or(union, union)
            return [current_scope().own_mask(each) for each in (merged, other)]

    unknown = [tf.TensorSpec((None, None), tf.bool)] * 2
    traced = tf.function(own_masks, input_signature=unknown, jit_compile=jit)
    for other in (np.ones((4, 7), bool), ~MASKED):
        own, unchanged = traced(MASKED, other)
        np.testing.assert_array_equal(own, MASKED)
        np.testing.assert_array_equal(unchanged, other)


def test_masks_of_inserted_and_loaded_sites_are_the_union(tmp_path):
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(9, 3, mask_zero=True, name="words")(inputs)
    plain = keras.Model(inputs, layers.GlobalAveragePooling1D(name="mean")(x))
    model = nfm.insert_sites(plain, ["words"])
    model.save(tmp_path / "model.keras")
    tokens = np.where(MASKED, [[1, 2, 3, 4, 5]], 0)
    mixing = nfm.Mixing(sigma_add=0, sigma_mult=0)
    draw = mixing.draw(0, 0, 4, 1)._replace(lam=0.0)
    expected = ops.convert_to_numpy(plain(tokens))
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        for silent in (each, nfm.remove_sites(each)):
            found = ops.convert_to_numpy(silent(tokens))
            np.testing.assert_allclose(found, expected, atol=1e-6)
        with nfm.mixing_scope(mixing, draw, nfm.site_layers(each)):
            mixed = ops.convert_to_numpy(each(tokens))
        partner = ops.convert_to_numpy(draw.partner)
        union = MASKED | MASKED[partner]
        words = ops.convert_to_numpy(plain.get_layer("words").embeddings)
        seen = words[tokens[partner]] * union[..., None]
        right = seen.sum(1) / union.sum(1, keepdims=True)
        np.testing.assert_allclose(mixed, right, atol=1e-5)


@pytest.mark.parametrize("sites", [1, 2])
def test_a_draw_for_another_batch_is_refused_where_sizes_are_known(sites):
    inputs = keras.Input((5,))
    x = inputs
    for _ in range(sites):
        x = nfm.NoisyFeatureMixup()(x)
    model, mixing = keras.Model(inputs, x), nfm.Mixing()
    draw = mixing.draw(0, 0, 4, sites)
    with (
        nfm.mixing_scope(mixing, draw, nfm.site_layers(model)),
        pytest.raises(ValueError, match="draw for 4 samples .*Received: 3"),
    ):
        model(np.ones((3, 5), "float32"), training=True)
    for wrong in (1, 3, 8):
        with pytest.raises(ValueError, match=f"draw for 4 samples .*Received: {wrong}"):
            mixing.mix(ops.ones((wrong, 2)), draw)
    noise = nfm.Mixing(alpha=0)  # which needs no partners
    assert noise.apply(ops.ones((3, 2)), noise.draw(0, 0, 4, 1)).shape == (3, 2)
