"""The page of a comparison: its verdict, what limits it, and classes."""

import dataclasses
import re

import numpy as np
import pytest
from conftest import BACKEND, scored

from nfm_keras.records import Evaluation, load_evaluation, pack_classes, save_evaluation
from nfm_keras.reports import html, suite
from nfm_keras.reports.comparisons import blocks, classes
from nfm_keras.reports.comparisons.verdict import verdict
from nfm_keras.reports.comparisons.worst import worst_case

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="pages, once")

N = 400
PASSED = {"name": "finite", "question": "Are all logits finite?", "passed": True}
PASSED |= {"value": 0.0, "expected": "0", "detail": ""}
LABELS = np.arange(N) % 3


def first(count):
    """The first so many images are right."""
    return np.arange(N) < count


def evaluation(model, clean=360, n=N, checks=(PASSED,), **attacks):
    """Attacks by their name and radius in 255ths, `pgd_8=100`: 100 stay right."""
    scores = [scored("clean", first(clean)[:n], severity=0.0)]
    for name, count in attacks.items():
        kind, _, level = name.rpartition("_")
        right, severity = first(count)[:n], int(level) / 255
        scores.append(scored(f"{kind}@{level}/255", right, severity=severity))
    return Evaluation(model, "mine", "same", [[0.0]], scores=(*scores,), checks=checks)


def told(*evaluations):
    sentences, limits = verdict(evaluations, worst_case(evaluations))
    return sentences, " ".join(limits)


def test_the_better_one_is_named_with_its_lead_and_its_price():
    erm = evaluation("erm", clean=380, autoattack_2=20)
    text, limits = told(erm, evaluation("nfm", clean=340, autoattack_2=100))
    assert "by up to 2/255 of its range, **nfm** is more robust: it gets 25.0 %" in text
    assert re.search(r"20\.0 points \(1\d\.\d to 2\d\.\d\) more than \*\*erm\*\*", text)
    assert "On unchanged images **nfm** gets 85.0 % right, 10.0 points" in text
    assert "less than **erm**" in text
    assert "another seed" in limits and "AutoAttack was not run" not in limits


def test_what_was_measured_on_other_images_is_not_ranked():
    one = evaluation("one", autoattack_2=100)
    fewer = evaluation("fewer", n=200, autoattack_2=100)
    text, _ = told(one, fewer)
    assert "robust" not in text and "unchanged" not in text


def test_a_model_may_have_any_name():
    names = {"than": (300, 10), "a": (310, 200), "thanos": (380, 5)}
    found = [evaluation(m, clean, autoattack_2=k) for m, (clean, k) in names.items()]
    text, _ = told(*found)
    assert "less than the best other, **thanos**" in text


def test_images_in_another_order_are_not_joined_with_the_others():
    """A model that is right of the same half under everything has no worse case."""
    half, turned = np.arange(N) % 2 == 0, {"order": "own", "source": "official"}
    rows = [scored(kind, half) for kind in ("clean", "white_noise@1", "fog@1")]
    rows += [scored("snow@1", ~half, settings=turned)]
    found = worst_case([Evaluation(m, "mine", "s", [[0.0]], scores=rows) for m in "ab"])
    assert found.what == "each of the 2 noises and corruptions"
    assert [measure.value for measure in found.found.values()] == [50.0, 50.0]


def test_a_lead_that_chance_explains_is_a_tie():
    pair = evaluation("a", autoattack_2=100), evaluation("b", autoattack_2=103)
    text, _ = told(*pair)
    assert "no model is shown to be more robust than the other" in text
    assert "is more robust" not in text and "not to be told apart" in text
    text, _ = told(*pair, evaluation("c", autoattack_2=10))
    assert "**b** and **a** lead and cannot be told apart" in text


def test_what_shows_signs_of_masking_only_seems_more_robust():
    failed = PASSED | {"passed": False}
    weak, strong = evaluation("a", pgd_2=10), evaluation("b", pgd_2=200)
    assert "**b** is more robust" in told(weak, strong)[0]
    masked = dataclasses.replace(strong, checks=(failed,))
    hindered = dataclasses.replace(strong.scores[1], warnings={"no_gradient": 3})
    doubtful = dataclasses.replace(strong, scores=(strong.scores[0], hindered))
    for seeming in (masked, doubtful):
        text, limits = told(weak, seeming)
        assert "**b** seems more robust" in text
        assert "**b**: signs of gradient masking" in limits
    _, limits = told(weak, dataclasses.replace(strong, checks=()))
    assert "masking was not looked for in **b**" in limits


