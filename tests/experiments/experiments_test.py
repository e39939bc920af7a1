"""Experiments as data: what runs they stand for, and the sweep that runs them."""

import dataclasses
import errno
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from conftest import BACKEND

from nfm_keras import experiments, records, reports
from nfm_keras.evaluation.noise import WHITE_NOISE_SEVERITIES
from nfm_keras.experiments import Experiment, Run, check_same, estimate, runs, unscored
from nfm_keras.experiments import sweep as sweep_module
from nfm_keras.mixing import schemes
from nfm_keras.reports import paper

REPOSITORY = pathlib.Path(__file__).parents[2]
TABLES = [name for name in experiments.NAMES if name != "toy"]
ROWS = {
    "erm": {"label": "None", "scheme": "erm"},
    "attack": {"label": "Attack", "scheme": "adversarial"},
}
TABLE = Experiment(
    "Two rows",
    {"dataset": "digits", "network": "mlp", "width": 2.0},
    ROWS,
    seeds=(3, 4),
    perturbations=("clean", "white_noise", "pgd@0.1", "fog@1"),
)


@pytest.mark.parametrize("name", TABLES)
def test_every_row_is_a_config_and_a_mixing(name):
    table = experiments.load(name)
    for run in runs(table, "results"):
        sites = ["site_0", "site_1", "site_2", "site_3"]
        given = ("alpha", "sigma_add", "sigma_mult")
        levels = {name: getattr(run.config, name) for name in given}
        schemes.mixing(run.config.scheme, sites, **levels)
    assert len({table.label(row) for row in table.rows}) == len(table.rows)
    of_seeds = {"table3": 1, "table3_16_epochs": 1, "above_nfm": 2}
    assert len(runs(table, "results")) == of_seeds.get(name, 5) * len(table.rows)


@pytest.mark.parametrize("name", [n for n in TABLES if experiments.load(n).paper])
def test_a_row_with_a_number_in_the_paper_has_the_settings_of_that_number(name):
    table = experiments.load(name)
    printed = paper.tables()[table.paper]["rows"]
    assert set(printed) <= set(table.rows)
    names = ("alpha", "sigma_add", "sigma_mult")
    for row, entry in printed.items():
        config = table.config(row, seed=0)
        # A row of the paper is named for the plain scheme where the code ran a variant.
        assert config.scheme.removesuffix("_reference") == entry["scheme"]
        scheme = schemes.lookup(config.scheme)
        for key, value in entry["settings"].items():
            given = getattr(config, key) if key in names else None
            assert (getattr(scheme, key) if given is None else given) == value


def test_scaling_changes_every_row_and_an_attack_only_what_has_it():
    short = TABLE.scaled(width=0.5, epochs=3, attack_steps=2, limits={"limit": 9})
    assert [short.config(row, 0).width for row in ROWS] == [0.5, 0.5]
    assert [short.config(row, 0).epochs for row in ROWS] == [3, 3]
    assert [short.config(row, 0).attack_steps for row in ROWS] == [None, 2]
    assert short.limits == {"limit": 9}
    assert TABLE.config("erm", 0).width == 2.0


def test_runs_go_seed_by_seed_and_more_seeds_count_on():
    names = [run.name for run in runs(TABLE, "here")]
    assert names == ["erm/seed_3", "attack/seed_3", "erm/seed_4", "attack/seed_4"]
    assert TABLE.scaled(seeds=1).seeds == (3,)
    assert TABLE.scaled(seeds=4).seeds == (3, 4, 5, 6)
    assert list(TABLE.scaled(rows=["attack"]).rows) == ["attack"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"rows": {}}, "at least one row.*Received: 0 row"),
        ({"seeds": ()}, "at least one row and one seed.*0 seed"),
        ({"rows": {"a": {"scheme": "erm"}}}, "Row 'a' must have a label"),
        ({"rows": {"a": {"label": "A", "scheme": "emr"}}}, "Unknown scheme.*'emr'"),
        ({"settings": {"widht": 1.0}}, "Unknown config field.*width.*'widht'"),
        ({"perturbations": ("fogg@1",)}, "Unknown perturbation.*'fogg@1'"),
    ],
)
def test_a_table_with_a_mistake_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TABLE, **change)


