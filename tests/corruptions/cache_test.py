"""The cache of corrupted images, and the fingerprints that name its entries."""

import multiprocessing
import resource
import shutil
import warnings

import numpy as np
import pytest

from nfm_keras.corruptions import Corruption
from nfm_keras.corruptions import cache as caches
from nfm_keras.corruptions.cache import Cache, fingerprint

N = 10
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (N, 32, 32, 3)).astype("uint8")
LABELS = RNG.integers(0, 10, N)
NOISE = Corruption("gaussian_noise", 3)


def hidden(folder):
    return [path.name for path in folder.rglob(".*")]


class Counting(Corruption):
    """Counts the images that it corrupts."""

    made = 0

    def __call__(self, images, indices=None, *, seed=0):
        Counting.made += len(images)
        return super().__call__(images, indices, seed=seed)


@pytest.fixture
def noise():
    Counting.made = 0
    return Counting("gaussian_noise", 3)


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def entry(cache):
    (path,) = cache.folder.glob("*.npy")
    return path


def test_the_cache_makes_an_entry_once(cache, noise, monkeypatch):
    monkeypatch.setattr(caches, "_CHUNK", 3)
    indices = np.arange(N) + 70
    first = cache.get(noise, IMAGES, indices, 5)
    np.testing.assert_array_equal(first, NOISE(IMAGES, indices, seed=5))
    again = Cache(cache.folder).get(noise, IMAGES.copy(), list(indices), seed=5)
    np.testing.assert_array_equal(again, first)
    assert noise.made == N
    assert isinstance(again, np.memmap) and not again.flags.writeable
    assert entry(cache).name.startswith("gaussian_noise@3-") and not hidden(
        cache.folder
    )


def test_every_ingredient_is_part_of_the_key(cache, monkeypatch):
    def entries():
        return len(list(cache.folder.glob("*.npy")))

    small = IMAGES.copy()
    small[-1, -1, -1, -1] ^= 1
    gets = [
        lambda: cache.get(NOISE, IMAGES),
        lambda: cache.get(Corruption("gaussian_noise", 4), IMAGES),
        lambda: cache.get(Corruption("contrast", 3), IMAGES),
        lambda: cache.get(Corruption("gaussian_noise", 3, "imagenet"), IMAGES),
        lambda: cache.get(NOISE, IMAGES, seed=1),
        lambda: cache.get(NOISE, IMAGES, np.arange(N) + 1),
        lambda: cache.get(NOISE, small),
        lambda: cache.get(NOISE, IMAGES.reshape(N, 16, 64, 3)),
        lambda: cache.get(NOISE, (IMAGES / 255).astype("float32")),
    ]
    for number, get in enumerate(gets, 1):
        get()
        assert entries() == number
    for get in gets:
        get()
    assert entries() == len(gets)
    monkeypatch.setattr(caches, "VERSION", caches.VERSION + 1)
    gets[0]()
    assert entries() == len(gets) + 1


def test_frost_is_keyed_by_its_textures_and_other_kinds_are_not(cache, monkeypatch):
    textures = [np.zeros((300, 300, 3), "uint8"), np.ones((200, 300, 3), "uint8")]
    sources = [
        ("textures", textures),
        ("synthetic", textures),
        ("textures", [textures[0], textures[1] + 1]),
    ]
    for number, source in enumerate(sources, 1):
        monkeypatch.setattr(caches, "frost_source", lambda _, source=source: source)
        cache.get(Corruption("frost", 1), IMAGES[:1])
        cache.get(NOISE, IMAGES[:1])
        assert len(list(cache.folder.glob("frost@1-*.npy"))) == number
        assert len(list(cache.folder.glob("gaussian_noise@3-*.npy"))) == 1


def truncate(path):
    with open(path, "r+b") as file:
        file.truncate(1000)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)


def lose_the_description(path):
    path.with_suffix(".json").unlink()


def cut_the_description(path):
    path.with_suffix(".json").write_text('{"key": "')


def describe_something_else(path):
    path.with_suffix(".json").write_text('["key", "shape"]')


def copy_another_entry(path):
    other = Cache(path.parent / "other")
    other.get(NOISE, IMAGES, seed=9)
    for suffix in (".npy", ".json"):
        shutil.copy(entry(other).with_suffix(suffix), path.with_suffix(suffix))
    shutil.rmtree(other.folder)


