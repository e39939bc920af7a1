"""Files that were written before the modules were moved can still be read.

`data/written_before/make.py` made them and says what they are.
"""

import json
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import programs
import pytest
from conftest import BACKEND

import nfm_keras as nfm
from nfm_keras import data, records, training
from nfm_keras.evaluation.store import StoreWarning

FILES = pathlib.Path(__file__).parent / "data" / "written_before"
MODELS = FILES / "models"

on_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="written and read by TensorFlow"
)

# However a program comes to load a model, the names of our classes must be known.
WAYS = [
    pytest.param(
        "import nfm_keras as nfm; load = nfm.load_model",
        marks=pytest.mark.backends,
        id="ours alone",
    ),
    pytest.param(
        "import nfm_keras, keras; load = keras.saving.load_model",
        marks=pytest.mark.slow,  # registration_test has the names, whatever is first
        id="ours first",
    ),
    pytest.param(
        "import keras, nfm_keras; load = keras.saving.load_model",
        marks=pytest.mark.slow,
        id="keras first",
    ),
]
LOAD = """
import pathlib, sys
import numpy as np

models, found = pathlib.Path(sys.argv[1]), {}
images = np.load(models / "expected.npz")["images"]
for path in sorted(models.glob("*.keras")):
    model = load(path)
    assert model.compiled and model.optimizer.built, path
    found[path.stem] = getattr(model, "classifier", model)(images, training=False)

from keras import ops
np.savez(sys.argv[2], **{k: ops.convert_to_numpy(v) for k, v in found.items()})
"""


def copied(name, folder):
    return pathlib.Path(shutil.copytree(FILES / name, folder / name))


def config_of(run):
    return training.Config(**json.loads((run / "config.json").read_text()))


def classifier_of(run):
    return keras.saving.load_model(run / "classifier.keras", compile=False)


def logits_of(classifier):
    images = np.load(MODELS / "expected.npz")["images"]
    return keras.ops.convert_to_numpy(classifier(images, training=False))


@pytest.mark.parametrize("way", WAYS)
def test_models_of_all_schemes_load_in_a_new_process(way, tmp_path):
    arguments = way + LOAD, str(MODELS), str(tmp_path / "found.npz")
    if way.startswith("import nfm_keras, keras"):  # a copy has imported Keras first
        command = [sys.executable, "-c", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
    else:
        done = programs.run(*arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    found = np.load(tmp_path / "found.npz")
    wanted = dict(np.load(MODELS / "expected.npz"))
    del wanted["images"]
    assert sorted(found) == sorted(wanted)
    for name, logits in wanted.items():
        np.testing.assert_allclose(found[name], logits, atol=1e-5, err_msg=name)


@pytest.mark.backends
@pytest.mark.parametrize("name", ["nfm_star", "label_smoothing"])
def test_a_loaded_model_trains_on(name):
    model = keras.saving.load_model(MODELS / f"{name}.keras")
    images = np.load(MODELS / "expected.npz")["images"]
    assert int(model.step) == int(model.optimizer.iterations) == 8
    model.fit(255 * images, np.arange(len(images)), verbose=0)
    assert int(model.step) == int(model.optimizer.iterations) == 9


def test_a_run_has_its_record_and_scores():
    record = records.load(FILES / "run" / "record.json")
    assert records.find(FILES) == [record]  # not that inside the SavedModel
    written = json.loads((FILES / "run" / "record.json").read_text())
    assert (record.name, record.config) == ("run", written["config"])
    assert record.history == written["history"]
    scores = [(s.perturbation, s.value, s.n, s.settings) for s in record.scores]
    names = "perturbation", "value", "n", "settings"
    assert scores == [tuple(s[name] for name in names) for s in written["scores"]]


@pytest.mark.parametrize("name", ["run/evaluation.json", "evaluation_standard.json"])
def test_an_evaluation_has_all_that_was_measured(name):
    found = records.load_evaluation(FILES / name)
    written = json.loads((FILES / name).read_text())
    assert len(found) == len(written["results"]) > 0
    for score, result in zip(found, written["results"]):
        assert result["score"].items() <= vars(score).items()
        assert (score.hits, score.stages) == (result["hits"], result["stages"])
        assert score.calibration == result["calibration"]
        assert score.right.sum() == score.correct
    for name in ("reliability", "certifications", "checks"):
        assert list(getattr(found, name)) == list(written[name])


@on_tensorflow
def test_an_evaluation_takes_the_place_of_rows_that_do_not_count(tmp_path):
    """They do not say which code measured them, and attacks were weaker."""
    store = tmp_path / "evaluation.json"
    shutil.copy(FILES / "evaluation_standard.json", store)
    before = records.load_evaluation(store)
    rows = ["clean", "white_noise@0.1", "fog@3", "pgd@8/255"]
    word = r"clean, white_noise@0.1, pgd@8/255 .written before .* fog@3 .version was 1"
    with pytest.warns(StoreWarning, match=word):
        found = nfm.evaluate(
            classifier_of(FILES / "run"),
            data.load("digits").test,
            suite=nfm.Suite(rows, corruption_limit=8, attack_settings={"steps": 20}),
            limit=20,
            attack_limit=8,
            store=store,
        )
    after = records.load_evaluation(store)
    # Fog has other pixels now: that is another measurement, beside the old one.
    assert len(after) == len(before) + 1 and found[2] in after.scores
    for score in (found[0], found[1], found[3]):
        old, new = before.score(score.perturbation), after.score(score.perturbation)
        assert new == score and (new.place, old.revision) == (old.place, 0)
        assert new.hits == old.hits or score.perturbation.startswith("pgd")


def test_a_finished_run_is_left_as_it_is(tmp_path):
    run = copied("run", tmp_path)
    record = training.train(config_of(run), run, resume=True, verbose=0)
    assert record == records.load(FILES / "run" / "record.json")


def test_a_setting_that_came_later_is_none_unless_it_is_chosen():
    """Else no run of before could be resumed: what a config lacks counts as None."""
    held = json.loads((FILES / "run" / "config.json").read_text())
    usual = training.Config().to_json()
    later = {name: usual[name] for name in usual.keys() - held.keys()}
    assert later == dict.fromkeys(later)


@on_tensorflow
def test_a_run_goes_on_from_the_middle_of_an_epoch_to_a_like_end(tmp_path):
    """Not the same: dropout draws its masks otherwise than when this was written."""
    half = copied("run_half", tmp_path)
    record = training.train(config_of(half), half, resume=True, verbose=0)
    whole = records.load(FILES / "run" / "record.json")
    assert record.history["learning_rate"] == whole.history["learning_rate"]
    for name in ("loss", "val_loss"):
        found, wanted = record.history[name], whole.history[name]
        assert found[0] == wanted[0]
        np.testing.assert_allclose(found, wanted, rtol=0.03, err_msg=name)
    found = logits_of(classifier_of(half))
    np.testing.assert_allclose(found, logits_of(classifier_of(FILES / "run")), atol=0.5)


@on_tensorflow
def test_a_saved_model_gives_the_logits_of_its_run():
    import tensorflow as tf

    served = tf.saved_model.load(str(FILES / "savedmodel" / "1"))
    images = tf.constant(np.load(MODELS / "expected.npz")["images"])
    found = served.signatures["serving_default"](images=images)["logits"]
    wanted = logits_of(classifier_of(FILES / "run"))
    np.testing.assert_allclose(found, wanted, atol=1e-5)
