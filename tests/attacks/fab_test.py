import numpy as np
import pytest
from keras import ops

from nfm_keras import attacks
from nfm_keras.attacks import FAB, fab
from nfm_keras.backend import gradients

pytestmark = pytest.mark.backends

NORMS = pytest.mark.parametrize("norm", attacks.NORMS)


def projected(points, normal, gap, norm):
    run = gradients.compiled(
        lambda *args: fab.project_onto_hyperplane(*args, norm=norm)
    )
    return ops.convert_to_numpy(run(points, normal, gap))


@NORMS
def test_the_projection_is_the_smallest_that_reaches_the_plane(norm):
    """Certified by optimality conditions, with many pixels on faces of the box."""
    random = np.random.default_rng(0)
    points = random.random((50, 40)).astype("float32")
    points[:, :15] = np.round(points[:, :15])
    normal = random.normal(size=points.shape).astype("float32")
    normal[:, ::7] = 0
    room = np.where(normal > 0, 1 - points, points)
    most = (np.abs(normal) * room).sum(axis=1)
    gap = (most * random.uniform(0.05, 0.95, 50)).astype("float32")
    for sign in (1, -1):
        delta = sign * projected(points, sign * normal, sign * gap, norm)
        delta *= sign
        np.testing.assert_allclose((normal * delta).sum(1), gap, rtol=1e-4)
        assert (points + delta >= -1e-6).all() and (points + delta <= 1 + 1e-6).all()
        if norm == "linf":  # with a little less, even all pixels together fall short
            scale = 0.999 * np.abs(delta).max(axis=1, keepdims=True)
            reach = (np.abs(normal) * np.minimum(scale, room)).sum(axis=1)
            assert (reach < gap).all()
        else:  # where the box leaves room, in proportion to the normal; else less
            used = normal != 0
            ratio = np.where(used, delta / np.where(used, normal, 1), 0)
            free = used & (np.abs(delta) < room - 1e-5)
            scale = ratio.max(axis=1, keepdims=True)
            broad = np.broadcast_to(scale, ratio.shape)
            np.testing.assert_allclose(ratio[free], broad[free], rtol=1e-3)
            assert (delta[~used] == 0).all()


@NORMS
def test_a_plane_out_of_reach_gives_the_nearest_corner(norm):
    points = np.array([[0.2, 0.9, 0.5]], "float32")
    normal = np.array([[1.0, -2.0, 0.0]], "float32")
    delta = projected(points, normal, np.array([50.0], "float32"), norm)
    np.testing.assert_allclose(delta, [[0.8, -0.9, 0.0]], atol=1e-6)
    delta = projected(points, 0 * normal, np.array([1.0], "float32"), norm)
    np.testing.assert_array_equal(delta, 0 * points)


@NORMS
def test_the_distance_to_a_sphere(norm):
    """A curved boundary: class 1 within distance 0.3 of the middle, else class 0."""

    def classifier(points):
        inside = 0.09 - ops.sum(ops.square(points - 0.5), axis=1)
        return ops.stack([0 * inside, inside], axis=1)

    images = np.array([[0.52, 0.4], [0.45, 0.6], [0.6, 0.35]], "float32")
    _, found = FAB(0.1, norm, steps=60).nearest(classifier, images, [1, 1, 1])
    offset = np.abs(images - 0.5)
    if norm == "l2":
        expected = 0.3 - np.linalg.norm(offset, axis=1)
    else:  # |a + s|^2 + |b + s|^2 = 0.09, from the nearest side in both pixels
        total, gap = offset.sum(1), 0.09 - (offset**2).sum(1)
        expected = (-total + np.sqrt(total**2 + 2 * gap)) / 2
    np.testing.assert_allclose(found, expected, rtol=0.01)


def test_nothing_found_is_an_infinite_distance():
    def flat(points):  # a slope, but too small a one for any point of the box
        return ops.concatenate([0.1 * points[:, :1], 0 * points[:, :1] + 1], axis=1)

    images = np.full((3, 4), 0.3, "float32")
    attack = FAB(0.1, steps=4)
    points, distances = attack.nearest(flat, images, [1, 0, 1])
    np.testing.assert_array_equal(distances, [np.inf, 0, np.inf])
    np.testing.assert_array_equal(points, images)
    result = attack(flat, images, [1, 0, 1])
    np.testing.assert_array_equal(result.success, [False, True, False])
