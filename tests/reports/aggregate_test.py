import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from conftest import run, runs, save_run, score

from nfm_keras import corruptions
from nfm_keras.mixing import schemes
from nfm_keras.reports import captions
from nfm_keras.reports.aggregate import (
    Aggregate,
    over_settings,
    protocols,
)
from nfm_keras.reports.columns import columns


def aggregated(found, protocol="reference"):
    return over_settings(found, protocol)


def labels_of(found):
    return [row.label for row in over_settings(found, "none")]


def test_mean_and_deviation_are_numpys():
    values = np.random.default_rng(0).integers(500, 600, 5) / 10
    (row,) = aggregated(runs("nfm", values))
    cell = row.cells["white_noise@0.1"]
    assert row.seeds == cell.seeds == 5
    assert cell.mean == pytest.approx(np.mean(values))
    assert cell.deviation == pytest.approx(np.std(values, ddof=1))
    ends = cell.mean - cell.deviation, cell.mean + cell.deviation
    assert (cell.low, cell.high) == pytest.approx(ends)


def test_one_seed_has_the_wilson_interval_and_no_deviation():
    (row,) = aggregated(runs("nfm", [50.0]))
    cell = row.cells["white_noise@0.1"]
    assert (cell.mean, cell.deviation, cell.low, cell.high) == (50.0, None, 48.0, 51.0)


def test_rows_come_in_the_fixed_order_of_schemes():
    names = ["zeta", "nfm", "mixup", "erm", "cutmix", "manifold_mixup", "noise"]
    # alpha differs between schemes, as their names say: it is not told.
    found = [run(name, alpha=i) for i, name in enumerate(names)]
    order = ["erm", "noise", "mixup", "cutmix", "manifold_mixup", "nfm", "zeta"]
    assert labels_of(found) == order
    assert labels_of(found[::-1]) == order


def test_every_scheme_has_its_place_and_its_own_settings_are_not_told():
    assert labels_of([run(name) for name in sorted(schemes.SCHEMES)]) == [
        *schemes.SCHEMES
    ]
    settings = dict.fromkeys(schemes.technique_fields(), 1)
    adversarial = run("adversarial", sparsity=1, label_smoothing=1, **settings)
    assert labels_of([run("erm"), adversarial]) == ["erm", "adversarial"]


def test_what_differs_beyond_the_scheme_tells_rows_apart():
    found = [
        *(run("nfm", seed, alpha=1.0, sites=["a", "b"]) for seed in range(2)),
        run("nfm", alpha=0.2, sites=["a", "b"]),
        run("erm", alpha=0.0, sites=["a"], eval_every=5),
    ]
    assert labels_of(found) == ["erm", "nfm (alpha=0.2)", "nfm (alpha=1.0)"]
    assert [row.seeds for row in over_settings(found, "none")] == [1, 1, 2]
    found.append(run("erm", 9, epochs=50, alpha=0.0, sites=["a"]))
    assert labels_of(found)[:2] == ["erm (epochs=50)", "erm (epochs=200)"]
    datasets = [run(dataset="b"), run(dataset="a")]
    assert labels_of(datasets) == ["nfm (dataset=a)", "nfm (dataset=b)"]


def test_a_seed_never_counts_twice():
    with pytest.raises(ValueError, match="count once.*seed 0"):
        over_settings([run(), run()], "none")
    twice = [score("clean", 1.0), score("clean", 3.0)]
    (row,) = aggregated([run(scores=twice)], "none")
    assert (row.cells["clean"].mean, row.cells["clean"].seeds) == (3.0, 1)


def test_protocols_are_never_mixed():
    both = [
        score("clean", 90.0),
        score("white_noise@0.1", 50.0, "reference"),
        score("white_noise@0.1", 60.0, "pixel"),
    ]
    found = [run(scores=both)]
    assert protocols(found) == ("pixel", "reference")
    for protocol, noisy in {"pixel": [60.0], "reference": [50.0], "none": []}.items():
        (row,) = over_settings(found, protocol)
        # The name of a column is its id, whatever other tables have.
        names = ["clean", "white_noise@0.1"][: 1 + len(noisy)]
        means = {name: cell.mean for name, cell in row.cells.items()}
        assert means == dict(zip(names, [90.0, *noisy]))
    with pytest.raises(ValueError, match="Received: 'other'"):
        over_settings(found, "other")


def test_columns_by_kind_then_severity_whatever_each_row_has():
    first = ["pgd@8/255", "salt_and_pepper@0.1", "white_noise@0.3", "clean"]
    second = ["salt_and_pepper@0.04", "blur@2", "white_noise@0.25", "clean"]
    found = [
        run(scheme, scores=[score(name, 50.0) for name in names])
        for scheme, names in {"erm": first, "nfm": second}.items()
    ]
    assert columns(aggregated(found)) == [
        *("clean", "white_noise@0.25", "white_noise@0.3", "salt_and_pepper@0.04"),
        *("salt_and_pepper@0.1", "pgd@8/255", "blur@2"),
    ]


