import importlib
import inspect

import keras
import numpy as np
import pytest
from conftest import BACKEND

import nfm_keras as nfm
from nfm_keras import networks
from nfm_keras.backend.unit_range import unit_range
from nfm_keras.mixing.places import Places
from nfm_keras.mixing.sites import remove_sites
from nfm_keras.networks import backbones
from nfm_keras.networks.backbone_tables import APPLICATIONS, KERAS_CV
from nfm_keras.networks.blocks import with_keras_layers


def random_graph(seed):
    """A graph of convolutions with sums over random earlier values, some unused."""
    rng = np.random.default_rng(seed)
    values = [keras.Input((8, 8, 2))]
    for i in range(8):
        recent = values[-3:]
        picked = rng.choice(len(recent), min(len(recent), rng.integers(1, 3)), False)
        terms = [recent[j] for j in picked]
        x = keras.layers.Add(name=f"add{i}")(terms) if len(terms) > 1 else terms[0]
        values.append(keras.layers.Conv2D(2, 1, name=f"conv{i}")(x))
    return keras.Model(values[0], values[-1])


@pytest.mark.parametrize("seed", range(12))
def test_places_that_all_pass_are_those_that_nothing_goes_around(seed):
    model = random_graph(seed)
    places = Places(model)
    names = [layer.name for layer in model.layers]
    expected = [name for name in names if not places.bypass(name)]
    assert sorted(places.passed_by_all()) == sorted(expected) != []


def test_every_network_of_keras_is_known():
    builders = {
        name
        for name, value in inspect.getmembers(keras.applications, callable)
        if "include_top" in inspect.signature(value).parameters
    }
    assert {builder for builder, _ in APPLICATIONS.values()} == builders


def preprocessing(builder):
    """`preprocess_input` of the module of `keras.applications` that has a builder."""
    module = inspect.getmodule(inspect.unwrap(getattr(keras.applications, builder)))
    return module.preprocess_input


@pytest.mark.backends
@pytest.mark.parametrize(
    "name", sorted({v: k for k, v in APPLICATIONS.items()}.values())
)
def test_a_backbone_gets_images_in_its_own_range(name):
    builder, pixels = APPLICATIONS[name]
    images = np.random.default_rng(0).uniform(size=(2, 8, 8, 3)).astype("float32")
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, backbones._in_range(inputs, pixels))
    expected = preprocessing(builder)(255 * images, data_format="channels_last")
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-4)


SMALL = [
    ("applications/mobilenet_v2", 2_257_984, [16, 8, 4, 2]),
    ("applications/resnet50_v2", 23_564_800, [16, 8, 4, 2]),
    ("keras_cv/resnet18_v2", 11_183_488, [8, 4, 2]),
    ("keras_cv/csp_darknet_tiny", 2_380_416, [8, 4, 2]),
    ("keras_hub/resnet18", 11_186_112, [8, 4, 2]),
]


@pytest.mark.parametrize("name, weights, sides", SMALL, ids=[row[0] for row in SMALL])
def test_sites_stand_at_the_levels_of_the_pyramid(name, weights, sides):
    if not name.startswith("applications/"):
        pytest.importorskip(name.partition("/")[0])
    model = networks.build(name, (32, 32, 3), 5)
    inner = model.get_layer("backbone")
    assert inner.count_params() == weights
    first, *sites = nfm.find_sites(model)
    assert first == "site_input"
    layers = [inner.get_layer(site.removeprefix("backbone/")) for site in sites]
    assert [layer.output.shape[1] for layer in layers] == sides
    assert unit_range(model) is model and model.output.shape == (None, 5)


