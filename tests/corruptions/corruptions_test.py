"""Corruptions against the formulas and libraries that the benchmark was made with."""

import io
import itertools
import math

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, stats

from nfm_keras import corruptions
from nfm_keras.corruptions import blur, elastic, frost, noise, spatter, weather
from nfm_keras.corruptions.constants import CONSTANTS
from nfm_keras.data import images as perturbations

BOTH = pytest.mark.parametrize("constants", ["cifar", "imagenet"])
KIND = pytest.mark.parametrize("kind", corruptions.NAMES)
RANDOM = set(corruptions.NAMES) - {
    *("gaussian_blur", "defocus_blur", "zoom_blur", "brightness", "contrast"),
    *("saturate", "pixelate", "jpeg_compression"),
}


def pictures(count=4, height=32, width=32, seed=0):
    """Smooth colours, sharp rectangles, black, white, grey and texture, uint8."""
    random = np.random.default_rng(seed)
    smooth = random.normal(size=(count, height, width, 3))
    smooth = ndimage.gaussian_filter(smooth, (0, 5, 5, 0), mode="wrap")
    images = 128 + 60 * smooth / smooth.std() + random.normal(0, 4, smooth.shape)
    for image, level in zip(images, itertools.cycle([0, 255, 128, 30]), strict=False):
        top, left = random.integers(0, height // 2), random.integers(0, width // 2)
        image[top : top + height // 3, left : left + width // 3] = level
        image[-3:, :5] = random.integers(0, 256, 3)
    return np.clip(images, 0, 255).astype("uint8")


def levels(images):
    """How the published scripts end: [0,1] to uint8, truncated."""
    return np.uint8(np.clip(images, 0, 1) * 255)


def constant(constants, kind, severity):
    return CONSTANTS[constants][kind][severity - 1]


def corrupt(kind, severity, images, constants="cifar", **keywords):
    return corruptions.Corruption(kind, severity, constants)(images, **keywords)


def assert_truncated(found, expected, tolerance=0.002):
    """The truncation of a formula's [0,1] values, to within `tolerance` grey levels.

    Where a level comes out whole, the formula's own rounding takes either side of it.
    """
    expected = np.clip(np.asarray(expected, "float64"), 0, 1) * 255
    assert (found >= np.floor(expected - tolerance)).all()
    assert (found <= np.floor(expected + tolerance)).all()


# Deterministic corruptions, each against the formula it was published as.


@BOTH
def test_gaussian_blur_is_that_of_scikit_image(constants):
    skimage_filters = pytest.importorskip("skimage.filters")
    for severity in corruptions.SEVERITIES:
        images, sigma = pictures(), constant(constants, "gaussian_blur", severity)
        expected = [
            skimage_filters.gaussian(image / 255.0, sigma=sigma, channel_axis=-1)
            for image in images
        ]
        assert_truncated(
            corrupt("gaussian_blur", severity, images, constants), expected
        )


@BOTH
def test_defocus_blur_is_that_of_opencv(constants):
    cv2 = pytest.importorskip("cv2")
    for severity in corruptions.SEVERITIES:
        radius, alias = constant(constants, "defocus_blur", severity)
        half = 8 if radius <= 8 else radius
        x, y = np.meshgrid(np.arange(-half, half + 1), np.arange(-half, half + 1))
        kernel = (x**2 + y**2 <= radius**2).astype("float32")
        side = (3, 3) if radius <= 8 else (5, 5)
        kernel = cv2.GaussianBlur(kernel / kernel.sum(), ksize=side, sigmaX=alias)
        images = pictures()
        expected = [
            np.dstack([cv2.filter2D(c, -1, kernel) for c in np.moveaxis(x, -1, 0)])
            for x in images / 255.0
        ]
        assert_truncated(corrupt("defocus_blur", severity, images, constants), expected)


def zoomed(image, zoom):
    height = image.shape[0]
    crop = math.ceil(height / zoom)
    top = (height - crop) // 2
    image = image[top : top + crop, top : top + crop]
    image = ndimage.zoom(image, (zoom, zoom, 1)[: image.ndim], order=1)
    trim = (image.shape[0] - height) // 2
    return image[trim : trim + height, trim : trim + height]


ZOOMS = {
    "cifar": [(1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)],
    "imagenet": [(1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)],
}


@BOTH
def test_zoom_blur_is_that_of_scipy(constants):
    for severity in corruptions.SEVERITIES:
        top, step = ZOOMS[constants][severity - 1]
        zooms = np.arange(1, top, step)
        images = pictures()
        expected = []
        for image in (images / 255.0).astype("float32"):
            total = image + sum(zoomed(image, zoom) for zoom in zooms)
            expected.append(total / (len(zooms) + 1))
        assert_truncated(corrupt("zoom_blur", severity, images, constants), expected)


def test_zoom_blur_counts_its_own_image_twice():
    counts = {
        name: [len(z) for z in CONSTANTS[name]["zoom_blur"]] for name in CONSTANTS
    }
    assert counts == {"cifar": [7, 12, 16, 21, 26], "imagenet": [12, 16, 11, 13, 11]}
    assert all(z[0] == 1 for name in CONSTANTS for z in CONSTANTS[name]["zoom_blur"])


@BOTH
def test_contrast_shrinks_towards_the_mean_of_each_channel(constants):
    for severity in corruptions.SEVERITIES:
        images, kept = pictures(), constant(constants, "contrast", severity)
        expected = images / 255.0
        means = expected.mean(axis=(1, 2), keepdims=True)
        expected = (expected - means) * kept + means
        assert_truncated(corrupt("contrast", severity, images, constants), expected)


@BOTH
@pytest.mark.parametrize("kind", ["brightness", "saturate"])
def test_brightness_and_saturation_are_those_of_scikit_image(kind, constants):
    color = pytest.importorskip("skimage.color")
    for severity in corruptions.SEVERITIES:
        images = pictures()
        images[0, :2] = np.arange(64).reshape(2, 32, 1)  # greys, which have no hue
        expected = color.rgb2hsv(images / 255.0)
        if kind == "brightness":
            expected[..., 2] += constant(constants, kind, severity)
        else:
            factor, added = constant(constants, kind, severity)
            expected[..., 1] = expected[..., 1] * factor + added
        expected = color.hsv2rgb(np.clip(expected, 0, 1))
        assert_truncated(corrupt(kind, severity, images, constants), expected)


@BOTH
def test_jpeg_and_pixelate_are_those_of_pillow(constants):
    for severity in corruptions.SEVERITIES:
        images = pictures()
        quality = constant(constants, "jpeg_compression", severity)
        share = constant(constants, "pixelate", severity)
        small, jpegs, boxes = int(32 * share), [], []
        for image in map(Image.fromarray, images):
            file = io.BytesIO()
            image.save(file, "JPEG", quality=quality)
            jpegs.append(np.asarray(Image.open(file)))
            image = image.resize((small, small), Image.Resampling.BOX)
            boxes.append(np.asarray(image.resize((32, 32), Image.Resampling.BOX)))
        found = corrupt("jpeg_compression", severity, images, constants)
        np.testing.assert_array_equal(found, jpegs)
        found = corrupt("pixelate", severity, images, constants)
        np.testing.assert_array_equal(found, boxes)


# The parts of random corruptions, each given the draws.


@BOTH
def test_motion_blur_agrees_with_a_numpy_motion_blur(constants):
    rival = pytest.importorskip("imagecorruptions.corruptions")
    for severity in corruptions.SEVERITIES:
        radius, sigma = constant(constants, "motion_blur", severity)
        angles = [-44.1, -13.7, 2.3, 21.9, 40.2, -100.3]
        images = pictures(len(angles), 48, 48)
        found = blur.along_lines(images.astype("float32"), radius, sigma, angles)
        for blurred, image, angle in zip(found, images, angles, strict=True):
            expected = rival._motion_blur(image, radius, sigma, angle)
            difference = np.abs(blurred - expected)
            assert difference.max() < 1e-3


def test_motion_blur_is_rounded_and_draws_angles_within_45_degrees():
    spots = np.zeros((300, 41, 41, 3), "uint8")
    spots[:, 20, 20] = 255
    planes = corrupt("motion_blur", 5, spots)[..., 0].astype(float)
    rows, columns = np.arange(41)[:, None] - 20, np.arange(41) - 20
    weights = planes.sum(axis=(1, 2))
    down, across = ((planes * a).sum(axis=(1, 2)) / weights for a in (rows, columns))
    # The pixel that is read lies right of the one written, so the spot moves left.
    angles = np.rad2deg(np.arctan2(-down, -across))
    assert np.abs(angles).max() < 50
    assert stats.kstest(angles, stats.uniform(-45, 90).cdf).pvalue > 1e-3


@pytest.mark.parametrize("reach", [1, 2, 3, 4])
@pytest.mark.parametrize("rounds", [1, 2])
def test_glass_blur_walks_and_copies_one_way(reach, rounds):
    images = pictures(3, 17, 23)
    rows = range(17 - reach, reach, -1)
    columns = range(23 - reach, reach, -1)
    shape = (3, rounds, len(rows) * len(columns), 2)
    shifts = np.random.default_rng(reach).integers(-reach, reach, shape)
    expected = images.copy()
    for image, draws in zip(expected, shifts, strict=True):
        for turn in draws:
            for (h, w), (x, y) in zip(
                itertools.product(rows, columns), turn, strict=True
            ):
                image[h, w] = image[h + y, w + x]
    np.testing.assert_array_equal(blur.scatter(images, shifts, reach), expected)


def test_glass_blur_leaves_what_it_must():
    images = pictures()
    found = corrupt("glass_blur", 1, images)  # sigma 0.05 blurs nothing
    np.testing.assert_array_equal(found[:, :2], images[:, :2])
    np.testing.assert_array_equal(found[:, :, :2], images[:, :, :2])
    assert (found[:, 2:, 2:] != images[:, 2:, 2:]).any(axis=(1, 2, 3)).all()


def diamond_square(draws, size, decay):
    """A plain one, point by point, around the torus."""
    draws, points = iter(draws), np.zeros((size, size))
    step, wibble = size, 100.0
    while step >= 2:
        half, starts = step // 2, range(0, size, step)
        for top, left, places in (
            (half, half, ((-half, -half), (-half, half), (half, -half), (half, half))),
            (0, half, ((-half, 0), (half, 0), (0, -half), (0, half))),
            (half, 0, ((-half, 0), (half, 0), (0, -half), (0, half))),
        ):
            for row, column in itertools.product(starts, starts):
                row, column = row + top, column + left
                near = [
                    points[(row + a) % size, (column + b) % size] for a, b in places
                ]
                points[row, column] = sum(near) / 4 + wibble * wibble * next(draws)
        step, wibble = half, wibble / decay
    points -= points.min()
    return points / points.max()


@pytest.mark.parametrize("size", [2, 8, 32])
def test_fog_is_a_diamond_square(size):
    draws = np.random.default_rng(size).uniform(-1, 1, (3, size * size - 1))
    expected = [diamond_square(draw, size, 1.75) for draw in draws]
    np.testing.assert_allclose(weather.plasma(draws, 1.75), expected, atol=2e-5)


def test_fog_keeps_the_brightest_level_as_its_ceiling():
    images = pictures()
    images[0] //= 3
    for severity in corruptions.SEVERITIES:
        foggy = corrupt("fog", severity, images)
        assert (foggy.max(axis=(1, 2, 3)) <= images.max(axis=(1, 2, 3))).all()


def test_snow_flakes_follow_the_published_steps():
    rival = pytest.importorskip("imagecorruptions.corruptions")
    random = np.random.default_rng(0)
    for mean, std, zoom, low, radius, sigma, _ in CONSTANTS["cifar"]["snow"]:
        layers = random.normal(mean, std, (3, 32, 32)).astype("float32")
        angles = random.uniform(-135, -45, 3)
        found = weather.fallen(layers, zoom, low, radius, sigma, angles)
        for flakes, layer, angle in zip(found, layers, angles, strict=True):
            expected = zoomed(layer.astype("float64"), zoom)
            expected[expected < low] = 0
            expected = levels(expected)
            expected = rival._motion_blur(expected, radius, sigma, angle)
            assert np.abs(flakes - expected).max() < 0.501  # and whole
            np.testing.assert_array_equal(flakes, np.rint(flakes))


def test_snow_falls_twice_once_turned_around():
    snowy = corrupt("snow", 3, np.zeros((5, 32, 32, 3), "uint8"))
    np.testing.assert_array_equal(snowy, snowy[:, ::-1, ::-1])
    assert (snowy == int(0.1 * 127.5)).any() and (snowy > 60).any()


def test_snow_whitens_by_the_grey_of_each_pixel():
    images = pictures()
    quiet = weather.snow(images, _generators(4), 0, 0, 1, 0.5, 8, 3, 0.9)
    x = images / 255.0
    grey = x @ [0.299, 0.587, 0.114]
    expected = 0.9 * x + 0.1 * np.maximum(x, 1.5 * grey[..., None] + 0.5)
    assert_truncated(quiet, expected)


def _generators(count):
    return [np.random.default_rng(index) for index in range(count)]


@pytest.mark.parametrize("shape", [(32, 32), (24, 40)])
def test_elastic_is_an_affine_warp_of_opencv(shape):
    cv2 = pytest.importorskip("cv2")
    if int(cv2.__version__.split(".")[0]) < 5:
        pytest.skip("before OpenCV 5 the warp reads at multiples of 1/32 pixel")
    height, width = shape
    images = pictures(5, height, width).astype("float32")
    shifts = np.random.default_rng(1).uniform(-2.5, 2.5, (5, 3, 2))
    across, down = elastic.affine(shifts, height, width)
    found = elastic.sample(images, across, down, "mirror")
    third, centre = min(shape) // 3, np.float32([width // 2, height // 2])
    corners = np.float32([[third, third], [third, -third], [-third, -third]]) + centre
    for warped, image, shift in zip(found, images, shifts, strict=True):
        matrix = cv2.getAffineTransform(corners, (corners + shift).astype("float32"))
        border = cv2.BORDER_REFLECT_101
        expected = cv2.warpAffine(image, matrix, (width, height), borderMode=border)
        np.testing.assert_allclose(warped, expected, atol=0.05)


@pytest.mark.parametrize(("sigma", "factor"), [(6.4, 1.6), (1.0, 3.2), (40.0, 500.0)])
def test_elastic_displaces_as_scipy_does(sigma, factor):
    skimage_filters = pytest.importorskip("skimage.filters")
    images = pictures(3, 30, 34).astype("float32")
    fields = np.random.default_rng(2).uniform(-1, 1, (2, 3, 30, 34)).astype("float32")
    across, down = elastic.displaced(fields, sigma, factor)
    found = elastic.sample(images, across, down, "reflect")
    rows, columns = np.mgrid[:30, :34]
    for index, image in enumerate(images):
        dx, dy = (
            skimage_filters.gaussian(field[index], sigma, mode="reflect", truncate=3)
            for field in fields.astype("float64")
        )
        places = [rows + dy * factor, columns + dx * factor]
        for channel in range(3):
            expected = ndimage.map_coordinates(
                image[..., channel], places, order=1, mode="reflect"
            )
            np.testing.assert_allclose(found[index, ..., channel], expected, atol=0.2)


def test_elastic_reads_beyond_the_border_as_scipy_does():
    pixels = np.arange(10, dtype="float32").reshape(1, 1, 10, 1).repeat(3, axis=1)
    across = np.linspace(-25, 35, 30, dtype="float32").reshape(1, 3, 10)
    down = np.linspace(-7, 9, 30, dtype="float32").reshape(1, 3, 10)
    for border in ("mirror", "reflect"):
        found = elastic.sample(pixels, across, down, border)
        expected = ndimage.map_coordinates(
            pixels[0, ..., 0], [down[0], across[0]], order=1, mode=border
        )
        np.testing.assert_allclose(found[0, ..., 0], expected, atol=1e-4)


def test_elastic_applies_the_affine_map_then_the_displacement():
    images, rows, columns = pictures(3), *np.mgrid[:32, :32]
    alpha, sigma, jitter = 32 * np.array(constant("cifar", "elastic_transform", 3))
    random = perturbations.image_generators(0, "elastic_transform@3", range(3))
    corners, expected = 16 + 10 * np.array([[1, 1], [1, -1], [-1, -1]]), []
    for image, draw in zip(images.astype("float64"), random, strict=True):
        moved = corners + jitter * draw.uniform(-1, 1, (3, 2))
        back = np.linalg.solve(np.column_stack([moved, np.ones(3)]), corners)
        x, y = np.moveaxis(np.stack([columns, rows, 1 + 0 * rows], -1) @ back, -1, 0)
        dx, dy = (
            alpha * ndimage.gaussian_filter(field, sigma, mode="reflect", truncate=3)
            for field in 2 * draw.random((2, 32, 32), "float32").astype("float64") - 1
        )
        for places, mode in (
            ([y, x], "mirror"),
            ([rows + dy, columns + dx], "reflect"),
        ):
            image = np.dstack(
                [
                    ndimage.map_coordinates(image[..., c], places, order=1, mode=mode)
                    for c in range(3)
                ]
            )
        expected.append(image / 255)
    found = corrupt("elastic_transform", 3, images)
    assert_truncated(found, expected, tolerance=0.02)


# Spatter's parts against OpenCV.


def layers(count=6, height=32, width=37):
    random = np.random.default_rng(3)
    drops = random.normal(0.65, 0.3, (count, height, width))
    drops = ndimage.gaussian_filter(drops, (0, 0.9, 0.9), mode="nearest")
    drops[drops < 0.69] = 0
    drops[-1] = 0  # no drop at all
    drops = levels(drops)
    drops[1] = random.integers(0, 256, drops[1].shape)
    return drops


def test_edges_are_those_of_opencv():
    cv2 = pytest.importorskip("cv2")
    smooth = pictures(4)[..., 0]
    for images in (layers(), smooth, ndimage.gaussian_filter(smooth, (0, 1, 1))):
        expected = [cv2.Canny(image, 50, 150) > 0 for image in images]
        np.testing.assert_array_equal(spatter.edges(images), expected)
        assert 0 < np.mean(expected) < 0.5


def test_distances_are_those_of_opencv():
    cv2 = pytest.importorskip("cv2")
    random = np.random.default_rng(4)
    marks = (
        random.random((5, 40, 31))
        < np.array([0.2, 0.01, 0.003, 0.002, 0])[:, None, None]
    )
    marks[3] = False
    marks[3, 39, 0] = True
    found = spatter.distance(marks)
    for distances, mark in zip(found, marks, strict=True):
        expected = cv2.distanceTransform(np.uint8(~mark), cv2.DIST_L2, 5)
        if mark.any():
            np.testing.assert_allclose(distances, expected, atol=1e-3)
        else:
            assert distances.min() > 1000


def test_equalised_histograms_are_those_of_opencv():
    cv2 = pytest.importorskip("cv2")
    images = np.concatenate([layers(), pictures(3, 32, 37)[..., 0]])
    images[0] = 77
    images[1] = np.random.default_rng(5).integers(3, 9, images[1].shape)
    expected = [cv2.equalizeHist(image) for image in images]
    np.testing.assert_array_equal(spatter.equalise(images), expected)


def test_water_is_that_of_opencv():
    cv2 = pytest.importorskip("cv2")
    drops = layers()
    found = spatter.water(drops)
    for wet, layer in zip(found[:-1], drops[:-1], strict=True):
        relief = cv2.distanceTransform(255 - cv2.Canny(layer, 50, 150), cv2.DIST_L2, 5)
        relief = cv2.blur(np.minimum(relief, 20), (3, 3)).astype("uint8")
        kernel = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
        relief = cv2.filter2D(cv2.equalizeHist(relief), cv2.CV_8U, kernel)
        expected = layer * cv2.blur(relief, (3, 3)).astype("float32")
        np.testing.assert_allclose(wet, expected / expected.max(), atol=0.005)
    assert not found[-1].any()


def test_water_is_pale_turquoise_of_the_stated_strength():
    wet = corrupt("spatter", 3, np.zeros((20, 32, 32, 3), "uint8"))
    assert (wet.max(axis=(0, 1, 2)) == [87, 119, 119]).all()  # half of 175, 238, 238
    assert 0.05 < (wet == 0).all(axis=-1).mean() < 0.95


def test_mud_covers_in_its_own_colour():
    muddy = corrupt("spatter", 5, np.full((20, 32, 32, 3), 200, "uint8"), "imagenet")
    assert (muddy == 200).all(axis=-1).any()
    covered = muddy[(muddy != 200).any(axis=-1)].astype(float)
    share = (200 - covered) / (200 - np.array([63, 42, 20]))
    assert share.min() > 0.78 and np.ptp(share, axis=-1).max() < 0.02


# Noise: exact laws, and draws that follow them.


@BOTH
def test_noise_tables_have_the_closed_form(constants):
    for severity in corruptions.SEVERITIES:
        values = [constant(constants, kind, severity) for kind in noises()]
        levels_before = np.arange(256)
        for table in (
            make(v) for make, v in zip(noises().values(), values, strict=True)
        ):
            assert table.min() >= 0
            np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-9)
        sigma, photons, amount, speckle = values
        probability = stats.norm(128, 255 * sigma).cdf([140, 141])
        assert noise.gaussian_table(sigma)[128, 140] == pytest.approx(
            np.diff(probability)[0]
        )
        assert noise.gaussian_table(sigma)[250, 255] == pytest.approx(
            stats.norm(250, 255 * sigma).sf(255)
        )
        shot = noise.shot_table(photons)
        bright = stats.poisson(photons * 200 / 255).sf(photons - 1)
        assert shot[200, 255] == pytest.approx(bright, abs=1e-9)
        assert shot[0, 0] == 1
        impulse = noise.impulse_table(amount)
        assert np.allclose(impulse[levels_before, levels_before][1:-1], 1 - amount)
        assert np.allclose(impulse[1:-1, [0, 255]], amount / 2)
        assert noise.speckle_table(speckle)[0, 0] == 1


def noises():
    return {
        "gaussian_noise": noise.gaussian_table,
        "shot_noise": noise.shot_table,
        "impulse_noise": noise.impulse_table,
        "speckle_noise": noise.speckle_table,
    }


@BOTH
@pytest.mark.parametrize("kind", list(noises()))
def test_noise_is_drawn_from_its_table(kind, constants):
    table = noises()[kind](constant(constants, kind, 3))
    for level in (40, 250):
        flat = np.full((40, 32, 32, 3), level, "uint8")
        counts = np.bincount(corrupt(kind, 3, flat, constants).ravel(), minlength=256)
        expected = table[level] * flat.size
        assert counts[expected < 1e-9].sum() == 0
        usual = expected > 20
        statistic = ((counts - expected)[usual] ** 2 / expected[usual]).sum()
        assert stats.chi2(usual.sum() - 1).sf(statistic) > 1e-4


@pytest.mark.parametrize("kind", list(noises()))
def test_noise_has_the_moments_of_the_published_formula(kind):
    parameter, level = constant("cifar", kind, 3), 100
    x = level / 255
    variance = {
        "gaussian_noise": parameter**2,
        "shot_noise": x / parameter,
        "impulse_noise": parameter
        * ((x**2 + (1 - x) ** 2) / 2 - parameter * (0.5 - x) ** 2),
        "speckle_noise": (parameter * x) ** 2,
    }[kind]
    mean = x + parameter * (0.5 - x) if kind == "impulse_noise" else x
    table = noises()[kind](parameter)[level]
    found = np.arange(256) @ table / 255
    truncation = 0 if kind == "impulse_noise" else 0.5 / 255
    assert found == pytest.approx(mean - truncation, abs=0.06 / 255)
    found_variance = (np.arange(256) / 255 - found) ** 2 @ table
    assert found_variance == pytest.approx(variance, rel=0.01)


def test_noise_hits_channels_and_neighbours_independently():
    flat = np.full((60, 32, 32, 3), 128, "uint8")
    drawn = corrupt("gaussian_noise", 5, flat).astype(float)
    drawn -= drawn.mean()
    for a, b in (
        (drawn[..., 0], drawn[..., 1]),
        (drawn[:, 1:], drawn[:, :-1]),
        (drawn[:, :, 1:], drawn[:, :, :-1]),
        (drawn[1:], drawn[:-1]),
    ):
        assert abs((a * b).mean()) / drawn.var() < 5 / math.sqrt(a.size)


# Frost.


def test_frost_is_a_weighted_sum_with_a_random_piece(tmp_path):
    for index, name in enumerate(frost._FILES):
        texture = np.zeros((360, 330, 3), "uint8")
        texture[..., 0] = 40 * (index + 1)
        texture[..., 1] = np.arange(330) % 251
        texture[..., 2] = np.arange(360)[:, None] % 251
        Image.fromarray(texture).save(tmp_path / name, quality=100)
    black = np.zeros((400, 32, 32, 3), "uint8")
    corruption = corruptions.Corruption("frost", 1, frost_dir=str(tmp_path))
    frosted = corruption(black).astype(float) / 0.2
    chosen = np.rint(frosted[:, 0, 0, 0] / 40).astype(int)
    assert set(chosen) == {1, 2, 3, 4, 5}
    assert stats.chisquare(np.bincount(chosen)[1:]).pvalue > 1e-4
    pngs = frosted[chosen <= 3]
    steps = np.diff(pngs[:, 0, :, 1], axis=1)
    assert np.abs(steps[(steps > 0)] - 5).max() <= 5 + 1e-9  # every fifth pixel
    assert corruption.settings == {"constants": "auto", "frost": "textures"}


def test_frost_textures_are_reduced_as_opencv_does():
    cv2 = pytest.importorskip("cv2")
    texture = np.random.default_rng(0).integers(0, 256, (313, 562, 3), dtype="uint8")
    expected = cv2.resize(texture, (0, 0), fx=0.2, fy=0.2)
    np.testing.assert_array_equal(texture[2::5, 2::5], expected)


def test_frost_is_drawn_where_there_are_no_photographs(monkeypatch):
    monkeypatch.setattr(frost, "_installed", lambda: None)
    label, textures = corruptions.frost_source()
    assert label == "frost (synthetic)"
    assert len(textures) == 5 and len({texture.tobytes() for texture in textures}) == 5
    assert all(80 < texture.mean() < 180 and texture.std() > 15 for texture in textures)
    corruption = corruptions.Corruption("frost", 5)
    assert corruption.settings["frost"] == "synthetic"
    assert corruption(pictures(2, 224, 224)).shape == (2, 224, 224, 3)


def test_frost_finds_an_installed_package():
    pytest.importorskip("imagecorruptions")
    label, textures = corruptions.frost_source()
    assert label == "frost" and len(textures) == 5
    assert [texture.shape[-1] for texture in textures] == [3] * 5


def test_frost_names_missing_textures(tmp_path):
    with pytest.raises(ValueError, match="frost1.png.*missing. Received"):
        corruptions.frost_source(tmp_path)


# All of them.


@BOTH
@KIND
def test_every_corruption_returns_images_that_depend_on_their_own_key_only(
    kind, constants
):
    images, indices = pictures(7), np.array([5, 3, 11, 900, 0, 7, 8])
    severity = 1 + corruptions.NAMES.index(kind) % 5
    corruption = corruptions.Corruption(kind, severity, constants)
    together = corruption(images, indices, seed=4)
    assert together.dtype == np.uint8 and together.shape == images.shape
    assert (together != images).any()
    back = corruption(images[::-1], indices[::-1], seed=4)[::-1]
    np.testing.assert_array_equal(together, back)
    alone = [
        corruption(images[i : i + 1], indices[i : i + 1], seed=4)[0] for i in range(7)
    ]
    np.testing.assert_array_equal(together, alone)
    same = corruption(np.repeat(images[:1], 2, axis=0), [1, 2], seed=4)
    other = corruption(np.repeat(images[:1], 2, axis=0), [1, 2], seed=5)
    assert (same[0] != same[1]).any() == (kind in RANDOM)
    assert (same != other).any() == (kind in RANDOM)


@KIND
def test_batches_longer_than_a_chunk_change_nothing(kind):
    images = np.resize(pictures(8), (67, 32, 32, 3))
    corruption = corruptions.Corruption(kind, 4)
    whole = corruption(images)
    parts = [
        corruption(images[i : i + 32], range(i, min(i + 32, 67))) for i in (0, 32, 64)
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


# By their constants, not monotone in this distance: spatter changes from water to mud,
# saturate from less to more, the elastic transform from an affine map to displacement.
UNORDERED = {"spatter", "saturate", "elastic_transform", "frost"}
LOOSE = {("snow", "imagenet"), ("glass_blur", "imagenet")}


@BOTH
@pytest.mark.parametrize("kind", [k for k in corruptions.NAMES if k not in UNORDERED])
def test_distortion_grows_with_severity(kind, constants):
    images = pictures(24)
    distances = [
        np.abs(corrupt(kind, s, images, constants).astype(int) - images).mean()
        for s in corruptions.SEVERITIES
    ]
    assert distances[0] > 0
    assert distances[-1] > distances[0]
    if (kind, constants) not in LOOSE:
        assert (np.diff(distances) > -0.05 * distances[-1]).all(), distances


@KIND
def test_any_size_and_grey(kind):
    shapes = [(8, 8, 3), (20, 33, 3), (28, 28, 1), (9, 14, 1)]
    for shape, constants, severity in itertools.product(shapes, CONSTANTS, (1, 3, 5)):
        images = pictures(2, *shape[:2])[..., : shape[2]]
        found = corrupt(kind, severity, images, constants)
        assert found.shape == images.shape and found.dtype == np.uint8
        if shape[2] == 1:
            three = corrupt(kind, severity, images.repeat(3, axis=-1), constants)
            np.testing.assert_array_equal(found, three[..., :1])


@pytest.mark.parametrize("kind", ["shot_noise", "frost", "elastic_transform", "fog"])
def test_large_images_get_the_constants_of_imagenet(kind):
    images = pictures(1, 100, 64)
    automatic = corruptions.Corruption(kind, 2)(images)
    np.testing.assert_array_equal(automatic, corrupt(kind, 2, images, "imagenet"))
    small = corruptions.Corruption(kind, 2)(images[:, :95])
    np.testing.assert_array_equal(small, corrupt(kind, 2, images[:, :95], "cifar"))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_the_levels_they_came_from(dtype):
    ramp = np.arange(256, dtype="uint8").repeat(3).reshape(1, 16, 16, 3)
    floats = (ramp / np.array(255, dtype)).astype(dtype)
    for kind in ("contrast", "impulse_noise"):
        np.testing.assert_array_equal(corrupt(kind, 1, floats), corrupt(kind, 1, ramp))


def test_ids_settings_and_values():
    corruption = corruptions.Corruption("fog", 2)
    assert corruption.id == "fog@2" and corruption.settings == {"constants": "auto"}
    assert corruption == corruptions.Corruption("fog", np.int64(2))
    assert len({corruption, corruptions.Corruption("fog", 2)}) == 1
    assert len(corruptions.NAMES) == 19 and set(corruptions.PAPER) < set(
        corruptions.NAMES
    )
    for table in CONSTANTS.values():
        assert set(table) == set(corruptions.NAMES)
        assert all(len(values) == 5 for values in table.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gausian_noise", 1), "Did you mean 'gaussian_noise'"),
        (("fog", 0), "from 1 to 5. Received: 0"),
        (("fog", 6), "from 1 to 5"),
        (("fog", True), "from 1 to 5. Received: True"),
        (("fog", 2.0), "from 1 to 5. Received: 2.0"),
        (("fog", "2"), "from 1 to 5"),
        (("fog", 1, "tiny"), "auto, cifar, imagenet. Received: 'tiny'"),
    ],
)
def test_bad_corruptions_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        corruptions.Corruption(*arguments)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((32, 32, 3), "uint8"), "Received: shape"),
        (np.zeros((0, 32, 32, 3), "uint8"), "at least one image"),
        (np.zeros((1, 32, 32, 4), "uint8"), "1 or 3 channels"),
        (np.zeros((1, 7, 32, 3), "uint8"), "at least 8 pixels"),
        (np.zeros((1, 32, 32, 3), "int32"), "Received: dtype int32"),
        (np.full((1, 32, 32, 3), 255.0), "must lie in"),
        (np.full((1, 32, 32, 3), np.nan), "must lie in"),
    ],
)
def test_bad_images_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        corruptions.Corruption("fog", 1)(images)


def test_indices_must_match():
    with pytest.raises(ValueError, match="each of the 2 images. Received: 3"):
        corruptions.Corruption("fog", 1)(pictures(2), [0, 1, 2])
