"""The elastic transform against OpenCV and SciPy."""

import numpy as np
import pytest
from pictures import assert_truncated, constant, corrupt, pictures
from scipy import ndimage

from nfm_keras.corruptions import elastic
from nfm_keras.data.images import image_generators


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
    random = image_generators(0, "elastic_transform@3", range(3))
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
