"""Records of before the epochs at which a rate fell were written down."""

import pathlib

import pytest

from nfm_keras import records
from nfm_keras.training import Config, optimizers

RESULTS = pathlib.Path(__file__).parents[2] / "results"


@pytest.mark.parametrize(
    "config, drops",
    [
        ({"schedule": "step", "epochs": 200}, [100, 150, 180]),
        ({"schedule": "step", "epochs": 30}, [15, 22.5, 27]),
        ({"schedule": "step", "epochs": 30, "rate_drops": [16.0]}, [16.0]),
        ({"schedule": "cosine", "epochs": 30}, None),
        ({}, None),
    ],
    ids=str,
)
def test_old_configs_say_what_they_had(config, drops):
    assert records.with_rate_drops(config).get("rate_drops") == drops


def test_a_published_record_of_before_says_what_it_had():
    record = records.load(RESULTS / "cifar10" / "nfm" / "record.json")
    epochs = record.config["epochs"]
    assert record.config["rate_drops"] == [epochs * part for part in (0.5, 0.75, 0.9)]


def test_new_runs_have_the_authors_epochs():
    assert optimizers.rate_drops(200) == (101, 151, 181)
    assert Config(rate_drops=("16", 23)).rate_drops == (16.0, 23.0)
    assert Config(rate_drops=[1, 2]).to_json()["rate_drops"] == [1.0, 2.0]
