import dataclasses
import os

import keras
import numpy as np
import programs
import pytest
from small_classifier import small_classifier

from nfm_keras import networks, records
from nfm_keras.mixing import sites
from nfm_keras.serving import checks, saved_model
from nfm_keras.serving.saved_model import export

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="SavedModel is TensorFlow's format"
)


def of_points():
    """As little as can be exported: one signature, of no images."""
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])


def test_half_precision_halves_the_weights_and_says_what_it_changes(tmp_path):
    import tensorflow as tf

    network = networks.build("small_resnet", (8, 8, 2), 10, width=1)
    classifier = sites.remove_sites(network)
    sizes, differences = {}, {}
    images = np.random.default_rng(0).random((50, 8, 8, 2), dtype=np.float32)
    expected = classifier(images, training=False)
    for half in (False, True):
        path = export(classifier, tmp_path, float16=half)
        (stored,) = path.glob("variables/variables.data*")
        sizes[half] = stored.stat().st_size
        model = tf.saved_model.load(str(path))
        answer = model.signatures["serving_default"](images=tf.constant(images))
        assert answer["logits"].dtype == tf.float32
        differences[half] = np.abs(answer["logits"] - expected).max()
        card = (path / "model_card.md").read_text()
        assert ("half precision" in card) == half
    assert sizes[True] < 0.52 * sizes[False]
    assert differences[False] < 1e-5 < differences[True] < 2**-8
    classifier.layers[-1].bias.assign(np.full(10, 1e5))
    with pytest.raises(ValueError, match="65504. Received: .*bias with 1e"):
        export(classifier, tmp_path, float16=True)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_gives_float32(dtype, tmp_path):
    import tensorflow as tf

    classifier = small_classifier(dtype=dtype)
    assert classifier.outputs[0].dtype != "float32"
    model = tf.saved_model.load(str(export(classifier, tmp_path)))
    images = tf.random.stateless_uniform((3, 8, 8, 3), (0, 1))
    served = model.signatures["serving_default"](images=images)
    assert served["logits"].dtype == tf.float32
    expected = keras.ops.cast(classifier(images), "float32")
    np.testing.assert_allclose(served["logits"], expected, rtol=0.02, atol=0.05)
    sums = tf.reduce_sum(served["probabilities"], -1)
    np.testing.assert_allclose(sums, 1, atol=1e-5)  # the softmax is in float32


def test_versions_count_up_and_are_never_overwritten(tmp_path):
    classifier = of_points()
    assert export(classifier, tmp_path) == tmp_path / "1"
    assert export(classifier, tmp_path, version=7) == tmp_path / "7"
    before = (tmp_path / "7" / "saved_model.pb").read_bytes()
    with pytest.raises(FileExistsError, match="never changed"):
        export(classifier, tmp_path, version=7)
    assert (tmp_path / "7" / "saved_model.pb").read_bytes() == before
    assert export(classifier, tmp_path) == tmp_path / "8"
    assert sorted(os.listdir(tmp_path)) == ["1", "7", "8"]
    for version in (0, -1, 1.5, "2", True, 2**63):
        with pytest.raises(ValueError, match="version"):
            export(classifier, tmp_path / "new", version=version)
    (tmp_path / str(2**63 - 1)).mkdir()
    with pytest.raises(ValueError, match=r"below 2\*\*63. Received: 922337"):
        export(classifier, tmp_path)
    assert not (tmp_path / "new").exists()


def test_of_two_exports_of_one_version_the_first_wins(tmp_path, monkeypatch):
    def other_process_is_faster(*_):
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "saved_model.pb").write_text("theirs")

    monkeypatch.setattr(saved_model.warmup, "write", other_process_is_faster)
    with pytest.raises(FileExistsError, match="appeared meanwhile"):
        export(of_points(), tmp_path)
    assert os.listdir(tmp_path) == ["1"]
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "theirs"


