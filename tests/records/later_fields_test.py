"""Records of before a field of the config say what they had."""

import pathlib

import pytest

from nfm_keras import records
from nfm_keras.training import Config, optimizers

RESULTS = pathlib.Path(__file__).parents[2] / "results"


@pytest.mark.parametrize(
    "config, drops",
    [
        ({"scheme": "nfm", "schedule": "step", "epochs": 200}, [100, 150, 180]),
        ({"scheme": "nfm", "schedule": "step", "epochs": 30}, [15, 22.5, 27]),
        (
            {"scheme": "nfm", "schedule": "step", "epochs": 30, "rate_drops": [16.0]},
            [16.0],
        ),
        ({"scheme": "nfm", "schedule": "cosine", "epochs": 30}, None),
    ],
    ids=str,
)
def test_old_configs_say_what_they_had(config, drops):
    assert records.with_later_fields(config).get("rate_drops") == drops


def test_what_another_script_wrote_stays_as_it_is():
    assert records.with_later_fields({"schedule": "step"}) == {"schedule": "step"}


def test_no_published_record_lacks_what_has_a_default_now():
    """Or a table would tell it from a newer run of the same setting."""
    defaults = Config().to_json()
    told = {name for name, value in defaults.items() if value is not None}
    for path in records.paths(RESULTS):
        config = records.load(path).config
        assert "scheme" not in config or told <= set(config), path


def test_a_published_record_of_before_says_what_it_had():
    record = records.load(RESULTS / "cifar10" / "nfm" / "record.json")
    epochs = record.config["epochs"]
    assert record.config["rate_drops"] == [epochs * part for part in (0.5, 0.75, 0.9)]


def test_new_runs_have_the_authors_epochs():
    assert optimizers.rate_drops(200) == (101, 151, 181)
    assert Config(rate_drops=("16", 23)).rate_drops == (16.0, 23.0)
    assert Config(rate_drops=[1, 2]).to_json()["rate_drops"] == [1.0, 2.0]
