"""A leaderboard: what its numbers are, their pairs, links, and that it sorts."""

import dataclasses
import re

import numpy as np
import pytest
from conftest import scored

from nfm_keras import corruptions, records
from nfm_keras.evaluation.comparison import mcnemar
from nfm_keras.reports import boards
from nfm_keras.reports.boards import corruption_errors, measures

N = 40
RADII = {"fgsm@1/255": 1 / 255, "autoattack@1/255": 1 / 255, "pgd@8/255": 8 / 255}


def evaluation(model, share, images="same", dataset="cifar10"):
    random = np.random.default_rng(len(model))
    rows = ["clean", *RADII]
    rows += [f"{kind}@{s}" for kind in corruptions.STANDARD for s in (1, 2, 3, 4, 5)]
    scores = [
        scored(name, random.random(N) < share, severity=RADII.get(name, 0.0))
        for name in rows
    ]
    scores[0] = dataclasses.replace(scores[0], calibration={"ece": 0.0123})
    return records.Evaluation(
        model, dataset, images, [[0.0] * 10], scores=tuple(scores)
    )


@pytest.fixture
def written(tmp_path):
    given = [
        evaluation("erm", 0.5),
        evaluation("nfm v2", 0.9),
        evaluation("else", 0.7, images="others"),
        evaluation("digit <1>", 0.7, dataset="digits"),
    ]
    for one in given:
        path = tmp_path / "runs" / one.model.replace(" ", "_") / "evaluation.json"
        records.save_evaluation(one, path)
    (tmp_path / "runs" / "erm" / "report.html").write_text("")
    paths = boards.write([tmp_path / "runs"], tmp_path / "board", title="All")
    return given, [path.read_text() for path in paths]


def test_the_worst_case_is_what_no_attack_of_the_radius_broke():
    one = evaluation("erm", 0.8)
    found = measures.measures(one)
    small = [one.score(name).right for name in ("clean", "fgsm@1/255")]
    small.append(one.score("autoattack@1/255").right)
    right = np.all(small, axis=0)
    assert found["worst case at 1/255"].value == pytest.approx(100 * right.mean())
    right &= one.score("pgd@8/255").right
    assert found["worst case at 8/255"].value == pytest.approx(100 * right.mean())
    assert found["AutoAttack@1/255"].value == one.score("autoattack@1/255").value
    scores = [s for s in one if s.perturbation.partition("@")[0] in corruptions.NAMES]
    mean = np.mean([score.value for score in scores])
    assert len(scores) == 75 and found["corruptions"].value == pytest.approx(mean)
    assert found["calibration error"].value == pytest.approx(1.23)


def test_rows_are_ranked_linked_and_paired_with_the_row_above(written):
    (erm, nfm, *_), (markdown, _) = written
    cifar = markdown.split("## cifar10")[1].split("## digits")[0]
    names = re.findall(r"^\| \d \| \[(.*?)\]\((.*?)\)", cifar, re.MULTILINE)
    assert names == [
        ("nfm v2", "../runs/nfm_v2/evaluation.json"),
        ("else", "../runs/else/evaluation.json"),
        ("erm", "../runs/erm/report.html"),
    ]
    rows = [line for line in cifar.splitlines() if re.match(r"\| \d", line)]
    assert "*" not in rows[1] and "*" not in rows[2]  # of other images: no pair
    clean = nfm.score("clean")
    assert f"{clean.value:.1f} [{clean.low:.1f}, {clean.high:.1f}] n=40" in rows[0]
    test = mcnemar(nfm.score("clean").right, erm.score("clean").right)
    pair = measures.difference(
        measures.measures(nfm)["clean"], measures.measures(erm)["clean"], True
    )
    assert pair == (test.difference, test.low, test.high)
    # With one more attack, the worst case is another measurement.
    more = (*erm.scores, scored("square@1/255", [True] * N, severity=1 / 255))
    more = measures.measures(dataclasses.replace(erm, scores=more))
    for name, paired in (("worst case at 1/255", False), ("clean", True)):
        given = measures.measures(nfm)[name], more[name], True
        assert (measures.difference(*given) is not None) == paired


