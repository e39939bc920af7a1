import dataclasses
import json
import math
import os
import random

import pytest

from nfm_keras import records

pytestmark = pytest.mark.backends

SCORE = records.Score(
    perturbation="white_noise@0.1",
    severity=0.1,
    protocol="pixel",
    value=90.0,
    low=82.6,
    high=94.5,
    n=100,
    correct=90,
    seed=3,
    seconds=1.5,
    settings={"steps": 7, "norm": "linf", "clip": [0.0, 1.0]},
)
RECORD = records.Record(
    name="nfm-0",
    scheme="nfm",
    dataset="cifar10",
    network="preact_resnet18",
    config={"seed": 0, "alpha": 1.0, "mixing": {"noise": None}, "flip": True},
    sites=("site_0", "site_1"),
    parameters=11_170_000,
    versions={"keras": "3.15.1"},
    hardware={"cores": 2, "accelerators": []},
    command="python -m apps.train --scheme=nfm",
    seconds=60.25,
    started="2025-01-01T00:00:00+00:00",
    history={"loss": [2.3, 0.1 + 0.2], "accuracy": []},
    scores=(SCORE, dataclasses.replace(SCORE, perturbation="clean", protocol="none")),
)


UNSCORED = dataclasses.replace(RECORD, scores=())


def test_record_round_trip_is_exact(tmp_path):
    path = tmp_path / "new" / "folder" / "record.json"
    records.save(RECORD, path)
    assert records.load(path) == UNSCORED
    assert [p.name for p in path.parent.iterdir()] == ["record.json"]


def test_scores_come_from_the_evaluation_beside_the_record(tmp_path):
    evaluation = records.Evaluation("nfm", "cifar10", "", [], scores=RECORD.scores)
    records.save(RECORD, tmp_path / "record.json")
    assert "scores" not in json.loads((tmp_path / "record.json").read_text())
    records.save_evaluation(evaluation, tmp_path / "evaluation.json")
    assert records.load(tmp_path / "record.json") == RECORD
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(ValueError, match="evaluation.json is truncated"):
        records.load(tmp_path / "record.json")


def old_record(**changes):
    """A record as format 1 had it, with its scores in it."""
    content = dataclasses.asdict(RECORD) | {"format": 1}
    for score in content["scores"]:
        for name in ("hits", "calibration", "stages"):
            del score[name]
    return content | changes


def test_scores_of_an_old_record_are_kept_where_the_evaluation_has_none(tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps(old_record()))
    assert records.load(path) == RECORD
    newer = dataclasses.replace(SCORE, correct=94, value=94.0)
    evaluation = records.Evaluation("nfm", "cifar10", "", [], scores=(newer,))
    records.save_evaluation(evaluation, tmp_path / "evaluation.json")
    clean = RECORD.scores[1]
    assert set(map(str, records.load(path).scores)) == {str(clean), str(newer)}


def test_random_floats_survive_to_the_last_bit(tmp_path):
    generator = random.Random(0)
    loss = [
        generator.uniform(-1, 1) * 10 ** generator.randint(-300, 300) for _ in "x" * 200
    ]
    record = dataclasses.replace(RECORD, history={"loss": loss})
    records.save(record, tmp_path / "r")
    assert records.load(tmp_path / "r").history["loss"] == loss


def test_non_finite_numbers_survive_as_strict_json(tmp_path):
    record = dataclasses.replace(
        RECORD,
        name="NaN",  # text that looks like a number stays text
        config={"clip": math.inf},
        history={"loss": [1.0, math.nan, math.inf, -math.inf]},
    )
    path = tmp_path / "record.json"
    records.save(record, path)

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    json.loads(path.read_text(), parse_constant=refuse)
    loaded = records.load(path)
    assert loaded.name == "NaN"
    assert loaded.config == {"clip": math.inf}
    assert math.isnan(loaded.history["loss"][1])
    assert loaded.history["loss"][2:] == [math.inf, -math.inf]


def test_numpy_values_become_json(tmp_path):
    numpy = pytest.importorskip("numpy")
    values = {"a": numpy.float32(0.5), "b": numpy.arange(3), "c": numpy.float32("nan")}
    records.write_json(tmp_path / "x.json", values)
    assert records.read_json(tmp_path / "x.json") == {
        "a": 0.5,
        "b": [0, 1, 2],
        "c": "NaN",
    }


@pytest.mark.parametrize("value", [{"x": {1, 2}}, {1: "x"}, {"x": object()}])
def test_what_is_not_json_is_refused_and_leaves_the_file(value, tmp_path):
    path = tmp_path / "state.json"
    records.write_json(path, {"epoch": 1})
    with pytest.raises(TypeError):
        records.write_json(path, value)
    assert records.read_json(path) == {"epoch": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_file_truncated_anywhere_gives_a_clear_error(tmp_path):
    path = tmp_path / "record.json"
    records.save(RECORD, path)
    content = path.read_bytes().rstrip()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="truncated.*Received: ") as caught:
            records.load(path)
        assert str(path) in str(caught.value)


