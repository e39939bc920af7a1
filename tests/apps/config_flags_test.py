"""Flags of a config: what they leave open, and back."""

import dataclasses
import functools
import types

import pytest
from absl import flags

from apps import config_flags
from nfm_keras.training import Config
from nfm_keras.training.config import USUAL


@pytest.fixture
def parse(monkeypatch):
    """A function from flags to the config that they mean."""

    def parsed(*given):
        values = flags.FlagValues()
        defining = {
            kind: functools.partial(define, flag_values=values)
            for kind, define in config_flags._DEFINE.items()
        }
        monkeypatch.setattr(config_flags, "_DEFINE", defining)
        names = config_flags.define()
        values(["train", *given])
        monkeypatch.setattr(config_flags, "flags", types.SimpleNamespace(FLAGS=values))
        return config_flags.config(names)

    return parsed


def test_what_flags_leave_open_is_what_is_usual_for_the_set(parse):
    assert dataclasses.asdict(parse()).items() >= USUAL["digits"].items()
    chosen = parse("--dataset=digits", "--epochs=200")
    assert chosen.epochs == 200 and chosen.network == USUAL["digits"]["network"]
    assert parse("--dataset=cifar10") == Config(dataset="cifar10")


@pytest.mark.parametrize(
    "config",
    [
        Config(),  # the paper's network and length, on the digits
        Config(**USUAL["digits"]),
        Config(dataset="cifar10", network="small_resnet", epochs=30),
        Config(batch_size=32, sites=("site_0", "site_1"), augment=False, ema=True),
    ],
    ids=["paper's", "usual", "cifar10", "some"],
)
def test_a_config_as_flags_is_that_config(parse, config):
    assert parse(*config_flags.serialize(config)) == config
