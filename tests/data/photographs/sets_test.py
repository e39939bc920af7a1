import concurrent.futures
import functools
import os
import pathlib
import time

import numpy as np
import photograph_sets
import pytest

from nfm_keras import data
from nfm_keras.data.photographs import files, prepared, tfrecords
from nfm_keras.data.photographs import imagenet as views


def opened(folder, **options):
    return data.load(f"folder:{folder}", image_size=24, **options)


def test_a_folder_has_splits_and_classes_in_order(tmp_path):
    photograph_sets.write(
        tmp_path, classes=2, images=3, splits=("train", "val", "test")
    )
    train, validation, test = opened(tmp_path)
    assert train.spec.classes == ("c0", "c1") and train.spec.shape == (24, 24, 3)
    assert [len(part.images) for part in (train, validation, test)] == [6, 6, 6]
    np.testing.assert_array_equal(train.labels, [0, 0, 0, 1, 1, 1])
    # The others so that every beginning has all classes.
    np.testing.assert_array_equal(test.labels, [0, 1, 0, 1, 0, 1])
    assert test.images.files.name(test.images.rows[1]) == os.path.join("c1", "0.jpg")


def test_classes_that_are_numbers_are_sorted_as_such(tmp_path):
    photograph_sets.write(tmp_path, classes=4, images=2)
    for split in ("train", "val"):
        for old, new in zip(("c0", "c1", "c2", "c3"), ("2", "10", "1", "01")):
            (tmp_path / split / old).rename(tmp_path / split / new)
    # Of equal ones the order is that of their names, wherever they were made.
    assert opened(tmp_path).train.spec.classes == ("01", "1", "2", "10")


def test_hidden_folders_and_files_are_no_classes(tmp_path):
    photograph_sets.write(tmp_path, classes=2, images=2)
    for name in ("__MACOSX", "@eaDir", ".ipynb_checkpoints"):
        (tmp_path / "train" / name).mkdir()
        (tmp_path / "train" / name / "x.jpg").write_bytes(b"")
    (tmp_path / "train" / "c0" / ".DS_Store").write_bytes(b"")
    assert opened(tmp_path).train.spec.classes == ("c0", "c1")
    assert len(opened(tmp_path).train.images) == 4


def test_limits_leave_all_classes(tmp_path):
    photograph_sets.write(tmp_path, classes=3, images=4)
    few = opened(tmp_path, limit=6)
    np.testing.assert_array_equal(few.train.labels, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(few.test.labels, [0, 1, 2, 0, 1, 2])


def test_one_folder_holds_out_images(tmp_path):
    photograph_sets.write(tmp_path, classes=3, images=4)
    train, validation, test = opened(tmp_path / "train", validation=6)
    assert test is validation and len(train.images) == 6
    rows = {*train.images.rows.tolist(), *test.images.rows.tolist()}
    assert rows == set(range(12))
    np.testing.assert_array_equal(test.labels, [0, 1, 2, 0, 1, 2])
    again = opened(tmp_path / "train", validation=6)
    np.testing.assert_array_equal(again.test.images.rows, test.images.rows)


def remove_class(folder):
    photograph_sets.write(folder / "more", classes=1, images=1)
    (folder / "more" / "train" / "c0").rename(folder / "train" / "c9")


def add_text(folder):
    (folder / "train" / "c1" / "notes.txt").write_text("")


def nested(folder):
    (folder / "train" / "c1" / "images").mkdir()


def second_validation(folder):
    (folder / "valid").mkdir()


def empty_class(folder):
    for path in (folder / "train" / "c1").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    "damage, options, message",
    [
        (remove_class, {}, "val must have the class folders of .*: without c9"),
        (add_text, {}, "must be an image, .*Received: .*notes.txt"),
        (nested, {}, "must hold image files, .*Received: .*c1/images, which is none"),
        (second_validation, {}, "one folder to validate on. Received: valid and val"),
        (empty_class, {}, "must hold an image. Received: none in c1 .1 of 2 folders"),
        (lambda folder: None, {"limit": 0}, "`limit` must be a positive integer"),
        (lambda folder: None, {"image_size": 0}, "`image_size` must be a positive"),
        (lambda folder: None, {"eval_crop": 1.5}, "`eval_crop` must be .* at most 1"),
        (lambda folder: None, {"validation": 4}, "some of the 4 training images"),
        (lambda folder: None, {"validation": 3}, "one of each of 2 classes.*: 3"),
        (lambda folder: None, {"validation": -1}, "at least 0 .*Received: -1"),
        (
            lambda folder: None,
            {"cache_dir": "x"},
            "cache='disk'.*'x' with cache='none'",
        ),
    ],
)
def test_bad_folders_are_refused(tmp_path, damage, options, message):
    photograph_sets.write(tmp_path, classes=2, images=2)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message):
        data.load(f"folder:{tmp_path}", **options)