def test_scaling_to_nothing_is_refused():
    with pytest.raises(ValueError, match="Unknown row.*Received: 'emr'"):
        TABLE.scaled(rows=["emr"])
    with pytest.raises(ValueError, match="`seeds` must be a positive.*Received: 0"):
        TABLE.scaled(seeds=0)
    with pytest.raises(ValueError, match="Unknown experiment.*Received: 'tabel1'"):
        experiments.load("tabel1")
    with pytest.raises(ValueError, match="rows to train.*Received: 'toy'"):
        experiments.load("toy")


def record(scores=(), **config):
    config = TABLE.config("erm", 3).to_json() | {"alpha": 0.0} | config
    return records.Record(
        *("erm", "erm", "digits", "mlp", config, (), 1, {}, {}, "", 1.0, ""),
        history={},
        scores=tuple(scores),
    )


def test_a_record_of_another_config_is_refused(tmp_path):
    run = Run("erm", TABLE.config("erm", 3), tmp_path)
    assert run.record is None
    records.save(record(), tmp_path / records.FILE)
    assert run.record.config["alpha"] == 0.0  # decided by the scheme, as resolved
    older = record()
    del older.config["jsd_weight"]  # from before there was such a field
    check_same(run.config, older, "older")
    # What is open to be decided is not the same as what is off.
    for changed in (
        {"limit": 100},
        {"policy": "randaugment"},
        {"init_from": "a.keras"},
    ):
        records.save(record(**changed), tmp_path / records.FILE)
        with pytest.raises(ValueError, match="another config.*Received.*None"):
            _ = run.record
    records.save(record(width=1.0, epochs=7), tmp_path / records.FILE)
    with pytest.raises(ValueError, match="another config.*1.0.*Received.*2.0"):
        _ = run.record


def score(name, n, protocol="none", **settings):
    return records.Score(name, 0.0, protocol, 0.0, 0.0, 1.0, n, 0, 0, 0.0, settings)


def test_a_score_counts_on_enough_images_and_under_the_protocol():
    noises = [f"white_noise@{s:g}" for s in WHITE_NOISE_SEVERITIES]
    everything = [score("clean", 100), score("pgd@0.1", 100), score("fog@1", 100)]
    everything += [score(name, 100, "reference") for name in noises]
    assert unscored(TABLE, record(everything), images=100) == []
    assert len(unscored(TABLE, record(), images=100)) == len(noises) + 3
    fewer = [*everything[:1], score("pgd@0.1", 20), score("fog@1", 30), *everything[3:]]
    assert unscored(TABLE, record(fewer), images=100) == ["pgd@0.1", "fog@1"]
    limits = {"attack_limit": 20, "corruption_limit": 30}
    assert unscored(TABLE.scaled(limits=limits), record(fewer), images=100) == []
    pixel = [*everything[:3], *(score(name, 100, "pixel") for name in noises)]
    assert unscored(TABLE, record(pixel), images=100) == noises


def test_the_estimate_grows_with_steps_and_scheme():
    short = TABLE.scaled(seeds=1, width=0.25, epochs=2, limit=256, attack_steps=3)
    plain, attack = estimate(runs(short, "here"), images=1000)
    assert plain > 0 and attack == pytest.approx(4 * plain)
    longer = short.scaled(epochs=6)
    assert estimate(runs(longer, "here")[:1], images=128)[0] > 0