def test_an_attack_with_two_settings_is_kept_apart():
    def pgd(name, value, steps, step):
        return score(name, value, steps=steps, step_size=step, restarts=1)

    # The step size goes with epsilon: it is the same attack.
    same = [pgd("pgd@0.1", 40.0, 10, 0.025), pgd("pgd@0.2", 30.0, 10, 0.05)]
    (row,) = aggregated([run(scores=same)], "none")
    assert {cell.family for cell in row.cells.values()} == {"pgd"}

    more = [*same, pgd("pgd@0.2", 20.0, 20, 0.025), pgd("pgd@0.2", 25.0, 10, 0.2)]
    (row,) = aggregated([run(scores=more)], "none")
    assert {name: cell.mean for name, cell in row.cells.items()} == {
        "pgd@0.1 (reach=2.5, steps=10)": 40.0,
        "pgd@0.2 (reach=2.5, steps=10)": 30.0,
        "pgd@0.2 (reach=2.5, steps=20)": 20.0,
        "pgd@0.2 (reach=10.0, steps=10)": 25.0,
    }


def test_caption_says_what_the_rows_are_of():
    found = [*runs("nfm", [50.0, 51.0]), run("erm", epochs=5, limit=500)]
    found[0] = dataclasses.replace(found[0], scores=[score("clean", 1.0, n=200)])
    assert captions.of_aggregates(aggregated(found)) == (
        "preact_resnet18, width 0.25, trained on all and the first 500 training "
        "images of cifar10 for 5 and 200 epochs, 1 and 2 seeds a row. 1 of 2 rows have "
        "scores. Noises as in the published tables (protocol reference). Made on a CPU."
    )
    told = captions.of_aggregates(aggregated(found), kinds=["clean"])
    assert "200 and 1,000 images are scored." in told
    assert "images" not in captions.of_aggregates(
        [Aggregate("nfm", {}, "none", (run(),), {})], measured=False
    )


def test_caption_counts_the_rows_that_are_missing():
    rows = [
        Aggregate("erm", {}, "none", (), {}),
        Aggregate("mixup", {}, "none", (run("mixup"),), {}),
        *aggregated(runs("nfm", [50.0]), "none"),
    ]
    assert "1 seed a row. 1 of 3 rows have scores." in captions.of_aggregates(rows)
    told = captions.of_aggregates(rows, measured=False)
    assert "1 seed a row. 2 of 3 rows are there." in told
    assert "1 seed a row. 0 of 2 rows" in captions.of_aggregates(rows[:2])


def test_no_record_is_a_clear_error():
    with pytest.raises(ValueError, match="needs a record"):
        over_settings([], "none")


LIGHT = """
import sys
from nfm_keras import records
from nfm_keras.reports import runs, suite, aggregate, columns, tables, paper
from nfm_keras.reports.curves import settings
from nfm_keras.table import Table
rows = aggregate.over_settings([*records.find(sys.argv[1])], "none")
tables.to_read(rows).to_markdown()
runs.write(records.find(sys.argv[1]), sys.argv[2])
assert not {"keras", "tensorflow", "jax", "torch"} & sys.modules.keys()
"""


def test_a_report_does_not_wait_for_keras(tmp_path):
    save_run(*runs("nfm", [50.0]), tmp_path / "runs")
    command = [sys.executable, "-c", LIGHT, tmp_path / "runs", tmp_path / "report"]
    subprocess.run(command, check=True, timeout=60)
    assert (tmp_path / "report" / "curves.png").exists()


def test_the_mean_over_the_corruptions_needs_all_of_them():
    names = [f"{k}@{s}" for k in corruptions.STANDARD for s in corruptions.SEVERITIES]
    whole = [score(name, float(i)) for i, name in enumerate(names)]
    more = [score(name, i + 3.0) for i, name in enumerate(names)]
    rows = aggregated([run("nfm", 0, whole), run("nfm", 1, more)], "none")
    cell = rows[0].cells["common_corruptions"]
    assert (cell.mean, cell.seeds) == (38.5, 2)  # 0 to 74, and 3 to 77
    assert cell.deviation == pytest.approx(3 / 2**0.5)
    (row,) = aggregated([run("nfm", 0, whole[1:]), run("nfm", 1, whole)], "none")
    assert row.cells["common_corruptions"].seeds == 1
    (row,) = aggregated([run("nfm", 0, whole[1:])], "none")
    assert "common_corruptions" not in row.cells


def test_a_run_that_was_extended_is_no_seed_of_one_that_was_not():
    """Of a schedule: its rates were others. A constant rate is the same."""
    for schedule, rows in (("step", 2), ("constant", 1)):
        straight = run("nfm", 0, [score("clean", 90.0)], schedule=schedule)
        longer = run("nfm", 1, [score("clean", 80.0)], schedule=schedule)
        longer = dataclasses.replace(longer, extended=(4,))
        assert len(over_settings([straight, longer], "none")) == rows
