import csv
import dataclasses
import io
import itertools
import json
import re

import pytest
from summary_test import rows_of, run, runs, score

from nfm_keras.reports import columns as tables
from nfm_keras.reports import latex
from nfm_keras.reports.aggregate import Row


def test_csv_parses_back_to_the_numbers():
    found = [*runs("nfm", [50.1, 52.2], momentum=1), *runs("erm", [40.0], momentum=2)]
    rows = rows_of(found)
    lines = list(csv.DictReader(io.StringIO(tables.to_csv(rows))))
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
    text = tables.to_markdown(rows_of(found))
    assert text.splitlines()[2:] == [
        "| scheme | seeds | hours | clean | white_noise@0.1 |",
        "|---|---:|---:|---:|---:|",
        "| erm | 1 | 1 | 90.0 | 1.0 |",
        "| nfm | 3 | 2 | 91.0 ± 1.0 | 51.0 ± 1.4 (n=2) |",
    ]
    caption = text.splitlines()[0]
    for words in ("cifar10", "preact_resnet18, width 0.25", "200 epochs", "reference"):
        assert words in caption


def test_markdown_keeps_to_the_papers_columns_where_there_are_many():
    severities = [x / 100 for x in range(5, 36, 5)]
    kinds = ("white_noise", "salt_and_pepper", "blur")
    scores = [score(f"{kind}@{s}", 50.0) for kind in kinds for s in severities]
    rows = rows_of([run(scores=scores)])
    head = tables.to_markdown(rows).splitlines()[2]
    assert "| hours | white_noise@0.1 | white_noise@0.2 | white_noise@0.3 | s" in head
    assert all(f"blur@{s} |" in head for s in severities)
    chosen = tables.to_markdown(rows, ["white_noise@0.05"]).splitlines()[2]
    assert chosen == "| scheme | seeds | hours | white_noise@0.05 |"
    with pytest.raises(ValueError, match="Received: .'whitenoise'"):
        tables.to_markdown(rows, ["whitenoise"])


PAPER = {"alpha": 1.0, "sigma_add": 0.4, "sigma_mult": 0.2}


def test_the_papers_number_stands_beside_what_it_compares_with():
    rows = rows_of([*runs("nfm", [50.0], **PAPER), *runs("other", [1.0])])
    text = tables.to_markdown(rows, paper=True)
    ours, paper, other = text.splitlines()[-3:]
    assert ours == "| nfm | 1 | 1 | 90.0 | 50.0 |"
    assert paper == "| *nfm, paper* | 5 |  | 95.4 | 95.0 |"
    assert other.startswith("| other |")
    assert "Table 1" in text
    assert "paper" not in tables.to_markdown(rows)


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
    text = tables.to_markdown(rows_of(found, protocol), paper=True)
    assert ", paper*" not in text
    assert "no number for this data set" in text


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
    missing = Row("any", {}, "reference", (), {}, name=row, table=table)
    assert tables.published(missing).accuracy[column] == value


@pytest.mark.parametrize(
    "table, row",
    [("table1", "noisy_mixup"), ("table1", "nfm_star")],
)
def test_what_the_paper_does_not_print_has_no_number(table, row):
    assert tables.published(Row("any", {}, "none", (), {}, row, None, table)) is None


def test_a_table_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="Received: 'table9'"):
        tables.published(Row("nfm", {}, "none", (), {}, name="nfm", table="table9"))


def test_latex_has_the_cells_of_markdown_and_equal_columns():
    found = [*runs("nfm", [50.0, 52.0], **PAPER), *runs("odd_{\\%&", [1.0])]
    rows = rows_of(found)
    text = latex.to_latex(rows, paper=True, title="A & B")
    body = re.search(r"\\midrule\n(.*)\n\\bottomrule", text, re.S)[1].split("\n")
    plain = [re.sub(r"\$\\pm\$", "±", line).removesuffix(r" \\") for line in body]
    markdown = tables.to_markdown(rows, paper=True).splitlines()[-3:]
    for ours, theirs in zip(plain, markdown, strict=True):
        cells = theirs.strip("| ").split(" | ")
        # Behind the names, which are escaped.
        assert ours.split(" & ")[1:] == [cell.strip() for cell in cells[1:]]
    assert r"odd\_\{\textbackslash{}\%\&" in plain[2]
    check_latex(text)


def check_latex(text):
    """Balanced, escaped, and as many cells in every line as the table has columns."""
    bare = re.sub(r"\\[\\&%$#_{}]", "", text.split("\n", 1)[1])
    depths = list(itertools.accumulate((c == "{") - (c == "}") for c in bare))
    assert min(depths) == depths[-1] == 0
    assert bare.count("$") % 2 == 0
    assert not set("%#~^") & set(bare)
    assert "_" not in bare
    opened = re.findall(r"\\begin{(\w+)}", bare)
    assert re.findall(r"\\end{(\w+)}", bare) == opened[::-1] == ["tabular", "table"]
    columns = len(re.search(r"\\begin{tabular}{(l*r*)}", bare)[1])
    table = bare.split(r"\toprule")[1].split(r"\bottomrule")[0].strip().split("\n")
    lines = [line for line in table if "rule" not in line]
    for line in lines:
        wide = sum(int(n) - 1 for n in re.findall(r"multicolumn{(\d+)}", line))
        assert line.count("&") + 1 + wide == columns
    return len(lines)
