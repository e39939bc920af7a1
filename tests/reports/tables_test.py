import csv
import dataclasses
import io
import json
import re

import pytest
from conftest import check_latex, run, runs, score

from nfm_keras.corruptions import SEVERITIES, STANDARD
from nfm_keras.reports import paper
from nfm_keras.reports.aggregate import Aggregate, over_settings
from nfm_keras.reports.tables import remarks, to_read, with_every_number


def aggregated(found, protocol="reference"):
    return over_settings(found, protocol)


def markdown(rows, names=None, **options):
    """The lines of a table, without the two of its head."""
    return to_read(rows, names, **options).to_markdown().splitlines()


def test_csv_parses_back_to_the_numbers():
    found = [*runs("nfm", [50.1, 52.2], momentum=1), *runs("erm", [40.0], momentum=2)]
    rows = aggregated(found)
    lines = list(csv.DictReader(io.StringIO(with_every_number(rows).to_csv())))
    assert [line["scheme"] for line in lines] == ["erm", "nfm"]
    assert [json.loads(x["settings"])["momentum"] for x in lines] == [2, 1]
    assert [float(line["hours"]) for line in lines] == [1.0, 1.5]
    for line, row in zip(lines, rows, strict=True):
        assert int(line["seeds"]) == row.seeds
        for name, cell in row.cells.items():
            assert float(line[name]) == cell.mean
            assert float(line[f"{name} low"]) == cell.low
            deviation = line[f"{name} deviation"]
            assert (float(deviation) if deviation else None) == cell.deviation


def test_markdown_reads_mean_and_deviation():
    found = [*runs("nfm", [50.0, 52.0]), *runs("erm", [1.0])]
    found.append(run("nfm", 2, [score("clean", 92.0)]))  # no noise measured yet
    rows = aggregated(found)
    assert markdown(rows) == [
        "| scheme | seeds | hours | clean | white_noise@0.1 |",
        "|---|---:|---:|---:|---:|",
        "| erm | 1 | 1 | 90.0 [88.0, 91.0] n=1000 | 1.0 [-1.0, 2.0] n=1000 |",
        "| nfm | 3 | 2 | 91.0 ± 1.0 n=1000 | 51.0 ± 1.4 n=1000 (2 of 3 seeds) |",
    ]
    lines = csv.DictReader(io.StringIO(with_every_number(rows).to_csv()))
    assert [line["white_noise@0.1 seeds"] for line in lines] == ["1", "2"]
    (caption,) = remarks(rows, "*paper*")
    for words in ("cifar10", "preact_resnet18, width 0.25", "200 epochs", "reference"):
        assert words in caption


@pytest.mark.parametrize(
    "change, told", [({"revision": 2}, "versions of the code"), ({"seed": 7}, "seeds")]
)
def test_columns_that_were_not_measured_alike_are_named(change, told):
    found = [run("nfm", s, [score("clean", 92.0), score("fog@1", 9.0)]) for s in (0, 1)]
    assert len(remarks(aggregated(found, "none"), "*paper*")) == 1
    other = dataclasses.replace(found[1].scores[1], **change)
    found[1] = dataclasses.replace(found[1], scores=(found[1].scores[0], other))
    _, remark = remarks(aggregated(found, "none"), "*paper*")
    assert told in remark and remark.endswith("from run to run: fog@1.")


def test_a_mean_over_corruptions_counts_its_own_images():
    """And not those of a run that has some of the corruptions alone."""
    names = [f"{kind}@{s}" for kind in STANDARD for s in SEVERITIES]
    whole = run("nfm", 0, [score(name, 50.0, n=200) for name in names])
    part = run("nfm", 1, [score("fog@3", 50.0, n=20)])
    (row,) = aggregated([whole, part], "none")
    cell = row.cells["common_corruptions"]
    assert (cell.n, cell.seeds) == (200, 1)


def test_markdown_keeps_to_the_papers_columns_where_there_are_many():
    severities = [x / 100 for x in range(5, 36, 5)]
    kinds = ("white_noise", "salt_and_pepper", "blur")
    scores = [score(f"{kind}@{s}", 50.0) for kind in kinds for s in severities]
    rows = aggregated([run(scores=scores)])
    head = markdown(rows)[0]
    assert "| hours | white_noise@0.1 | white_noise@0.2 | white_noise@0.3 | s" in head
    assert all(f"blur@{s} |" in head for s in severities)
    chosen = markdown(rows, ["white_noise@0.05"])[0]
    assert chosen == "| scheme | seeds | hours | white_noise@0.05 |"
    with pytest.raises(ValueError, match="Unknown column.*Received: 'whitenoise'"):
        to_read(rows, ["whitenoise"])


