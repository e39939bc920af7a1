"""Sheets of corrupted images and adversarial examples, made from plain values."""

import numpy as np
import pytest
from conftest import overlapping

from nfm_keras import figures


def image(seed, shape=(8, 8, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, "uint8")


@pytest.mark.parametrize(
    "shape, rows", [((8, 8, 3), 19), ((6, 4, 1), 2), ((160, 200, 3), 2)]
)
def test_a_sample_sheet_shows_every_image_in_its_cell(shape, rows, tmp_path):
    names = ["jpeg_compression", *(f"kind_{row}" for row in range(1, rows))]
    original = image(0, shape)
    samples = {
        kind: [image(10 * row + s, shape) for s in range(1, 6)]
        for row, kind in enumerate(names)
    }
    path = tmp_path / "x.png"
    figure = figures.sample_sheet(samples, path, original=original)
    (axis,) = figure.axes
    shown = [image for row in samples.values() for image in (original, *row)]
    cells = axis.get_images()
    for cell, expected in zip(cells, shown, strict=True):
        np.testing.assert_array_equal(cell.get_array(), np.squeeze(expected))
        assert cell.get_interpolation() == "nearest"
        assert cell.get_clim() == (0, 255)
    boxes = [cell.get_window_extent() for cell in cells]
    centres = np.array([(b.x0 + b.width / 2, b.y0 + b.height / 2) for b in boxes])
    columns, middles = centres[:6, 0], centres[::6, 1]
    assert (np.diff(columns) > boxes[0].width).all()
    assert (np.diff(middles) < -boxes[0].height).all()
    assert boxes[0].height / boxes[0].width == pytest.approx(shape[0] / shape[1])
    across, down = axis.get_xticklabels(), axis.get_yticklabels()
    assert [text.get_text() for text in across] == ["original", *"12345"]
    assert [text.get_text().replace(" ", "_") for text in down] == names
    assert down[0].get_text() == "jpeg compression"
    for text, x in zip(across, columns, strict=True):
        assert np.mean(text.get_window_extent().intervalx) == pytest.approx(x, abs=1)
    for text, y in zip(down, middles, strict=True):
        assert np.mean(text.get_window_extent().intervaly) == pytest.approx(y, abs=4)
        assert text.get_window_extent().x0 >= 0  # not cut off
    assert figure.get_size_inches()[0] <= 10
    assert not overlapping([*across, *down, axis.xaxis.label])


def examples(n=3, **changes):
    images = np.full((n, 4, 4, 3), 0.5, "float32")
    noise = np.random.default_rng(0).choice([-1, 1], images.shape) * 4 / 255
    noise[1] = 0
    settings = {
        "labels": np.arange(n),
        "predictions": np.zeros(n, int),
        "adversarial_predictions": np.full(n, 1),
        "classes": [f"class {i}" for i in range(n)],
        "names": [f"image {i}" for i in range(n)],
    }
    adversaries = (images + noise).astype("float32")
    return images, adversaries, settings | changes


def test_adversarial_examples_are_shown_with_their_difference_magnified(tmp_path):
    images, adversaries, settings = examples()
    figure = figures.adversarial_examples(
        images, adversaries, tmp_path / "x.png", **settings
    )
    pictures = [axis.get_images()[0].get_array() for axis in figure.axes]
    np.testing.assert_allclose(pictures[:3], images)
    np.testing.assert_allclose(pictures[3:6], adversaries)
    difference = pictures[6]
    assert np.ptp(difference) == pytest.approx(1, abs=1e-4)
    expected = 0.5 + (adversaries[0] - images[0]) * 31.875
    np.testing.assert_allclose(difference, expected, atol=1e-4)
    np.testing.assert_array_equal(pictures[7], 0.5)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[0] == "image 0\ntrue class 0\npredicted class 0"
    assert titles[1] == "image 1\ntrue class 1\npredicted class 0"
    assert titles[3:6] == ["predicted class 1"] * 3
    assert titles[6:] == ["x 31.9", "no difference", "x 31.9"]
    wrong = [axis.title.get_color() != "black" for axis in figure.axes[:6]]
    assert wrong == [False, True, True, True, False, True]
    rows = [axis.get_ylabel() for axis in figure.axes[::3]]
    assert rows == ["image", "adversarial", "difference"]


def test_eight_adversarial_examples_fit_with_long_names(tmp_path):
    names = ["great white shark, white shark, man-eater"] * 9
    images, adversaries, settings = examples(9, classes=names, names=names)
    figure = figures.adversarial_examples(
        images, adversaries, tmp_path / "x.png", **settings, caption="PGD " * 60
    )
    assert len(figure.axes) == 3 * 8
    assert figure.get_size_inches()[0] <= 10
    titles = [axis.title for axis in figure.axes]
    assert not overlapping([*titles, figure._suptitle])


def test_uint8_and_grey_images_are_shown_as_they_are(tmp_path):
    images, adversaries = image(0, (1, 4, 4, 1)), image(1, (1, 4, 4, 1))
    settings = {"labels": [0], "predictions": [0], "adversarial_predictions": [0]}
    figure = figures.adversarial_examples(
        images, adversaries, tmp_path / "x.png", **settings, classes=["cat"]
    )
    shown = figure.axes[1].get_images()[0]
    np.testing.assert_allclose(shown.get_array() * 255, adversaries[0, ..., 0], 1e-6)
    assert shown.get_clim() == (0, 1)


def adversarial(path, images=None, **changes):
    clean, adversaries, settings = examples(**changes)
    images = clean if images is None else images
    return figures.adversarial_examples(images, adversaries, path, **settings)


def sheet(samples, path):
    return figures.sample_sheet(samples, path, original=image(0))


SHEETS = [
    ({}, "`samples` must"),
    ({"fog": [image(0)] * 4}, "five uint8 images.*'fog'"),
    ({"fog": [image(0) / 255] * 5}, "five uint8 images.*float64"),
    ({"fog": [image(0, (8, 9, 3))] * 5}, "of the original's shape"),
]
MISFITS = [
    ({"images": np.zeros((0, 4, 4, 3))}, "at least one image"),
    ({"images": np.zeros((2, 4, 4, 3))}, "one shape"),
    ({"images": np.full((3, 4, 4, 3), 2.0)}, "lie in .0,1.*from 2 to 2"),
    ({"images": np.full((3, 4, 4, 3), np.nan)}, "lie in .0,1"),
    ({"predictions": [0, 1]}, "each of the 3 images"),
    ({"predictions": [0.0, 1.0, 1.0]}, "each of the 3 images.*float64"),
    ({"labels": [0, 1, 3]}, "between 0 and 2"),
    ({"names": ["a"]}, "3 names"),
]


def test_what_cannot_be_drawn_is_refused_by_name(tmp_path):
    path = tmp_path / "x.png"
    calls = [(sheet, (samples, path), {}, words) for samples, words in SHEETS]
    calls += [(adversarial, (path,), changes, words) for changes, words in MISFITS]
    for figure, arguments, changes, words in calls:
        with pytest.raises(ValueError, match=f"(?s){words}") as error:
            figure(*arguments, **changes)
        assert "Received: " in str(error.value)
    assert not list(tmp_path.iterdir())
