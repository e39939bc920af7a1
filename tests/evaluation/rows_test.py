import pytest

from nfm_keras import corruptions
from nfm_keras.attacks import PGD
from nfm_keras.evaluation import rows


def ids(*items):
    return [row.id for row in rows.expand(items)]


def test_groups_and_bare_names_are_all_their_severities():
    everything = ids("common_corruptions", "extra_corruptions")
    assert len(everything) == len(set(everything)) == 95
    assert ids("common_corruptions@2") == [f"{k}@2" for k in corruptions.STANDARD]
    assert ids("fog") == [f"fog@{s}" for s in range(1, 6)]
    assert len(ids("white_noise")) == 13


def test_kinds_are_told_apart():
    found = rows.expand(["clean", "white_noise@0.1", "fog@3", "pgd@0.1", "square@0.1"])
    assert [rows.is_attack(row) for row in found] == [0, 0, 0, 1, 1]
    assert [rows.is_corruption(row) for row in found] == [0, 0, 1, 0, 0]
    assert rows.passes(found[0]) == 1
    assert rows.passes(PGD(0.1, steps=20, restarts=2)) == 80


def test_settings_reach_pgd_and_frost_alone():
    settings = {"steps": 9}
    pgd, square, frost = rows.expand(
        ["pgd@0.1", "square@0.1", "frost@1"], settings, frost_dir="textures"
    )
    assert pgd.steps == 9 and frost.frost_dir == "textures"
    assert "steps" not in square.settings


@pytest.mark.parametrize("text", ["fog@six", "fog@1.0", "fog@-1", "fog@"])
def test_a_severity_of_a_corruption_is_a_whole_number(text):
    with pytest.raises(ValueError, match=rf"1 to 5.*Received: '{text}'"):
        rows.expand([text])
