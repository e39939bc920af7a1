"""ImageNet-V2, -A and -R: written as TensorFlow Datasets writes them, then scored."""

import io

import keras
import numpy as np
import photograph_sets
import pytest
from conftest import BACKEND

import nfm_keras as nfm
from nfm_keras import data, evaluation
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.data.photographs import imagenet
from nfm_keras.evaluation.inputs import cut_to

tfds = pytest.importorskip("tensorflow_datasets")

LABELS = {"imagenet_a": [6, 6, 11, 988], "imagenet_r": [1, 2, 988], "imagenet_v2": [7]}


def write(folder, name, labels, version="9.0.0"):
    """Prepares a set with the features of its own builder and images of our own."""
    features = tfds.builder(name, data_dir=folder).info.features

    with tfds.core.registered.skip_registration():

        class Written(tfds.core.GeneratorBasedBuilder):
            """Few images."""

            VERSION = tfds.core.Version(version)

            def _info(self):
                return tfds.core.DatasetInfo(builder=self, features=features)

            def _split_generators(self, dl_manager):
                return {"test": self._generate_examples()}

            def _generate_examples(self):
                for i, label in enumerate(labels):
                    file = f"{i}.jpg"
                    image = io.BytesIO(
                        photograph_sets.encoded(photograph_sets.picture(i))
                    )
                    yield file, {"image": image, "label": label, "file_name": file}

    Written.name = name
    Written(data_dir=folder).download_and_prepare()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    for name, labels in LABELS.items():
        write(folder, name, labels)
    return folder


def opened(folder, name, **options):
    return data.load_test(name, {"image_size": 8}, folder, **options)


