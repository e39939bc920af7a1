import math

import keras
import numpy as np
import pytest
from conftest import BACKEND, compiled
from keras import ops

from nfm_keras.corruptions import SEVERITIES, STANDARD, Corruption
from nfm_keras.corruptions.layers import RandomCorruption, corrupt_map

pytestmark = pytest.mark.backends

tensorflow_only = pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow alone")

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(20, 236, (40, 16, 16, 3)).astype("uint8")
KINDS = ("gaussian_noise", "contrast", "brightness")


def train(layer, images=IMAGES):
    return ops.convert_to_numpy(layer(images, training=True))


def place(batch, i):
    """The index that keys image i of a batch."""
    return batch * 2**32 + i


def corrupted_by(image, index, kinds=KINDS, severities=SEVERITIES, seed=0):
    """Which corruptions turn an image into what, as bytes."""
    pairs = [(kind, severity) for kind in kinds for severity in severities]
    return {
        Corruption(*pair)(image[None], [index], seed=seed).tobytes(): pair
        for pair in pairs
    }


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float16", "bfloat16"])
def test_it_is_the_identity_unless_training(dtype):
    images = ops.convert_to_tensor(IMAGES, "uint8")
    if dtype != "uint8":
        images = ops.cast(ops.cast(images, "float32") / 255, dtype)
    layer = RandomCorruption()
    for returned in (layer(images), layer(images, training=False)):
        assert keras.backend.standardize_dtype(returned.dtype) == dtype
        assert ops.convert_to_numpy(ops.all(ops.equal(returned, images)))


def test_each_image_gets_a_corruption_of_its_own():
    layer, seen = RandomCorruption(KINDS, seed=3), []
    for call in range(2):
        for i, image in enumerate(train(layer)):
            known = corrupted_by(IMAGES[i], place(call, i), seed=3)
            seen.append(known[image.tobytes()])
    assert {kind for kind, _ in seen} == set(KINDS)
    assert {severity for _, severity in seen} == set(SEVERITIES)


def test_kinds_and_severities_are_equally_likely():
    images = np.repeat(IMAGES[:1, :8, :8], 3000, axis=0)
    corrupted = train(RandomCorruption(["contrast", "brightness"], [2, 5]), images)
    values, counts = np.unique(corrupted, axis=0, return_counts=True)
    assert len(values) == 4
    assert (abs(counts - 750) < 5 * math.sqrt(3000 * 0.25 * 0.75)).all()


def test_calls_differ_and_a_seed_repeats_them():
    first, again, other = (RandomCorruption(KINDS, seed=s) for s in (7, 7, 8))
    calls = [train(first) for _ in range(3)]
    assert len({call.tobytes() for call in calls}) == 3
    np.testing.assert_array_equal([train(again) for _ in range(3)], calls)
    assert not np.array_equal(train(other), calls[0])


def test_an_inference_call_does_not_count():
    plain, mixed = RandomCorruption(KINDS), RandomCorruption(KINDS)
    mixed(IMAGES)
    np.testing.assert_array_equal(train(mixed), train(plain))


def test_what_an_image_meets_does_not_depend_on_those_after_it():
    whole = train(RandomCorruption(KINDS, rate=0.5))
    part = train(RandomCorruption(KINDS, rate=0.5), IMAGES[:7])
    np.testing.assert_array_equal(part, whole[:7])


def test_it_does_not_depend_on_the_backend():
    # Of the NumPy stream for seed 0 and call 0.
    corrupted = train(RandomCorruption(["contrast"], rate=0.5), IMAGES[:16])
    hit = (corrupted != IMAGES[:16]).any(axis=(1, 2, 3))
    assert "".join("01"[int(h)] for h in hit) == "0011110110111110"


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_a_share_of_the_images_is_hit_and_the_others_stay(rate):
    images = np.repeat(IMAGES[:1, :8, :8], 2000, axis=0)
    corrupted = train(RandomCorruption(["brightness"], [5], rate=rate), images)
    hit = (corrupted != images).any(axis=(1, 2, 3))
    assert abs(hit.mean() - rate) <= 5 * math.sqrt(rate * (1 - rate) / 2000)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_floats_keep_dtype_and_range_and_meet_the_same(dtype):
    images = ops.cast(ops.cast(IMAGES, "float32") / 255, dtype)
    corrupted = RandomCorruption(KINDS, rate=0.5)(images, training=True)
    assert keras.backend.standardize_dtype(corrupted.dtype) == dtype
    floats = ops.convert_to_numpy(ops.cast(corrupted, "float32"))
    assert floats.min() >= 0 and floats.max() <= 1
    expected = train(RandomCorruption(KINDS, rate=0.5)) / 255
    tolerance = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 1e-2}[dtype]
    if dtype == "float32":
        np.testing.assert_allclose(floats, expected, atol=tolerance)
    else:  # its input is rounded, by less than a grey level or two
        assert abs(floats - expected).mean() < tolerance