def test_a_plan_for_imagenet_needs_no_images_and_says_what_it_estimates_from(
    monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(experiments.cost, "_step_seconds", lambda config: 2.0)
    monkeypatch.setattr(experiments.cost, "device_files", lambda: [])
    table = experiments.load("table3")
    commands = {"train": lambda run: ["train", run.name], "score": lambda run, view: []}
    experiments.Sweep(table, tmp_path, **commands, data_dir=tmp_path).plan()
    printed = capsys.readouterr().out
    hours = 2.0 * 5005 * 200 / 3600  # steps of 256 of 1,281,167 images
    line = next(line for line in printed.splitlines() if line.startswith("nfm_1/"))
    assert line.split()[1:3] == [f"{hours:,.1f}", "hours"]
    assert "An estimate, from a step of plain training on 2 images" in printed
    a100 = 4 * 200 * 1_281_167 / 2375 / 3600
    assert f"About {a100:,.1f} hours on an A100" in printed and "published" in printed
    short = experiments.load("table3_16_epochs")
    assert [run.config.epochs for run in runs(short, "here")] == 4 * [16]


def test_a_step_of_few_images_stands_for_one_of_the_whole_batch(monkeypatch):
    cost = experiments.cost
    monkeypatch.setattr(cost, "device_files", lambda: [])
    monkeypatch.setattr(cost, "_LARGE", 7 * 7)  # digits have 64 pixels

    class Clock(cost._Clock):
        def on_epoch_end(self, epoch, logs=None):
            self.seconds.append(3.0)

    monkeypatch.setattr(cost, "_Clock", Clock)
    (run,) = runs(dataclasses.replace(TABLE, seeds=(3,)).scaled(rows=["erm"]), "here")
    small = dataclasses.replace(run.config, batch_size=64)
    assert cost._step_seconds(small) == 3.0 * 64 / 2


def test_an_experiment_is_scored_under_each_of_its_protocols(tmp_path, monkeypatch):
    table = dataclasses.replace(TABLE, also=("pixel",), seeds=(3,)).scaled(rows=["erm"])
    everything = [score("clean", 500), score("pgd@0.1", 500), score("fog@1", 500)]
    noises = [f"white_noise@{s:g}" for s in WHITE_NOISE_SEVERITIES]
    everything += [score(name, 500, "reference") for name in noises]
    (run,) = runs(table, tmp_path)
    records.save(record(everything), run.folder / records.FILE)
    evaluation = records.Evaluation("erm", "digits", "", [], scores=tuple(everything))
    records.save_evaluation(evaluation, run.folder / records.EVALUATION_FILE)
    called = []
    monkeypatch.setattr(
        "nfm_keras.experiments.sweep._call", lambda run, words: called.append(words)
    )
    commands = {"train": lambda run: [], "score": lambda run, view: [view.protocol]}
    experiments.Sweep(table, tmp_path, **commands).carry_out()
    assert called == [["pixel"]]


def test_candidates_are_scored_on_what_was_held_out_alone(tmp_path, monkeypatch):
    held = dataclasses.replace(
        TABLE,
        settings=TABLE.settings | {"validation": 50},
        perturbations=("clean",),
        seeds=(3,),
        split="validation",
    ).scaled(rows=["erm"])
    (run,) = runs(held, tmp_path)
    settings = {"validation": 50, "sigma_add": 0.0, "sigma_mult": 0.0}
    trained = record([score("clean", 500)], **settings)
    records.save(trained, run.folder / records.FILE)
    tested = records.Evaluation("erm", "digits", "", [], scores=trained.scores)
    records.save_evaluation(tested, run.folder / records.EVALUATION_FILE)
    called = []

    def scored(run, words):
        called.append(words)
        chosen = records.Evaluation("erm", "", "", [], scores=(score("clean", 50),))
        records.save_evaluation(chosen, run.folder / "validation.json")

    monkeypatch.setattr("nfm_keras.experiments.sweep._call", scored)
    commands = {"train": lambda run: [], "score": lambda run, view: [view.split]}
    for _ in range(2):
        experiments.Sweep(held, tmp_path, **commands).carry_out()
    assert called == [["validation"]]
    (row,) = reports.write_experiment(held, tmp_path, tmp_path / "table")
    assert row.cells["clean"].n == 50
    with pytest.raises(ValueError, match="must hold images out"):
        dataclasses.replace(TABLE, split="validation")


def sweep(folder, *flags):
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "apps.sweep", "--experiment=table2"),
            *("--dataset=digits", "--network=mlp", "--width=0.25"),
            *("--limit=128", "--epochs=1", "--seeds=1", f"--output={folder}"),
            *("--test_limit=20", "--attack_limit=5", *flags),
        ],
        cwd=REPOSITORY,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(BACKEND != "tensorflow", reason="slow processes, once")
