import csv
import dataclasses
import io
import json
import math
import subprocess
import sys

import numpy as np
import pytest

from nfm_keras import plots, records

PNG = b"\x89PNG\r\n\x1a\n"


def score(name, value, protocol="reference", n=1000, **settings):
    severity = name.partition("@")[2] or "0"
    top, _, bottom = severity.partition("/")
    return records.Score(
        perturbation=name,
        severity=float(top) / float(bottom or 1),
        protocol="none" if name == "clean" else protocol,
        value=value,
        low=value - 2,
        high=value + 1,
        n=n,
        correct=round(value * n / 100),
        seed=0,
        seconds=1.0,
        settings=settings,
    )


def run(scheme="nfm", seed=0, scores=(), dataset="cifar10", history=None, **config):
    return records.Record(
        name=f"{scheme}-{seed}",
        scheme=scheme,
        dataset=dataset,
        network="preact_resnet18",
        config={"seed": seed, "epochs": 200, "output": f"runs/{seed}"} | config,
        sites=(),
        parameters=1,
        versions={},
        hardware={"cpu": "a CPU", "accelerators": []},
        command="",
        seconds=3600.0 * (seed + 1),
        started="",
        history={"loss": [2.0, 1.0]} if history is None else history,
        scores=tuple(scores),
    )


def runs(scheme, values, name="white_noise@0.1", **config):
    return [
        run(scheme, seed, [score("clean", 90.0 + seed), score(name, value)], **config)
        for seed, value in enumerate(values)
    ]


def test_mean_and_deviation_are_numpys():
    values = np.random.default_rng(0).uniform(50, 60, 5)
    (row,) = plots.table(runs("nfm", values))
    cell = row.cells["white_noise@0.1"]
    assert row.seeds == cell.seeds == 5
    assert cell.mean == pytest.approx(np.mean(values))
    assert cell.deviation == pytest.approx(np.std(values, ddof=1))
    assert (cell.low, cell.high) == pytest.approx(
        (cell.mean - cell.deviation, cell.mean + cell.deviation)
    )
    assert row.hours == pytest.approx(3.0)


def test_one_seed_has_the_wilson_interval_and_no_deviation():
    (row,) = plots.table(runs("nfm", [50.0]))
    cell = row.cells["white_noise@0.1"]
    assert (cell.mean, cell.deviation, cell.low, cell.high) == (50.0, None, 48.0, 51.0)


def test_several_perturbation_seeds_are_one_run():
    scores = [score("white_noise@0.1", 40.0), score("white_noise@0.1", 60.0)]
    (row,) = plots.table([run(scores=scores)])
    cell = row.cells["white_noise@0.1"]
    assert (cell.mean, cell.deviation, cell.seeds) == (50.0, None, 1)


def test_rows_come_in_the_fixed_order_of_schemes():
    names = ["zeta", "nfm", "mixup", "erm", "cutmix", "manifold_mixup", "noise"]
    found = [run(name, alpha=i) for i, name in enumerate(names)]
    labels = [row.label for row in plots.table(found)]
    # alpha differs between schemes, as their names say: it is not printed.
    assert labels == [
        "erm",
        "noise",
        "mixup",
        "manifold_mixup",
        "nfm",
        "cutmix",
        "zeta",
    ]


def test_what_differs_beyond_the_scheme_tells_rows_apart():
    found = [
        *runs("nfm", [1.0, 2.0], alpha=1.0),
        *runs("nfm", [3.0], alpha=0.2),
        *runs("erm", [4.0], alpha=0.0),
    ]
    rows = plots.table(found)
    assert [row.label for row in rows] == ["erm", "nfm (alpha=0.2)", "nfm (alpha=1.0)"]
    assert [row.seeds for row in rows] == [1, 1, 2]
    found.append(run("erm", 9, epochs=10, alpha=0.0))
    labels = [row.label for row in plots.table(found)]
    assert labels[:2] == ["erm (epochs=10)", "erm (epochs=200)"]
    datasets = plots.table([run(dataset="a"), run(dataset="b")])
    assert [row.label for row in datasets] == ["nfm (dataset=a)", "nfm (dataset=b)"]


def test_nested_settings_are_told_apart():
    rows = plots.table([run(mixing={"alpha": 1}), run(mixing={"alpha": 2})])
    assert [row.settings for row in rows] == [{"mixing.alpha": 1}, {"mixing.alpha": 2}]


def test_a_seed_never_counts_twice():
    with pytest.raises(ValueError, match="count once.*seed 0"):
        plots.table([run(), run()])