def test_what_is_no_folder_of_photographs_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be there. Received: no path"):
        data.load("folder:")
    with pytest.raises(ValueError, match="name of a set, .*Received: 'tfds:'"):
        data.load("tfds:", data_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="must be there. Received: .*nowhere"):
        data.load(f"folder:{tmp_path / 'nowhere'}")
    with pytest.raises(ValueError, match="a folder for each class.*an empty folder"):
        data.load(f"folder:{tmp_path}")
    photograph_sets.write(tmp_path, classes=2, images=2, splits=["train"])
    for load in (data.load, functools.partial(data.load_test, config={})):
        with pytest.raises(ValueError, match="--validation .*Received: 4 images"):
            load(f"folder:{tmp_path}")
    train = opened(tmp_path, validation=1).train
    with pytest.raises(ValueError, match="A batch of 4 must fit .*Received: 3 images"):
        data.steps_per_epoch(train, 4)


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """A folder of TensorFlow Datasets with an imagenet2012 of few images."""
    folder = tmp_path_factory.mktemp("tfds")
    pytest.importorskip("tensorflow_datasets")
    labels = [151, 268, 269, 281, 0, 30, 37, 319, 999, 80]

    def rows(prefix, first):
        return [
            (f"{prefix}_{i}.JPEG", photograph_sets.encoded(image), label)
            for i, label in enumerate(labels)
            for image in [photograph_sets.picture(first + i, 40 + i, 50)]
        ]

    names = [f"n{i:08d}" for i in range(1000)]
    photograph_sets.prepared(folder, rows("t", 0), rows("v", 20), names, shards=3)
    return folder


def test_a_line_of_a_labels_file_is_a_class_whatever_marks_it_holds(tmp_path):
    (tmp_path / "label.labels.txt").write_text("cat\nsea\x85lion\n", "utf-8")
    assert prepared._classes(tmp_path, "label", {}) == ("cat", "sea\x85lion")


def test_a_set_of_tensorflow_datasets_is_read_without_it(imagenet):
    import tensorflow_datasets as tfds

    splits = data.load("imagenet2012", data_dir=imagenet, image_size=24)
    builder = tfds.builder_from_directory(imagenet / "imagenet2012" / "5.1.0")
    decoders = {"image": tfds.decode.SkipDecoding()}
    source = builder.as_dataset(split="train", decoders=decoders)
    expected = {
        bytes(row["file_name"]): (bytes(row["image"]), int(row["label"]))
        for row in source.as_numpy_iterator()
    }
    found = splits.train.images.files
    names, labels = found.names_and_labels()
    assert len(names) == 10 and found.classes[1] == "n00000001"
    for row, (name, label) in enumerate(zip(names, labels)):
        assert found.read(row) == expected[bytes(name)]
        assert found.name(row).encode() == name and expected[bytes(name)][1] == label
    assert len(found.lengths) == 3 and found.lengths.sum() == 10
    # In order of the names, whatever the shards: all classes once here.
    np.testing.assert_array_equal(splits.test.labels, np.sort(splits.test.labels))
    np.testing.assert_array_equal(
        data.load("tfds:imagenet2012", data_dir=imagenet).test.labels,
        splits.test.labels,
    )


