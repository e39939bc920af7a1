import numpy as np
import photograph_sets
import pytest
from conftest import BACKEND

from nfm_keras import data
from nfm_keras.data.images import image_generators
from nfm_keras.data.photographs import order, transforms

pytestmark = pytest.mark.backends


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return photograph_sets.write(tmp_path_factory.mktemp("photos"), classes=3, images=7)


def opened(folder, **options):
    return data.load(f"folder:{folder}", image_size=24, **options)


def batches(split, count, size=4, **options):
    stream = iter(data.batches(split, size, **options))
    return [tuple(map(np.asarray, next(stream))) for _ in range(count)]


def test_both_kinds_of_set_answer_the_same_questions(folder):
    for split in (data.load("digits").train, opened(folder).train):
        n, size = len(split.images), split.spec.shape
        assert split.images.shape == (n, *size) and split.images.dtype == np.uint8
        some = split.subset(np.arange(n) % 2 == 1)
        assert len(some.images) == n // 2 == len(some.labels)
        np.testing.assert_array_equal(some.labels, split.labels[1::2])
        first = np.asarray(some.images[:2])
        np.testing.assert_array_equal(first, np.asarray(split.images[1:4:2]))
        np.testing.assert_array_equal(first[0], split.images[1])
        assert len(split.sound().images) == n and split.spec.num_classes in (3, 10)
        assert data.steps_per_epoch(split, 4, drop_last=True) == n // 4


def test_an_epoch_is_a_pure_function_of_seed_and_number(folder):
    train = opened(folder).train  # 21 images: 5 batches of 4
    seen = batches(train, 11, seed=3)
    again = batches(train, 3, seed=3, start_epoch=1, start_step=3)
    for (a, b), (c, d) in zip(seen[8:], again):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)
    assert seen[0][0].dtype == np.uint8 and seen[0][0].shape == (4, 24, 24, 3)
    flat = [
        np.concatenate([x.reshape(4, -1) for x, _ in seen[i : i + 5]]) for i in (0, 5)
    ]
    assert len(np.unique(flat[0], axis=0)) == 20 and not np.array_equal(*flat)
    other = batches(train, 1, seed=4)
    assert not np.array_equal(other[0][0], seen[0][0])


def test_nothing_that_was_trained_on_is_read_again(tmp_path, monkeypatch):
    """Of an epoch that is longer than what is read ahead: no image is due again."""
    folder = photograph_sets.write(tmp_path, classes=2, images=100)
    train, read = opened(folder).train, []
    files = train.images.files
    inner = files.read
    monkeypatch.setattr(files, "read", lambda row: (read.append(row), inner(row))[1])
    batches(train, 1, start_step=3)
    counts = dict(seed=0, epoch=0, group=files.group, count=200)
    rows = order.epoch_rows(np.arange(200), files.lengths, **counts)
    assert set(rows[12:16]) <= set(read) and not set(read) & set(rows[:12].tolist())


def test_processes_make_the_parts_of_a_batch_from_files_of_their_own(folder):
    train = opened(folder).train
    halves = [
        batches(train, 5, part=slice(2 * i, 2 * i + 2), augment=False) for i in (0, 1)
    ]
    images = [np.concatenate([x.reshape(2, -1) for x, _ in half]) for half in halves]
    assert len(np.unique(np.concatenate(images), axis=0)) == 20


@pytest.mark.parametrize("antialias", [True, False])
def test_images_are_random_crops_in_pillows_pixels(folder, antialias):
    """Each is the window that its draws say, of the decoded whole, within one level."""
    train = opened(folder, antialias=antialias).train
    ((images, labels),) = batches(train, 1, size=21)
    counts = dict(seed=0, epoch=0, group=21, count=21)
    rows = order.epoch_rows(np.arange(21), train.images.files.lengths, **counts)
    flips = []
    for row, image, label in zip(rows, images, labels):
        data_, expected = train.images.files.read(row)
        assert label == expected
        (generator,) = image_generators(0, "crop", [int(row)], 0)
        draws = generator.random(transforms.DRAWS)
        whole = transforms.decode(data_)
        window = transforms.windows([(whole.height, whole.width)], draws[None])[0]
        crop = transforms.training_crop(whole, window, 24, antialias)
        flips.append(draws[-1] < 0.5)
        crop = crop[:, ::-1] if flips[-1] else crop
        assert np.abs(crop.astype(int) - image).max() <= 1
    assert 3 < sum(flips) < 18


def test_without_augmentation_it_is_what_an_evaluation_sees(folder):
    train = opened(folder).train
    ((images, labels),) = batches(train, 1, size=21, augment=False)
    keys = {tuple(image.ravel()): y for image, y in zip(images, labels)}
    expected = zip(np.asarray(train.images), train.labels)
    assert keys == {tuple(image.ravel()): y for image, y in expected}


def test_a_policy_is_done_after_the_crop(folder):
    train = opened(folder).train
    plain, varied = (batches(train, 2, policy=p)[1][0] for p in (None, "autoaugment"))
    assert varied.shape == plain.shape and not np.array_equal(plain, varied)


