import pytest

from nfm_keras import corruptions
from nfm_keras.attacks import PGD
from nfm_keras.evaluation.conditions import Attacked, Noisy
from nfm_keras.evaluation.corrupted import Corrupted
from nfm_keras.evaluation.plan import SUITES, Suite, conditions, named


def ids(*items):
    return [condition.id for condition in conditions(Suite(items))]


def test_groups_and_bare_names_are_all_their_severities():
    everything = ids("common_corruptions", "extra_corruptions")
    assert len(everything) == len(set(everything)) == 95
    assert ids("common_corruptions@2") == [f"{k}@2" for k in corruptions.STANDARD]
    assert ids("fog") == [f"fog@{s}" for s in range(1, 6)]
    assert len(ids("white_noise")) == 13


def test_every_kind_is_scored_in_its_own_way():
    made = conditions(
        Suite(
            ["clean", "white_noise@0.1", "fog@3", "pgd@0.1", "square@0.1"],
            attack_limit=7,
            corruption_limit=8,
        )
    )
    kinds = [Noisy, Noisy, Corrupted, Attacked, Attacked]
    assert [type(condition) for condition in made] == kinds
    assert [condition.limit for condition in made] == [None, None, 8, 7, 7]
    assert made[0].passes == 1
    (pgd,) = conditions(Suite([PGD(0.1, steps=20, restarts=2)]))
    assert pgd.passes == 80


def test_settings_reach_pgd_and_frost_alone():
    suite = Suite(
        ["pgd@0.1", "square@0.1", "frost@1"],
        attack_settings={"steps": 9},
        frost_dir="textures",
    )
    pgd, square, frost = (c.perturbation for c in conditions(suite))
    assert pgd.steps == 9 and frost.frost_dir == "textures"
    assert "steps" not in square.settings


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"attack_settings": {"step": 5}}, "Did you mean 'steps'"),
        ({"sigmas": (0.1,)}, "`certify_limit` must be a positive"),
        ({"sigmas": (0.0,), "certify_limit": 5}, "`sigmas` must be .* above 0"),
        ({"sigmas": 0.1, "certify_limit": 5}, "`sigmas`"),
        ({"certify_samples": 0}, "`certify_samples`"),
        ({"masking_limit": -3}, "`masking_limit` must be an integer, 0 or more"),
    ],
)
def test_what_cannot_be_measured_is_said_before_anything_is(settings, words):
    with pytest.raises(ValueError, match=f"{words}.*Received: "):
        Suite(["clean", "pgd@0.1"], **settings)


def test_settings_of_pgd_without_pgd_are_refused():
    with pytest.raises(ValueError, match="one has to be among.*Received"):
        Suite(["clean", "autoattack@0.1"], attack_settings={"steps": 5})


@pytest.mark.parametrize("text", ["fog@six", "fog@1.0", "fog@-1", "fog@"])
def test_a_severity_of_a_corruption_is_a_whole_number(text):
    with pytest.raises(ValueError, match=rf"1 to 5.*Received: '{text}'"):
        ids(text)


def test_a_stochastic_classifier_gets_the_version_that_averages():
    rows = ["clean", "fog@1", "autoattack@0.1"]
    made = conditions(Suite(rows), stochastic=True)
    assert made[-1].perturbation.version == "rand"
    with pytest.raises(ValueError, match="by `autoattack`.*Received: 'square@0.1'"):
        conditions(Suite(["square@0.1"]), stochastic=True)
    quick = {c.id for c in conditions(named("quick"), stochastic=True)}
    assert "pgd@1/255" not in quick and "clean" in quick


def test_named_suites_say_their_names():
    assert all(suite.name == name for name, suite in SUITES.items())


def test_settings_of_pgd_do_not_reach_an_attack_with_its_own():
    with pytest.raises(ValueError, match="given as a value has its own"):
        Suite([PGD(0.1)], attack_settings={"steps": 50})
