"""Which images are tested on, and that none of them was trained on."""

import shutil
import types

import numpy as np
import photograph_sets
import pytest

from apps.loading import photographs_of
from nfm_keras import data, experiments, records
from nfm_keras.data.photographs import catalogue, order, prepared


def flat(folder, classes=3, images=30):
    """Class folders alone, whose files hold nothing: they are not looked into."""
    for label in range(classes):
        place = folder / f"c{label}"
        place.mkdir(parents=True)
        for i in range(images):
            (place / f"{i:03d}.jpg").write_bytes(b"")
    return folder


def names(split):
    return {split.images.files.name(row) for row in split.images.rows}


def loaded(**config):
    record = types.SimpleNamespace(config=config)
    return types.SimpleNamespace(record=record, classifier=None)


@pytest.mark.parametrize("limit", [None, 60])
def test_a_run_is_tested_on_what_it_held_out(tmp_path, limit):
    name = f"folder:{flat(tmp_path)}"
    config = {"limit": limit, "validation": 20}
    train, _, held = data.load(name, **config)
    test = data.load_test(name, photographs_of([loaded(**config)] * 2, {}))
    assert names(test) == names(held) and not names(test) & names(train)
    assert len(names(train) | names(test)) == (limit or 90)
    np.testing.assert_array_equal(test.images.rows, held.images.rows)
    np.testing.assert_array_equal(test.labels, np.arange(20) % 3)


@pytest.mark.parametrize("name", ["000a.jpg", "zz.jpg", "015.png"])
@pytest.mark.parametrize("limit", [None, 60])
def test_a_photograph_that_is_added_moves_hardly_any_other(tmp_path, name, limit):
    folder = flat(tmp_path)
    config = {"limit": limit, "validation": 20}
    train, _, before = data.load(f"folder:{folder}", **config)
    (folder / "c1" / name).write_bytes(b"")
    test = data.load_test(f"folder:{folder}", config)
    assert len(names(test) & names(train)) <= 1
    assert len(names(test) & names(before)) >= 18