def broken(folder, names):
    """Damages files in several ways, and returns the names of those that are broken."""
    for i, name in enumerate(names):
        path = folder / "train" / name
        file = path.read_bytes()
        path.write_bytes([b"no image", b"", file[: len(file) // 2], file[:-40]][i % 4])
    return sorted(names)


def test_broken_files_are_named_and_the_next_image_takes_their_place(tmp_path):
    folder = photograph_sets.write(tmp_path, classes=3, images=7)
    whole = batches(opened(folder).train, 5, size=5, augment=False)
    names = broken(folder, ["c0/2.jpg", "c1/0.jpg", "c1/6.jpg", "c2/3.jpg"])
    train = opened(folder).train
    seen = batches(train, 5, size=5, augment=False)
    assert sorted(train.images.skipped.names) == names
    flat, good = (np.concatenate([x for x, _ in some]) for some in (whole, seen))
    same = (flat == good).reshape(25, -1).all(1)
    assert 20 <= same.sum() < 25
    for place in np.flatnonzero(~same):
        following = np.flatnonzero(same & (np.arange(25) > place))
        if len(following):
            np.testing.assert_array_equal(good[place], flat[following[0]])
    assert len(train.sound().images) == 17


def test_strict_ends_with_the_name_of_the_file(tmp_path):
    folder = photograph_sets.write(tmp_path, classes=2, images=3)
    broken(folder, ["c1/1.jpg"])
    train = opened(folder, strict=True).train
    with pytest.raises(Exception, match="c1/1.jpg|c1\\\\/1.jpg"):
        batches(train, 2, size=3)
    with pytest.raises(ValueError, match="c1/1.jpg cannot be read .strict.*Received: "):
        train.sound()


def test_only_broken_files_are_an_error_and_no_endless_search(tmp_path):
    folder = photograph_sets.write(tmp_path, classes=2, images=2, splits=["train"])
    broken(folder, ["c0/0.jpg", "c1/0.jpg", "c0/1.jpg", "c1/1.jpg"])
    train = opened(folder, validation=1).train
    with pytest.raises(Exception, match="must be readable"):
        batches(train, 1, size=1)


def test_a_file_that_the_system_does_not_read_is_a_broken_one(tmp_path):
    folder = photograph_sets.write(tmp_path, classes=3, images=7)
    some, strict = (opened(folder, strict=strict).train for strict in (False, True))
    gone, other = (folder / "train" / name for name in ("c0/2.jpg", "c1/0.jpg"))
    gone.unlink()
    other.unlink()
    other.mkdir()  # which Linux does not read either
    seen = batches(some, 5, size=5, augment=False)
    assert sorted(some.images.skipped.names) == ["c0/2.jpg", "c1/0.jpg"]
    kept = {image.tobytes() for image in np.asarray(some.sound().images)}
    assert len(kept) == 19
    assert {image.tobytes() for images, _ in seen for image in images} <= kept
    with pytest.raises(Exception, match="cannot be read .strict.*the system reads"):
        batches(strict, 5, size=5)
    with pytest.raises(ValueError, match="c0/2.jpg cannot be read .strict.*No such"):
        strict.sound()
    with pytest.raises(ValueError, match="All of 21 .*Received: c0/2.jpg, which"):
        some.images.digests  # noqa: B018


def test_files_of_which_none_is_there_any_more_are_an_error_in_words(tmp_path):
    folder = photograph_sets.write(tmp_path, classes=2, images=2)
    train, _, test = opened(folder)
    for path in folder.rglob("*.jpg"):
        path.unlink()
    with pytest.raises(Exception, match="must be readable.*Received: "):
        batches(train, 1, size=2)
    with pytest.raises(ValueError, match="An image of folder:.*: none of 4, c0/0.jpg"):
        test.sound()


def test_odd_files_are_trained_on(tmp_path):
    folder = photograph_sets.write(tmp_path, classes=1, images=3, splits=["train"])
    photograph_sets.write(tmp_path / "more", classes=1, images=1, splits=["train"])
    (tmp_path / "more" / "train" / "c0").rename(folder / "train" / "c1")
    place, image = folder / "train" / "c0", photograph_sets.picture(9)
    (place / "0.jpg").write_bytes(photograph_sets.encoded(image, "PNG"))
    image.convert("CMYK").save(place / "1.jpg")
    image.convert("L").save(place / "2.jpg")
    image.convert("P").save(place / "3.gif")
    (place / "4.png").write_bytes(photograph_sets.encoded(image, "WEBP", lossless=True))
    train = opened(folder, validation=1).train
    ((images, _),) = batches(train, 1, size=5)
    assert not train.images.skipped.names and images.std((1, 2, 3)).min() > 5


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow decodes windows")
@pytest.mark.parametrize("subsampling", [0, 1, 2], ids=["444", "422", "420"])
def test_a_decoded_window_is_that_of_the_decoded_whole(subsampling):
    import tensorflow as tf

    from nfm_keras.data.photographs import tensorflow_batches

    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (67, 83, 3), "uint8")
    image = photograph_sets.Image.fromarray(noise)
    file = photograph_sets.encoded(image, subsampling=subsampling, quality=95)
    whole = np.asarray(transforms.decode(file))
    decode = tf.function(tensorflow_batches.jpeg_window)
    for top, left, height, width in transforms.windows(
        [(67, 83)] * 40, rng.random((40, transforms.DRAWS))
    ):
        window = np.array([[top, left, height, width]], "int32")
        blocks = tensorflow_batches.blocks_of(window, [(67, 83)])
        crop = decode(tf.constant(file), window[0], blocks[0]).numpy()
        np.testing.assert_array_equal(
            crop, whole[top : top + height, left : left + width]
        )