def test_restricted_imagenet_has_nine_classes(imagenet):
    sizes = [last - first + 1 for first, last in views.RESTRICTED.values()]
    assert sizes == [118, 5, 3, 5, 21, 18, 9, 4, 20]
    spans = sorted(views.RESTRICTED.values())
    assert all(a[1] < b[0] for a, b in zip(spans, spans[1:]))
    train, _, test = data.load("restricted_imagenet", data_dir=imagenet, image_size=24)
    names = [train.spec.classes[label] for label in train.labels]
    expected = ["bird", "cat", "dog", "dog", "frog", "insect", "turtle"]
    assert sorted(names) == expected and len(test.images) == 7
    images, labels = next(iter(data.batches(train, 7, augment=False)))
    assert sorted(np.asarray(labels).tolist()) == sorted(train.labels.tolist())


def test_a_missing_or_short_shard_is_named(imagenet, tmp_path):
    import shutil

    folder = shutil.copytree(imagenet, tmp_path / "copy")
    shard = next(folder.rglob("*train*-00001-of-00003"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-5])
    train = data.load("imagenet2012", data_dir=folder).train
    with pytest.raises(ValueError, match=f"{shard.name} must hold .* whole records"):
        np.asarray(train.labels)
    with pytest.raises(Exception, match="must hold .* whole records"):
        next(iter(data.batches(train, 10)))
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=f"without {shard.name} .1 missing"):
        data.load("imagenet2012", data_dir=folder)


def test_where_the_archives_belong_is_said_at_once(tmp_path):
    started = time.monotonic()
    for download in (False, True):
        with pytest.raises(FileNotFoundError) as caught:
            data.load("imagenet2012", data_dir=tmp_path, download=download)
        text = str(caught.value)
        assert "ILSVRC2012_img_train.tar" in text and "\n" not in text
        assert str(tmp_path / "downloads" / "manual") in text
    with pytest.raises(FileNotFoundError, match="'tf_flowers' is not in .*--download"):
        data.load("tfds:tf_flowers", data_dir=tmp_path)
    assert time.monotonic() - started < 2


def test_a_set_without_one_image_and_one_label_is_refused(tmp_path):
    import json

    folder = tmp_path / "other" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(
        json.dumps({"name": "other", "splits": []})
    )
    (folder / "features.json").write_text(
        json.dumps({"featuresDict": {"features": {}}})
    )
    with pytest.raises(ValueError, match="one feature of the kind Image. Received: no"):
        data.load("tfds:other", data_dir=tmp_path)


def test_an_example_is_taken_apart():
    tf = pytest.importorskip("tensorflow")
    feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"x" * 1000])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[300])),
        "minus": tf.train.Feature(int64_list=tf.train.Int64List(value=[-1])),
        "none": tf.train.Feature(),
        "share": tf.train.Feature(float_list=tf.train.FloatList(value=[1.0, 2.0])),
    }
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    content = example.SerializeToString()
    spans = tfrecords.spans(lambda a, n: content[a : a + n], len(content))
    values = {name: content[a : a + n] for name, (a, n) in spans.items()}
    assert values["image"] == b"x" * 1000 and values["none"] == b""
    assert tfrecords.integer(values["label"]) == 300
    assert tfrecords.integer(values["minus"]) == -1
    assert np.frombuffer(values["share"], "<f4").tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="must be a tf.train.Example"):
        tfrecords.spans(lambda a, n: b"\xff" * 9, 9)


