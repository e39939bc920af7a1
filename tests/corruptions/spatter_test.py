"""Spatter's parts against OpenCV."""

import numpy as np
import pytest
from pictures import corrupt, levels, pictures
from scipy import ndimage

from nfm_keras.corruptions import spatter


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
