"""The page of `nfm-theory` holds what was measured."""

import dataclasses

import keras
import numpy as np
import programs
import pytest
from conftest import run, score

from nfm_keras import networks, records, theory
from nfm_keras.evaluation.classifiers import Loaded
from nfm_keras.mixing import Mixing, remove_sites
from nfm_keras.reports.cells import measured_alike
from nfm_keras.reports.pages.theory import measure, write


def test_the_page_has_a_row_for_each_classifier_and_site(tmp_path):
    keras.utils.set_random_seed(0)
    network = remove_sites(networks.mlp((8, 8, 1), 10, width=0.25, depth=2))
    sites, counts = ["input", "dense_1"], {"limit": 32, "scored": 40, "certified": 4}
    record = measure([Loaded("one", network)], sites, dataset="digits", **counts)
    two = {"name": "two", "group": "two"}
    record["classifiers"].append(record["classifiers"][0] | two)
    page = write(record, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.index("small noise") < text.index("| one")
    assert text.count("| one | input") == text.count("| two | dense_1") == 4
    read = records.read_json(tmp_path / "theory.json")
    assert write(read, tmp_path).read_text(encoding="utf-8") == text
    _check_smoothing(record["classifiers"][0])
    from nfm_keras import data

    split = data.load("digits", limit=32).train
    images = np.asarray(split.images) / np.float32(255)
    given = network, "dense_1", images, split.labels, Mixing()
    found = theory.regularizers(*given, method="finite")
    assert f"| {found.r1.value:.2e} | {found.r2.value:.2e} |" in text
    html = page.with_suffix(".html").read_text(encoding="utf-8")
    assert html.count("<table") == 7 and html.count("<img") == 3


@pytest.mark.slow
def test_a_network_of_bytes_is_analysed_as_it_is_attacked():
    """Every number is of images in [0, 1], whatever the network scales itself."""
    counts = {"limit": 32, "scored": 40, "certified": 4}
    network = remove_sites(networks.mlp((8, 8, 1), 10, width=0.25, depth=2))
    images = keras.Input((8, 8, 1))
    of_bytes = keras.Model(images, network(keras.layers.Rescaling(1 / 255)(images)))
    one, other = (
        measure([Loaded("one", m)], ["input"], dataset="digits", **counts)
        for m in (network, of_bytes)
    )
    one, other = (found["classifiers"][0]["margins"] for found in (one, other))
    for key in ("scores", "linearised", "fab"):
        np.testing.assert_allclose(one[key], other[key], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_classifiers_are_measured_one_by_one():
    counts = {"limit": 32, "scored": 40, "certified": 4}
    loaded = []
    for name, width in (("one", 0.25), ("two", 0.5)):
        network = networks.mlp((8, 8, 1), 10, width=width, depth=2)
        loaded.append(Loaded(name, remove_sites(network)))
    both = measure(loaded, ["input"], dataset="digits", **counts)["classifiers"]
    assert [found["name"] for found in both] == ["one", "two"]
    for found, model in zip(both, loaded, strict=True):
        (alone,) = measure([model], ["input"], dataset="digits", **counts)[
            "classifiers"
        ]
        assert found["margins"] == alone["margins"]
    assert both[0]["margins"] != both[1]["margins"]


def _check_smoothing(found):
    """At the input it is what certifies images, in noise of another strength."""
    at = found["sites"]["input"]["smoothed"]
    assert at["images"] == 4 and 0 <= at["beyond"] <= at["accuracy"] <= 100
    bound, nearest = (np.array(found["margins"][key]) for key in ("bound", "fab"))
    assert len(nearest) == 32 and np.all(bound <= nearest + 1e-5)


def test_smoothing_at_the_input_is_that_of_images():
    from nfm_keras import data
    from nfm_keras.evaluation import smoothing
    from nfm_keras.theory.study import classifier as study

    keras.utils.set_random_seed(0)
    network = remove_sites(networks.mlp((8, 8, 1), 10, width=0.25, depth=2))
    split = data.load("digits", limit=32).train
    scored = study.Images(np.asarray(split.images, "float32") / 255, split.labels)
    scored.images[0, 0, 0], scored.images[0, 0, 1] = 0, 1  # the whole range: span 1
    given = theory.Split(network, "input"), scored, scored.images[:8], Mixing(), 3
    found = study._smoothed(*given)
    images, labels = scored.images[:8], scored.labels[:8]
    options = {"sigma": found["sigma"], "n0": 20, "n": study.COPIES, "seed": 3}
    made = smoothing.certify(network, images, labels, **options)
    assert found["accuracy"] == made.certified_accuracy(0.0)
    np.testing.assert_allclose(
        found["radius"], np.mean(made.radii * made.correct), 1e-6
    )
    assert found["moved"] == 0 and found["beyond"] == made.certified_accuracy(1e-12)


def test_a_record_that_is_not_whole_is_named(tmp_path):
    records.write_json(tmp_path / "theory.json", {"format": 1})
    done = programs.run("apps.theory", f"--redraw={tmp_path}")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "theory.json must be a whole record. Received: one without 'images'" in last


def test_classifiers_of_one_name_or_other_data_are_not_one_row():
    """Without a record the name is the row; runs say what they were trained on."""
    two = [Loaded("net", None), Loaded("net", None)]
    with pytest.raises(ValueError, match="name of its own.*Received: .*'net', 'net'"):
        measure(two, ["input"], dataset="digits")
    runs = [
        Loaded("a", None, dataclasses.replace(run("nfm", 0, []), dataset=name))
        for name in ("digits", "cifar10")
    ]
    with pytest.raises(ValueError, match="share their data set.*cifar10.*digits"):
        measure(runs, ["input"])


@pytest.mark.parametrize("swapped", [False, True])
def test_theorem_2_does_not_depend_on_which_class_is_more_frequent(swapped):
    """Two logits, of which the labels are those of the larger one."""
    from nfm_keras.theory.study import classifier as study

    inputs = keras.Input((2,))
    layer = keras.layers.Dense(2, use_bias=False)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.array([[1.0, -1.0], [0.0, 0.0]])])
    images = np.stack([np.r_[np.ones(6), -np.ones(2)], np.zeros(8)], 1)
    images = images.astype("float32") * (-1 if swapped else 1)
    labels = (images[:, 0] < 0).astype(int)
    given = model, ["input"], study.Images(images, labels), Mixing()
    (found,) = study._theorem_2(*given).values()
    assert found["classes"] == ([1, 0] if swapped else [0, 1])
    (right,) = (h for h in found["hypotheses"] if "correctly" in h["name"])
    assert right["holds"] and right["value"] == 0


def test_the_images_must_be_those_that_the_classifier_takes():
    network = networks.mlp((4, 4, 1), 10, width=0.25, depth=1)
    with pytest.raises(ValueError, match="shape that the classifier takes.*4, 4, 1"):
        measure([Loaded("one", network)], ["input"], dataset="digits", limit=8)


def test_only_scores_that_were_measured_alike_are_compared():
    def noise(value, protocol):
        made = score("white_noise@0.2", value)
        return dataclasses.replace(made, protocol=protocol)

    both = [noise(90.0, "reference"), noise(20.0, "pixel")]
    for one, expected in ((noise(80.0, "reference"), 90.0), (both[1], 20.0)):
        first, second = measured_alike([both, [one, score("clean", 95.0)]])
        assert first == {"white_noise@0.2": expected}
        assert second == {"white_noise@0.2": one.value, "clean": 95.0}
    assert measured_alike([[both[0]], [both[1]], []]) == [{}, {}, {}]
