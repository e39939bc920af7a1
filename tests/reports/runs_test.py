import csv
import dataclasses
import json
import re
import types
import urllib.parse

import numpy as np
import programs
import pytest
from conftest import check_latex, run, save_run, score, scored

from nfm_keras import records, reports
from nfm_keras.reports.aggregate import of_experiment
from nfm_keras.reports.curves import severities
from nfm_keras.reports.curves.looks import styles

NOISE = {"sigma_add": 0.4, "sigma_mult": 0.2}
NONE = {"alpha": 0.0, "sigma_add": 0.0, "sigma_mult": 0.0}
HELD = {
    "erm": NONE,
    "mixup": NONE | {"alpha": 1.0},
    "nfm": NOISE | {"alpha": 1.0},
}
NAMES = ("clean", "white_noise@0.1", "white_noise@0.12", "salt_and_pepper@0.1")


def experiment(**changes):
    fields = {
        "title": "A table of 100 %",
        "settings": {"dataset": "cifar10", "network": "preact_resnet18", "epochs": 200},
        "rows": {
            "nfm": {"scheme": "nfm", "label": "NFM & more"},
            "erm": {"scheme": "erm", "label": "Baseline"},
            "mixup": {"scheme": "mixup", "label": "Mixup"},
        },
        "seeds": (0, 1),
        "protocol": "reference",
        "split": "test",
        "paper": "table1",
    }
    return types.SimpleNamespace(**fields | changes)


def a_run(scheme, seed, offset=0.0, **config):
    scores = [score(n, 50 + i + seed + offset) for i, n in enumerate(NAMES)]
    return run(scheme, seed, scores, **HELD[scheme] | config)


def lay(folder, **rows):
    """Saves runs as row=[run, run]."""
    for name, runs in rows.items():
        for each in runs:
            save_run(each, folder / name / f"seed_{each.config['seed']}")
    return folder


def test_a_table_has_the_numbers_of_the_records_and_links_them(tmp_path):
    nfm = [a_run("nfm", seed) for seed in (1, 0)]
    folder = lay(tmp_path / "my runs", nfm=nfm, erm=[a_run("erm", 0, 0.2)])
    output = tmp_path / "report"
    reports.write_experiment(experiment(), folder, output)
    text = (output / "table.md").read_text()
    assert text.startswith("# A table of 100 %\n")
    assert "2 of 3 rows" in text and "Table 2's, a misprint" in text
    body = text.splitlines()[-6:]
    cells = [f"{mean} ± 0.7 n=1000" for mean in (50.5, 51.5)]
    ours = ["NFM & more", "2", "1.5", *cells, *"————", "53.5 ± 0.7 n=1000"]
    assert body[0].startswith(f"| {' | '.join(ours)} |")
    assert body[1] == (
        "| *paper* | 5 |  | 95.4 | 95.0 | 91.6 | 83.0 | 91.9 | 87.4 | 73.3 |  |"
    )
    assert body[2].startswith("| Baseline | 1 | 1 | 50.2 [48.2, 51.2] n=1000 |")
    assert body[4].startswith("| Mixup | 0 |  | — | — | — | — | — | — | — |  |")
    assert body[5].startswith("| *paper* | 5 |  | 95.6 |")
    links = re.findall(r"\[(\d)\]\((\S+)\)", text)
    assert [seed for seed, _ in links] == ["0", "1", "0"]
    assert not any(link.startswith("/") for _, link in links)  # or they break elsewhere
    for seed, link in links:
        found = records.load(output / urllib.parse.unquote(link))
        assert found.config["seed"] == int(seed)
    tex = (output / "table.tex").read_text()
    assert check_latex(tex) == 8  # two lines of heads, three rows, three of the paper's
    cells = [rf"{mean} $\pm$ 0.7 n=1000" for mean in (50.5, 51.5)]
    assert rf"NFM \& more & 2 & 1.5 & {' & '.join(cells)} & ---" in tex
    assert r"A table of 100 \%. Test" in tex


