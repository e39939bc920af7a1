"""Figures of common corruptions, made from plain values."""

import math

import numpy as np
import pytest
from conftest import scored
from matplotlib.colors import to_rgb

from nfm_keras import figures
from nfm_keras.figures.corruptions import corruption_panels
from nfm_keras.figures.styles import place_styles
from nfm_keras.reports.suite_figures import mean_ends

STANDARD = ("fog", "snow", "frost")
EXTRA = ("spatter",)
KINDS = (*STANDARD, *EXTRA)


def lines_of(axis):
    return {line.get_label(): line for line in axis.get_lines()}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def accuracies(seed):
    numbers = np.random.default_rng(seed).uniform(0, 100, (len(KINDS), 5))
    return dict(zip(KINDS, numbers.tolist(), strict=True))


@pytest.mark.parametrize(
    "name, start", [("a.png", b"\x89PNG"), ("b/a.pdf", b"%PDF"), ("a.svg", b"<?xml")]
)
def test_a_figure_is_written_in_the_form_its_name_says(name, start, tmp_path):
    figure = figures.heat_map(
        accuracies(0), tmp_path / name, title="A title", caption="n = 100"
    )
    assert (tmp_path / name).read_bytes().startswith(start)
    assert figure.get_suptitle() == "A title\nn = 100"
    assert (figure.dpi, figure.get_size_inches()[0] <= 10) == (150, True)


def test_bars_are_means_and_a_mean_that_lacks_a_number_is_a_gap(tmp_path):
    values = {"erm": accuracies(1), "nfm": accuracies(2)}
    values["erm"]["snow"][2] = None
    del values["nfm"]["frost"]
    ordered = {"spatter": values["erm"].pop("spatter"), **values["erm"]}
    values["erm"] = ordered  # the extra one is drawn last all the same
    figure = figures.corruption_bars(values, tmp_path / "x.png", extra=EXTRA)
    left, right = figure.axes
    table = np.array([values["erm"][kind] for kind in KINDS], float)
    means = lines_of(left)["erm"]
    np.testing.assert_array_equal(means.get_xdata(), [1, 2, 3, 4, 5])
    expected = table[:3].mean(axis=0)  # without the extra one
    np.testing.assert_allclose(means.get_ydata(), expected)
    assert np.isnan(expected).tolist() == [False, False, True, False, False]
    assert np.isnan(lines_of(left)["nfm"].get_ydata()).all()
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
    left, right = figures.corruption_bars(values, tmp_path / "x.png", extra=EXTRA).axes
    np.testing.assert_array_equal(
        lines_of(left)["nfm"].get_xydata(), [[1, 90], [3, 80]]
    )
    assert right.containers[0][0].get_height() == 85
    assert "(spatter)" in left.get_xlabel()
    assert right.get_title(loc="left") == "mean of severities 1, 3"
    assert not right.get_lines()  # nothing to divide


def test_a_heat_map_has_its_numbers_in_legible_cells(tmp_path):
    values = accuracies(3) | {"brightness": [0.0, 90.0, 50.0, None, 25.0]}
    figure = figures.heat_map(values, tmp_path / "x.png", extra=EXTRA)
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


def test_panels_have_lines_bars_and_whiskers_in_the_styles_given(tmp_path):
    styles = place_styles(["late", "nfm", "none"])
    lines = {"severity": {"nfm": [(1, 90.0, 89.0, 91.0), (3, 70.0, 68.0, 72.0)]}}
    bars = [
        {
            "late": {"fog": None, "snow": (10.0, None, None)},
            "nfm": {"fog": (50.0, 45.0, 55.0), "snow": (60.0, 58.0, 62.0)},
            "none": {"fog": None, "snow": None},
        }
    ]
    figure = corruption_panels(lines, bars, tmp_path / "x.png", styles, severity=3)
    above, below = figure.axes
    assert lines_of(above)["nfm"].get_color() == styles["nfm"]["color"]
    late, nfm = below.containers
    heights = [bar.get_height() for bar in (*late, *nfm)]
    np.testing.assert_array_equal(heights, [math.nan, 10, 50, 60])
    (whiskers,) = below.collections
    ends = [segment[:, 1].tolist() for segment in whiskers.get_segments()]
    assert ends == [[45, 55], [58, 62]]
    assert "severity 3" in below.get_ylabel()
    assert legend(figure) == ["late", "nfm"]


REFUSED = [
    (figures.corruption_bars, {}, "one accuracy"),
    (figures.corruption_bars, {"a": {"fog": [math.nan] * 5}}, "one accuracy"),
    (figures.heat_map, {}, "one accuracy"),
    (figures.heat_map, {"fog": [1.0]}, "five accuracies.*'fog'"),
]


def test_what_cannot_be_drawn_is_refused_by_name(tmp_path):
    for figure, values, words in REFUSED:
        with pytest.raises(ValueError, match=f"(?s){words}") as error:
            figure(values, tmp_path / "x.png")
        assert "Received: " in str(error.value)
    assert not list(tmp_path.iterdir())


def test_of_one_corruption_the_curve_is_of_it_and_has_its_intervals(tmp_path):
    right = np.arange(20) % 4 > 0
    scores = [scored(f"fog@{k}", right, severity=k) for k in range(1, 6)]
    ends = mean_ends(scores)
    assert set(ends) == {"fog", 1, 2, 3, 4, 5} and ends[3][0] < 75 < ends[3][1]
    values, path = {"nfm": {"fog": [75.0] * 5}}, tmp_path / "x.png"
    left, _ = figures.corruption_bars(values, path, ends={"nfm": ends}).axes
    assert left.get_xlabel() == "severity\n(fog)"