@pytest.mark.parametrize("step", ["check_graph", "check_outputs", "model_card"])
def test_an_interrupted_export_leaves_nothing(step, tmp_path, monkeypatch):
    def interrupt(*_):
        (hidden,) = os.listdir(tmp_path)
        assert hidden.startswith(".")  # a server looks for numbers only
        raise KeyboardInterrupt

    module = checks if step.startswith("check") else saved_model
    monkeypatch.setattr(module, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(of_points(), tmp_path)
    assert os.listdir(tmp_path) == []


def test_record_and_classes_lie_inside(tmp_path):
    score = records.Score("fog@1", 1, "pixel", 50.0, 9.5, 90.5, 2, 1, 0, 1.0, {})
    record = records.Record(
        *("nfm-0", "nfm", "cifar10", "toy", {"alpha": 1.5}, ("input",), 1234),
        *({"keras": "3.15.1"}, {}, "", 1.0, "", {"loss": [1.0]}, (score,)),
    )
    names = ["plane", "car", "bird", "cat", "deer"]
    path = export(small_classifier(), tmp_path, record=record, classes=names)
    assert records.load(path / "record.json") == record
    assert [*records.load_evaluation(path / records.EVALUATION_FILE)] == [score]
    assert (path / "assets.extra" / "classes.txt").read_text().splitlines() == names
    card = (path / "model_card.md").read_text()
    assert card.startswith(f"# {tmp_path.name}, version 1\n")
    for text in (
        "1,234 weights",
        "scheme `nfm`",
        "plane, car, bird, cat, deer",
        "| `serving_bytes` | `image_bytes` | string | (batch,) |",
        "| `fog@1` | pixel | 50.00 | 9.50 to 90.50 | 2 |",
        "| `alpha` | `1.5` |",
        "keras 3.15.1",
    ):
        assert text in card
    with pytest.raises(ValueError, match="5 names.*Received: 1"):
        export(small_classifier(), tmp_path, classes=["plane"])
    for mark in ("\n", "\r", "\x85", "\u2028"):
        with pytest.raises(ValueError, match="line breaks. Received: 'b"):
            export(of_points(), tmp_path, classes=["a", f"b{mark}"])
    with pytest.raises(ValueError, match=r"UTF-8 can hold. Received: 'b\\udcff'"):
        export(of_points(), tmp_path / "new", classes=["ä", "b\udcff"])
    assert not (tmp_path / "new").exists()


def test_images_are_classified_by_the_newest_version_or_refused_in_one_sentence(
    tmp_path,
):
    names = ["plane", "car", "bird", "cat", "deer"]
    model, folder = small_classifier(), tmp_path / "model"
    (folder / "1").mkdir(parents=True)
    path = export(model, folder, classes=names)
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    best = keras.ops.convert_to_numpy(model(images / np.float32(255))).argmax(1)
    for place, given in (
        (path, images.tolist()),
        (str(folder), images.astype("int64")),
    ):
        found = [name for name, _ in saved_model.classify(place, given)]
        assert found == [names[number] for number in best]
    points = export(of_points(), tmp_path / "points")
    for place, given, message in (
        (path, images / 255, "integers from 0 to 255. Received: float64"),
        (path, images[0], r"shape \(batch, 8, 8, 3\). Received: \(8, 8, 3\)"),
        (path, images[:, :4], r"shape \(batch, 8, 8, 3\). Received: \(3, 4, 8, 3\)"),
        (path, images[:0], "one at least.*Received: none"),
        (points, images, "signature `serving_uint8`. Received: .'serving_default'"),
    ):
        with pytest.raises(ValueError, match=message):
            saved_model.classify(place, given)
    for place, held in (
        (tmp_path / "none", "no such"),
        (tmp_path, "model, points"),
    ):
        with pytest.raises(FileNotFoundError, match=f"No SavedModel at .*: {held}"):
            saved_model.classify(place, images)


def test_an_evaluation_lies_inside_whole_and_its_scores_are_on_the_card(tmp_path):
    def score(name, value):
        right = round(value / 2)
        return records.Score(name, 0, "none", value, 9.5, 90.5, 50, right, 0, 1.0, {})

    record = records.Record(
        *("nfm-0", "nfm", "cifar10", "toy", {}, (), 1, {}, {}, "", 1.0, "", {}),
        scores=(score("old", 12.0),),
    )
    measured = records.Evaluation(
        *("nfm-0", "cifar10", "digest", [[0.5, 1.0]]),
        suite="standard",
        scores=(score("clean", 34.0),),
    )
    path = export(of_points(), tmp_path, record=record, evaluation=measured)
    both = (score("old", 12.0), score("clean", 34.0))
    held = records.load_evaluation(path / records.EVALUATION_FILE)
    assert held == dataclasses.replace(measured, scores=both)
    assert records.load(path / records.FILE).scores == both
    card = (path / "model_card.md").read_text()
    assert "the whole record, `evaluation.json` all that was measured." in card
    assert "| `old` | none | 12.00 |" in card and "| `clean` | none | 34.00 |" in card
    record = dataclasses.replace(record, scores=())
    without = export(of_points(), tmp_path, record=record)
    assert not (without / records.EVALUATION_FILE).exists()
    plain = (without / "model_card.md").read_text()
    assert "None were recorded." in plain and "evaluation.json" not in plain


def test_weights_are_stored_once_and_without_the_optimizer(tmp_path):
    import tensorflow as tf

    classifier = small_classifier()
    classifier.compile("adam", "mse")
    classifier.optimizer.build(classifier.trainable_variables)
    assert len(classifier.optimizer.variables) > len(classifier.trainable_variables)
    path = export(classifier, tmp_path)
    variables = tf.train.list_variables(str(path / "variables" / "variables"))
    stored = sum(np.prod(shape, dtype=int) for _, shape in variables if shape)
    assert stored == classifier.count_params()


def test_command_exports_a_run(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    small_classifier(classes=10).save(run / "classifier.keras")
    record = records.Record(
        *("nfm-0", "nfm", "cifar10", "toy", {}, (), 1, {}, {}, "", 1.0, "", {}),
    )
    records.save(record, run / records.FILE)
    score = records.Score("fog@1", 1, "pixel", 50.0, 9.5, 90.5, 2, 1, 0, 1.0, {})
    scored = records.Evaluation("nfm-0", "cifar10", "", [], scores=(score,))
    records.save_evaluation(scored, run / records.EVALUATION_FILE)
    flags = [f"--run_dir={run}", f"--output={tmp_path / 'served'}", "--name=toy"]
    done = programs.run("apps.export", *flags)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "served" / "toy" / "1"
    assert done.stdout.strip() == str(path)
    assert records.load(path / "record.json").scores == (score,)
    assert records.load_evaluation(path / records.EVALUATION_FILE) == scored
    assert "| `fog@1` | pixel | 50.00 |" in (path / "model_card.md").read_text()
    classes = (path / "assets.extra" / "classes.txt").read_text().split()
    assert classes[:2] == ["airplane", "automobile"]