@pytest.mark.slow
def test_a_sweep_finishes_the_others_and_says_which_run_failed(tmp_path):
    # Images of 8x8 pixels have no grid of 16x16 blocks, which PuzzleMix may draw.
    process = sweep(tmp_path, "--rows=puzzlemix,erm")
    out, err = process.communicate(timeout=500)
    assert process.returncode == 1, err
    assert "1 of 2 run(s) done" in out and "[2/2] erm/seed_0" in out
    last = err.strip().splitlines()[-1]
    assert last.startswith("sweep: 1 run(s) failed") and "puzzlemix/seed_0" in last
    assert "grid" in last and "Traceback" not in last
    found = records.load(tmp_path / "erm" / "seed_0" / records.FILE)
    assert found.command.startswith("python -m apps.train --scheme=erm --network")
    table = experiments.load("table2").scaled(limits={"limit": 20, "attack_limit": 5})
    assert unscored(table, found, images=500) == []

    begun = time.monotonic()
    process = sweep(tmp_path, "--rows=erm")
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    assert "1 of 1 run(s) done" in out and time.monotonic() - begun < 120
    log = (tmp_path / "erm" / "seed_0" / "sweep.log").read_text()
    assert log.count("$ python -m") == 2  # nothing was done twice


def test_what_is_in_the_way_of_a_run_fails_that_run_and_a_full_disk_all(
    tmp_path, monkeypatch
):
    table = dataclasses.replace(TABLE, perturbations=("clean",)).scaled(rows=["erm"])
    blocked, done = runs(table, tmp_path)
    (blocked.folder / records.FILE).mkdir(parents=True)
    scores = (score("clean", 500),)
    records.save(record(scores, seed=4), done.folder / records.FILE)
    evaluation = records.Evaluation("erm", "digits", "", [], scores=scores)
    records.save_evaluation(evaluation, done.folder / records.EVALUATION_FILE)
    commands = {"train": lambda run: [], "score": lambda run, view: []}
    sweep = experiments.Sweep(table, tmp_path, **commands)
    with pytest.raises(
        RuntimeError, match=r"^1 run.*Received: erm/seed_3: .*directory"
    ):
        sweep.carry_out()

    (blocked.folder / records.FILE).rmdir()
    monkeypatch.setattr(sweep_module, "_call", lambda run, arguments: None)
    with pytest.raises(RuntimeError, match="^1 run.*Received: erm/seed_3: .*no record"):
        sweep.carry_out()

    def full(run, arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sweep_module, "_call", full)
    with pytest.raises(OSError, match="No space left"):
        sweep.carry_out()


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="slow processes, once")
def test_a_killed_sweep_goes_on_and_ends_with_the_same_weights(tmp_path):
    import keras
    import numpy as np

    flags = "--rows=erm", "--epochs=20"
    process = sweep(tmp_path / "killed", *flags)
    checkpoints = tmp_path / "killed" / "erm" / "seed_0" / "checkpoints"
    while not list(checkpoints.glob("0*")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert not (checkpoints.parent / records.FILE).exists()
    weights = []
    for name in ("killed", "whole"):
        process = sweep(tmp_path / name, *flags)
        _, err = process.communicate(timeout=500)
        assert process.returncode == 0, err
        path = tmp_path / name / "erm" / "seed_0" / "classifier.keras"
        weights.append(keras.saving.load_model(path, compile=False).get_weights())
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_run_that_a_signal_ended_is_told_by_its_name(tmp_path, monkeypatch):
    (run, *_) = runs(TABLE, tmp_path)
    program = "import faulthandler, os; faulthandler.enable(); os.abort()"
    (tmp_path / "ends.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(sweep_module.Failure) as failure:
        sweep_module._call(run, ["ends"])
    told = str(failure.value)
    assert told.startswith("ends ended by SIGABRT: Fatal Python error: Aborted (")
    assert "\n" not in told
