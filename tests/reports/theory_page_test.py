"""The page of `nfm-theory` holds what was measured."""

import keras
import numpy as np

from nfm_keras import networks, records, theory
from nfm_keras.evaluation.classifiers import Loaded
from nfm_keras.mixing import Mixing, remove_sites
from nfm_keras.reports.pages.theory import measure, write


def test_the_page_has_a_row_for_each_classifier_and_site(tmp_path):
    keras.utils.set_random_seed(0)
    network = remove_sites(networks.mlp((8, 8, 1), 10, width=0.25, depth=2))
    loaded = [Loaded("one", network), Loaded("two", network)]
    sites = ["input", "dense_1"]
    record = measure(loaded, sites, dataset="digits", limit=32, scored=40, certified=4)
    page = write(record, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.index("small noise") < text.index("| one")
    assert text.count("| one | input") == text.count("| two | dense_1") == 3
    read = records.read_json(tmp_path / "theory.json")
    assert write(read, tmp_path).read_text(encoding="utf-8") == text
    from nfm_keras import data

    split = data.load("digits", limit=32).train
    images = np.asarray(split.images) / np.float32(255)
    given = network, "dense_1", images, split.labels, Mixing()
    found = theory.regularizers(*given, method="finite")
    assert f"| {found.r1.value:.2e} | {found.r2.value:.2e} |" in text
    html = page.with_suffix(".html").read_text(encoding="utf-8")
    assert html.count("<table") == 6 and html.count("<img") == 3
