import json

import numpy as np
import pytest
from conftest import scored

from nfm_keras.records import Evaluation
from nfm_keras.records.evaluation import load_evaluation, save_evaluation


def test_hits_survive_packing_at_any_length():
    for n in (1, 7, 8, 9, 1000):
        right = np.random.default_rng(n).random(n) < 0.5
        assert np.array_equal(scored("clean", right).right, right)


def test_a_saved_evaluation_reads_back_equal(tmp_path):
    made = Evaluation(
        model="nfm",
        dataset="digits",
        images="ab",
        probe=[[0.5, -1.0]],
        scores=(scored("fog@1", [1, 0, 1]),),
        reliability={"edges": [0.0, 1.0], "counts": [3.0]},
        certifications=({"sigma": 0.1, "radii": [0.2]},),
        checks=({"name": "finite", "passed": True, "value": None},),
    )
    save_evaluation(made, tmp_path / "evaluation.json")
    loaded = load_evaluation(tmp_path / "evaluation.json")
    assert loaded == made and loaded.score("fog@1").right.tolist() == [1, 0, 1]
    assert list(loaded) == [made.scores[0]] and loaded.score("fog@2") is None
    content = json.loads((tmp_path / "evaluation.json").read_text())
    (tmp_path / "evaluation.json").write_text(json.dumps(content | {"format": 9}))
    with pytest.raises(ValueError, match="not a valid evaluation.*Received: 9"):
        load_evaluation(tmp_path / "evaluation.json")


def test_a_quick_look_does_not_take_the_place_of_more_images():
    many, few = scored("clean", [1] * 9), scored("clean", [0, 0])
    other = scored("clean", [1, 0], settings={"steps": 20})
    for scores in ((many, few), (few, many)):
        found = Evaluation("nfm", "digits", "ab", [], scores=scores)
        assert found["clean"] == many and found.merged().scores == (many,)
    found = Evaluation("nfm", "digits", "ab", [], scores=(many, other))
    assert found["clean"] == other and len(found.merged()) == 2
