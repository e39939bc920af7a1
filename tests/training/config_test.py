import dataclasses
import json
import subprocess
import sys

import pytest
from small_run import NFM, train

from nfm_keras.training.config import Config
from nfm_keras.training.fields import SENTENCES

pytestmark = pytest.mark.backends

LIGHT = """
import sys
import nfm_keras
from nfm_keras import training
from nfm_keras.training.config import Config
from nfm_keras.training.fields import SENTENCES

assert training.Config is Config and Config.scheme == "nfm"
heavy = {"keras", "numpy", "tensorflow", "jax", "torch"} & sys.modules.keys()
assert not heavy, heavy
"""


def test_the_fields_are_there_without_keras_and_numpy():
    subprocess.run([sys.executable, "-c", LIGHT], check=True)


def test_a_config_comes_back_from_json():
    config = dataclasses.replace(NFM, sites=["site_1"], grids=(2.0, 4), off_epoch=0)
    assert config.sites == ("site_1",) and config.grids == (2, 4)
    assert dataclasses.replace(NFM, sites="site_1").sites == ("site_1",)
    assert Config(**json.loads(json.dumps(config.to_json()))) == config


BAD = [
    ({"scheme": "nfn"}, "Unknown scheme.*Received: 'nfn'"),
    ({"dataset": "digit"}, "Unknown dataset.*Received: 'digit'"),
    ({"network": "lstm"}, "Unknown network.*Received: 'lstm'"),
    ({"width": 0.0}, "`width` must be .*above 0.*Received: 0.0"),
    ({"sites": ("site_9",)}, "No site of that name.*Received: 'site_9'"),
    ({"sites": ("site_9",), "scheme": "erm"}, "No site of that name.*'site_9'"),
    ({"alpha": float("nan")}, "`alpha` must be .*Received: nan"),
    ({"alpha": -1.0}, "`alpha` must be .*Received: -1"),
    ({"beta": 0.0}, "`beta` must be positive"),
    ({"sigma_add": -0.1}, "`sigma_add` must be .*Received: -0.1"),
    ({"sigma_mult": float("inf")}, "`sigma_mult` must be .*Received: inf"),
    ({"noise": "cauchy"}, "`noise` must be one of .*'cauchy'"),
    ({"probability": 1.1}, "`probability` must be .*at most 1. Received: 1.1"),
    ({"scheme": "cutmix", "sites": ("site_1",)}, "'cutmix' cuts images.*'site_1'"),
    ({"scheme": "cutmix", "sigma_add": 0.1}, "'cutmix' adds no noise.*=0.1"),
    ({"scheme": "puzzlemix"}, "must divide the image.*8x8, grids="),
    ({"attack_steps": 3}, "`attack_steps` must not be set for scheme 'nfm'.*: 3"),
    ({"sparsity": 2.0}, "`sparsity` must be .*at most 1. Received: 2"),
    ({"label_smoothing": 1.0}, "`label_smoothing` must be .*below 1. Received: 1"),
    ({"noise_schedule": "up"}, "Unknown noise_schedule.*Received: 'up'"),
    ({"off_epoch": -1}, "`off_epoch` must be .* 0 or more. Received: -1"),
    ({"policy": "augmix"}, "Unknown policy.*autoaugment.*Received: 'augmix'"),
    ({"patch_size": 4}, "must have the options .*patch_size"),
    ({"attention_dropout": 0.1}, "must have the options .*attention_dropout"),
    ({"network": "vit_lite", "stochastic_depth": 1.0}, "`stochastic_depth` must"),
    ({"network": "vit_lite", "patch_size": 3}, "`patch_size` must divide.*=3"),
    ({"grids": 3}, "`grids` must be a sequence of int. Received: 3"),
    ({"rate_drops": [-5]}, "`rate_drops` must be .*Received: -5.0"),
    ({"rate_drops": ["nan"]}, "`rate_drops` must be .*Received: nan"),
    ({"rate_drops": ["x"]}, "`rate_drops` must be a sequence of float. Received"),
    ({"site_weights": [0, -1]}, "`site_weights` must be .*Received: .0.0, -1.0"),
    ({"site_weights": [1, 2]}, "one for each of the sites. Received: 2 weight"),
    ({"validation": 1.5}, "`validation` must be an integer, 0 or more. Rec.*: 1.5"),
    ({"epochs": 0}, "`epochs` must be a positive integer. Received: 0"),
    ({"batch_size": 0}, "`batch_size` must be a positive integer. Rec.*: 0"),
    ({"eval_every": 0}, "`eval_every` must be a positive integer. Rec.*: 0"),
    ({"optimizer": "adam", "nesterov": True}, "`nesterov` is of sgd alone. .*'adam'"),
    ({"optimizer": "adam", "weight_decay": 0.1}, "is of sgd and adamw alone. .*=0.1"),
    ({"scheme": "erm", "alpha_schedule": "rise"}, "scales alpha, .* 0 in scheme 'erm'"),
    ({"scheme": "mixup", "noise_schedule": "fall"}, "scales sigma_add and .*'mixup'"),
    ({"optimizer": "lion"}, "Unknown optimizer. Known: .*Received: 'lion'"),
    ({"learning_rate": float("nan")}, "`learning_rate` must be .*Received: nan"),
    ({"weight_decay": -1.0}, "`weight_decay` must be .*Received: -1"),
    ({"schedule": "steps"}, "Unknown schedule. Did you mean 'step'"),
    ({"warmup_epochs": 1}, "Warm-up is part of the 'cosine' schedule"),
    ({"warmup_epochs": -1, "schedule": "cosine"}, "`warmup_epochs` .*Received: -1"),
    ({"precision": "float8"}, "Unknown precision.*Received: 'float8'"),
    ({"global_clipnorm": 0.0}, "`global_clipnorm` must be .*above 0. Received: 0.0"),
    ({"base_batch_size": 0}, "`base_batch_size` must be a positive.*Received: 0"),
    ({"on_nan": "ignore"}, "Unknown on_nan. Known: .*Received: 'ignore'"),
    ({"swa_epochs": 3}, "`swa_epochs` must be at most the 2 .*Received: 3"),
    ({"swa_epochs": 1, "ema": True}, "one kind of averages.*swa_epochs=1"),
    ({"gradient_accumulation": 0}, "`gradient_accumulation` must be a positive"),
    ({"swa_epochs": -1}, "`swa_epochs` must be .* 0 or more. Received: -1"),
    ({"steps_per_execution": 3}, "`steps_per_execution` must divide the 4 steps.*: 3"),
    ({"limit": 0}, "`limit` must be a positive.*Received: 0"),
    ({"validation": 256}, "`validation` must be .*Received: 256"),
    ({"seed": -1}, "`seed` must be .*Received: -1"),
]


@pytest.mark.parametrize("wrong, message", BAD, ids=[str(w) for w, _ in BAD])
def test_a_wrong_config_is_refused_by_name(tmp_path, wrong, message):
    """And leaves the folder free for a right one."""
    with pytest.raises(ValueError, match=message):
        config = dataclasses.replace(NFM, **{"network": "mlp"} | wrong)
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_every_field_has_a_sentence_and_no_other():
    fields = {field.name for field in dataclasses.fields(Config)}
    assert fields == SENTENCES.keys()
