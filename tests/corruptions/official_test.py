"""Official layouts of corrupted images, read."""

import numpy as np
import pytest
from PIL import Image

from nfm_keras.corruptions import SEVERITIES
from nfm_keras.corruptions.official import open_official

N = 10
ROWS = N * len(SEVERITIES)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (N, 32, 32, 3)).astype("uint8")
LABELS = RNG.integers(0, 10, N)


# The layout of CIFAR-10-C


@pytest.fixture
def cifar_c(tmp_path):
    """As the official folder: row i of `fog` is full of i."""
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    rows = np.arange(ROWS, dtype="uint8")[:, None, None, None]
    np.save(folder / "fog.npy", np.broadcast_to(rows, (ROWS, 32, 32, 3)))
    np.save(folder / "labels.npy", np.tile(LABELS, 5).astype("uint8"))
    return folder


@pytest.mark.parametrize("severity", SEVERITIES)
def test_cifar_c_severity_is_a_fifth_of_the_rows(cifar_c, severity):
    official = open_official(cifar_c)
    images = official.images("fog", severity)
    assert isinstance(images, np.memmap) and images.shape == (N, 32, 32, 3)
    assert images[:, 0, 0, 0].tolist() == list(range(N * severity - N, N * severity))
    np.testing.assert_array_equal(official.labels("fog", severity), LABELS)
    assert official.kinds == ("fog",)


def test_batches_cover_all_images_once_in_order(cifar_c):
    official = open_official(cifar_c)
    batches = list(official.batches("fog", 2, batch_size=4))
    assert [len(images) for images, _ in batches] == [4, 4, 2]
    images, labels = map(np.concatenate, zip(*batches, strict=True))
    np.testing.assert_array_equal(images, official.images("fog", 2))
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize(
    ("wrong", "received"),
    [
        (np.zeros((ROWS, 32, 32, 3), "float32"), "float32 of shape"),
        (np.zeros((ROWS, 3072), "uint8"), rf"uint8 of shape \({ROWS}, 3072"),
        # A severity is missing.
        (np.zeros((ROWS - N, 32, 32, 3), "uint8"), rf"uint8 of shape \({ROWS - N}, "),
    ],
    ids=["dtype", "rank", "rows"],
)
def test_cifar_c_names_a_wrong_array(cifar_c, wrong, received):
    np.save(cifar_c / "fog.npy", wrong)
    expected = rf"fog.npy must hold uint8 images of shape \({ROWS}, .*Received: "
    with pytest.raises(ValueError, match=expected + received):
        open_official(cifar_c).images("fog", 1)


@pytest.mark.parametrize("size", [0, 60, 5000])
def test_cifar_c_names_a_truncated_file(cifar_c, size):
    with open(cifar_c / "fog.npy", "r+b") as file:
        file.truncate(size)
    with pytest.raises(ValueError, match=f"whole .npy file. Received: {size} bytes"):
        open_official(cifar_c).images("fog", 1)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(ROWS - 1, "uint8"), rf"shape \(5 n,\). Received: shape \({ROWS - 1}"),
        (np.zeros((ROWS, 1), "uint8"), "Received: shape"),
        (np.zeros(ROWS), "dtype float64"),
        (np.arange(ROWS), f"same labels for each severity. Received: {N} of {N}"),
    ],
    ids=["rows", "rank", "dtype", "not repeated"],
)
def test_cifar_c_names_wrong_labels(cifar_c, labels, message):
    np.save(cifar_c / "labels.npy", labels)
    with pytest.raises(ValueError, match=message):
        open_official(cifar_c)


def test_what_is_not_there_is_named_with_what_is(cifar_c, tmp_path):
    with pytest.raises(
        FileNotFoundError, match="must hold snow.npy. Received: 2 .*fog"
    ):
        open_official(cifar_c).images("snow", 1)
    (cifar_c / "labels.npy").unlink()
    with pytest.raises(FileNotFoundError, match="labels.npy. Received: .*fog.npy"):
        open_official(cifar_c)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_official(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="must hold <kind>.npy .*CIFAR-10-C"):
        open_official(tmp_path)


@pytest.mark.parametrize("asked", [("fogg", 1), ("fog", 0), ("fog", 6)])
@pytest.mark.parametrize("method", ["images", "labels"])
def test_unknown_kinds_and_severities_are_refused(cifar_c, method, asked):
    with pytest.raises(ValueError, match="Received: "):
        getattr(open_official(cifar_c), method)(*asked)


# TensorFlow Datasets


@pytest.fixture
def tfds_c(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    import tensorflow as tf

    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(32, 32, 3)),
            "label": tfds.features.ClassLabel(num_classes=10),
        }
    )
    rows = {"image": IMAGES, "label": LABELS}
    tfds.dataset_builders.store_as_tfds_dataset(
        name="cifar10_corrupted",
        version="1.0.0",
        features=features,
        split_datasets={"test": tf.data.Dataset.from_tensor_slices(rows)},
        config="frosted_glass_blur_2",
        data_dir=tmp_path,
        disable_shuffling=True,
    )
    return tmp_path


