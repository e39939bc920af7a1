"""Which file of a run is exported, and what comes with it."""

import dataclasses

import conftest
import keras
import numpy as np
import photograph_sets
import programs
import pytest
from PIL import Image

from nfm_keras import networks, records, remove_sites
from nfm_keras.serving.loading import answers

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="SavedModel is TensorFlow's format"
)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """The folder of a run on photographs that kept its best, and that classifier."""
    folder = tmp_path_factory.mktemp("run")
    settings = {"classes": ["cat", "dog"], "eval_crop": 0.5, "image_size": 8}
    record = conftest.run(scores=[conftest.score("clean", 61.0)], **settings)
    best = {"metric": "val_loss", "value": 0.5, "epoch": 7}
    conftest.save_run(dataclasses.replace(record, best=best), folder)
    models = [remove_sites(networks.mlp((8, 8, 3), 2, depth=1)) for _ in range(2)]
    for model, name in zip(models, ("classifier.keras", "best.keras")):
        model.save(folder / name)
    return folder, models[1]


@pytest.mark.parametrize("named", ["by its run", "by its file"])
def test_the_best_is_exported_as_the_run_had_its_images(photographs, tmp_path, named):
    folder, best = photographs
    given = [f"--run_dir={folder}", "--best", "--name=pets"]
    if named == "by its file":
        given = [f"--model=pets={folder / 'best.keras'}"]
    done = programs.run("apps.export", *given, f"--output={tmp_path}")
    assert done.returncode == 0, done.stderr[-2000:]
    place = tmp_path / "pets" / "1"
    names = (place / "assets.extra" / "classes.txt").read_text().split()
    record = records.load(place / records.FILE)
    assert names == ["cat", "dog"] and record.best["epoch"] == 7
    assert record.scores == () and "61.0" not in (place / "model_card.md").read_text()
    image = np.zeros((40, 40, 3), "uint8")
    image[6:34, 6:34] = 255  # more than the crop of the run shows
    file = photograph_sets.encoded(Image.fromarray(image), "PNG")
    answer = answers(place, [file], "serving_bytes")["logits"]
    expected = best(np.ones((1, 8, 8, 3), "float32"))
    np.testing.assert_allclose(answer, expected, atol=1e-4)


def test_a_run_that_kept_no_best_has_none_to_export(tmp_path):
    conftest.save_run(conftest.run(), tmp_path)
    given = f"--run_dir={tmp_path}", "--best", "--name=x"
    done = programs.run("apps.export", *given)
    assert done.returncode == 1
    assert "must be a run that kept its best" in done.stderr.splitlines()[-1]
    done = programs.run("apps.export", "--model=x=y.keras", "--best")
    assert done.returncode == 1 and "--best is of --run_dir" in done.stderr
