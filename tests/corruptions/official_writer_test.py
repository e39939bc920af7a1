"""The layout of CIFAR-10-C, written."""

import json
import resource
import warnings

import numpy as np
import pytest

from nfm_keras.corruptions import NAMES, SEVERITIES, Corruption
from nfm_keras.corruptions import cache as caches
from nfm_keras.corruptions import official as files
from nfm_keras.corruptions.cache import fingerprint

N = 10
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (N, 32, 32, 3)).astype("uint8")
LABELS = RNG.integers(0, 10, N)
NOISE = Corruption("gaussian_noise", 3)
KINDS = ("gaussian_noise", "contrast")


def write_official(folder, images=IMAGES, labels=LABELS, kinds=KINDS, **options):
    return files.write_official(folder, images, labels, kinds=kinds, **options)


def hidden(folder):
    return [path.name for path in folder.rglob(".*")]


def test_what_is_written_is_what_a_corruption_gives(tmp_path):
    official = write_official(tmp_path / "c", seed=5)
    assert official.kinds == KINDS
    for kind in KINDS:
        for severity in SEVERITIES:
            expected = Corruption(kind, severity)(IMAGES, seed=5)
            np.testing.assert_array_equal(official.images(kind, severity), expected)
            np.testing.assert_array_equal(official.labels(kind, severity), LABELS)
    rows = np.load(tmp_path / "c" / "labels.npy")
    assert rows.dtype == np.uint8 and rows.tolist() == np.tile(LABELS, 5).tolist()
    origin = json.loads((tmp_path / "c" / files.ORIGIN).read_text())
    assert origin["seed"] == 5 and origin["images"] == fingerprint(IMAGES, LABELS)
    assert not hidden(tmp_path)


def test_the_writer_cuts_into_chunks_and_keeps_the_index_of_each_image(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(caches, "_CHUNK", 3)
    official = write_official(tmp_path)
    np.testing.assert_array_equal(official.images("gaussian_noise", 3), NOISE(IMAGES))


def test_the_writer_resumes_and_makes_damaged_files_again(tmp_path):
    write_official(tmp_path, kinds=["contrast"])
    made = (tmp_path / "contrast.npy").stat()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_official(tmp_path)
    assert (tmp_path / "contrast.npy").stat().st_ino == made.st_ino

    with open(tmp_path / "contrast.npy", "r+b") as file:
        file.truncate(5000)
    with pytest.warns(UserWarning, match="contrast.npy is made again.*Received.*5000"):
        official = write_official(tmp_path)
    assert (tmp_path / "contrast.npy").stat().st_size == made.st_size
    again = Corruption("contrast", 2)(IMAGES)
    np.testing.assert_array_equal(official.images("contrast", 2), again)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"images": IMAGES[::-1]},
        {"labels": (LABELS + 1) % 10},
        {"constants": "imagenet"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_folder_never_mixes_two_origins(tmp_path, other):
    write_official(tmp_path)
    with pytest.raises(ValueError, match="images with another config. Expected {'"):
        write_official(tmp_path, **other)


@pytest.mark.parametrize("theirs", ["labels.npy", "fog.npy"])
def test_the_writer_never_writes_into_a_folder_of_others(tmp_path, theirs):
    np.save(tmp_path / theirs, LABELS)
    with pytest.raises(ValueError, match="without corruptions.json"):
        write_official(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": LABELS[:-1]},
        {"images": IMAGES[0]},
        {"kinds": ["contrast", "fogg"]},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_the_writer_checks_everything_before_it_writes(tmp_path, wrong):
    with pytest.raises(ValueError, match="Received: "):
        write_official(tmp_path / "c", **wrong)
    assert not (tmp_path / "c").exists()


def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match="Cannot write .*gaussian_noise.npy: "):
            write_official(tmp_path / "c")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not hidden(tmp_path) and not (tmp_path / "c/gaussian_noise.npy").exists()


def test_all_kinds_are_written_unless_told_otherwise(tmp_path):
    official = files.write_official(tmp_path, IMAGES[:2], LABELS[:2])
    assert official.kinds == NAMES
    assert all(official.images(kind, 5).shape == (2, 32, 32, 3) for kind in NAMES)