@pytest.mark.parametrize(
    ("damage", "received"),
    [
        (truncate, "Expected: bytes 30848, sha256 .*Received: bytes 1000, sha256"),
        (flip_a_bit, "Expected: sha256 .*Received: sha256"),
        (lose_the_description, "Received: FileNotFoundError"),
        (cut_the_description, "Received: ValueError.*truncated"),
        (describe_something_else, "Received: TypeError"),
        (copy_another_entry, "Expected: key .*Received: key"),
    ],
)
def test_a_damaged_entry_is_reported_and_made_again(cache, noise, damage, received):
    expected = np.array(cache.get(noise, IMAGES))
    damage(entry(cache))
    with pytest.warns(UserWarning, match=f"damaged and made again. .*{received}"):
        again = cache.get(noise, IMAGES)
    np.testing.assert_array_equal(again, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.get(noise, IMAGES)
    assert noise.made == 2 * N


def test_a_description_without_an_entry_is_no_entry(cache, noise):
    cache.get(noise, IMAGES)
    entry(cache).unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(cache.get(noise, IMAGES), NOISE(IMAGES))


def test_a_full_disk_is_an_error_that_leaves_nothing(cache):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match="Cannot write .*gaussian_noise@3.*too large"):
            cache.get(NOISE, IMAGES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(cache.folder.iterdir())
    assert cache.get(NOISE, IMAGES).shape == IMAGES.shape


def test_a_corruption_that_fails_leaves_nothing(cache):
    with pytest.raises(ValueError, match="Received: "):
        cache.get(NOISE, IMAGES.astype("int64"))
    assert not list(cache.folder.glob("*"))
    with pytest.raises(ValueError, match=r"`indices` must be .*shape \(3,\)"):
        cache.get(NOISE, IMAGES, range(3))


class Meeting(Corruption):
    """Two processes that are both in the middle of the same entry."""

    barrier = None

    def __call__(self, images, indices=None, *, seed=0):
        Meeting.barrier.wait(20)
        return super().__call__(images, indices, seed=seed)


def _get_and_send(folder, connection):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images = Cache(folder).get(Meeting("gaussian_noise", 3), IMAGES)
    told = [str(w.message) for w in caught if "damaged" in str(w.message)]
    connection.send((np.array(images), told))


def test_two_processes_that_make_the_same_entry_both_succeed(cache):
    # Not spawned: each would take seconds to import TensorFlow.
    context = multiprocessing.get_context("fork")
    Meeting.barrier = context.Barrier(2)
    pipes = [context.Pipe(duplex=False) for _ in range(2)]
    processes = [
        context.Process(target=_get_and_send, args=(cache.folder, send))
        for _, send in pipes
    ]
    for process in processes:
        process.start()
    for receive, _ in pipes:
        assert receive.poll(40)
        images, told = receive.recv()
        np.testing.assert_array_equal(images, NOISE(IMAGES))
        assert told == []
    for process in processes:
        process.join(20)
        assert process.exitcode == 0
    entry(cache)
    assert not hidden(cache.folder)


def test_a_digest_spares_the_hash_of_the_images(cache, noise, monkeypatch):
    cache.get(noise, IMAGES)
    digest = fingerprint(IMAGES)
    monkeypatch.setattr(caches, "fingerprint", None)
    cache.get(noise, IMAGES, digest=digest)
    assert noise.made == N


# Fingerprints


def test_a_fingerprint_tells_values_shapes_dtypes_and_labels_apart():
    sets = [
        (IMAGES,),
        (IMAGES[::-1],),
        (IMAGES.reshape(N, -1),),
        (IMAGES.view("int8"),),
        (IMAGES, LABELS),
        (IMAGES, LABELS[::-1]),
    ]
    assert len({fingerprint(*arrays) for arrays in sets}) == len(sets)


def test_a_fingerprint_is_of_the_content_and_not_of_the_memory(tmp_path):
    expected = fingerprint(IMAGES, LABELS)
    assert len(expected) == 64 and int(expected, 16)
    np.save(tmp_path / "images.npy", IMAGES)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert fingerprint(mapped, LABELS[:, None].astype("uint8")) == expected
    assert fingerprint(np.asfortranarray(IMAGES), LABELS.tolist()) == expected
