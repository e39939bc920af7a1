"""Which runs full scale has, and in which order."""

import contextlib
import dataclasses

import pytest

from nfm_keras import data, records, training
from nfm_keras.experiments import full_scale, tables
from nfm_keras.experiments.experiment import Run


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


def test_an_extended_run_says_so_and_when_it_began(tmp_path):
    short = training.Config(dataset="digits", network="mlp", depth=1, scheme="erm")
    splits = data.load("digits")

    def slice_of(epochs, splits=splits):
        config = dataclasses.replace(short, epochs=epochs, schedule="constant")
        run = Run("erm", config, tmp_path / "erm")
        return full_scale._Slice(run, splits, full_scale.Budget(1), print)

    first = slice_of(2)
    first.checkpoint.extra["started"] = "in 1999"
    first.checkpoint.on_epoch_begin(0)
    first.checkpoint.on_epoch_end(0, {"loss": 1.0})
    longer = slice_of(3).checkpoint
    assert (longer.extra["started"], longer.extra["extended"]) == ("in 1999", [2])
    fewer = splits._replace(train=splits.train.subset(slice(1000)))
    with pytest.raises(ValueError, match="1297 images.*Received: 1000 images"):
        slice_of(3, fewer)
