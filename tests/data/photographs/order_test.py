import itertools

import numpy as np
import pytest

from nfm_keras.data.photographs.order import epoch_rows, spread

LENGTHS = np.array([7, 1, 12, 5, 0, 9, 6])  # 40 images


def rows(subset=None, **options):
    settings = {"seed": 1, "epoch": 0, "group": 2, "count": 40} | options
    return epoch_rows(np.arange(40) if subset is None else subset, LENGTHS, **settings)


def file_of(images):
    return np.searchsorted(np.cumsum(LENGTHS), images, side="right")


def test_an_epoch_is_a_permutation_and_another_one_each_time():
    seen = [rows(epoch=e, seed=s) for e in range(3) for s in range(2)]
    for one in seen:
        np.testing.assert_array_equal(np.sort(one), np.arange(40))
    assert all((a == b).mean() < 0.3 for a, b in itertools.combinations(seen, 2))
    np.testing.assert_array_equal(rows(epoch=2), rows(epoch=2))


@pytest.mark.parametrize("group", [1, 2, 3, 7])
def test_images_are_shuffled_within_groups_of_files(group):
    files = file_of(rows(group=group))
    runs = [key for key, _ in itertools.groupby(files)]
    if group == 1:
        assert len(runs) == len(set(runs))
        return
    # Once a file of the next group is begun, none of the one before comes again.
    left = list(dict.fromkeys(files))
    spans = {
        f: (np.flatnonzero(files == f)[0], np.flatnonzero(files == f)[-1]) for f in left
    }
    open_at = [sum(a <= i <= b for a, b in spans.values()) for i in range(40)]
    assert max(open_at) <= group and len(runs) > len(set(runs))


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_processes_share_an_epoch_and_few_files(processes):
    count = 40 // processes
    parts = [
        rows(count=count, processes=processes, process=p) for p in range(processes)
    ]
    assert len(np.unique(np.concatenate(parts))) == processes * count
    # Only the file at the border of two parts is read by both.
    files = [set(file_of(part)) for part in parts]
    assert sum(len(a & b) for a, b in itertools.combinations(files, 2)) < processes


def test_a_subset_is_ordered_alone():
    subset = np.array([0, 3, 8, 9, 10, 25, 39])
    np.testing.assert_array_equal(np.sort(rows(subset, count=7)), subset)
    assert set(rows(subset, count=6)) < set(subset)


def test_every_beginning_has_all_classes_alike():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(5), [3, 9, 9, 9, 9]))
    names = np.array([f"{i:04d}" for i in rng.permutation(39)])
    order = spread(labels, names)
    np.testing.assert_array_equal(np.sort(order), np.arange(39))
    for n in range(1, 15):
        counts = np.bincount(labels[order[:n]], minlength=5)
        assert counts.max() - counts.min() <= 1
    # The same images whatever their order on disk.
    shuffle = rng.permutation(39)
    again = spread(labels[shuffle], names[shuffle])
    np.testing.assert_array_equal(names[shuffle][again], names[order])