def test_protocols_are_never_mixed():
    both = [
        score("clean", 90.0),
        score("white_noise@0.1", 50.0, "reference"),
        score("white_noise@0.1", 60.0, "pixel"),
    ]
    found = [run(scores=both)]
    assert plots.protocols(found) == ("pixel", "reference")
    with pytest.raises(ValueError, match="never mixed"):
        plots.table(found)
    with pytest.raises(ValueError, match="never mixed"):
        plots.curves(found, "unused.png")
    means = {
        protocol: plots.table(found, protocol=protocol)[0].cells["white_noise@0.1"].mean
        for protocol in plots.protocols(found)
    }
    assert means == {"pixel": 60.0, "reference": 50.0}
    with pytest.raises(ValueError, match="Received: 'other'"):
        plots.table(found, protocol="other")


def test_columns_by_family_then_severity():
    names = ["pgd@8/255", "salt_and_pepper@0.1", "white_noise@0.3", "clean"]
    names += ["salt_and_pepper@0.04", "blur@2", "white_noise@0.25"]
    (row,) = plots.table([run(scores=[score(name, 50.0) for name in names])])
    assert list(row.cells) == [
        *("clean", "white_noise@0.25", "white_noise@0.3", "salt_and_pepper@0.04"),
        *("salt_and_pepper@0.1", "pgd@8/255", "blur@2"),
    ]
    (row,) = plots.table([run(scores=[score("clean", 50.0)])], ["clean"])
    assert list(row.cells) == ["clean"]
    with pytest.raises(ValueError, match="whitenoise"):
        plots.table([run(scores=[score("clean", 50.0)])], ["whitenoise"])


def test_an_attack_with_two_settings_is_two_columns():
    scores = [
        score("pgd@8/255", 40.0, steps=7, step_size=0.02, batch_size=8),
        score("pgd@8/255", 30.0, steps=20, step_size=0.01, batch_size=9),
        score("white_noise@0.1", 50.0, batch_size=8),
        score("white_noise@0.1", 60.0, batch_size=9),
    ]
    (row,) = plots.table([run(scores=scores)])
    assert {name: cell.mean for name, cell in row.cells.items()} == {
        "white_noise@0.1": 55.0,
        "pgd@8/255 (step_size=0.02, steps=7)": 40.0,
        "pgd@8/255 (step_size=0.01, steps=20)": 30.0,
    }
    assert plots.families([row])[1:] == ["pgd (steps=20)", "pgd (steps=7)"]


def test_csv_parses_back_to_the_numbers():
    rows = plots.table([*runs("nfm", [50.1, 52.2], lr=1), *runs("erm", [40.0], lr=2)])
    lines = list(csv.DictReader(io.StringIO(plots.to_csv(rows))))
    assert [line["scheme"] for line in lines] == ["erm", "nfm"]
    assert [json.loads(line["settings"]) for line in lines] == [{"lr": 2}, {"lr": 1}]
    for line, row in zip(lines, rows, strict=True):
        assert int(line["seeds"]) == row.seeds
        for name, cell in row.cells.items():
            assert float(line[name]) == cell.mean
            assert float(line[f"{name} low"]) == cell.low
            deviation = line[f"{name} deviation"]
            assert (float(deviation) if deviation else None) == cell.deviation


def test_markdown_reads_mean_and_deviation():
    text = plots.to_markdown(
        plots.table([*runs("nfm", [50.0, 52.0]), *runs("erm", [1.0])])
    )
    assert "| scheme | seeds | hours | clean | white_noise@0.1 |" in text
    assert "| erm | 1 | 1.00 | 90.0 | 1.0 |" in text
    assert "| nfm | 2 | 1.50 | 90.5 ± 0.7 | 51.0 ± 1.4 |" in text
    for words in (
        "cifar10",
        "preact_resnet18",
        "200 epochs",
        "reference",
        "1000 images",
    ):
        assert words in text


def test_markdown_keeps_to_the_papers_columns_where_there_are_many():
    severities = (0.0, 0.02, 0.1, 0.12, 0.2, 0.3)
    scores = [score(f"white_noise@{s}", 50.0) for s in severities]
    rows = plots.table([run(scores=scores)])
    assert len(rows[0].cells) == 6
    head = "| scheme | seeds | hours | white_noise@0.1 | white_noise@0.2 | white_noise@0.3 |"
    assert head in plots.to_markdown(rows)
    assert "| hours | white_noise@0.02 |" in plots.to_markdown(
        rows, ["white_noise@0.02"]
    )


def test_the_papers_number_stands_beside_what_it_compares_with():
    compared = runs("nfm", [50.0], alpha=1.0, sigma_add=0.4, sigma_mult=0.2)
    text = plots.to_markdown(plots.table(compared), paper=True)
    assert "| *nfm, paper* | 5 |  | 95.4 | 95.0 |" in text
    assert "Table 1" in text
    others = [
        runs("nfm", [50.0], alpha=0.2),
        runs("nfm", [50.0], dataset="two_circles"),
        runs("noisy_mixup", [50.0]),  # Table 1's row is a misprint
        [run(scores=[score("clean", 1.0), score("white_noise@0.1", 1.0, "pixel")])],
    ]
    for other in others:
        text = plots.to_markdown(plots.table(other), paper=True)
        assert ", paper*" not in text
        assert "no numbers" in text


