"""Images that activate units most: the ascent, its ball, and what cannot be climbed."""

import keras
import numpy as np
import pytest

import nfm_keras as nfm
from nfm_keras.evaluation.adversaries import activating_images
from nfm_keras.evaluation.adversaries.activating import units_of
from nfm_keras.reports import pictures

GREY = np.full((4, 4, 1), 0.5, "float32")


def network(weights=None):
    image = keras.Input((4, 4, 1))
    x = keras.layers.Flatten()(image)
    x = keras.layers.Dense(5, name="features")(x)
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax")(x))
    if weights is not None:
        model.get_layer("features").set_weights([weights, np.zeros(5, "float32")])
    return model


@pytest.mark.backends
def test_of_a_linear_unit_it_is_the_corner_of_the_ball_along_its_weights():
    weights = np.random.default_rng(0).normal(size=(16, 5)).astype("float32")
    epsilon = 0.3
    settings = {"steps": 60, "step_size": 0.02, "epsilon": epsilon}
    found = activating_images(network(weights), GREY, [3, 0], **settings)
    for image, before, after, unit in zip(*found, [3, 0], strict=True):
        w = weights[:, unit]
        expected = 0.5 + epsilon * w / np.linalg.norm(w)
        np.testing.assert_allclose(image.ravel(), expected, atol=1e-4)
        np.testing.assert_allclose(before, 0.5 * w.sum(), rtol=1e-4)
        gain = epsilon * np.linalg.norm(w)
        np.testing.assert_allclose(after - before, gain, rtol=1e-3)


def test_images_stay_in_the_unit_range_and_in_the_published_ball():
    weights = np.ones((16, 5), "float32")
    found = activating_images(network(weights), GREY, [0], steps=5, epsilon=9.0)
    # 5 steps of length 16/255, each spread evenly over the 16 pixels.
    np.testing.assert_allclose(found.images, 0.5 + 5 * 16 / 255 / 4, rtol=1e-4)
    far = activating_images(network(weights), GREY, [0], step_size=1.0, epsilon=9.0)
    np.testing.assert_allclose(far.images, 1.0)


def test_logits_of_a_softmax_are_climbed_too():
    keras.utils.set_random_seed(0)
    model = network()
    found = activating_images(model, GREY, [0, 1, 2], kind="logits", steps=30)
    assert (found.after > found.before).all()
    shares = model.predict(found.images, verbose=0)
    np.testing.assert_allclose(np.exp(found.after), shares.diagonal(), rtol=1e-4)
    assert units_of(model, "features").forward(GREY[None]).shape == (1, 5)


@pytest.mark.parametrize(
    "units, options, message",
    [
        ([5], {}, "from 0 to 4. Received: 5"),
        ([0], {"steps": 0}, "`steps` must be"),
        ([0], {"epsilon": 0.0}, "`epsilon` must be .* above 0"),
        ([0], {"kind": "logit"}, "Unknown kind.*logits.*Received: 'logit'"),
    ],
)
def test_what_cannot_be_done_is_named(units, options, message):
    with pytest.raises(ValueError, match=message):
        activating_images(network(), GREY, units, **options)


def test_a_unit_that_nothing_moves_and_a_function_without_features_are_named():
    still = np.ones((16, 5), "float32")
    still[:, 2] = 0
    with pytest.raises(ValueError, match=r"finite gradient.*unit\(s\) \[2\]"):
        activating_images(network(still), GREY, [1, 2])
    with pytest.raises(ValueError, match="--of=logits.*Received: function"):
        activating_images(lambda images: images, GREY, [0])


def test_networks_stand_side_by_side_in_one_picture(tmp_path):
    models = {"one": network(), "two": network()}
    path = tmp_path / "units.png"
    found = pictures.activations(models, path, count=2, steps=3, seed=4)
    again = pictures.activations(models, path, count=2, steps=3, seed=4)
    assert path.stat().st_size > 1000 and list(found) == ["one", "two"]
    np.testing.assert_array_equal(found["two"].images, again["two"].images)
    models["other"] = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="one known size.*Received"):
        pictures.activations(models, path)


def test_units_are_drawn_of_those_that_have_a_gradient_in_all_networks(tmp_path):
    weights = np.ones((16, 5), "float32")
    models = {}
    for name, dead in (("one", [0, 3]), ("two", [4])):
        models[name] = network(np.where(np.isin(np.arange(5), dead), 0, weights))
    found = pictures.activations(models, tmp_path / "x.png", count=5, steps=2)
    assert all(
        len(one.after) == 2 and (one.after > one.before).all() for one in found.values()
    )
    models = {"dead": network(0 * weights)}
    with pytest.raises(ValueError, match=r"finite gradient.*Received: none at unit"):
        pictures.activations(models, tmp_path / "x.png", count=2, steps=2)


def test_what_cannot_be_drawn_is_said_before_the_ascent(monkeypatch, tmp_path):
    def climbed(*args, **kwargs):
        raise AssertionError("climbed")

    monkeypatch.setattr(pictures.activating, "activating_images", climbed)
    settings = {"kind": "logits", "classes": ("a", "b")}
    for units in ([0, 2], []):
        with pytest.raises(
            ValueError, match="one number or more, of 0 to 1.*Received: "
        ):
            pictures.activations(
                {"one": network()}, tmp_path / "x.png", units=units, **settings
            )
    image = keras.Input((4, 4, 2))
    two = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(image)))
    with pytest.raises(ValueError, match="1 or 3 channels. Received: images of .4, 4"):
        pictures.activations({"two": two}, tmp_path / "x.png", **settings)


def test_features_of_a_model_that_trains_are_those_of_its_classifier():
    image = keras.Input((4, 4, 1))
    x = nfm.NoisyFeatureMixup(name="site")(keras.layers.Flatten()(image))
    model = nfm.NFMModel(keras.Model(image, keras.layers.Dense(3)(x)))
    features = units_of(model, "features").forward(GREY[None])
    np.testing.assert_allclose(features, np.full((1, 16), 0.5))
