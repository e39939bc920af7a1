"""The page of `nfm-theory` holds what was measured."""

import keras
import numpy as np
import programs
import pytest

from nfm_keras import networks, records, theory
from nfm_keras.evaluation.classifiers import Loaded
from nfm_keras.mixing import Mixing, remove_sites
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
