import csv
import io
import json

import pytest
from summary_test import rows_of, run, runs, score

from nfm_keras import tables


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
        (runs("noisy_mixup", [50.0], **PAPER), "reference"),  # Table 1's: a misprint
        ([run(scores=[score("white_noise@0.1", 1.0, "pixel")], **PAPER)], "pixel"),
    ],
    ids=["alpha", "dataset", "misprint", "protocol"],
)
def test_the_papers_number_is_not_beside_anything_else(found, protocol):
    text = tables.to_markdown(rows_of(found, protocol), paper=True)
    assert ", paper*" not in text
    assert "no number to compare" in text