def test_the_page_has_a_number_in_every_cell_to_sort_by(written):
    _, (markdown, page) = written
    assert "[digit <1>](" in markdown
    assert "digit &lt;1&gt;" in page and "<script>" in page and "aria-sort" in page
    body = page.split("cifar10</h2>")[1].split("</table>")[0].split("<tbody>")[1]
    values = re.findall(r'data-value="(.*?)"', body)
    columns = 6  # clean, corruptions, AutoAttack, two worst cases, calibration
    assert len(values) == 3 * (1 + columns)
    assert values[columns] == "-1.230000"  # lower is better


def test_nothing_to_rank_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Received: none under"):
        boards.write([tmp_path], tmp_path / "board")


def test_an_mce_of_harder_images_has_a_column_of_its_own():
    thousand = dataclasses.replace(evaluation("erm", 0.8), probe=[[0.0] * 1000])
    for jpeg, column in ((True, "mCE"), (False, "mCE, no JPEG step")):
        settings = {"source": "generated", "version": 2, "jpeg": jpeg}
        scores = [dataclasses.replace(s, settings=settings) for s in thousand]
        found = measures.measures(dataclasses.replace(thousand, scores=tuple(scores)))
        named = [name for name in found if name.startswith("mCE")]
        assert named == [column] and column in measures.LOWER_IS_BETTER


def test_a_link_is_quoted_and_a_file_is_ranked_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "runs" / "one (50%) #1"
    records.save_evaluation(evaluation("erm", 0.5), place / "evaluation.json")
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "evaluation.json").write_text("{")
    with pytest.raises(ValueError, match="broken/evaluation.json"):
        boards.write(["runs"], "board")
    with pytest.warns(UserWarning, match="Skipped: .*broken"):
        written = boards.write(["runs", tmp_path], "board", skip_broken=True)
    markdown, page = (path.read_text() for path in written)
    link = "../runs/one%20%2850%25%29%20%231/evaluation.json"
    assert markdown.count("| [erm](") == 1
    assert f"[erm]({link})" in markdown and f'href="{link}"' in page


def test_where_the_number_of_classes_is_not_recorded_there_is_no_mce(tmp_path):
    """As an exported model has its scores alone."""
    one = dataclasses.replace(evaluation("erm", 0.5), probe=[])
    assert "mCE" not in measures.measures(one)
    assert "not an unknown number" in corruption_errors.lines(one)[0]


def test_corruptions_measured_in_two_ways_are_not_one_mean():
    one = evaluation("erm", 0.8)
    expected = measures.measures(one)["corruptions"].value
    others = [
        scored(score.perturbation, np.zeros(N), **change)
        for score in one
        if score.perturbation.startswith("fog@")
        for change in ({"settings": {"source": "official"}}, {"seed": 1})
    ]
    mixed = dataclasses.replace(one, scores=(*one, *others))
    assert measures.measures(mixed)["corruptions"].value == expected
    few = [score for score in one if not score.perturbation.startswith("fog@")]
    mixed = dataclasses.replace(one, scores=(*few, *others))
    assert "corruptions" not in measures.measures(mixed)


def test_a_weaker_autoattack_has_a_column_of_its_own():
    one = evaluation("erm", 0.8)
    weak = {"version": "standard", "steps": 2, "queries": 5}
    scores = [
        dataclasses.replace(score, settings=weak)
        if score.perturbation.startswith("autoattack")
        else score
        for score in one
    ]
    found = measures.measures(dataclasses.replace(one, scores=tuple(scores)))
    assert "AutoAttack@1/255" not in found
    assert "AutoAttack@1/255 (steps=2, queries=5)" in found
