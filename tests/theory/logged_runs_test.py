"""A run logs smoothness into its history, its table and its page."""

import dataclasses

import pytest
import small_run

from nfm_keras import records, training
from nfm_keras.records import history
from nfm_keras.reports import page


def test_a_run_logs_smoothness_every_so_many_epochs(tmp_path):
    config = dataclasses.replace(
        small_run.NFM, network="mlp", depth=1, limit=64, epochs=3, smoothness_every=2
    )
    small_run.train(config, tmp_path)
    found = records.load(tmp_path / records.FILE).history
    norms = found["jacobian_norm/site_0"]
    assert norms[0] == norms[1] != norms[2] > 0
    assert history.read_history(tmp_path / history.FILE)["margin"] == found["margin"]
    text = page.write(tmp_path).read_text(encoding="utf-8")
    assert "Smoothness over the epochs" in text and "<td>score" not in text


def test_a_resumed_run_goes_on_with_the_values_that_stood(tmp_path):
    config = dataclasses.replace(
        small_run.NFM, network="mlp", depth=1, limit=64, epochs=1, smoothness_every=3
    )
    small_run.train(config, tmp_path)
    small_run.train(dataclasses.replace(config, epochs=2), tmp_path, resume=True)
    margins = records.load(tmp_path / records.FILE).history["margin"]
    assert margins[0] == margins[1]


def test_smoothness_in_half_precision_is_refused():
    with pytest.raises(ValueError, match="float32.*mixed_bfloat16"):
        training.Config(smoothness_every=5, precision="mixed_bfloat16")