def _without(key):
    return lambda content: content.pop(key)


def _with(**items):
    return lambda content: content.update(items)


def _with_score(**items):
    content = old_record()
    content["scores"][0].update(items)
    return lambda new: new.update(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("format"), "format 2.*Received: None"),
        (_with(format=3), "format 2.*Received: 3"),
        (_without("sites"), r"missing \['sites'\]"),
        (_with(extra=1), r"unknown \['extra'\]"),
        (_with(parameters=1.5), "record.parameters.*int.*Received: 1.5"),
        (_with(parameters=True), "record.parameters.*int"),
        (_with(sites=["a", 1]), r"record.sites\[1\].*str"),
        (_with(history={"loss": ["x"]}), r"record.history.loss\[0\].*'x'"),
        (_with(scores=[{}]), r"record.scores\[0\].*missing"),
        (_with(**old_record(scores=[7])), r"record.scores\[0\].*Received: 7"),
        (_with(**old_record(scores=7)), "record.scores.*list.*Received: 7"),
        (_with_score(protocol="x"), "protocol.*'x'"),
        (_with_score(correct=101), "correct=101"),
    ],
)
def test_wrong_content_is_named(change, message, tmp_path):
    path = tmp_path / "record.json"
    records.save(RECORD, path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message) as caught:
        records.load(path)
    assert str(path) in str(caught.value)
    assert "Received: " in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"[1]", b"NaN", b"\xff\xfe", b"[" * 10**5])
def test_what_is_no_record_gives_value_error(text, tmp_path):
    path = tmp_path / "record.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match="Received: "):
        records.load(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.json"):
        records.load(tmp_path / "absent.json")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError(28, "No space left")])
@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_failed_write_keeps_the_old_file_and_no_other(
    kind, step, tmp_path, monkeypatch
):
    path = tmp_path / "record.json"
    records.save(RECORD, path)
    old = path.read_bytes()

    def fail(*_):
        raise kind

    monkeypatch.setattr(os, step, fail)
    expected = OSError if isinstance(kind, OSError) else kind
    with pytest.raises(expected) as caught:
        records.save(dataclasses.replace(RECORD, name="new"), path)
    if expected is OSError:
        assert caught.value.errno == 28
        assert f"Cannot write {path}: No space left" in str(caught.value)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_gives_one_clear_line(tmp_path, monkeypatch):
    real = open
    monkeypatch.setattr(
        "builtins.open", lambda path, *a, **k: real("/dev/full", *a, **k)
    )
    with pytest.raises(OSError, match="Cannot write .*record.json: No space left"):
        records.save(RECORD, tmp_path / "record.json")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_of_two_that_write_what_is_never_replaced_the_first_wins(kind, tmp_path):
    def write(path, text):
        if kind == "folder":
            path.mkdir()
            path /= "x"
        path.write_text(text)

    target = tmp_path / "target"
    with records.whole(target, replace=False) as hidden:
        write(hidden, "ours")
    before = sorted(tmp_path.rglob("*"))
    refused = pytest.raises(FileExistsError, match="target: it appeared meanwhile")
    with refused, records.whole(target, replace=False) as hidden:
        write(hidden, "theirs")
    assert sorted(tmp_path.rglob("*")) == before
    assert before[-1].read_text() == "ours"


def test_folder_that_is_a_file_gives_one_clear_line(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(OSError, match="Cannot write .*record.json"):
        records.save(RECORD, tmp_path / "run" / "record.json")


def test_find_reads_sorted_and_passes_over_hidden_folders_and_copies(tmp_path):
    records.save(RECORD, tmp_path / "served" / "1" / "record.json")
    (tmp_path / "served" / "1" / "saved_model.pb").touch()
    for name in ("b", "a/1", "a/0", ".tmp/x"):
        record = dataclasses.replace(RECORD, name=name)
        records.save(record, tmp_path / name / "record.json")
    assert [record.name for record in records.find(tmp_path)] == ["a/0", "a/1", "b"]


def test_find_names_a_broken_record(tmp_path):
    records.save(RECORD, tmp_path / "good" / "record.json")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "record.json").write_text("{")
    with pytest.raises(ValueError, match="bad.record.json"):
        records.find(tmp_path)
    with pytest.warns(UserWarning, match="bad.record.json"):
        assert records.find(tmp_path, skip_broken=True) == [UNSCORED]
    with pytest.raises(FileNotFoundError, match="absent"):
        records.find(tmp_path / "absent")
