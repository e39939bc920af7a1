"""The whole path on photographs: a folder of ImageNet, trained, evaluated, served."""

import glob
import pathlib

import numpy as np
import photograph_sets
import pytest
from conftest import BACKEND

import nfm_keras as nfm
from nfm_keras import data, evaluation, training
from nfm_keras.training import checkpoints

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BACKEND != "tensorflow", reason="exports a SavedModel"),
]


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """imagenet2012 with crops of labelled photographs of ImageNet, in 1,000 classes."""
    foolbox = pytest.importorskip("foolbox")
    pytest.importorskip("tensorflow_datasets")
    pattern = pathlib.Path(foolbox.__file__).parent / "data" / "imagenet_*.jpg"
    parts = {"train": [], "val": []}
    for path in map(pathlib.Path, sorted(glob.glob(str(pattern)))[:8]):
        image = photograph_sets.Image.open(path).convert("RGB")
        for i in range(6):
            box = (20 * i, 30 * i, 20 * i + 300, 30 * i + 250)
            crop = photograph_sets.encoded(image.crop(box), quality=90)
            name = f"{path.stem}_{i}.JPEG"
            parts["val" if i == 5 else "train"].append(
                (name, crop, int(path.stem.rpartition("_")[2]))
            )
    folder, names = tmp_path_factory.mktemp("tfds"), [f"n{i:08d}" for i in range(1000)]
    photograph_sets.prepared(folder, *parts.values(), names, shards=3)
    return folder


def test_from_records_to_a_served_model(imagenet, tmp_path, monkeypatch):
    import tensorflow as tf

    config = training.Config(
        dataset="imagenet2012",
        image_size=32,
        network="small_resnet",
        width=0.25,
        epochs=1,
        batch_size=8,
        schedule="constant",
        learning_rate=0.01,
    )
    run = tmp_path / "run"
    options = {"data_dir": imagenet, "verbose": 0, "save_every": 1}
    with monkeypatch.context() as patch:
        killed_after(patch, 2)
        with pytest.raises(Killed):
            training.train(config, run, **options)
    record = training.train(config, run, resume=True, **options)
    assert len(record.history["loss"]) == 1
    assert len(record.config["classes"]) == 1000 and record.skipped == ()
    classifier = nfm.load_model(run / training.CLASSIFIER, compile=False)
    test = data.load("imagenet2012", data_dir=imagenet, image_size=32).test
    suite = evaluation.Suite(
        ["clean", "white_noise@0.1", "fog@3", "jpeg_compression@5", "pgd@4/255"],
        attack_limit=4,
        official=imagenet_c(tmp_path / "imagenet-c", test, "fog", 3),
    )
    found = nfm.evaluate(classifier, test, suite=suite, batch_size=4)
    assert [score.n for score in found] == [8, 8, 8, 8, 4]
    sources = [score.settings.get("source") for score in found]
    assert sources == [None, None, "official", "generated", None]
    path = nfm.serving.export(
        classifier, tmp_path / "served", record=record, classes=record.config["classes"]
    )
    servable = tf.saved_model.load(str(path)).signatures["serving_bytes"]
    files = [test.images.files.read(row)[0] for row in test.images.rows]
    answers = servable(image_bytes=tf.constant(files))
    images = data.as_images(np.asarray(test.images))
    logits = np.asarray(classifier(images, training=False))
    rounding = 1e-5 * np.abs(logits).max()
    np.testing.assert_allclose(answers["logits"], logits, rtol=0, atol=rounding)
    expected = [f"n{label:08d}".encode() for label in logits.argmax(1)]
    assert answers["classes"].numpy().tolist() == expected


class Killed(Exception):
    pass


def killed_after(patch, steps):
    """Ends a training behind the checkpoint of a step within its epoch."""
    save = checkpoints.Checkpoint.on_train_batch_end

    def killed(self, batch, logs=None):
        save(self, batch, logs)
        if batch + 1 == steps:
            raise Killed

    patch.setattr(checkpoints.Checkpoint, "on_train_batch_end", killed)


def imagenet_c(folder, test, kind, severity):
    """A folder of ImageNet-C with a corruption of the photographs, as published."""
    place, corruption = folder / kind / str(severity), nfm.corruptions.Corruption
    for name in test.spec.classes:
        (place / name).mkdir(parents=True)
    images = corruption(kind, severity)(np.asarray(test.images))
    for row, label, image in zip(test.images.rows, test.labels, images, strict=True):
        path = place / test.spec.classes[label] / test.images.files.name(row)
        pixels = photograph_sets.Image.fromarray(np.asarray(image))
        path.write_bytes(photograph_sets.encoded(pixels, quality=85))
    return folder
