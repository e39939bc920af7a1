import math
import types

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from nfm_keras.figures import images as image_plots
from nfm_keras.figures import robustness as suite_plots

STANDARD = ("fog", "snow", "frost")
KINDS = (*STANDARD, "spatter")


def image(seed, shape=(8, 8, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, "uint8")


def lines(axis):
    return {line.get_label(): line for line in axis.get_lines()}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def accuracies(seed):
    numbers = np.random.default_rng(seed).uniform(0, 100, (len(KINDS), 5))
    return dict(zip(KINDS, numbers.tolist(), strict=True))


def overlapping(texts):
    """Pairs of texts that lie over each other, once the figure is drawn."""
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    return [pair for pair in pairs if pair[0].overlaps(pair[1])]


@pytest.mark.parametrize(
    "name, start", [("a.png", b"\x89PNG"), ("b/a.pdf", b"%PDF"), ("a.svg", b"<?xml")]
)
def test_a_figure_is_written_in_the_form_its_name_says(name, start, tmp_path):
    figure = suite_plots.heat_map(
        accuracies(0), tmp_path / name, title="A title", caption="n = 100"
    )
    assert (tmp_path / name).read_bytes().startswith(start)
    assert figure.get_suptitle() == "A title\nn = 100"
    assert (figure.dpi, figure.get_size_inches()[0] <= 10) == (150, True)


def test_curves_are_the_numbers_in_order_of_severity_with_gaps(tmp_path):
    points = [(0.2, 70.0, 60.0, 75.0), (0.0, 95.0, 90.0, 99.0), (0.1, None, None, None)]
    curves = {
        "white_noise": {"erm": points, "nfm": [(0, 94.0, 93.0, 95.0)]},
        "apgd_t": {"nfm": [(0, 94.0, 93.0, 95.0), (0.1, 3.0, 2.0, 5.0)], "none": []},
        "fgsm": {"erm": []},
    }
    figure = suite_plots.accuracy_curves(curves, tmp_path / "x.png")
    noise, attack = figure.axes
    drawn = lines(noise)["erm"].get_xydata()
    np.testing.assert_array_equal(drawn, [[0, 95], [0.1, math.nan], [0.2, 70]])
    vertices = np.vstack([path.vertices for path in noise.collections[0].get_paths()])
    assert {60.0, 75.0, 90.0, 99.0} == set(vertices[:, 1])
    assert list(lines(attack)) == ["nfm"]
    np.testing.assert_array_equal(lines(attack)["nfm"].get_ydata(), [94, 3])
    # A model keeps its colour from panel to panel.
    assert len({lines(axis)["nfm"].get_color() for axis in figure.axes}) == 1
    assert lines(noise)["nfm"].get_color() != lines(noise)["erm"].get_color()
    assert legend(figure) == ["erm", "nfm"]
    assert "σ" in noise.get_xlabel() and "APGD-T, l∞ ε" in attack.get_xlabel()
    assert noise.get_ylabel() == "accuracy (%)"


@pytest.mark.parametrize("panels, across", [(1, 1), (4, 4), (5, 3), (7, 4)])
def test_curves_are_at_most_four_panels_a_row_and_nothing_overlaps(
    panels, across, tmp_path
):
    points = [(0, 90.0, 80.0, 95.0), (0.25, 40.0, 30.0, 50.0)]
    names = ("white_noise", "salt_and_pepper", "autoattack", "apgd_dlr_l2", "pgd_l2")
    curves = {
        f"{names[i % 5]} ({i})": {"manifold_mixup": points, "nfm": points}
        for i in range(panels)
    }
    figure = suite_plots.accuracy_curves(curves, tmp_path / "x.png", caption="n " * 90)
    places = [axis.get_subplotspec() for axis in figure.axes]
    assert {place.get_gridspec().ncols for place in places} == {across}
    assert figure.get_size_inches()[0] <= 10
    labels = [text for a in figure.axes for text in (a.xaxis.label, a.yaxis.label)]
    ticks = [text for axis in figure.axes for text in axis.get_xticklabels()]
    others = [figure._suptitle, *figure.legends[0].get_texts()]
    assert not overlapping([*labels, *ticks, *others])


def test_bars_are_means_and_a_mean_that_lacks_a_number_is_a_gap(tmp_path):
    values = {"erm": accuracies(1), "nfm": accuracies(2)}
    values["erm"]["snow"][2] = None
    del values["nfm"]["frost"]
    ordered = {"spatter": values["erm"].pop("spatter"), **values["erm"]}
    values["erm"] = ordered  # the extra one is drawn last all the same
    figure = suite_plots.corruption_bars(values, tmp_path / "x.png")
    left, right = figure.axes
    table = np.array([values["erm"][kind] for kind in KINDS], float)
    means = lines(left)["erm"]
    np.testing.assert_array_equal(means.get_xdata(), [1, 2, 3, 4, 5])
    expected = table[:3].mean(axis=0)  # without the extra one
    np.testing.assert_allclose(means.get_ydata(), expected)
    assert np.isnan(expected).tolist() == [False, False, True, False, False]
    assert np.isnan(lines(left)["nfm"].get_ydata()).all()
    names = [text.get_text() for text in right.get_xticklabels()]
    assert names == list(KINDS)
    for bars, model in zip(right.containers, values, strict=True):
        heights = [bar.get_height() for bar in bars]
        rows = [values[model].get(kind, [None]) for kind in KINDS]
        expected = [np.mean(np.array(row, float)) for row in rows]
        np.testing.assert_allclose(heights, expected)
    edges = [
        (bar.get_x(), bar.get_width()) for bars in right.containers for bar in bars
    ]
    middle = np.mean([[x + width / 2 for x, width in edges[i::4]] for i in range(4)], 1)
    np.testing.assert_allclose(middle, range(4))  # groups centred on their names
    (divider,) = right.get_lines()
    assert set(divider.get_xdata()) == {2.5}
    assert "3 standard" in left.get_xlabel()
    assert right.get_title(loc="left") == "mean of severities 1 to 5"
    assert legend(figure) == ["erm", "nfm"]


def test_severities_nobody_measured_are_left_out_and_told(tmp_path):
    values = {"nfm": {"spatter": [90.0, None, 80.0, None, math.nan]}}
    left, right = suite_plots.corruption_bars(values, tmp_path / "x.png").axes
    np.testing.assert_array_equal(lines(left)["nfm"].get_xydata(), [[1, 90], [3, 80]])
    assert right.containers[0][0].get_height() == 85
    assert "1 extra" in left.get_xlabel()
    assert right.get_title(loc="left") == "mean of severities 1, 3"
    assert not right.get_lines()  # nothing to divide


def test_a_heat_map_has_its_numbers_in_legible_cells(tmp_path):
    values = accuracies(3) | {"brightness": [0.0, 90.0, 50.0, None, 25.0]}
    figure = suite_plots.heat_map(values, tmp_path / "x.png")
    axis, bar = figure.axes
    (picture,) = axis.get_images()
    rows = np.array([values[kind] for kind in (*STANDARD, "brightness", "spatter")])
    rows = rows.astype(float)
    table = np.column_stack([rows, rows.mean(axis=1)])
    np.testing.assert_allclose(picture.get_array().filled(np.nan), table)
    assert picture.get_clim() == (0, 100)
    texts = {text.get_position(): text for text in axis.texts}
    assert len(texts) == table.size
    for (row, column), value in np.ndenumerate(table):
        text = texts[column, row]
        empty = np.isnan(value)
        assert text.get_text() == ("–" if empty else f"{value:.1f}")
        ground = axis.get_facecolor() if empty else picture.cmap(value / 100)
        assert contrast(text.get_color(), ground) > 4.5  # WCAG 2.1, level AA
    names = [text.get_text() for text in axis.get_yticklabels()]
    assert names == ["fog", "snow", "frost", "brightness", "spatter"]
    heads = [text.get_text() for text in axis.get_xticklabels()]
    assert heads == ["1", "2", "3", "4", "5", "mean"]
    assert "%" in bar.get_ylabel()


def contrast(ink, ground):
    def luminance(color):
        rgb = np.array(to_rgb(color[:3] if isinstance(color, tuple) else color))
        low, high = rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4
        return np.dot(np.where(rgb <= 0.04045, low, high), (0.2126, 0.7152, 0.0722))

    dark, light = sorted([luminance(ink), luminance(ground)])
    return (light + 0.05) / (dark + 0.05)


def diagram(counts=(10, 0, 30), confidence=(0.2, 0.0, 0.9), accuracy=(0.3, 0.0, 0.8)):
    arrays = {"counts": counts, "confidence": confidence, "accuracy": accuracy}
    arrays = {name: np.array(values) for name, values in arrays.items()}
    return types.SimpleNamespace(edges=np.linspace(0, 1, 4), **arrays)


def test_a_reliability_diagram_has_bins_counts_and_error(tmp_path):
    perfect = diagram((5, 5, 5), (0.1, 0.5, 0.9), (0.1, 0.5, 0.9))
    diagrams = {"nfm": diagram(), "perfect": perfect}
    figure = suite_plots.reliability_diagram(diagrams, tmp_path / "x.png")
    above, below = figure.axes
    nfm, line = lines(above)["nfm, ECE 10.00 %"], lines(above)["calibrated"]
    np.testing.assert_allclose(nfm.get_xydata()[[0, 2]], [[20, 30], [90, 80]])
    assert np.isnan(nfm.get_ydata()[1])  # an empty bin has no accuracy
    np.testing.assert_array_equal(line.get_xydata(), [[0, 0], [100, 100]])
    counts = below.patches[0].get_data()
    np.testing.assert_array_equal(counts.values, [10, 0, 30])
    np.testing.assert_allclose(counts.edges, [0, 100 / 3, 200 / 3, 100])
    assert legend(figure) == ["calibrated", "nfm, ECE 10.00 %", "perfect, ECE 0.00 %"]
    labels = above.get_ylabel(), below.get_xlabel(), below.get_ylabel()
    assert labels == ("accuracy (%)", "confidence (%)", "images")


def test_certified_accuracy_is_the_share_right_at_each_radius(tmp_path):
    random = np.random.default_rng(0)
    radii, correct = random.exponential(0.3, 40), random.random(40) < 0.7
    radii[:2], correct[:2] = radii[2], correct[2]  # equal radii
    abstained = np.append(radii, math.nan), np.append(correct, False)
    curves = {"nfm": abstained, "wrong": ([0.1], [False])}
    figure = suite_plots.certified_curves(curves, tmp_path / "x.png")
    (axis,) = figure.axes
    nfm = lines(axis)["nfm"]
    assert nfm.get_drawstyle() == "steps-pre"
    x, y = nfm.get_xydata().T
    for radius in (*radii, 0.0, 0.05, 0.31, 9.9):
        # steps-pre: the height at x[i] reaches back to x[i - 1]. First place at or
        # after the radius.
        height = y[np.searchsorted(x, radius)] if radius <= x[-1] else 0.0
        expected = 100 * np.sum(correct & (radii >= radius)) / 41
        assert height == pytest.approx(expected)
    assert y[-1] == 0
    assert not lines(axis)["wrong"].get_ydata().any()
    assert "l2" in axis.get_xlabel() and "%" in axis.get_ylabel()


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
    figure = image_plots.sample_sheet(samples, path, original=original)
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
    figure = image_plots.adversarial_examples(
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
    figure = image_plots.adversarial_examples(
        images, adversaries, tmp_path / "x.png", **settings, caption="PGD " * 60
    )
    assert len(figure.axes) == 3 * 8
    assert figure.get_size_inches()[0] <= 10
    titles = [axis.title for axis in figure.axes]
    assert not overlapping([*titles, figure._suptitle])


def test_uint8_and_grey_images_are_shown_as_they_are(tmp_path):
    images, adversaries = image(0, (1, 4, 4, 1)), image(1, (1, 4, 4, 1))
    settings = {"labels": [0], "predictions": [0], "adversarial_predictions": [0]}
    figure = image_plots.adversarial_examples(
        images, adversaries, tmp_path / "x.png", **settings, classes=["cat"]
    )
    shown = figure.axes[1].get_images()[0]
    np.testing.assert_allclose(shown.get_array() * 255, adversaries[0, ..., 0], 1e-6)
    assert shown.get_clim() == (0, 1)


def adversarial(path, images=None, **changes):
    clean, adversaries, settings = examples(**changes)
    images = clean if images is None else images
    return image_plots.adversarial_examples(images, adversaries, path, **settings)


def sheet(samples, path):
    return image_plots.sample_sheet(samples, path, original=image(0))


NAN = math.nan
REFUSED = [
    (suite_plots.accuracy_curves, {}, "`curves` must"),
    (suite_plots.accuracy_curves, {"pgd": {"a": []}}, "`curves` must"),
    (suite_plots.accuracy_curves, {"pgd": {"a": [(0, NAN, 1, 2)]}}, "`curves` must"),
    (suite_plots.accuracy_curves, {"pgd": {"a": [(0, 1.0)]}}, "low, high.*'pgd' and"),
    (suite_plots.corruption_bars, {}, "one accuracy"),
    (suite_plots.corruption_bars, {"a": {"fog": [NAN] * 5}}, "one accuracy"),
    (suite_plots.heat_map, {}, "one accuracy"),
    (suite_plots.heat_map, {"fog": [1.0]}, "five accuracies.*'fog'"),
    (suite_plots.reliability_diagram, {}, "`diagrams` must"),
    (suite_plots.reliability_diagram, {"a": diagram((0, 0, 0))}, "one image.*'a'"),
    (suite_plots.reliability_diagram, {"a": diagram((1, 2))}, "one edge more.*'a'"),
    (suite_plots.certified_curves, {}, "`radii` must"),
    (suite_plots.certified_curves, {"a": ([], [])}, "one image.*'a'"),
    (suite_plots.certified_curves, {"a": ([0.1], [True, False])}, "two arrays.*'a'"),
    (suite_plots.certified_curves, {"a": ([NAN], [True])}, "finite number.*'a'"),
    (sheet, {}, "`samples` must"),
    (sheet, {"fog": [image(0)] * 4}, "five uint8 images.*'fog'"),
    (sheet, {"fog": [image(0) / 255] * 5}, "five uint8 images.*float64"),
    (sheet, {"fog": [image(0, (8, 9, 3))] * 5}, "of the original's shape"),
]
MISFITS = [
    ({"images": np.zeros((0, 4, 4, 3))}, "at least one image"),
    ({"images": np.zeros((2, 4, 4, 3))}, "one shape"),
    ({"predictions": [0, 1]}, "each of the 3 images"),
    ({"labels": [0, 1, 3]}, "between 0 and 2"),
    ({"names": ["a"]}, "3 names"),
]


def test_what_cannot_be_drawn_is_refused_by_name(tmp_path):
    path = tmp_path / "x.png"
    calls = [(figure, (values, path), {}, words) for figure, values, words in REFUSED]
    calls += [(adversarial, (path,), changes, words) for changes, words in MISFITS]
    for figure, arguments, changes, words in calls:
        with pytest.raises(ValueError, match=f"(?s){words}") as error:
            figure(*arguments, **changes)
        assert "Received: " in str(error.value)
    assert not list(tmp_path.iterdir())