def test_class_folders_hold_no_python_object_an_image(tmp_path):
    names = np.array([b"%08d.jpg" % i for i in range(1000)])
    many = files.FolderFiles(tmp_path, ("a", "b"), names, [400, 600])
    assert many.name(399) == os.path.join("a", "00000399.jpg")
    assert many.name(400) == os.path.join("b", "00000400.jpg")
    assert many._names.nbytes == 12 * 1000


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_a_cached_file_is_read_once(tmp_path, cache):
    folder = photograph_sets.write(tmp_path / "photos", classes=2, images=3)
    options = {"cache": cache}
    if cache == "disk":
        options["cache_dir"] = tmp_path / "cache"
    plain, kept = opened(folder).train, opened(folder, **options).train
    first, labels = np.asarray(kept.images), kept.labels
    np.testing.assert_array_equal(first, np.asarray(plain.images))
    for path in (folder / "train").rglob("*.jpg"):
        path.write_bytes(b"gone")
    if cache == "disk":
        kept = opened(folder, **options).train  # another process
    np.testing.assert_array_equal(np.asarray(kept.images), first)
    assert [kept.images.files.read(row)[1] for row in range(6)] == labels.tolist()
    with pytest.raises(ValueError, match="Unknown cache.*none, ram, disk.*'tape'"):
        opened(folder, cache="tape")


@pytest.mark.filterwarnings("error")  # of a file that could not be kept
def test_threads_that_keep_one_file_do_not_get_in_each_others_way(tmp_path):
    """The end of an epoch and the start of the next may read the same photograph."""
    folder = photograph_sets.write(tmp_path / "photos", classes=2, images=8)
    expected = [opened(folder).train.images.files.read(row) for row in range(8)]
    for trial in range(5):
        cache = {"cache": "disk", "cache_dir": tmp_path / f"cache{trial}"}
        read = opened(folder, **cache).train.images.files.read
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert list(pool.map(read, [*range(8)] * 8)) == expected * 8


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    folder = photograph_sets.write(tmp_path / "photos", classes=2, images=3)
    cache = {"cache": "disk", "cache_dir": tmp_path / "cache"}
    place = pathlib.Path(opened(folder, **cache).train.images.files._folder)
    (place / "0" / "1").mkdir(parents=True)  # where a file is to be
    with pytest.warns(UserWarning, match="kept on this disk no longer.*Received: "):
        kept = np.asarray(opened(folder, **cache).train.images)
    np.testing.assert_array_equal(kept, opened(folder).train.images)
    (tmp_path / "full").write_text("no folder")
    options = {"cache": "disk", "cache_dir": tmp_path / "full"}
    with pytest.warns(UserWarning, match="kept on this disk no longer.*Received: "):
        kept = np.asarray(opened(folder, **options).train.images)
    np.testing.assert_array_equal(kept, opened(folder).train.images)


def test_one_class_is_none(tmp_path):
    folder = photograph_sets.write(tmp_path / "photos", classes=1, images=3)
    with pytest.raises(ValueError, match="two classes at least.*Received: c0"):
        opened(folder)


@pytest.mark.parametrize("given", [{"image_size": 64}, {"strict": True}])
def test_settings_of_photographs_are_refused_for_other_sets(given):
    for load in (data.load, functools.partial(data.load_test, config={})):
        with pytest.raises(ValueError, match="is a setting of photographs.*'digits'"):
            load("digits", **given)
    assert len(data.load_test("digits", {"image_size": None}).images) == 500
    with pytest.raises(ValueError, match="`validation` is a setting of photographs"):
        data.load_test("digits", {}, validation=50)


def test_a_cache_on_disk_knows_its_files(tmp_path, monkeypatch):
    """Not what the set was called: another project's has the same name."""
    options, labels = {"cache": "disk", "cache_dir": tmp_path / "cache"}, []
    for place, first in (("one", 0), ("two", 99)):
        photograph_sets.write(tmp_path / place / "photos", classes=2, first=first)
        monkeypatch.chdir(tmp_path / place)
        kept, plain = (opened("photos", **o).train for o in (options, {}))
        np.testing.assert_array_equal(np.asarray(kept.images), plain.images)
    wrong = pathlib.Path("photos/train/c0/2.jpg")
    wrong.rename("photos/train/c1/9.jpg")  # one that had the wrong label
    for o in (options, {}):
        files = opened("photos", **o).train.images.files
        labels.append([files.read(row)[1] for row in range(10)])
    assert labels[0] == labels[1] == [0] * 4 + [1] * 6
