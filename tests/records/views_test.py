"""What an evaluation looks like, and how its scores are found."""

import json
import sys

import pytest
from conftest import score, scored

from nfm_keras import records


@pytest.fixture
def evaluation():
    noises = [score(f"white_noise@{s}", 80.0 - 100 * s) for s in (0, 0.1, 0.2, 0.3)]
    doubtful = scored("pgd@8/255", [1, 0, 0, 0], warnings={"no_gradient": 2})
    scores = (score("clean", 90.0), *noises, doubtful, scored("pgd@1/255", [1, 1]))
    return records.Evaluation("nfm", "digits", "", [[0.0] * 4000], scores=scores)


def test_it_prints_as_a_short_table(evaluation):
    head, columns, *lines = repr(evaluation).splitlines()
    assert head == "nfm on digits: 7 scores" and columns.split()[:2] == ["score", "%"]
    names = [line.partition("  ")[0] for line in lines]
    curve = "white_noise@0 ... 0.3 (reference)"
    assert names == ["clean", curve, "pgd@8/255", "pgd@1/255"]
    assert "80.0 ... 50.0" in lines[1] and lines[2].endswith("no_gradient 2")
    assert str(evaluation) == repr(evaluation) and len(repr(evaluation)) < 600
    assert repr(records.Evaluation("m", "d", "", [])) == "m on d: 0 scores"


def test_scores_are_read_by_number_and_by_id(evaluation):
    assert evaluation[0] is evaluation["clean"] is evaluation.scores[0]
    assert evaluation[-2] is evaluation["pgd@8/255"] is evaluation["pgd@16/510"]
    assert evaluation[1:3] == evaluation.scores[1:3]
    assert "pgd@8/255" in evaluation and "pgd@2/255" not in evaluation
    assert evaluation[0] in evaluation
    with pytest.raises(KeyError, match="Did you mean 'pgd@8/255'.*There are: clean"):
        evaluation["pgd@8/25"]


def test_the_dict_and_the_tables_hold_every_score(evaluation):
    content = json.loads(json.dumps(evaluation.to_dict()))
    assert content["model"] == "nfm"
    assert content["scores"]["pgd@8/255"]["correct"] == 1
    assert len(content["scores"]) == 7
    twice = records.Evaluation("m", "d", "", [], scores=evaluation.scores[:1] * 2)
    assert list(twice.to_dict()["scores"]) == ["clean", "clean (2)"]
    lines = evaluation.to_markdown().splitlines()
    assert len(lines) == 9 and lines[7].startswith("| pgd@8/255 | none | 25.00 |")


def test_pandas_is_optional(evaluation, monkeypatch):
    frame = pytest.importorskip("pandas") and evaluation.to_pandas()
    assert list(frame["perturbation"]) == [s.perturbation for s in evaluation]
    assert frame["value"].iloc[5] == 25.0 and frame["doubtful"].iloc[5] == 2
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        evaluation.to_pandas()