PAPER = {"alpha": 1.0, "sigma_add": 0.4, "sigma_mult": 0.2}


def test_the_papers_number_stands_beside_what_it_compares_with():
    rows = aggregated([*runs("nfm", [50.0], **PAPER), *runs("other", [1.0])])
    ours, theirs, other = markdown(rows, paper=True)[2:]
    clean, noisy = "90.0 [88.0, 91.0] n=1000", "50.0 [48.0, 51.0] n=1000"
    assert ours == f"| nfm | 1 | 1 | {clean} | {noisy} |"
    assert theirs == "| *nfm, paper* | 5 |  | 95.4 | 95.0 |"
    assert other.startswith("| other |")
    assert "Table 1" in " ".join(remarks(rows, "*paper*", paper=True))
    assert not any("paper" in line for line in markdown(rows))


@pytest.mark.parametrize(
    ("found", "protocol"),
    [
        (runs("nfm", [50.0], **PAPER | {"alpha": 0.2}), "reference"),
        (runs("nfm", [50.0], dataset="two_circles", **PAPER), "reference"),
        ([dataclasses.replace(run("cutmix"), network="vit_lite7_4")], "none"),
        (runs("noisy_mixup", [50.0], **PAPER), "reference"),  # Table 1's: a misprint
        ([run(scores=[score("white_noise@0.1", 1.0, "pixel")], **PAPER)], "pixel"),
    ],
    ids=["alpha", "dataset", "network", "misprint", "protocol"],
)
def test_the_papers_number_is_not_beside_anything_else(found, protocol):
    rows = aggregated(found, protocol)
    assert not any(", paper*" in line for line in markdown(rows, paper=True))
    notes = remarks(rows, "*paper*", paper=True)
    assert "no number for this data set" in notes[-1]


@pytest.mark.parametrize(
    "table, row, column, value",
    [
        ("table1", "erm", "salt_and_pepper@0.1", 55.2),
        ("table1", "label_smoothing", "clean", 95.0),
        ("table1", "puzzlemix", "white_noise@0.3", 59.9),
        ("table1", "nfm", "white_noise@0.3", 83.0),
        ("table2", "noisy_mixup", "white_noise@0.1", 78.6),
        ("table2", "puzzlemix", "clean", 78.6),
        ("table3", "nfm_0.2", "white_noise@0.5", 60.1),
        ("table3", "erm", "white_noise@0.25", 67.0),
        ("table3", "nfm_1", "salt_and_pepper@0.15", 54.4),
        ("table4", "nfm_0.1", "clean", 91.4),
        ("table4", "manifold_mixup_2", "salt_and_pepper@0.2", 41.9),
        ("table4", "noisy_mixup_0.2", "salt_and_pepper@0.08", 83.8),
        ("table5", "nfm_high_noise", "white_noise@0.3", 66.4),
        ("table5", "nfm_low_noise", "clean", 81.0),
        ("table5", "noise", "salt_and_pepper@0.04", 58.8),
    ],
)
def test_numbers_are_those_that_the_paper_prints(table, row, column, value):
    missing = Aggregate("any", {}, "reference", (), {}, name=row, table=table)
    assert paper.published(missing).accuracy[column] == value


@pytest.mark.parametrize(
    "table, row",
    [("table1", "noisy_mixup"), ("table1", "nfm_star")],
)
def test_what_the_paper_does_not_print_has_no_number(table, row):
    assert (
        paper.published(Aggregate("any", {}, "none", (), {}, row, None, table)) is None
    )


def test_a_table_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="Unknown table.*Received: 'table9'"):
        paper.published(
            Aggregate("nfm", {}, "none", (), {}, name="nfm", table="table9")
        )


def test_latex_has_the_cells_of_markdown_and_equal_columns():
    found = [*runs("nfm", [50.0, 52.0], **PAPER), *runs("odd_{\\%&", [1.0])]
    rows = aggregated(found)
    text = to_read(rows, paper=True, grouped=True).to_latex("A & B")
    body = re.search(r"\\midrule\n(.*)\n\\bottomrule", text, re.S)[1].split("\n")
    plain = [re.sub(r"\$\\pm\$", "±", line).removesuffix(r" \\") for line in body]
    for ours, theirs in zip(plain, markdown(rows, paper=True)[2:], strict=True):
        cells = theirs.strip("| ").split(" | ")
        # Behind the names, which are escaped.
        assert ours.split(" & ")[1:] == [cell.strip() for cell in cells[1:]]
    assert r"odd\_\{\textbackslash{}\%\&" in plain[2]
    assert r"\multicolumn{1}{c}{white noise $\sigma$}" in text
    assert check_latex(text) == 2 + len(body)  # two lines of heads
