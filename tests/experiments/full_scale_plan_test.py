"""Which runs full scale has, and in which order."""

import contextlib

import pytest

from nfm_keras import records
from nfm_keras.experiments import full_scale, tables


def test_nfm_and_erm_are_trained_first_and_what_is_no_seed_is_named():
    table = tables.load("table1")
    rows = list(dict.fromkeys(run.row for run in full_scale.plan(table, "unused")))
    others = [row for row in table.rows if row not in ("nfm", "erm")]
    assert rows == ["nfm", "erm", *others]
    for seeds in (["a"], ["-1"]):
        with pytest.raises(ValueError, match="`seeds` must be integers"):
            full_scale.plan(table, "unused", seeds=seeds)


def test_a_run_that_another_process_finished_meanwhile_is_left_alone(
    tmp_path, monkeypatch
):
    table = tables.load("table1")
    todo = full_scale.plan(table, tmp_path, rows=["erm"], seeds=[0])
    config = todo[0].config.to_json()

    @contextlib.contextmanager
    def locked(folder):
        fields = "erm", "erm", "cifar10", "n", config, (), 1, {}, {}, "", 1.0, ""
        record = records.Record(*fields, history={}, scores=())
        records.save(record, folder / records.FILE)
        yield

    monkeypatch.setattr(full_scale, "locked", locked)
    monkeypatch.setattr(full_scale, "_Slice", None)
    told = []
    assert full_scale.carry_out(todo, None, minutes=60, tell=told.append)
    assert told == ["1 of 1 runs are done."]
