import csv
import dataclasses

import numpy as np
import pytest
from conftest import scored

from nfm_keras import corruptions, figures
from nfm_keras.evaluation import comparison
from nfm_keras.records import Evaluation, ids
from nfm_keras.reports import suite, suite_figures
from nfm_keras.reports.comparisons import tables

CORRUPTED = [f"{kind}@{s}" for kind in corruptions.NAMES for s in (1, 2, 3, 4, 5)]
N = 40


def evaluation(model, share):
    random = np.random.default_rng(len(model))
    noises = [f"white_noise@{s:g}" for s in (0.0, 0.02, 0.1, 0.2, 0.3, 0.35)]
    scores = []
    for name in ["clean", *noises, *CORRUPTED, "pgd@1/255", "pgd@8/255"]:
        severity = ids.split(name)[1] or 0.0
        settings = {"source": "generated"} if name in CORRUPTED else {}
        right = random.random(N) < share
        scores.append(scored(name, right, severity=severity, settings=settings))
    calibration = {"ece": 0.0123, "nll": 0.5}
    scores[0] = dataclasses.replace(scores[0], calibration=calibration)
    bins = {"edges": [0.0, 0.5, 1.0], "counts": [10.0, 30.0]}
    bins |= {"confidence": [0.4, 0.9], "accuracy": [0.3, 0.8]}
    certificate = {"sigma": 0.1, "n": 100, "images": 2, "alpha": 0.001}
    certificate |= {"radii": [0.2, 0.04], "correct": [True, True]}
    return Evaluation(
        *(model, "cifar10", "same", [[0.0]]),
        scores=tuple(scores),
        reliability=bins,
        certifications=(certificate,),
        checks=(
            {
                "name": "finite",
                "question": "Are the logits finite?",
                "passed": True,
                "value": 0.0,
                "expected": "0",
                "detail": "",
            },
        ),
        seconds=60.0,
        model_seconds=54.0,
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    pair = [evaluation("erm", 0.5), evaluation("nfm v2", 0.9)]
    path = suite.write(pair, folder, title="Two models")
    return pair, path.read_text(), folder


def line(text, start):
    # The first is the summary's; the comparison may have one of the same name.
    found = next(x for x in text.splitlines() if x.startswith(f"| {start} |"))
    return [cell.strip() for cell in found.strip("|").split("|")][1:]


def test_the_summary_holds_the_numbers_and_no_more_than_fits(written):
    pair, text, _ = written
    assert text.startswith("# Two models") and "90% of it" in text
    for each, cell in zip(pair, line(text, "clean"), strict=True):
        score = each.score("clean")
        ends = f"[{score.low:.1f}, {score.high:.1f}]"
        assert cell == f"{score.value:.1f} {ends} n={score.n}"
    assert line(text, "white_noise@0.2") and "white_noise@0.02" not in text
    ids = [i for i in CORRUPTED if i.partition("@")[0] in corruptions.STANDARD]
    means = [np.mean([each.score(i).value for i in ids]) for each in pair]
    cells = [c for c in text.splitlines() if c.startswith("| mean over 15")][0]
    assert all(f" {mean:.1f} [" in cells for mean in means)
    assert line(text, "clean: expected calibration error, 15 bins") == ["0.0123"] * 2
    name = "certified at l2 radius {}, sigma 0.1"
    assert line(text, name.format("0.05")) == ["50.0 [9.5, 90.5] n=2"] * 2
    assert line(text, name.format("0.2")) == ["50.0 [9.5, 90.5] n=2"] * 2
    assert line(text, name.format("0")) == ["100.0 [34.2, 100.0] n=2"] * 2
    assert "mce" not in text and "no sign of gradient masking" in text


def test_comparisons_and_csv_hold_every_score(written):
    pair, text, folder = written
    assert text.count("| pgd@8/255 |") == 2  # in the summary and compared
    with (folder / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(map(len, pair))
    for row, score in zip(rows, [s for each in pair for s in each], strict=True):
        assert row["perturbation"] == score.perturbation
        assert float(row["value"]) == score.value and int(row["n"]) == N
    with (folder / "comparison.csv").open() as file:
        compared = {row["label"]: row for row in csv.DictReader(file)}
    gain = pair[1].score("clean").value - pair[0].score("clean").value
    assert float(compared["clean"]["difference"]) == pytest.approx(gain)
    assert {"fog (mean)", "mean over 15 common corruptions"} <= set(compared)


def test_every_figure_is_there_and_named_in_the_report(written):
    _, text, folder = written
    names = ["curves", "corruptions", "heat_map_erm", "heat_map_nfm v2"]
    for name in (*names, "reliability", "certified_0.1"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"]({name.replace(' ', '%20')}.png)" in text


def test_names_that_differ_have_pictures_that_differ(tmp_path):
    pair = [evaluation("a/b", 0.5), evaluation("a_b", 0.9)]
    text = suite.write(pair, tmp_path).read_text()
    assert len(list(tmp_path.glob("heat_map_*.png"))) == 2
    assert text.count("](heat_map_a_b") == 2
    assert len({suite.adversaries_file(one.model) for one in pair}) == 2


def with_settings(evaluation, **settings):
    scores = [dataclasses.replace(score, settings=settings) for score in evaluation]
    return dataclasses.replace(evaluation, scores=tuple(scores))


def test_imagenet_gets_its_normalised_errors():
    one = dataclasses.replace(evaluation("a", 0.5), probe=[[0.0] * 1000])
    text = suite.to_markdown([with_settings(one, source="generated", version=2)])
    assert float(line(text, "mce_hendrycks")[0]) > 50 and line(text, "relative_mce")
    assert "without the JPEG step" not in text
    for settings in ({"version": 2, "jpeg": False}, {"version": 1}):
        in_memory = with_settings(one, source="generated", **settings)
        told = suite.to_markdown([in_memory])
        assert "mce_hendrycks (of images without the JPEG step" in told
    some = dataclasses.replace(one, scores=one.scores[:30])
    assert "mce" not in suite.to_markdown([some])


def test_scores_of_unknown_code_are_counted():
    one = evaluation("a", 0.5)
    parts = [dataclasses.replace(score, revision=1) for score in one.scores]
    told = "**a** has 1 scores from before"
    assert told not in suite.to_markdown(
        [dataclasses.replace(one, scores=tuple(parts))]
    )
    parts[0] = dataclasses.replace(parts[0], revision=0)
    assert told in suite.to_markdown([dataclasses.replace(one, scores=tuple(parts))])


def test_synthetic_frost_and_a_random_classifier_are_named():
    one = evaluation("a", 0.5)
    assert "synthetic" not in suite.to_markdown([one])
    settings = {"source": "generated", "frost": "synthetic"}
    scores = [
        dataclasses.replace(score, settings=settings)
        if score.perturbation == "frost@1"
        else score
        for score in one.scores
    ]
    changed = dataclasses.replace(one, scores=tuple(scores), stochastic=True)
    text = suite.to_markdown([changed])
    assert "Frost is synthetic" in text and "stays random" in text


def test_what_cannot_be_reported_is_refused(tmp_path):
    one = evaluation("a", 0.5)
    for bad in ([], [one, one], [dataclasses.replace(one, scores=())]):
        with pytest.raises(ValueError, match="at least one evaluation.*Received"):
            suite.write(bad, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def small(model, *scores):
    return Evaluation(model, "cifar10", "same", [[0.0]], scores=scores)


def noisy(right, protocol, **changed):
    score = scored("white_noise@0.1", np.arange(N) < right, protocol=protocol)
    return dataclasses.replace(score, **{"severity": 0.1} | changed)


def pgd(right, **settings):
    return scored(
        "pgd@8/255", np.arange(N) < right, severity=8 / 255, settings=settings
    )


def cells_of(text):
    """The accuracies in the first table, by the name of the row."""
    rows = text.split("## Accuracy")[1].split("\n\n")[1].splitlines()[2:]
    split = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {name: [cell.split(" ")[0] for cell in cells] for name, *cells in split}


def test_a_protocol_and_the_settings_of_an_attack_have_rows_of_their_own():
    """Whatever was measured last."""
    ours = noisy(32, "reference"), noisy(8, "pixel"), pgd(20, steps=7)
    theirs = noisy(6, "pixel"), noisy(30, "reference"), pgd(12, steps=1000)
    pair = [small("erm", *ours), small("nfm", *theirs)]
    assert cells_of(suite.to_markdown(pair)) == {
        "white_noise@0.1 (protocol=pixel)": ["20.0", "15.0"],
        "white_noise@0.1 (protocol=reference)": ["80.0", "75.0"],
        "pgd@8/255 (steps=1000)": ["—", "30.0"],
        "pgd@8/255 (steps=7)": ["50.0", "—"],
    }
    name = tables.name_of(pair)
    compared = comparison.compare(pair, tables.groups(pair), name)
    assert {one.label: one.difference for one in compared} == {
        "white_noise@0.1 (protocol=pixel)": -5,
        "white_noise@0.1 (protocol=reference)": -5,
    }
    row = str(small("nfm", pgd(20, steps=7), pgd(12, steps=1000)))
    assert "pgd@8/255 (steps=7) " in row and "pgd@8/255 (steps=1000) " in row


def test_a_curve_is_of_one_protocol(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        figures, "accuracy_curves", lambda lines, *args, **kw: drawn.update(lines)
    )
    scores = [
        noisy(right, protocol, perturbation=f"white_noise@{s}", severity=s)
        for protocol, rights in {"reference": (30, 20), "pixel": (10, 5)}.items()
        for s, right in zip((0.1, 0.2), rights, strict=True)
    ]
    suite_figures.draw([small("nfm", *scores)], tmp_path)
    values = {
        family: [point[1] for point in lines["nfm"]] for family, lines in drawn.items()
    }
    assert values == {
        "white_noise (protocol=pixel)": [25.0, 12.5],
        "white_noise (protocol=reference)": [75.0, 50.0],
    }


@pytest.mark.parametrize(
    "change, told",
    [({"seed": 7}, "of other seeds"), ({"revision": 1}, "version of the code")],
)
def test_what_was_not_measured_alike_is_said(change, told):
    one, other = noisy(30, "pixel"), noisy(20, "pixel", **change)
    text = suite.to_markdown([small("erm", one), small("nfm", other)])
    assert "**nfm** is not compared under `white_noise@0.1`: of " in text
    assert told in text
    assert "not compared" not in suite.to_markdown(
        [small("erm", one), small("nfm", noisy(20, "pixel"))]
    )


def test_certificates_that_were_made_otherwise_say_how(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(
        figures, "certified_curves", lambda *a, caption, **kw: told.append(caption)
    )
    made = {"sigma": 0.1, "n": 500, "images": 2, "alpha": 0.001}
    made |= {"radii": [0.2, 0.04], "correct": [True, True]}
    one = dataclasses.replace(small("a", noisy(9, "pixel")), certifications=(made,))
    other = dataclasses.replace(one, model="b", certifications=(made | {"n": 9000},))
    for pair, copies in (([one], "500 noisy"), ([one, other], "b: 9,000 noisy")):
        suite_figures.draw(pair, tmp_path)
        assert copies in told[-1] and ("a: 500 noisy" in told[-1]) == (len(pair) > 1)
    text = suite.to_markdown([one, other])
    cells = line(text, "certified at l2 radius 0.05, sigma 0.1")
    assert cells[1] == "50.0 [9.5, 90.5] n=2 (9,000 copies, alpha 0.001)"
