import dataclasses
import re

import numpy as np
import pytest
from keras import ops
from small_run import NFM

from nfm_keras import training
from nfm_keras.training import FiniteLoss, TrainingDiverged, checkpoints

pytestmark = pytest.mark.backends


def diverging(**options):
    """Momentum and a learning rate at which nothing learns."""
    wild = {"learning_rate": 1e5, "momentum": 0.99, "schedule": "constant"}
    return dataclasses.replace(NFM, network="mlp", **wild | options)


def test_a_run_that_diverges_stops_and_keeps_its_checkpoint(tmp_path, monkeypatch):
    good = dataclasses.replace(NFM, network="mlp", depth=1)
    begin = FiniteLoss.on_epoch_begin

    def spoil(self, epoch, logs=None):
        begin(self, epoch, logs)
        if epoch == 1:
            bias = self.model.trainable_variables[-1]
            bias.assign(np.full(bias.shape, np.inf))

    with monkeypatch.context() as patch, pytest.raises(TrainingDiverged) as caught:
        patch.setattr(FiniteLoss, "on_epoch_begin", spoil)
        training.train(good, tmp_path, verbose=0)
    assert "The loss of step 4 is not finite" in str(caught.value)
    found, held = checkpoints.newest(tmp_path / "checkpoints")
    assert found.name == "0001" and held["epoch"] == 1
    record = training.train(good, tmp_path, verbose=0, resume=True)
    assert (
        np.isfinite(record.history["loss"]).all() and "rollbacks" not in record.history
    )


@pytest.mark.slow
def test_a_run_that_may_go_back_ends_at_a_rate_that_works(tmp_path, monkeypatch):
    """Whose weights are spoilt whenever the rate is above a quarter of the first."""
    config = dataclasses.replace(
        NFM, network="mlp", schedule="constant", on_nan="rollback"
    )
    rates = []

    def spoil(self, epoch, logs=None):
        begin(self, epoch, logs)
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        rates.append((epoch, round(rate / NFM.learning_rate, 6), self.model.seed))
        if epoch == 1 and rate > 0.3 * NFM.learning_rate:
            bias = self.model.trainable_variables[-1]
            bias.assign(np.full(bias.shape, np.inf))

    begin = FiniteLoss.on_epoch_begin
    monkeypatch.setattr(FiniteLoss, "on_epoch_begin", spoil)
    with pytest.warns(UserWarning, match="rate times 0.*rollback . of 5") as caught:
        record = training.train(config, tmp_path, verbose=0)
    ours = [warning for warning in caught if warning.category is UserWarning]
    assert len(ours) == 2
    for number, warning in enumerate(ours, 1):
        expected = f"the last checkpoint, with the rate times {0.5**number} "
        assert expected in str(warning.message)
    assert rates == [(0, 1, 3), (1, 1, 3), (1, 0.5, 4), (1, 0.25, 5)]
    np.testing.assert_equal(record.history["rollbacks"], [float("nan"), 2.0])
    assert np.isfinite(record.history["loss"]).all()


@pytest.mark.slow
def test_a_run_that_cannot_be_saved_goes_back_five_times(tmp_path):
    config = diverging(on_nan="rollback", epochs=1)
    with pytest.warns() as warned, pytest.raises(TrainingDiverged):
        training.train(config, tmp_path, verbose=0)
    back = [re.search(r"rollback (\d)", str(w.message)) for w in warned]
    assert [int(found[1]) for found in back if found] == [1, 2, 3, 4, 5]
