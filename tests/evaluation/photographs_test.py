import dataclasses

import keras
import numpy as np
import photograph_sets
import pytest
from PIL import Image

import nfm_keras as nfm
from nfm_keras import data, evaluation
from nfm_keras.corruptions.cache import fingerprint
from nfm_keras.reports.boards import corruption_errors

pytestmark = pytest.mark.backends

IDS = ["clean", "white_noise@0.1", "salt_and_pepper@0.1", "fog@3", "pgd@4/255"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return photograph_sets.write(tmp_path_factory.mktemp("photos"), classes=3, images=6)


def network(classes=3):
    keras.utils.set_random_seed(0)
    return nfm.remove_sites(nfm.networks.mlp((24, 24, 3), classes))


def scores(split, **options):
    suite = evaluation.Suite(IDS, attack_limit=5, corruption_limit=9)
    suite = dataclasses.replace(suite, **options)
    return nfm.evaluate(network(), split, suite=suite, batch_size=4)


def opened(folder, **options):
    return data.load(f"folder:{folder}", image_size=24, **options).test


def test_photographs_score_as_the_array_of_them_does(folder, tmp_path, monkeypatch):
    test = opened(folder)
    array = data.Split(np.asarray(test.images), test.labels, test.spec)
    largest, read = [], data.Photographs.read

    def watched(images):
        largest.append(len(images))
        return read(images)

    monkeypatch.setattr(data.Photographs, "read", watched)
    found = scores(test, cache_dir=tmp_path)
    # Never all of them: the classifier is recognised by its logits for 16.
    assert largest and max(largest) <= 16 < 18
    assert list(found.skipped) == []
    for a, b in zip(found, scores(array), strict=True):
        assert (a.perturbation, a.value, a.n, a.hits) == (
            *(b.perturbation, b.value, b.n, b.hits),
        )
    assert {score.perturbation: score.n for score in found}["pgd@4/255"] == 5


def test_they_are_recognised_by_their_pixels(folder, tmp_path):
    test = opened(folder)
    again = fingerprint(opened(folder).images, test.labels)
    assert fingerprint(test.images, test.labels) == again
    assert fingerprint(test.images[:4]) == fingerprint(opened(folder, limit=4).images)
    assert fingerprint(opened(folder, eval_crop=1.0).images, test.labels) != again
    copy = photograph_sets.write(tmp_path / "copy", classes=3, images=6)
    photograph_sets.picture(99).save(copy / "val" / "c1" / "3.jpg")
    assert fingerprint(opened(copy).images, test.labels) != again


def test_files_that_cannot_be_read_are_left_out_and_named(tmp_path):
    folder = photograph_sets.write(tmp_path / "photos", classes=3, images=6)
    (folder / "val" / "c1" / "2.jpg").write_bytes(b"no image")
    path = tmp_path / "evaluation.json"
    test = opened(folder)
    found = nfm.evaluate(network(), test, ["clean"], batch_size=4, store=path)
    assert found[0].n == 17 and found.skipped == ("c1/2.jpg",)
    assert nfm.records.load_evaluation(path) == found
    with pytest.raises(ValueError, match="c1/2.jpg cannot be read"):
        nfm.evaluate(network(), opened(folder, strict=True), ["clean"])


def test_a_run_is_scored_on_the_classes_that_it_was_trained_on(folder):
    named = {"image_size": 24, "classes": ["c0", "c1", "c2"]}
    assert len(data.load_test(f"folder:{folder}", named).labels) == 18
    with pytest.raises(ValueError, match="3 classes of the run, c1, c0, c2 .*c0, c1"):
        data.load_test(f"folder:{folder}", named | {"classes": ["c1", "c0", "c2"]})


def test_official_files_are_the_photographs_of_every_limit(tmp_path):
    """A corruption that changes nothing scores as the clean images, image by image."""
    folder = photograph_sets.write(tmp_path / "photos", classes=3, images=6)
    for place in folder.glob("*/c*"):
        place.rename(place.with_name(f"n0000000{place.name[1:]}"))
    test = opened(folder)
    for row, image in zip(test.images.rows, test.images, strict=True):
        path = tmp_path / "c" / "fog" / "1" / test.images.files.name(row)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path.with_suffix(".JPEG"), "PNG")
    for limit in (4, 18):
        suite = evaluation.Suite(["clean", "fog@1"], official=tmp_path / "c")
        clean, fog = nfm.evaluate(network(), test, suite=suite, limit=limit)
        assert fog.settings["source"] == "official" and fog.n == limit
        assert (fog.right == clean.right).all()
    assert 0 < fog.right.sum() < 18


def test_a_classifier_of_imagenets_classes_has_its_mce(folder):
    ids = ["clean", "common_corruptions"]
    suite = evaluation.Suite(ids, corruption_limit=3)
    test = opened(folder)
    found = nfm.evaluate(network(1000), (test.images, test.labels), suite=suite)
    assert len(found) == 76 and {score.n for score in found} == {18, 3}
    errors = {
        (score.perturbation.partition("@")[0], int(score.severity)): 1
        - score.value / 100
        for score in found[1:]
    }
    names = "mce_hendrycks", "mce_robustbench", "relative_mce", "unnormalised_mce"
    # The clean error is that of the three images that are corrupted.
    clean = 1 - found["clean"].right[:3].mean()
    expected = evaluation.corruption_error.summarise(errors, clean, imagenet=True)
    told = dict(line.split()[:2] for line in corruption_errors.lines(found))
    assert told == {name: f"{expected[name]:.2f}" for name in names}
    assert corruption_errors.lines(scores(opened(folder))) == []


def test_of_other_classes_the_plain_mean_is_told(folder):
    suite = evaluation.Suite(["clean", "common_corruptions"], limit=3)
    found = nfm.evaluate(network(), opened(folder), suite=suite)
    (line,) = corruption_errors.lines(found)
    mean = 100 - np.mean([score.value for score in found[1:]])
    assert line.startswith("mean corruption error") and f"{mean:.2f} %" in line
    assert "no mCE" in line and "not 3" in line
