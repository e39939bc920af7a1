"""An image set in parts: whole, missing, damaged, mixed up."""

import re
import shutil

import numpy as np
import pytest

from nfm_keras import data
from nfm_keras.experiments import packing


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    return packing.pack(folder, "digits", megabytes=0.01)


@pytest.fixture
def carried(packed, tmp_path):
    """A folder to which the parts were copied one by one."""
    for path in reversed(packed):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_every_pixel_and_label_arrives(packed, carried):
    assert len(packed) > 2
    assert all(path.stat().st_size < 30_000 for path in packed)
    splits, expected = packing.unpack(carried, "digits"), data.load("digits")
    for name in ("train", "test"):
        ours, theirs = getattr(splits, name), getattr(expected, name)
        assert ours.images.dtype == np.uint8
        np.testing.assert_array_equal(ours.images, theirs.images)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        assert ours.spec == theirs.spec


def test_colours_are_kept(monkeypatch, tmp_path):
    """One picture a part: all are of 500 images or fewer, and none is left out."""
    rng = np.random.default_rng(0)
    known = data.spec("cifar10")
    halves = [
        data.Split(
            rng.integers(0, 256, (n, *known.shape), dtype=np.uint8),
            rng.integers(0, known.num_classes, n),
            known,
        )
        for n in (700, 301)
    ]
    splits = data.Splits(halves[0], None, halves[1])
    monkeypatch.setattr(packing.data, "load", lambda *place: splits)
    assert len(packing.pack(tmp_path, megabytes=0.001)) == 3
    for ours, theirs in zip(packing.unpack(tmp_path), splits, strict=True):
        if theirs is not None:
            np.testing.assert_array_equal(ours.images, theirs.images)
            np.testing.assert_array_equal(ours.labels, theirs.labels)


def test_a_second_call_leaves_no_part_of_the_first(tmp_path):
    many = packing.pack(tmp_path, "digits", megabytes=0.03)
    few = packing.pack(tmp_path, "digits")
    assert len(few) == 1 < len(many)
    assert [path.name for path in tmp_path.iterdir()] == ["part_0.npz"]


def test_what_has_to_be_carried_is_listed_with_its_size(packed):
    lines = packing.manifest(packed)
    assert all(re.search(r": \d+\.\d MB", line) for line in lines)
    told = " ".join(lines)
    wanted = "part_0.npz", "nfm_keras", "keras==", "optree=="
    assert all(word in told for word in wanted)


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def change_a_label(path):
    with np.load(path) as file:
        part = dict(file)
    part["labels"][3] ^= 1
    np.savez(path, **part)


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_byte,
        change_a_label,
        lambda path: path.write_bytes(path.read_bytes()[:-1000]),
        lambda path: path.write_bytes(b""),
        lambda path: np.savez(path, labels=[1]),
    ],
    ids=["a byte", "a label", "cut short", "empty", "another file"],
)
def test_a_damaged_part_is_named(carried, damage):
    damage(carried / "part_1.npz")
    with pytest.raises(ValueError, match=r"part_1.npz is damaged.*Received"):
        packing.unpack(carried, "digits")


def test_missing_parts_are_named(carried):
    (carried / "part_0.npz").unlink()
    (carried / "part_2.npz").unlink()
    with pytest.raises(FileNotFoundError, match="Missing: part_0.npz, part_2.npz"):
        packing.unpack(carried, "digits")
    for path in carried.iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match="must hold parts"):
        packing.unpack(carried, "digits")


def test_a_part_of_another_set_is_named(carried, tmp_path_factory):
    with pytest.raises(ValueError, match=r"must be of cifar10. Received: digits"):
        packing.unpack(carried, "cifar10")
    shutil.copy(carried / "part_0.npz", carried / "part_1.npz")
    with pytest.raises(ValueError, match=r"own name, part_0.npz.*part_1.npz"):
        packing.unpack(carried, "digits")
    other = packing.pack(tmp_path_factory.mktemp("other"), "digits", megabytes=0.03)
    shutil.copy(other[1], carried)
    with pytest.raises(ValueError, match=r"part_1.npz must be of the same set"):
        packing.unpack(carried, "digits")


def test_a_file_instead_of_a_folder_is_named(packed):
    with pytest.raises(ValueError, match="must be the folder"):
        packing.unpack(packed[0], "digits")
    with pytest.raises(ValueError, match="must be a folder to write to"):
        packing.pack(packed[0], "digits")
