"""Which runs full scale has, and in which order."""

import pytest

from nfm_keras.experiments import full_scale, tables


def test_nfm_and_erm_are_trained_first_and_what_is_no_seed_is_named():
    table = tables.load("table1")
    rows = list(dict.fromkeys(run.row for run in full_scale.plan(table, "unused")))
    others = [row for row in table.rows if row not in ("nfm", "erm")]
    assert rows == ["nfm", "erm", *others]
    for seeds in (["a"], ["-1"]):
        with pytest.raises(ValueError, match="`seeds` must be integers"):
            full_scale.plan(table, "unused", seeds=seeds)
