"""The commands, each in a process of its own.

That of the first is new, as if a user had typed it; most others are copied from one
that has imported TensorFlow (`programs`).
"""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import programs
import pytest
from conftest import BACKEND

from apps import loading
from nfm_keras import records
from nfm_keras.records.evaluation import EVALUATION_FILE as EVALUATION
from nfm_keras.records.files import file_name
from nfm_keras.serving import half_weights

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="slow processes, once")

REPOSITORY = pathlib.Path(__file__).parents[2]
RUN = [
    "--scheme=nfm",
    "--dataset=digits",
    "--network=mlp",
    "--limit=256",
    "--epochs=10",
    "--sigma_add=0.3",
]


def start(app, *flags, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", f"apps.{app}", *flags],
        cwd=REPOSITORY,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(app, *flags):
    done = programs.run(f"apps.{app}", *flags)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """The folder of a run, and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "nfm"
    process = start("train", *RUN, f"--run_dir={folder}", "--verbose=0")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    assert "absl::InitializeLog" not in err and "cudart_stub" not in err
    (folder / "out.txt").write_text(out)
    return folder


def test_train_prints_the_resolved_config_and_the_result(run_dir):
    out = (run_dir / "out.txt").read_text()
    config, end = json.JSONDecoder().raw_decode(out)
    kept = json.loads((run_dir / "config.json").read_text())
    assert config == {name: v for name, v in kept.items() if v is not None}
    assert config["sites"] == ["site_0", "site_1", "site_2", "site_3"]
    assert (config["sigma_add"], config["sigma_mult"]) == (0.3, 0.2)
    record = records.load(run_dir / "record.json")
    result = json.loads(out[end:])
    assert result["test_accuracy"] == record.history["val_accuracy"][-1] > 0.3
    assert record.command.startswith("python -m apps.train --scheme=nfm")
    assert len(record.history["loss"]) == record.config["epochs"] == 10


@pytest.mark.slow  # training_test interrupts runs within the process
def test_a_killed_run_resumed_is_the_undisturbed_one(run_dir, tmp_path):
    killed = tmp_path / "killed"
    process = start("train", *RUN, f"--run_dir={killed}", "--verbose=0")
    deadline = time.monotonic() + 200
    while not list((killed / "checkpoints").glob("0*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (killed / "record.json").exists()
    run("train", *RUN, f"--run_dir={killed}", "--verbose=0", "--resume")
    ours, theirs = (records.load(f / "record.json") for f in (killed, run_dir))
    assert ours.history == theirs.history and ours.config == theirs.config
    weights = [
        keras.saving.load_model(f / "classifier.keras", compile=False).get_weights()
        for f in (killed, run_dir)
    ]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_is_evaluated(run_dir):
    perturbations = "--perturbations=clean,white_noise@0.1,pgd@8/255"
    out = run("evaluate", f"--run_dir={run_dir}", perturbations, "--attack_limit=32")
    scores = records.load(run_dir / "record.json").scores
    named = [line.split()[0] for line in lines(out)]
    assert named == ["nfm", *(s.perturbation for s in scores)]
    assert [s.perturbation for s in scores] == ["clean", "white_noise@0.1", "pgd@8/255"]
    assert [s.n for s in scores] == [500, 500, 32]
    assert scores[0].value > 30


def test_held_out_images_are_scored_apart_from_the_test_images(run_dir, tmp_path):
    held = tmp_path / "held"
    run("train", *RUN, f"--run_dir={held}", "--epochs=1", "--validation=100")
    split = ["--split=validation"]
    only = "--perturbations=clean"
    out = run("evaluate", f"--run_dir={held}", only, *split)
    assert "held on digits, held out" in out
    (score,) = records.load(held / "record.json", "validation").scores
    watched = records.load(held / "record.json").history["val_accuracy"][-1]
    assert score.n == 100 and score.value == pytest.approx(100 * watched)
    assert records.load(held / "record.json").scores == ()
    both = programs.run("apps.evaluate", f"--run_dir={held},{run_dir}", only, *split)
    assert both.returncode == 1
    assert "held out the same images" in lines(both.stderr)[-1]


def test_a_run_that_kept_its_weights_in_half_precision_is_loaded(run_dir, tmp_path):
    whole = loading.load(run_dir)
    (tmp_path / "record.json").write_bytes((run_dir / "record.json").read_bytes())
    half_weights.save_weights(whole.classifier, tmp_path / half_weights.FILE)
    half = loading.load(tmp_path)
    assert (half.name, half.run) == (whole.name, tmp_path)
    assert half.record.config == whole.record.config
    images = np.random.default_rng(0).random((8, 8, 8, 1), "float32")
    expected = whole.classifier(images)
    np.testing.assert_allclose(half.classifier(images), expected, atol=0.02)
    assert np.abs(half.classifier(images) - expected).max() > 0


def test_classes_are_drawn_under_the_names_of_their_set(run_dir, tmp_path):
    for label in range(10):
        place = tmp_path / "set" / f"class {label}"
        place.mkdir(parents=True)
        (place / "empty.png").touch()
    common = "--of=logits", "--steps=1", "--units=1,3", f"--output={tmp_path}/x.svg"
    wanted = {
        "--seed=0": "<!-- 3 -->",
        f"--dataset=folder:{tmp_path / 'set'}": "<!-- class 3 -->",
    }
    for flag, drawn in wanted.items():
        out = run("visualize", f"--run_dir={run_dir}", flag, *common)
        name, reached = lines(out)[0].split(": ")
        assert name == "nfm" and len(reached.split()) == 2
        assert drawn in (tmp_path / "x.svg").read_text(), drawn


@pytest.mark.slow
def test_a_run_is_exported_compared_and_reported(run_dir, tmp_path):
    perturbations = "--perturbations=clean,white_noise@0.1,pgd@8/255"
    run("evaluate", f"--run_dir={run_dir}", perturbations, "--attack_limit=32")
    scores = records.load(run_dir / "record.json").scores
    out = run("export", f"--run_dir={run_dir}", "--name=m", f"--output={tmp_path}")
    exported = pathlib.Path(lines(out)[-1])
    assert exported == tmp_path / "m" / "1" and (exported / "saved_model.pb").exists()
    assert records.load(exported / "record.json").scores == scores

    rows = "--perturbations=clean,fog@1,pgd@8/255"
    compared = [f"--run_dir={run_dir}", f"--model={exported}", "--attack_limit=32"]
    suite = tmp_path / "suite"
    out = run("evaluate", *compared, rows, f"--output={suite}")
    assert out.count("clean ") == 2 and f"Report: {suite / 'report.md'}" in out
    text = (suite / "report.md").read_text()
    assert "| accuracy in percent, unless said | nfm | m/1 |" in text
    assert "| clean | (+0.0 [" in text  # the same classifier, image by image
    ours, theirs = (
        records.load_evaluation(folder / EVALUATION)
        for folder in (run_dir, suite / "m" / "1")
    )
    assert [score.hits for score in theirs.scores[:2]] == [
        ours.score(name).hits for name in ("clean", "fog@1")
    ]
    pictures = {path.name for path in suite.iterdir()}
    assert {"samples.png", "adversaries_nfm.png"} <= pictures
    assert f"adversaries_{file_name('m/1')}.png" in pictures
    scores = records.load(run_dir / "record.json").scores  # now with fog@1

    out = run("report", "--pages", f"--runs={run_dir}")
    assert out.strip().endswith(str(run_dir / "report.html"))
    assert "nfm on digits" in (run_dir / "report.html").read_text()
    report = tmp_path / "report"
    out = run("report", f"--runs={run_dir}", f"--output={report}")
    assert "| nfm | 1 |" in (report / "table.md").read_text()
    assert out.startswith((report / "table.md").read_text())
    with (report / "table.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert {s.perturbation: float(row[s.perturbation]) for s in scores} == {
        s.perturbation: s.value for s in scores
    }
    assert (report / "history.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_demo_ends_with_a_table_and_a_classified_image(tmp_path):
    out = run("demo", "--schemes=nfm", "--epochs=2", f"--output={tmp_path}")
    assert out.count("(reference)") == 7 and out.count("pgd@") >= 3
    assert "| nfm | 1 |" in out and "SavedModel" in out
    assert (tmp_path / "curves.png").exists()


def lines(text):
    return text.strip().splitlines()


def test_mistakes_end_in_one_line_that_names_them(tmp_path):
    missing, empty = tmp_path / "missing", tmp_path / "empty"
    train = ["train", f"--run_dir={missing}"]
    mistakes = [
        (
            [*train, "--dataset=cifar10", "--network=mlp", f"--data_dir={empty}"],
            f"Dataset 'cifar10' is not in {empty}",
            "--download",
        ),
    ]
    unknown = "Unknown KERAS_BACKEND. Did you mean 'jax'?"
    mistakes.append((train, unknown, "'jacks'"))
    for command, *expected in mistakes:
        name, *flags = command
        if unknown in expected:
            process = start(*command, KERAS_BACKEND="jacks")
            err, code = process.communicate(timeout=300)[1], process.returncode
        else:
            done = programs.run(f"apps.{name}", *flags)
            err, code = done.stderr, done.returncode
        assert code > 0, command
        assert "Traceback" not in err and "absl::InitializeLog" not in err, err
        last = lines(err)[-1]
        assert all(part in last for part in expected), last
    assert not missing.exists()