def test_evaluations_of_runs_are_reported_side_by_side_without_measuring(tmp_path):
    for name, value in (("erm", 0.5), ("nfm", 0.75)):
        right = np.arange(40) < 40 * value
        scores = tuple(
            scored(f"pgd@{k}/255" if k else "clean", right, severity=k / 255)
            for k in (0, 1, 2, 8)
        )
        one = records.Evaluation(name, "digits", "same", [[0.0]], scores=scores)
        (tmp_path / name).mkdir()
        records.save_evaluation(one, tmp_path / name / records.EVALUATION_FILE)
    places = [tmp_path / "nfm", tmp_path / "erm"]
    path = reports.write_evaluations(places, tmp_path / "out", title="Two")
    text = path.read_text()
    assert text.startswith("# Two") and "differs from nfm" in text
    assert (tmp_path / "out" / "curves.png").exists()


def test_csv_has_every_number_the_papers_and_the_paths(tmp_path):
    nfm, erm = [a_run("nfm", seed) for seed in range(2)], [a_run("erm", 0)]
    reports.write_experiment(
        experiment(), lay(tmp_path, nfm=nfm, erm=erm), tmp_path, columns=["clean"]
    )
    assert "white_noise" not in (tmp_path / "table.md").read_text().split("\n|")[1]
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        lines = {line["row"]: line for line in csv.DictReader(file)}
    assert list(lines) == ["nfm", "erm", "mixup"]
    for index, name in enumerate(NAMES):
        assert float(lines["nfm"][name]) == 50.5 + index
        assert float(lines["nfm"][f"{name} deviation"]) == pytest.approx(0.5**0.5)
        assert float(lines["erm"][name]) == 50 + index
        # One seed has no deviation, but Wilson's interval.
        assert lines["erm"][f"{name} deviation"] == ""
        assert float(lines["erm"][f"{name} low"]) == 48 + index
        assert lines["mixup"][name] == ""
    assert lines["mixup"]["white_noise@0.2 paper"] == "85.4"
    assert lines["nfm"]["white_noise@0.12 paper"] == ""
    for path in lines["nfm"]["records"].split(" "):
        assert records.load(tmp_path / path).name in [run.name for run in nfm]
    assert lines["mixup"]["records"] == ""


@pytest.mark.parametrize(
    "row, record, words",
    [
        ("nfm", a_run("mixup", 0), "Expected .*'nfm'.*Received: .*'mixup'"),
        ("nfm", a_run("nfm", 0, alpha=0.2), "Expected .*1.0.*Received: .*0.2"),
        ("erm", a_run("erm", 0, label_smoothing=0.1), "Received: .*0.1"),
        ("erm", a_run("erm", 0, alpha=0.2), "Received: .*'alpha': 0.2"),
    ],
    ids=["scheme", "setting", "smoothing", "default"],
)
def test_a_record_that_contradicts_its_row_is_refused(row, record, words, tmp_path):
    lay(tmp_path, **{row: [record]})
    with pytest.raises(ValueError, match=f"{row}/seed_0/record.json.*{words}"):
        reports.write_experiment(experiment(), tmp_path, tmp_path)


def test_scale_may_differ_from_the_experiments_and_is_told(tmp_path):
    erm, nfm = a_run("erm", 0, epochs=5), a_run("nfm", 0, epochs=9, limit=500)
    found = reports.find(experiment(), lay(tmp_path, erm=[erm], nfm=[nfm]))
    labels = [row.label for row in of_experiment(experiment(), found)]
    assert labels[:2] == [
        "NFM & more (epochs=9, limit=500)",
        "Baseline (epochs=5, limit=None)",
    ]
    lay(tmp_path, nfm=[a_run("nfm", 1, epochs=5, limit=500)])
    with pytest.raises(ValueError, match="'nfm' must .*Received: .*9.*5"):
        reports.write_experiment(experiment(), tmp_path, tmp_path)


def test_a_seed_lies_in_its_folder(tmp_path):
    save_run(a_run("erm", 1), tmp_path / "erm" / "seed_0")
    with pytest.raises(ValueError, match="seed_0.*Received: 1"):
        reports.find(experiment(), tmp_path)


