import numpy as np
import photograph_sets
import pytest
from conftest import BACKEND
from PIL import Image

from nfm_keras.data.photographs import headers, transforms


def uniform(n, seed=0):
    return np.random.default_rng(seed).random((n, transforms.DRAWS))


def test_windows_have_the_published_law():
    n = 20000
    top, left, height, width = transforms.windows([(500, 600)] * n, uniform(n)).T
    assert (top >= 0).all() and (top + height <= 500).all()
    assert (left >= 0).all() and (left + width <= 600).all()
    share, aspect = height * width / (500 * 600), width / height
    assert share.min() > 0.079 and share.max() <= 1
    # Uniform in [0.08, 1] but for those of which no place is left; 10 tries a window.
    small = share[share < 0.5]
    assert abs(small.mean() - 0.29) < 0.01
    logs = np.log(aspect[share < 0.5])
    assert abs(logs.mean()) < 0.01 and logs.max() < np.log(4 / 3) + 0.02
    assert abs(logs.std() - np.log(16 / 9) / 12**0.5) < 0.01
    # The place is uniform among those that are free.
    free = (500 - height)[height < 400]
    assert abs((top[height < 400] / free).mean() - 0.5) < 0.01


@pytest.mark.parametrize(
    "size, window",
    [
        ((10, 1000), (0, 493, 10, 13)),
        ((1000, 10), (493, 0, 13, 10)),
        ((1, 1), (0, 0, 1, 1)),
    ],
    ids=str,
)
def test_without_a_window_that_fits_it_is_the_largest_in_the_centre(size, window):
    found = transforms.windows([size] * 50, uniform(50))
    assert (found[:, 2:] >= 1).all()
    np.testing.assert_array_equal(found[(found[:, 2:] == window[2:]).all(1)][0], window)


def test_a_window_of_a_photograph_is_not_the_same_in_each_row():
    a, b = transforms.windows([(300, 400)] * 2, uniform(2))
    assert not np.array_equal(a, b)


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (117, 99), (40, 900)])
def test_the_evaluation_shows_the_centre_of_the_resized_image(size):
    image = photograph_sets.picture(1, *size)
    crop = transforms.centre_crop(image, 56, 0.875)
    height, width = size
    short, factor = 64, 64 / min(size)
    longer = int(64 * max(size) / min(size))
    sides = (short, longer) if width <= height else (longer, short)
    whole = np.asarray(image.resize(sides, Image.Resampling.BILINEAR))
    top, left = (round((side - 56) / 2) for side in whole.shape[:2])
    np.testing.assert_array_equal(crop, whole[top : top + 56, left : left + 56])
    assert abs(max(sides) - max(size) * factor) <= 1


def test_margins_that_are_no_whole_pixels_are_rounded_to_even():
    # 117 / 2 -> 58, 119 / 2 -> 60: floor or ceiling would be off by a column.
    for odd, left in ((224 + 117, 58), (224 + 119, 60)):
        columns = np.broadcast_to(np.arange(odd) % 256, (256, odd))
        image = Image.fromarray(np.stack([columns] * 3, -1).astype("uint8"))
        crop = transforms.centre_crop(image, 224, 0.875)
        np.testing.assert_array_equal(crop[0, :, 0], np.arange(left, left + 224) % 256)


def test_odd_files_are_read_as_pillow_reads_them():
    image = photograph_sets.picture(3)
    png, jpeg = (photograph_sets.encoded(image, kind) for kind in ("PNG", "JPEG"))
    inks = photograph_sets.encoded(image.convert("CMYK"), "JPEG")
    grey = photograph_sets.encoded(image.convert("L"), "JPEG")
    np.testing.assert_array_equal(transforms.decode(png), image)
    assert (
        np.abs(np.asarray(transforms.decode(inks), int) - np.asarray(image)).mean() < 6
    )
    assert np.asarray(transforms.decode(grey)).shape == (72, 90, 3)
    kinds = [headers.read_header(file) for file in (png, jpeg, inks, grey)]
    assert [(k.kind, k.height, k.width) for k in kinds] == [
        ("png", 72, 90),
        *[("jpeg", 72, 90)] * 3,
    ]
    assert [k.is_plain for k in kinds] == [True, True, False, True]


@pytest.mark.parametrize(
    "damage",
    [lambda file: b"", lambda file: b"text", lambda file: file[: len(file) // 2]],
    ids=["empty", "text", "half"],
)
def test_a_broken_file_is_refused_and_not_plain(damage):
    file = damage(photograph_sets.encoded(photograph_sets.picture(3)))
    with pytest.raises(ValueError, match="must be a whole image.*Received: "):
        transforms.decode(file)
    header = headers.read_header(file)
    assert header is None or not header.is_plain


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": b"x" * 60000}])
def test_the_header_is_found_behind_other_segments(options):
    file = photograph_sets.encoded(photograph_sets.picture(3, 31, 47), **options)
    expected = headers.Header("jpeg", 31, 47, True)
    assert headers.read_header(file) == expected
    assert headers.read_header(file + b"something behind it") == expected


def test_of_grey_in_a_pgm_the_upper_8_bits_count_and_floats_are_refused():
    deep = np.linspace(0, 1023, 64).astype("uint16").reshape(8, 8)
    data = b"P5 8 8 1023\n" + deep.astype(">u2").tobytes()
    pixels = np.asarray(transforms.decode(data))[..., 0].astype(int)
    assert np.abs(pixels - deep * (255 / 1023)).max() <= 1
    for values in (deep.astype("float32") / 1023, deep.astype("int32")):
        data = photograph_sets.encoded(Image.fromarray(values), "TIFF")
        with pytest.raises(ValueError, match="Received: .*TIFF of 32 bits"):
            transforms.decode(data)


def test_of_grey_of_16_bits_the_upper_8_count():
    """As TensorFlow decodes them in training and in a served model."""
    deep = np.linspace(0, 65535, 64).astype("uint16").reshape(8, 8)
    data = photograph_sets.encoded(Image.fromarray(deep), "PNG")
    pixels = np.asarray(transforms.decode(data))
    np.testing.assert_array_equal(pixels, np.repeat(deep[..., None] >> 8, 3, -1))
    if BACKEND == "tensorflow":
        import tensorflow as tf

        np.testing.assert_array_equal(pixels, tf.io.decode_png(data, 3))