def test_compiled_it_is_what_it_is_eagerly():
    layer, eager = RandomCorruption(KINDS), RandomCorruption(KINDS)
    images = ops.convert_to_tensor(IMAGES)
    if BACKEND == "jax":
        layer.build(IMAGES.shape)
        run = compiled(lambda *args: layer.stateless_call([], *args, training=True))
        first, state = run([layer.calls.value], images)
        second, _ = run(state, images)
    else:
        run = compiled(lambda images: layer(images, training=True))
        first, second = run(images), run(images)
    np.testing.assert_array_equal(first, train(eager))
    np.testing.assert_array_equal(second, train(eager))


def classifier(layer, dtype="float32"):
    inputs = keras.Input((16, 16, 3), dtype=dtype)
    x = layer(inputs)
    assert x.shape == (None, 16, 16, 3) and x.dtype == dtype
    x = keras.layers.Rescaling(1 / 255 if dtype == "uint8" else 1.0)(x)
    x = keras.layers.Conv2D(4, 3)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(2)(x))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_model_with_it_fits_and_predicts_on_clean_images(dtype):
    layer = RandomCorruption(KINDS)
    model = classifier(layer, dtype)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)  # jit_compile is left to Keras
    images = IMAGES if dtype == "uint8" else (IMAGES / 255).astype("float32")
    history = model.fit(images, np.arange(40) % 2, batch_size=16, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert int(layer.calls.value) == 6
    first, again = (model.predict(images, verbose=0) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_it_is_saved_with_its_settings_and_its_count(tmp_path):
    layer = RandomCorruption(KINDS, [1, 3], rate=0.7, seed=11, name="corrupt")
    model = classifier(layer, "uint8")
    train(layer)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").get_layer("corrupt")
    assert loaded.get_config() == layer.get_config()
    assert (loaded.kinds, loaded.severities) == (KINDS, (1, 3))
    np.testing.assert_array_equal(train(loaded), train(layer))


@pytest.mark.parametrize(
    "wrong",
    [
        {"kinds": "snow"},
        {"kinds": []},
        {"kinds": ["snoww"]},
        {"severities": []},
        {"severities": [6]},
        {"severities": 3},
        {"seed": None},
        {"rate": 1.5},
        {"rate": float("nan")},
    ],
    ids=str,
)
def test_bad_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="Received: "):
        RandomCorruption(**wrong)


@pytest.mark.parametrize(
    "images", [IMAGES[0], IMAGES.astype("int32")], ids=["rank", "dtype"]
)
def test_bad_images_are_refused_before_they_are_traced(images):
    with pytest.raises(ValueError, match="uint8 or float .*Received: "):
        RandomCorruption()(images)
    with pytest.raises(ValueError, match="uint8 or float .*Received: "):
        RandomCorruption()(keras.KerasTensor(images.shape, images.dtype.name))


@tensorflow_only
def test_xla_on_tensorflow_is_refused_and_left_off_by_compile():
    with pytest.raises(ValueError, match="XLA .*Received: jit_compile=True"):
        compiled(lambda x: RandomCorruption()(x, training=True), jit=True)(IMAGES)
    assert not RandomCorruption().supports_jit
    model = classifier(RandomCorruption())
    model.compile("sgd", "mse")
    assert model.jit_compile is False


# The map


@tensorflow_only
@pytest.mark.parametrize("parallel", [None, 4])
def test_a_map_gives_what_direct_calls_give(parallel):
    import tensorflow as tf

    labels = np.arange(40)
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, labels)).batch(16)
    corrupt = corrupt_map(KINDS, [1, 5], seed=3)
    mapped = dataset.enumerate().map(corrupt, num_parallel_calls=parallel)
    assert mapped.element_spec[0].shape.as_list() == [None, 16, 16, 3]
    assert mapped.element_spec[0].dtype == tf.uint8
    batches = list(mapped.as_numpy_iterator())
    assert [len(images) for images, _ in batches] == [16, 16, 8]
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), labels)
    seen = set()
    for number, (images, labels) in enumerate(batches):
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            index = place(number, i)
            known = corrupted_by(IMAGES[label], index, severities=[1, 5], seed=3)
            seen.add(known[image.tobytes()])
    assert len(seen) == 6
    # Which corruption an image gets is the layer's choice for the same call.
    layer = RandomCorruption(KINDS, [1, 5], seed=3)
    np.testing.assert_array_equal(batches[0][0], train(layer, IMAGES[:16]))
    np.testing.assert_array_equal(batches[1][0], train(layer, IMAGES[16:32]))


@tensorflow_only
def test_a_map_draws_anew_in_each_epoch_if_numbered_after_repeat():
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensors((IMAGES, np.arange(40)))
    corrupt = corrupt_map(["gaussian_noise"])
    anew = dataset.repeat(2).enumerate().map(corrupt).as_numpy_iterator()
    same = dataset.enumerate().repeat(2).map(corrupt).as_numpy_iterator()
    (first, _), (second, _) = anew
    assert not np.array_equal(first, second)
    (first, _), (second, _) = same
    np.testing.assert_array_equal(first, second)


def test_all_kinds_run():
    layer = RandomCorruption(STANDARD, [1, 5])
    corrupted = train(layer, np.repeat(IMAGES, 3, axis=0))
    assert corrupted.shape == (120, 16, 16, 3) and corrupted.dtype == np.uint8