def test_no_run_at_all_is_a_clear_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        reports.find(experiment(), tmp_path / "nowhere")
    with pytest.raises(ValueError, match="Received: none in the rows"):
        reports.write_experiment(experiment(), tmp_path, tmp_path)


def test_rows_that_are_trained_and_not_scored_are_a_table_already(tmp_path):
    runs = lay(tmp_path, erm=[dataclasses.replace(a_run("erm", 0), scores=())])
    reports.write_experiment(experiment(), runs, tmp_path)
    text = (tmp_path / "table.md").read_text()
    assert "0 of 3 rows" in text
    assert "| Baseline | 1 | 1 | — | — | — | — | — | — | — | [0]" in text
    assert (tmp_path / "history.png").exists()
    assert not (tmp_path / "curves.png").exists()


def test_rows_of_one_scheme_share_its_colour_and_have_papers_numbers(tmp_path):
    alphas = {"nfm_0.2": 0.2, "nfm_1": 1.0, "nfm_2": 2.0}
    table5 = experiment(
        settings={"dataset": "cifar100"},
        rows={
            name: {"scheme": "nfm", "alpha": alpha, "label": f"α = {alpha}"}
            for name, alpha in alphas.items()
        },
        paper="table5",
    )
    runs = {
        n: [a_run("nfm", 0, dataset="cifar100", alpha=a)] for n, a in alphas.items()
    }
    rows = reports.write_experiment(table5, lay(tmp_path, **runs), tmp_path)
    text = (tmp_path / "table.md").read_text()
    for mean in ("80.6", "80.9", "80.7"):
        assert f"| *paper* | 5 |  | {mean} |" in text
    assert "column headings are misprinted" in text
    looks = styles(rows).values()
    assert len({look["color"] for look in looks}) == 1
    assert len({look["marker"] for look in looks}) == 3
    severities.draw(rows, tmp_path / "x.png")


def test_another_setting_than_the_papers_has_no_number_beside_it(tmp_path):
    rows = {"nfm": {"scheme": "nfm", "alpha": 0.5, "label": "NFM"}}
    runs = lay(tmp_path, nfm=[a_run("nfm", 0, alpha=0.5)])
    reports.write_experiment(experiment(rows=rows), runs, tmp_path)
    assert "no number for this data set" in (tmp_path / "table.md").read_text()


FAKE = """
import json, runpy, sys
from nfm_keras.experiments import tables
from nfm_keras.experiments.experiment import Experiment
fields = json.loads(sys.argv.pop())
tables.load = lambda name: Experiment(**fields)
runpy.run_module("apps.report", run_name="__main__", alter_sys=True)
"""


def test_the_app_takes_an_experiment_by_name(tmp_path):
    held = a_run("nfm", 0)
    runs, output = lay(tmp_path / "runs", nfm=[held]), tmp_path / "report"
    flags = ["--experiment=fake", f"--runs={runs}", f"--output={output}"]
    result = programs.run(FAKE, *flags, json.dumps(vars(experiment())))
    assert result.returncode == 0, result.stderr
    assert "1 run(s) reported" in result.stdout
    assert "1 of 3 rows" in (output / "table.md").read_text()


REFUSED = """
import sys
from absl import app, flags
from absl.testing import flagsaver
from apps import report
for line in sys.argv[1:]:
    with flagsaver.flagsaver():
        flags.FLAGS(["report", "--runs=never", *line.split()])
        try:
            report.main(["report"])
        except app.UsageError as error:
            print(error)
"""


def test_flags_without_effect_are_refused():
    result = programs.run(
        REFUSED,
        "--output=never --side_by_side --columns=clean",
        "--output=never --leaderboard --paper",
        "--output=never --against=alpha --paper",
        "--output=never --experiment=table1 --skip_broken",
        "--output=never --data_dir=data",
        "--pages --title=A",
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "--columns is without effect on --side_by_side.",
        "--paper is without effect on --leaderboard.",
        "--paper is without effect on --against.",
        "--skip_broken is without effect on --experiment.",
        "--data_dir is without effect on a table.",
        "--title is without effect on --pages.",
    ]