def test_every_class_has_its_share_and_keeps_an_image():
    rng = np.random.default_rng(0)
    for _ in range(20):
        sizes = rng.integers(1, 60, 9)
        labels = rng.permutation(np.repeat(np.arange(9), sizes))
        paths = [b"%d/%d" % (y, i) for i, y in enumerate(labels)]
        most = len(labels) - 9
        all_of_them = order.held_out(labels, paths, most)
        # What is held out stays so where more is.
        count = int(rng.integers(1, most))
        some = order.held_out(labels, paths, count)
        np.testing.assert_array_equal(some, all_of_them[:count])
        assert len({*all_of_them.tolist()}) == most
        held = np.bincount(labels[some], minlength=9)
        assert (held <= sizes - 1).all()
        quarter = np.bincount(labels[all_of_them[: len(labels) // 4]], minlength=9)
        assert np.abs(quarter - sizes / 4).max() <= 1.5
        # Another order of the files is the same choice.
        turned = order.held_out(labels[::-1], paths[::-1], count)
        assert {paths[i] for i in some} == {paths[::-1][i] for i in turned}


def test_runs_that_held_out_others_are_not_tested_together(tmp_path):
    name = f"folder:{flat(tmp_path / 'flat')}"
    one = loaded(limit=None, validation=20)
    for other in (loaded(validation=30), loaded(limit=60, validation=20)):
        for pair in ([one, other], [other, one]):
            with pytest.raises(ValueError, match="must be the same.*limit, valid.*20"):
                data.load_test(name, photographs_of(pair, {}))
    with pytest.raises(ValueError, match=r"must be the same.*Received: .*20.*30"):
        data.load_test(name, one.record.config, validation=30)
    assert len(data.load_test(name, {}, validation=30).images) == 30
    # Where there are images to test on, they are all the same to them.
    whole = photograph_sets.write(tmp_path / "photos", classes=2, images=3)
    assert len(data.load_test(f"folder:{whole}", photographs_of(pair, {})).images) == 6
    assert len(data.load_test("digits", photographs_of(pair, {})).images) == 500


def test_a_folder_of_photographs_to_test_on_needs_no_others(tmp_path):
    with pytest.warns(UserWarning, match="is tested on all their 90 images"):
        test = data.load_test(f"folder:{flat(tmp_path / 'flat')}", {})
    assert len(test.images) == 90
    for part in ("test", "val", "valid"):
        folder = tmp_path / part
        flat(folder / part)
        test = data.load_test(f"folder:{folder}", {"validation": 20})
        assert len(test.images) == 90 and test.spec.classes == ("c0", "c1", "c2")
        with pytest.raises(ValueError, match=f"the split 'train'.*: {part[:4]:.3}"):
            data.load(f"folder:{folder}")
    flat(tmp_path / "val" / "test", classes=2)
    with pytest.raises(
        ValueError, match="test must have the class folders.*without c2"
    ):
        data.load_test(f"folder:{tmp_path / 'val'}", {})


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """Sets of TensorFlow Datasets: with labels, and without."""
    pytest.importorskip("tensorflow_datasets")
    folder = tmp_path_factory.mktemp("tfds")
    file = photograph_sets.encoded(photograph_sets.picture(0, 20, 20))

    def rows(prefix, labels):
        return [(f"{prefix}_{i}.JPEG", file, y) for i, y in enumerate(labels)]

    classes = [f"n{i:08d}" for i in range(1000)]
    known, unknown = [151, 281, 151, 30], [-1] * 4
    for name, train in (("imagenet2012", known), ("contest", unknown)):
        validation = known if name == "imagenet2012" else unknown
        parts = rows("t", train), rows("v", validation)
        photograph_sets.prepared(folder, *parts, classes, name=name)
    return folder


@pytest.mark.parametrize("name", ["imagenet2012", "restricted_imagenet"])
def test_images_without_labels_are_not_tested_on(imagenet, monkeypatch, name):
    splits = prepared.splits
    blank = splits("contest", imagenet)["val"]
    more = {"test": blank}
    monkeypatch.setattr(prepared, "splits", lambda *place: splits(*place) | more)
    loads = data.load(name, data_dir=imagenet), data.load_test(name, {}, imagenet)
    for test in (loads[0].test, loads[1]):
        assert names(test) == {f"v_{i}.JPEG" for i in range(4)}
    assert loads[0].validation is None
    monkeypatch.setattr(prepared, "splits", lambda *place: more)
    with pytest.raises(
        ValueError, match="with a label to test on.*none of 4 in 'test'"
    ):
        data.load_test(name, {}, imagenet)


def test_images_without_labels_are_not_trained_on(imagenet):
    with pytest.raises(ValueError, match="training images alone: hold some out"):
        data.load("tfds:contest", data_dir=imagenet)
    with pytest.raises(ValueError, match="must have a label. Received: 4 without"):
        data.load("tfds:contest", data_dir=imagenet, validation=1)
    files = catalogue._files("tfds:contest", imagenet, False)["train"]
    with pytest.raises(ValueError, match="must have a label, 0 or more. Received: -1"):
        files.read(0)


def test_the_images_of_a_shard_that_is_gone_are_named(imagenet, tmp_path):
    folder = shutil.copytree(imagenet, tmp_path / "copy")
    test = data.load_test("imagenet2012", {"image_size": 8}, folder)
    for path in folder.rglob("*validation*-00001-of-00002"):
        path.unlink()
    assert len(test.sound().images) == 2
    assert sorted(test.images.skipped.names) == [
        f"imagenet2012-validation.tfrecord-00001-of-00002[{i}]" for i in range(2)
    ]


def test_a_sweep_knows_what_its_runs_are_tested_on(tmp_path, monkeypatch, capsys):
    settings = {
        "dataset": f"folder:{flat(tmp_path / 'flat')}",
        **{"network": "mlp", "image_size": 8, "validation": 20, "limit": 60},
    }
    rows = {"erm": {"label": "None", "scheme": "erm"}}
    table = experiments.Experiment("", settings, rows, (0,), ("clean",))
    called, about = [], ("erm", "erm", settings["dataset"], "mlp")
    score = records.Score("clean", 0.0, "none", 0.0, 0.0, 1.0, 19, 0, 0, 0.0, {})

    def call(run, words):
        called.append(words)
        if words == ["train"]:
            config = table.config("erm", 0).to_json()
            left = (), 1, {}, {}, "", 1.0, ""
            record = records.Record(*about, config, *left, history={})
            records.save(record, run.folder / records.FILE)
            return
        broken = {"scores": (score,), "skipped": ("c0/1.jpg",)}  # of the 20
        found = records.Evaluation("erm", "", "", [], **broken)
        records.save_evaluation(found, run.folder / records.EVALUATION_FILE)

    monkeypatch.setattr("nfm_keras.experiments.sweep._call", call)
    monkeypatch.setattr("nfm_keras.experiments.cost._step_seconds", lambda config: 2.0)
    commands = {"train": lambda run: ["train"], "score": lambda run, view: ["score"]}
    sweep = experiments.Sweep(table, tmp_path / "runs", **commands)
    sweep.plan()
    assert "1 of 1 run(s) to do" in capsys.readouterr().out
    for _ in range(2):
        sweep.carry_out()
    assert called == [["train"], ["score"]]