def network(outputs, activation=None):
    """A classifier whose outputs all differ in how they see an image."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Flatten()(image)
    x = keras.layers.Dense(outputs, activation=activation, name="logits")(x)
    return keras.Model(image, x)


@pytest.mark.parametrize("name, total", [("imagenet_a", 102178), ("imagenet_r", 86135)])
def test_the_200_classes_are_some_of_those_of_the_builder(name, total, folder):
    ids = imagenet.wordnet_ids(name)
    names = tfds.builder(name, data_dir=folder).info.features["label"].names
    assert len(names) == 1000 and names == sorted(names)
    # The sum of the published indices among the 1,000.
    assert sum(map(names.index, ids)) == total and len(set(ids)) == 200
    spec = opened(folder, name).spec
    assert spec.classes == ids and spec.cut.total == 1000
    assert [names[place] for place in spec.cut.places] == list(ids)


@pytest.mark.parametrize("name", LABELS)
def test_labels_are_those_of_the_same_class_among_those_of_the_set(name, folder):
    test = opened(folder, name)
    names = tfds.builder(name, data_dir=folder).info.features["label"].names
    found = [test.spec.classes[label] for label in test.labels]
    assert sorted(found) == sorted(names[label] for label in LABELS[name])
    assert test.images.shape == (len(LABELS[name]), 8, 8, 3)
    again = opened(folder, f"tfds:{name}")
    np.testing.assert_array_equal(again.labels, test.labels)
    assert again.spec.cut == test.spec.cut


@pytest.mark.backends
def test_logits_are_cut_before_they_are_compared_and_attacked(folder):
    test = opened(folder, "imagenet_a")
    model, inside, outside = whole_and_part(test)

    ids = ["clean", "pgd@0.5"]
    found = nfm.evaluate(model, test, ids)
    assert found.cut == "200 of 1,000 logits" and found.cut in repr(found)
    assert found["clean"].value == 50 and found["pgd@0.5"].value == 0
    same = nfm.evaluate(inside, test, ids)
    assert same.cut == ""
    for ours, theirs in zip(found, same, strict=True):
        assert (ours.value, ours.hits) == (theirs.value, theirs.hits)
    np.testing.assert_allclose(found.probe, same.probe, atol=1e-4)
    images = np.asarray(test.images).astype("float32") / 255
    taken = keras.ops.convert_to_numpy(model(images)).argmax(1)
    assert set(taken) <= set(outside)  # without the cut none would be right


def whole_and_part(test):
    """A classifier of 1,000 classes, its 200 alone, and the places of the others.

    Half of the four images are right, if these others do not count.
    """
    keras.utils.set_random_seed(0)
    model = network(1000)
    kernel, bias = model.get_layer("logits").get_weights()
    outside = np.setdiff1d(np.arange(1000), test.spec.cut.places)
    bias[6] += 3  # the class of two of the four images
    bias[outside] += 9  # larger than all 200, whatever the image
    model.get_layer("logits").set_weights([kernel, bias])
    inside = network(200)
    places = list(test.spec.cut.places)
    inside.get_layer("logits").set_weights([kernel[:, places], bias[places]])
    return model, inside, outside


def test_what_is_cut_may_give_probabilities_or_be_a_function(folder):
    spec = opened(folder, "imagenet_r").spec
    keras.utils.set_random_seed(0)
    shares, images = (
        network(1000, "softmax"),
        np.random.default_rng(0).random((2, 8, 8, 3)),
    )
    expected = shares.predict(images, verbose=0)[:, spec.cut.places]
    for one, known in ((shares, None), (lambda x: shares(x), False)):
        logits = cut_to(one, spec, known).logits_of(images.astype("float32"))
        np.testing.assert_allclose(np.exp(logits), expected, rtol=1e-4)
    again = PlainClassifier(cut_to(shares, spec), False)
    assert again.places == spec.cut.places and cut_to(again, spec) is again


def test_a_matrix_of_transfer_is_cut_too(folder):
    test = opened(folder, "imagenet_a")
    whole, part, _ = whole_and_part(test)
    models = {"whole": whole, "part": part}
    found = evaluation.adversaries.transfer(models, test, "fgsm@0.0001")
    np.testing.assert_array_equal(found.accuracy, np.full((2, 2), 50.0))


def test_the_smallest_radii_are_of_the_cut_too(folder):
    test = opened(folder, "imagenet_a")
    found = [
        evaluation.adversaries.breaking_radii(one, test, "fgsm", [0.0001, 0.5]).smallest
        for one in whole_and_part(test)[:2]
    ]
    np.testing.assert_array_equal(*found)
    assert sorted(found[0]) == [0, 0, 0.5, 0.5]


@pytest.mark.parametrize("outputs", [10, 999])
def test_another_number_of_outputs_is_named(folder, outputs):
    with pytest.raises(ValueError, match=f"1,000 outputs.* 200.*Received: {outputs}"):
        nfm.evaluate(network(outputs), opened(folder, "imagenet_r"), ["clean"])


def test_sets_to_evaluate_are_not_trained_on(folder):
    with pytest.raises(
        ValueError, match="imagenet_a must have the split 'train'.*test"
    ):
        data.load("imagenet_a", folder)
    with pytest.raises(FileNotFoundError, match="'imagenet_r:1.0.0' is not in"):
        opened(folder, "imagenet_r:1.0.0")


@pytest.mark.parametrize("total", [200, 1000])
def test_a_run_of_as_many_other_classes_is_refused(folder, total):
    """Tiny ImageNet has 200 too: its outputs are not those of the set."""
    with pytest.raises(ValueError, match="the 200 classes of the run, c"):
        config = {"image_size": 8, "classes": [f"c{i}" for i in range(total)]}
        data.load_test("imagenet_a", config, folder)
    ids = list(imagenet.wordnet_ids("imagenet_a"))
    config = {"image_size": 8, "classes": ids}
    assert data.load_test("imagenet_a", config, folder).spec.classes == tuple(ids)


def test_images_of_another_class_are_named(tmp_path):
    write(tmp_path, "imagenet_a", [6, 7])
    with pytest.raises(ValueError, match="200 classes alone. Received: 1 of others"):
        opened(tmp_path, "imagenet_a")


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="a process, once")
def test_the_command_says_and_records_the_cut(folder, tmp_path):
    import os
    import subprocess
    import sys

    network(1000).save(tmp_path / "model.keras")
    command = [sys.executable, "-m", "apps.evaluate", f"--model={tmp_path}/model.keras"]
    command += ["--dataset=imagenet_a", f"--data_dir={folder}", "--perturbations=clean"]
    done = subprocess.run(
        [*command, f"--output={tmp_path}/out"],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    report = (tmp_path / "out" / "report.md").read_text()
    assert "200 of 1,000 logits" in report
