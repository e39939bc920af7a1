import io
import sys

import numpy as np
import pytest
from callbacks_test import (
    BATCH,
    KEY,
    SETTINGS,
    SPLITS,
    STEPS,
    TEST,
    Kept,
    fit,
    model_of,
)
from PIL import Image

import nfm_keras as nfm
from nfm_keras.mixing.seen import step_draws
from nfm_keras.training.callbacks import LearningRate, NoisyAccuracy
from nfm_keras.training.tensorboard import TensorBoardLog

pytestmark = pytest.mark.backends


def events_of(folder):
    """What TensorBoard itself reads."""
    module = "tensorboard.backend.event_processing.plugin_event_accumulator"
    accumulator = pytest.importorskip(module)
    kept = {name: 100 for name in ("scalars", "images", "histograms")}
    events = accumulator.EventAccumulator(str(folder), tensor_size_guidance=kept)
    return events.Reload()


def arrays(events, name):
    from tensorboard.util import tensor_util

    return {
        event.step: tensor_util.make_ndarray(event.tensor_proto)
        for event in events.Tensors(name)
    }


def scalars(events, name):
    return {step: float(array) for step, array in arrays(events, name).items()}


def test_tensorboard_has_logs_draws_and_images(tmp_path):
    pytest.importorskip("tensorboard")
    asked = []

    def first_batch(epoch):
        asked.append(epoch)
        return SPLITS.train.images[:BATCH], SPLITS.train.labels[:BATCH]

    def log():
        given = {"measured_on": "test", "config": {"alpha": 1.0}}
        return TensorBoardLog(tmp_path, STEPS, BATCH, first_batch, **given)

    kept, model = Kept(), model_of()
    noisy = NoisyAccuracy(TEST.images, TEST.labels, **SETTINGS)
    fit(model, [noisy, LearningRate(), log(), kept])
    assert asked == [0, 2]  # at first, and after a validation
    fit(model, [noisy, LearningRate(), log(), kept], epochs=5, initial_epoch=4)
    events, measured = events_of(tmp_path / "training"), events_of(tmp_path / "test")
    for name in ("loss", "mixed_accuracy", "learning_rate", KEY, "val_loss"):
        logged = {e + 1: logs[name] for e, logs in enumerate(kept.logs) if name in logs}
        run = measured if name.startswith("val_") else events
        shown = scalars(run, name.removeprefix("val_"))
        assert shown == pytest.approx(logged), name
    sites, lam = step_draws(model, BATCH)(range(5 * STEPS))
    means = np.mean(lam.reshape(5, STEPS), axis=1)
    assert [*scalars(events, "mixing/lam_mean").values()] == pytest.approx(means)
    shares = np.mean(sites.reshape(5, STEPS) == 1, axis=1)
    assert [*scalars(events, "mixing/share/site_1").values()] == pytest.approx(shares)
    for name in ("mixing/site", "mixing/lam"):
        counts = {k: h[:, 2].sum() for k, h in arrays(events, name).items()}
        assert counts == {step: STEPS for step in range(1, 6)}
    images = arrays(events, "mixing/images")
    assert [*images] == [0, 2, 4]
    width, height, png = images[0]
    assert Image.open(io.BytesIO(png)).size == (int(width), int(height))


@pytest.mark.slow
def test_what_is_written_again_replaces_what_was(tmp_path):
    pytest.importorskip("tensorboard")
    for epochs, first in ((3, 0), (3, 1)):  # killed after the third, went on from one
        log = TensorBoardLog(tmp_path, STEPS, BATCH)
        fit(model_of(), [log], epochs=epochs, initial_epoch=first)
    losses = events_of(tmp_path / "training").Tensors("loss")
    assert [event.step for event in losses] == [1, 2, 3]


def test_without_tensorboard_the_error_says_what_to_install(monkeypatch, tmp_path):
    for name in [n for n in sys.modules if n.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        TensorBoardLog(tmp_path, STEPS, BATCH)
    assert not list(tmp_path.iterdir())


def test_a_run_without_mixing_has_no_draws(tmp_path):
    pytest.importorskip("tensorboard")
    model = model_of()
    model.mixing = nfm.Mixing(alpha=0.0, sigma_add=0.0, sigma_mult=0.0)
    fit(model, [TensorBoardLog(tmp_path, STEPS, BATCH)], epochs=1)
    tags = events_of(tmp_path / "training").Tags()["tensors"]
    assert "loss" in tags and not [tag for tag in tags if "mixing" in tag]


def test_settings_and_measures_are_in_hparams(tmp_path):
    """As the server of TensorBoard finds them, through its own plug-in."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing import data_provider
    from tensorboard.backend.event_processing import plugin_event_multiplexer as events
    from tensorboard.context import RequestContext
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import (
        api_pb2,
        backend_context,
        list_session_groups,
    )

    config = {"scheme": "nfm", "alpha": 0.5, "sites": ["a", "b"], "augment": True}
    config |= {"depth": None, "epochs": 3}
    folder = tmp_path / "nfm" / "tensorboard"
    log = TensorBoardLog(folder, STEPS, BATCH, measured_on="test", config=config)
    kept = Kept()
    fit(model_of(), [log, kept], epochs=2)
    multiplexer = events.EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(tmp_path))
    asking = RequestContext()
    context = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    asked = api_pb2.ListSessionGroupsRequest(
        start_index=0,
        slice_size=9,
        allowed_statuses=[api_pb2.STATUS_UNKNOWN],
        aggregation_type=api_pb2.AGGREGATION_AVG,
    )
    experiment = context.experiment_from_metadata(
        asking, "", True, context.hparams_metadata(asking, ""), []
    )
    for info in experiment.metric_infos:
        asked.col_params.add().metric.CopyFrom(info.name)
    handler = list_session_groups.Handler(asking, context, "", asked)
    (group,) = handler.run().session_groups
    assert group.hparams["alpha"].number_value == 0.5
    assert group.hparams["sites"].string_value == "a, b"
    assert group.hparams["augment"].bool_value and "depth" not in group.hparams
    values = {(v.name.group, v.name.tag): v.value for v in group.metric_values}
    assert values["test", "loss"] == pytest.approx(kept.logs[-1]["val_loss"])
    assert values["training", "loss"] == pytest.approx(kept.logs[-1]["loss"])
    assert {run.split("/")[-1] for run in multiplexer.Runs()} == {
        "tensorboard",
        "training",
        "test",
    }