@pytest.mark.slow
def test_settings_of_keras_cv_are_the_published_ones():
    """Of those whose building takes long, too, by the numbers that keras-cv gives."""
    pytest.importorskip("keras_cv")
    base = "keras_cv.src.models.backbones"
    families = "resnet_v2", "efficientnet_v2", "densenet", "csp_darknet"
    known = {}
    for family in families:
        module = importlib.import_module(f"{base}.{family}.{family}_backbone_presets")
        known |= module.backbone_presets
    published = {name: known[name]["metadata"].get("params") for name in KERAS_CV}
    assert sum(number is not None for number in published.values()) >= 4
    for name, number in published.items():
        model, _, _ = backbones._keras_cv(name, (64, 64, 3))
        assert number in (None, model.count_params()), name


@pytest.mark.parametrize(
    "name, shape, options, words",
    [
        ("keras_cv/resnet18v2", (32, 32, 3), {}, "Did you mean 'keras_cv/resnet18_v2'"),
        ("applications/mobilenet_v2", (16, 16, 3), {}, "32x32"),
        ("applications/mobilenet_v2", (None, None, 3), {}, "known"),
        ("applications/mobilenet_v2", (32, 32, 3), {"width": 2}, "width than 1"),
        ("applications/mobilenet_v2", (32, 32, 3), {"depth": 2}, "options"),
    ],
)
def test_what_a_backbone_cannot_take_is_named(name, shape, options, words):
    with pytest.raises(ValueError, match=words) as error:
        networks.build(name, shape, 5, **options)
    assert "Received" in str(error.value)


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "keras_hub", None)
    with pytest.raises(ValueError, match=r"nfm-keras\[keras-hub\]"):
        networks.build("keras_hub/resnet18", (32, 32, 3), 5)


def test_figures_are_kept_of_all_networks():
    names = [row.name for row in networks.published_figures()]
    assert names == [n for n in networks.names() if not n.startswith("keras_hub/")]
    table = networks.figures_table(networks.published_figures()).to_markdown()
    assert "| `applications/resnet50` | 25,636,712 | 5 | 224 | 32 | 1000 |" in table


def test_sites_are_called_the_same_whatever_was_built_before():
    name = "applications/xception"
    names = [
        nfm.find_sites(networks.build(name, (71, 71, 3), 10)),
        nfm.find_sites(networks.build(name, (71, 71, 3), 10)),
    ]
    assert names[0] == names[1] and "backbone/site_add" in names[0]
    kept = {row.name: row.sites for row in networks.published_figures()}
    assert list(kept[name]) == names[0]
    assert keras.layers.Add().name == "add"  # outside of it, names count as before


@pytest.mark.slow
@pytest.mark.parametrize("row", networks.published_figures(), ids=lambda row: row.name)
def test_kept_figures_are_those_of_the_networks(row):
    if BACKEND != "tensorflow":
        pytest.skip("the networks are the same on all backends")
    assert networks.network_figures(row.name) == row


# Of layers of keras-cv that come back from a file; their weights do as well.
@pytest.mark.filterwarnings("ignore:`build.*called on layer 'dark:UserWarning")
def test_csp_darknet_can_be_saved_and_is_that_of_its_package(tmp_path, monkeypatch):
    """Its Lambdas are SiLUs, which a file can hold."""
    keras_cv = pytest.importorskip("keras_cv")
    small = {"stackwise_channels": (8, 8, 8, 8), "stackwise_depth": (1, 1, 1, 1)}
    monkeypatch.setattr(
        backbones, "KERAS_CV", {"csp_darknet_tiny": ("CSPDarkNetBackbone", small)}
    )
    model = networks.build("keras_cv/csp_darknet_tiny", (32, 32, 3), 5)
    theirs = keras_cv.models.CSPDarkNetBackbone(
        include_rescaling=False, input_shape=(32, 32, 3), **small
    )
    inner = remove_sites(model.get_layer("backbone"))
    theirs.set_weights(inner.get_weights())
    images = np.random.default_rng(0).random((2, 32, 32, 3), "float32")
    np.testing.assert_allclose(inner(images), theirs(images), rtol=1e-5, atol=1e-6)
    with_keras_layers(remove_sites(model)).save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(images), model(images), rtol=1e-5, atol=1e-6)