def test_tfds_is_read_by_our_names_and_never_downloads(tfds_c):
    for folder in (tfds_c, tfds_c / "cifar10_corrupted"):
        official = open_official(folder)
        assert official.kinds == ("glass_blur",)
        np.testing.assert_array_equal(official.images("glass_blur", 2), IMAGES)
        np.testing.assert_array_equal(official.labels("glass_blur", 2), LABELS)
    for kind, name in (("fog", "fog_1"), ("elastic_transform", "elastic_1")):
        with pytest.raises(FileNotFoundError, match=f"{name} must be prepared"):
            official.images(kind, 1)


def test_the_newest_version_is_the_one_of_the_largest_number(tfds_c):
    pytest.importorskip("tensorflow_datasets")
    folder = tfds_c / "cifar10_corrupted/frosted_glass_blur_2"
    for older in ("0.9.0", "0.10.0"):
        (folder / older).mkdir()
        (folder / older / "dataset_info.json").write_text("{}")
    (folder / "1.0.0").rename(folder / "0.11.0")
    info = folder / "0.11.0/dataset_info.json"
    info.write_text(info.read_text().replace('"1.0.0"', '"0.11.0"'))
    images = open_official(tfds_c).images("glass_blur", 2)
    np.testing.assert_array_equal(images, IMAGES)


# ImageNet-C


@pytest.fixture
def imagenet_c(tmp_path):
    """Two images a class in n02... and n01..., another class in another kind."""
    for i, place in enumerate(
        ["fog/1/n02000000", "fog/1/n01000000", "snow/4/n03000000"]
    ):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        for j in range(2):
            image = np.full((224, 224, 3), 40 * i + 10 * j, "uint8")
            Image.fromarray(image).save(folder / f"{j}.JPEG", quality=95)
    return tmp_path


def test_imagenet_c_is_spread_and_labelled_by_the_rank_of_its_folder(imagenet_c):
    official = open_official(imagenet_c)
    assert official.kinds == ("snow", "fog")
    images = official.images("fog", 1)
    assert images.shape == (4, 224, 224, 3) and images.dtype == np.uint8
    # Each beginning has all classes alike: the first of each, then the second.
    assert images[:][:, 100, 100, 0].tolist() == [40, 0, 50, 10]
    assert images[1][0, 0, 0] == 0
    assert official.labels("fog", 1).tolist() == [0, 1, 0, 1]
    # n03000000 is class 2 although it is the only folder of this kind.
    assert official.labels("snow", 4).tolist() == [2, 2]
    (first, labels), _ = official.batches("fog", 1, batch_size=3)
    assert first.shape == (3, 224, 224, 3) and labels.tolist() == [0, 1, 0]


def test_what_programs_leave_behind_shifts_no_label(imagenet_c):
    labels, n = open_official(imagenet_c).labels("fog", 1).tolist(), 2
    for place in ("fog/1/__MACOSX", "fog/1/@eaDir", "fog/1/.ipynb_checkpoints"):
        (imagenet_c / place).mkdir()
        (imagenet_c / place / "0.JPEG").write_bytes(b"left behind")
    (imagenet_c / "fog/1/n01000000/._0.JPEG").write_bytes(b"left behind")
    (imagenet_c / "fog/1/aaa.txt").write_bytes(b"")
    for official in (
        open_official(imagenet_c),
        open_official(imagenet_c, ["n01000000", "n02000000"]),
    ):
        assert official.labels("fog", 1).tolist() == labels
        assert len(official.images("fog", 1)) == 2 * n
    (imagenet_c / "fog/1/cat").mkdir()
    with pytest.raises(ValueError, match="`n` and eight digits.*Received: cat"):
        open_official(imagenet_c)
    named = open_official(imagenet_c, ["cat", "n01000000", "n02000000"])
    assert named.labels("fog", 1).tolist() == [1, 2, 1, 2]


def test_imagenet_c_takes_the_order_of_the_classes(imagenet_c):
    official = open_official(imagenet_c, wnids=["n02000000", "n09000000", "n01000000"])
    assert official.labels("fog", 1).tolist() == [0, 2, 0, 2]
    with pytest.raises(ValueError, match="one of the 3 `wnids`. Received: n03000000"):
        official.labels("snow", 4)


def test_imagenet_c_names_a_wrong_image(imagenet_c):
    official = open_official(imagenet_c)
    with pytest.raises(FileNotFoundError, match="fog/2/<wnid>/.*Received: 1 names"):
        official.images("fog", 2)
    path = imagenet_c / "fog/1/n02000000/0.JPEG"
    Image.new("RGB", (32, 32)).save(path)
    with pytest.raises(
        ValueError, match=r"Received: .*n02000000/0.JPEG of shape \(32, 32"
    ):
        official.images("fog", 1)[:]
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match="n02000000/0.JPEG must be a whole image"):
        official.images("fog", 1)[:]