def test_the_radius_is_where_some_model_still_stands():
    levels = {"pgd_1": 300, "pgd_4": 100, "pgd_8": 2}
    pair = evaluation("a", **levels), evaluation("b", **levels)
    assert worst_case(pair).radius == "4/255"
    _, limits = told(*pair)
    assert "0.5 % at 8/255" in limits and "AutoAttack was not run" in limits
    stronger = [evaluation(m, **levels, autoattack_1=200) for m in "ab"]
    assert worst_case(stronger).radius == "1/255"
    gone = [evaluation(m, pgd_2=1, pgd_8=0) for m in "ab"]
    assert worst_case(gone).radius == "2/255" and "no model holds" in told(*gone)[0]
    # What was attacked otherwise is not compared.
    other = dataclasses.replace(pair[1].scores[2], settings={"steps": 100})
    scores = (*pair[1].scores[:2], other, pair[1].scores[3])
    mixed = pair[0], dataclasses.replace(pair[1], scores=scores)
    assert worst_case(mixed).radius == "1/255"


def test_few_images_and_a_single_model_and_none_attacked():
    _, limits = told(evaluation("a", n=25, pgd_2=10), evaluation("b", n=25, pgd_2=9))
    assert "Only 25 images: differences of less than about 20 points" in limits
    text, limits = told(evaluation("a", pgd_2=100))
    assert "**a** gets 25.0 %" in text and "seed" not in limits
    scores = [scored(name, first(200), severity=0.1) for name in ("clean", "fog@1")]
    text, limits = told(*(Evaluation(m, "mine", "", [], scores=scores) for m in "ab"))
    assert "each of the 1 noises" in text and "this is not the worst case" in limits
    text, _ = told(Evaluation("a", "mine", "", [], scores=scores[:1]))
    assert "no verdict" in text


def with_classes(one, predicted):
    recorded = {"labels": pack_classes(LABELS), "predicted": pack_classes(predicted)}
    return dataclasses.replace(one, classes=("cat", "dog", "ship"), **recorded)


def test_classes_are_counted_and_old_records_are_called_so(tmp_path):
    predicted = np.where(first(300), LABELS, 0)
    right = int((predicted == LABELS).sum())
    new = with_classes(evaluation("new", clean=right, pgd_2=30), predicted)
    save_evaluation(new, tmp_path / "evaluation.json")
    assert load_evaluation(tmp_path / "evaluation.json") == new
    counts = classes.confusion(new)
    assert counts.sum() == N and counts.trace() == right
    assert counts[1, 0] == (LABELS[300:] == 1).sum() and counts[0, 1] == 0
    old = evaluation("old", pgd_2=10)
    path = suite.write([old, new], tmp_path / "report")
    text = path.read_text()
    assert "not recorded of **old**" in text and "confusions.png" in text
    table = classes.accuracy([old, new], {"new": predicted == LABELS})
    assert [row[0] for row in table.rows] == ["cat", "dog", "ship"]
    share = 100 * counts[2, 2] / counts[2].sum()
    assert table.rows[2][1].startswith(f"{share:.1f} [")
    text = suite.to_markdown([old])
    assert "not recorded of **old**" in text and "Accuracy by class" not in text


def test_of_many_classes_the_most_frequent_confusions_are_told(tmp_path):
    labels, predicted = np.arange(N) % 50, np.arange(N) % 50
    predicted[labels == 7] = 3
    told = {"labels": pack_classes(labels), "predicted": pack_classes(predicted)}
    one = dataclasses.replace(evaluation("a", pgd_2=30), **told)
    assert classes.pairs([one]).rows[0][1] == "7 taken for 3: 8"
    rows = classes.accuracy([one], {"a": labels == predicted}).rows
    assert len(rows) == 10 and rows[0][0] == "7"
    suite.write([one], tmp_path)
    assert not (tmp_path / "confusions.png").exists()


def test_html_and_markdown_say_the_same(tmp_path):
    pair = [evaluation(m, pgd_2=c, pgd_8=2) for m, c in (("erm", 10), ("<nfm>", 200))]
    pair = [dataclasses.replace(e, command="nfm-evaluate --all") for e in pair]
    (tmp_path / "adversaries_erm.png").write_bytes(
        blocks.html.encoded(np.zeros((4, 4, 3), "uint8"))
    )
    markdown = suite.write(pair, tmp_path).read_text()
    page = (tmp_path / suite.PAGE).read_text()
    assert markdown.count("nfm-evaluate --all") == 1 == page.count("nfm-evaluate --all")
    assert "](adversaries_erm.png)" in markdown
    pictures = re.findall(r"!\[", markdown)
    assert page.count("<img ") == len(pictures) > 2 and 'src="data:image' in page
    assert "<nfm>" not in page and "<strong>&lt;nfm&gt;</strong> is more robust" in page
    for part in ("Several radii", "AutoAttack was not run", "another seed"):
        assert part in markdown and part in page
    assert markdown.index("is more robust") < markdown.index("clean_and_worst.png")
    assert markdown.index("clean_and_worst.png") < markdown.index("curves.png")


def test_a_wide_picture_may_be_moved_on_a_phone_and_a_small_one_shrinks():
    from nfm_keras.figures.base import panel_grid

    for width, held in ((12, True), (5, False)):
        figure, _ = panel_grid(1, across=1, width=width)
        page, body = html.start("A page")
        html.figure(body, figure, "what it shows")
        assert ("min-width: 46em" in html.text(page)) == held
