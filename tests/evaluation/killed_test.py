"""Nothing is lost of a file of results: by kills, nor by several who write to it."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from keras import ops

from nfm_keras.evaluation.scoring import evaluate
from nfm_keras.evaluation.store import store as stores
from nfm_keras.records import load_evaluation
from nfm_keras.records.lock import locked

ROWS = [f"white_noise@{i / 100}" for i in range(1, 9)]


def classifier(images):
    return 10 * ops.mean(images, axis=(1, 2))


@pytest.fixture
def store(tmp_path):
    return tmp_path / "run" / "evaluation.json"


def scores(rows, store=None, classifier=classifier, **options):
    images = np.random.default_rng(0).random((20, 4, 4, 3), "float32")
    labels = np.arange(20) % 3
    given = {"protocol": "pixel", "store": store, "about": {"model": "mine"}}
    return evaluate(classifier, (images, labels), rows, **given | options)


def hits(evaluation):
    return {score.perturbation: score.hits for score in evaluation}


def test_two_evaluations_of_one_file_lose_no_row(store, monkeypatch):
    def meanwhile(score, left):
        if score.perturbation == ROWS[1]:
            scores(ROWS[4:], store)

    found = scores(ROWS[:4], store, progress=meanwhile)
    assert [score.perturbation for score in found] == ROWS[:4]
    assert hits(load_evaluation(store)) == hits(scores(ROWS))
    assert [path.name for path in store.parent.iterdir()] == [store.name]
    seconds = load_evaluation(store).seconds
    assert seconds >= sum(score.seconds for score in load_evaluation(store))


def test_what_another_one_measured_meanwhile_is_not_measured_again(store):
    measured = []

    def meanwhile(score, left):
        measured.append(score)
        if score.perturbation == ROWS[0]:
            scores(ROWS[2:4], store)

    scores(ROWS[:4], store, progress=meanwhile)
    # Seen with the next row that is written.
    written = load_evaluation(store).scores
    assert all(score in written for score in measured) and len(written) == 4


def test_a_file_that_another_classifier_began_meanwhile_is_left_alone(store):
    def other(images):
        return -classifier(images)

    def meanwhile(score, left):
        store.unlink()
        scores(ROWS[1:2], store, classifier=other)

    with pytest.raises(ValueError, match="evaluation of this classifier"):
        scores(ROWS[:3], store, progress=meanwhile)
    assert list(hits(load_evaluation(store))) == ROWS[1:2]


def test_what_a_killed_process_left_is_in_nobodys_way(store):
    expected = hits(scores(ROWS[:2], store))
    text = store.read_text()
    half = store.with_name(".evaluation.99999.tmp.json")
    half.write_text(text[: len(text) // 2])
    store.with_name(".evaluation.json.lock").write_text("process 99999 on elsewhere")
    assert hits(scores(ROWS[:2], store)) == expected and store.read_text() == text
    scores(ROWS[2:3], store)
    assert hits(load_evaluation(store)) == hits(scores(ROWS[:3]))
    assert [path.name for path in store.parent.iterdir()] == [store.name]


def test_a_file_that_is_being_written_is_waited_for_and_then_given_up(
    store, monkeypatch
):
    monkeypatch.setattr(stores, "_PATIENCE", 0.05)
    hidden = store.with_name(".evaluation.json.lock")
    wanted = (
        f"evaluation.json is being written. Received: a lock of process {os.getpid()}"
    )
    with (
        locked(hidden, "held"),
        pytest.raises(BlockingIOError, match=wanted),
    ):
        scores(ROWS[:1], store)
    scores(ROWS[:1], store)


def test_a_folder_that_can_only_be_read_gives_back_what_it_has(store, monkeypatch):
    def refuse(*arguments):
        raise OSError("read-only")

    expected = scores(ROWS[:2], store)
    monkeypatch.setattr(stores, "locked", refuse)
    assert scores(ROWS[:2], store).scores == expected.scores
    with pytest.raises(OSError, match="read-only"):
        scores(ROWS[:3], store)


PROCESS = """
import os, pathlib, signal, sys
from killed_test import ROWS, scores
from nfm_keras.evaluation import scoring
from nfm_keras.records import files

store, rows, moment = pathlib.Path(sys.argv[1]), ROWS, sys.argv[2]

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def at(owner, name, when, act=kill):
    # Before or after the second time that something is done.
    do, count = getattr(owner, name), [0]
    def done(*args, **options):
        count[0] += 1
        if when == "before" and count[0] == 2:
            act(*args)
        result = do(*args, **options)
        if when == "after" and count[0] == 2:
            act(*args)
        return result
    setattr(owner, name, done)

def half(file):
    path = os.readlink(f"/proc/self/fd/{file}")
    os.truncate(path, os.path.getsize(path) // 2)
    kill()

MOMENTS = {
    "measuring": (scoring, "measured", "before"),
    "measured": (scoring, "measured", "after"),
    "half written": (os, "fsync", "before", half),
    "written": (os, "fsync", "after"),
    "in place": (os, "replace", "after"),
}
if moment in MOMENTS:
    at(*MOMENTS[moment])
if moment.isdecimal():
    rows = ROWS[int(moment) :: 2]
    print("ready", flush=True)
    sys.stdin.readline()
scores(rows, store)
"""


def started(store, moment):
    """A process that evaluates all rows, or those from a number on by twos."""
    folder = os.path.dirname(__file__)
    path = os.pathsep.join([folder, os.environ["PYTHONPATH"]])
    # JAX is imported the fastest.
    environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": path}
    command = [sys.executable, "-c", PROCESS, str(store), moment]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, **pipes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment, kept",
    [
        ("measuring", 1),
        ("measured", 1),
        ("half written", 1),
        ("written", 1),
        ("in place", 2),
    ],
)
def test_an_evaluation_that_is_killed_goes_on(store, moment, kept):
    process = started(store, moment)
    process.communicate(timeout=200)
    assert process.returncode == -signal.SIGKILL
    assert list(hits(load_evaluation(store))) == ROWS[:kept]
    before = load_evaluation(store).scores
    found = scores(ROWS, store)
    assert found.scores[:kept] == before
    assert hits(found) == hits(scores(ROWS)) == hits(load_evaluation(store))
    assert [path.name for path in store.parent.iterdir()] == [store.name]


@pytest.mark.slow
def test_an_evaluation_that_is_killed_at_any_time_leaves_a_whole_file(store):
    expected = hits(scores(ROWS))
    for wait in (0.4, 0.8, 1.2, 1.6):
        process = started(store, "0")
        assert process.stdout.readline() == b"ready\n"
        process.stdin.close()
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
        process.stdout.close()
        if store.exists():
            assert hits(load_evaluation(store)).items() <= expected.items()
    assert hits(scores(ROWS, store)) == expected
    assert [path.name for path in store.parent.iterdir()] == [store.name]


@pytest.mark.slow
def test_two_processes_that_write_at_the_same_time_lose_no_row(store):
    pair = [started(store, moment) for moment in ("0", "1", "0")]
    for process in pair:
        assert process.stdout.readline() == b"ready\n"
    for process in pair:
        process.stdin.close()
    for process in pair:
        assert process.wait(200) == 0
        process.stdout.close()
    assert hits(load_evaluation(store)) == hits(scores(ROWS))
    assert json.loads(store.read_text())["format"]
    assert [path.name for path in store.parent.iterdir()] == [store.name]