def test_curves_carry_the_data_and_the_interval(tmp_path):
    found = [
        run(scheme, seed, [score("clean", 90.0), *noises, score("pgd@8/255", 20.0)])
        for scheme in ("nfm", "erm")
        for seed in range(2 if scheme == "nfm" else 1)
        for noises in [
            [score(f"white_noise@{s}", 80.0 - 100 * s + seed) for s in (0.3, 0.1, 0.2)]
        ]
    ]
    figure = plots.curves(found, tmp_path / "new" / "curves.png", title="A title")
    content = (tmp_path / "new" / "curves.png").read_bytes()
    assert content.startswith(PNG)
    size = tuple(int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
    assert size == tuple(round(x * figure.dpi) for x in figure.get_size_inches())
    noise, pgd = figure.axes
    lines = {line.get_label(): line for line in noise.get_lines()}
    assert list(lines) == ["erm", "nfm"]
    for name, shift in (("erm", 0.0), ("nfm", 0.5)):
        np.testing.assert_allclose(lines[name].get_xdata(), [0, 0.1, 0.2, 0.3])
        np.testing.assert_allclose(
            lines[name].get_ydata(), [90, 70 + shift, 60 + shift, 50 + shift]
        )
    shades = [
        np.ptp(shade.get_paths()[0].vertices[:, 1]) for shade in noise.collections
    ]
    assert shades[0] == pytest.approx(91 - 48)  # Wilson, one seed
    assert shades[1] == pytest.approx(90 - (50.5 - math.sqrt(0.5)))
    assert "σ (after normalisation)" in noise.get_xlabel()
    assert "ε ([0, 1] pixels)" in pgd.get_xlabel()
    assert "(%)" in noise.get_ylabel()
    title = figure.get_suptitle().replace("\n", " ")
    for words in ("A title", "cifar10", "preact_resnet18", "200 epochs", "reference"):
        assert words in title


def test_a_scheme_keeps_its_colour_in_every_figure(tmp_path):
    def colour(found):
        figure = plots.curves(found, tmp_path / "x.png")
        lines = figure.axes[0].get_lines()
        return {line.get_label(): line.get_color() for line in lines}

    alone = colour(runs("nfm", [50.0]))
    beside = colour([*runs("nfm", [50.0]), *runs("erm", [40.0]), *runs("noise", [1.0])])
    assert alone["nfm"] == beside["nfm"]
    assert len(set(beside.values())) == 3


def test_histories_average_over_seeds_and_leave_gaps_for_nan(tmp_path):
    losses = [[3.0, 2.0, 1.0], [1.0, math.nan]]
    found = [
        run(
            seed=seed,
            history={"loss": loss, "accuracy": [0.1], "val_accuracy": [0.5, 0.6]},
        )
        for seed, loss in enumerate(losses)
    ]
    figure = plots.histories(found, tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(PNG)
    loss, accuracy = figure.axes
    (line,) = loss.get_lines()
    np.testing.assert_allclose(line.get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(line.get_ydata(), [2.0, np.nan, 1.0])
    (line,) = accuracy.get_lines()
    np.testing.assert_allclose(line.get_ydata(), [50.0, 60.0])
    assert accuracy.get_ylabel() == "validation accuracy (%)"


def test_nothing_to_show_is_a_clear_error(tmp_path):
    with pytest.raises(ValueError, match="needs a record"):
        plots.table([])
    with pytest.raises(ValueError, match="some perturbation"):
        plots.curves([run(scores=[score("clean", 1.0)])], tmp_path / "x.png")
    with pytest.raises(ValueError, match="need a history"):
        plots.histories([run(history={})], tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_order_of_records_changes_nothing():
    found = [*runs("nfm", [50.0, 60.0]), *runs("erm", [1.0, 3.0])]
    rows = plots.table(found[::-1])
    for row, same in zip(plots.table(found), rows, strict=True):
        assert dataclasses.replace(row, config={}) == dataclasses.replace(
            same, config={}
        )


def report(*arguments):
    command = [sys.executable, "-m", "apps.report", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_report_writes_tables_and_figures_and_names_what_is_broken(tmp_path):
    for found in (*runs("nfm", [50.0, 51.0]), *runs("erm", [40.0])):
        records.save(found, tmp_path / "runs" / found.name / records.FILE)
    output = tmp_path / "out"
    flags = [f"--runs={tmp_path / 'runs'}", f"--output={output}", "--paper"]
    result = report(*flags)
    assert result.returncode == 0, result.stderr
    names = sorted(path.name for path in output.iterdir())
    assert names == ["curves.png", "history.png", "table.csv", "table.md"]
    assert "*nfm, paper*" in (output / "table.md").read_text()
    (tmp_path / "runs" / "nfm-0" / records.FILE).write_text("{")
    result = report(*flags)
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith("report: ")
    assert "nfm-0/record.json" in result.stderr
    assert "Traceback" not in result.stderr
