"""Curves, reliability diagrams and certificates, made from plain values."""

import math
import types

import numpy as np
import pytest
from conftest import overlapping

from nfm_keras import figures
from nfm_keras.evaluation.statistics import wilson_interval
from nfm_keras.figures.accuracy import axis_label
from nfm_keras.figures.styles import scheme_styles


def lines(axis):
    return {line.get_label(): line for line in axis.get_lines()}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_curves_are_the_numbers_in_order_of_severity_with_gaps(tmp_path):
    points = [(0.2, 70.0, 60.0, 75.0), (0.0, 95.0, 90.0, 99.0), (0.1, None, None, None)]
    points.append((0.3, 50.0, 40.0, 55.0))
    levels = [(k / 255, 94.0 / (k + 1), 0.0, 95.0) for k in (0, 1, 2, 8)]
    curves = {
        "white_noise": {"erm": points, "nfm": [(0, 94.0, 93.0, 95.0)]},
        "apgd_t": {"nfm": levels, "none": []},
        "fgsm": {"erm": []},
    }
    figure = figures.accuracy_curves(curves, tmp_path / "x.png", counts={"apgd_t": 50})
    noise, attack = figure.axes
    drawn = lines(noise)["erm"].get_xydata()
    expected = [[0, 95], [0.1, math.nan], [0.2, 70], [0.3, 50]]
    np.testing.assert_array_equal(drawn, expected)
    vertices = np.vstack([path.vertices for path in noise.collections[0].get_paths()])
    assert {60.0, 75.0, 90.0, 99.0, 40.0, 55.0} == set(vertices[:, 1])
    # A radius reads as an id has it, and the panel says of how many images it is.
    ticks = [text.get_text() for text in attack.get_xticklabels()]
    assert {"clean", "2/255", "8/255"} <= set(ticks) and "0.01" not in ticks
    assert attack.get_title(loc="right") == "n = 50 images"
    assert list(lines(attack)) == ["nfm"]
    np.testing.assert_allclose(lines(attack)["nfm"].get_ydata()[:2], [94, 47])
    # A model keeps its colour from panel to panel.
    assert len({lines(axis)["nfm"].get_color() for axis in figure.axes}) == 1
    assert lines(noise)["nfm"].get_color() != lines(noise)["erm"].get_color()
    assert legend(figure) == ["erm", "nfm"]
    assert "σ" in noise.get_xlabel() and "APGD-T, l∞ ε" in attack.get_xlabel()
    assert noise.get_ylabel() == "accuracy (%)"


def test_a_name_is_shown_as_it_is_written(tmp_path):
    """Neither is a formula made of dollar signs nor a name left out of the legend."""
    points, name = [(0.0, 80.0, 70.0, 90.0), (0.1, 70.0, 60.0, 80.0)], "cost $x_{ $5"
    curves = {"white_noise": {"_hidden": points, name: points}}
    figure = figures.accuracy_curves(curves, tmp_path / "x.png", title=name)
    assert [text.strip("\u200b") for text in legend(figure)] == ["_hidden", name]
    one = {"fog": {"_hidden": (1.0, 0.5, 1.5), name: (2.0, 1.0, 3.0)}, name: {}}
    figure = figures.differences(one, tmp_path / "y.png", first=name)
    assert len(legend(figure)) == 2
    diagram = types.SimpleNamespace(
        edges=[0.0, 0.5, 1.0], counts=[1, 9], confidence=[0.4, 0.9], accuracy=[0, 1]
    )
    figure = figures.reliability_diagram({name: diagram}, tmp_path / "z.png")
    scale = figure.axes[1].yaxis.get_ticklabels()  # powers of ten are formulas still
    assert all(text.get_parse_math() for text in scale)


def test_one_or_two_radii_are_points_with_whiskers_and_no_line(tmp_path):
    points = [(0.0, 88.0, 86.0, 90.0), (8 / 255, 4.0, 3.0, 6.0)]
    curves = {"autoattack": {"erm": points, "nfm": points}, "pgd_l2": {"erm": points}}
    figure = figures.accuracy_curves(curves, tmp_path / "x.png")
    for axis, names in zip(figure.axes, (["erm", "nfm"], ["erm"]), strict=True):
        bars = axis.containers
        assert [bar.get_label() for bar in bars] == names
        assert {bar.lines[0].get_linestyle() for bar in bars} == {"None"}
        assert [t.get_text() for t in axis.get_xticklabels()][0] == "clean"
    attack, _ = figure.axes
    assert attack.get_xticklabels()[1].get_text() == "8/255"
    first, second = (bar.lines[0].get_xdata() for bar in attack.containers)
    assert (first < second).all()  # side by side, not one over the other
    (whiskers,) = attack.containers[0].lines[2]
    assert [*map(tuple, whiskers.get_segments()[1][:, 1:])] == [(3.0,), (6.0,)]


def test_a_scheme_has_one_colour_everywhere(tmp_path):
    points = [(s, 90.0 - s, 80.0, 95.0) for s in (0, 0.1, 0.2, 0.3)]
    names = "runs/erm-3", "nfm_0.2", "cifar10_noisy_mixup"
    figure = figures.accuracy_curves(
        {"white_noise": dict.fromkeys(names, points)}, tmp_path / "x.png"
    )
    colors = [lines(figure.axes[0])[name].get_color() for name in names]
    looks = scheme_styles(["erm", "nfm", "noisy_mixup"])
    assert colors == [look["color"] for look in looks]
    diagrams = {"nfm": diagram(), "other": diagram()}
    figure = figures.reliability_diagram(diagrams, tmp_path / "y.png")
    drawn = lines(figure.axes[0])["nfm, ECE 10.00 %"]
    assert drawn.get_color() == looks[1]["color"]
    figure = figures.certified_curves({"nfm": ([0.1], [True])}, tmp_path / "z.png")
    assert lines(figure.axes[0])["nfm"].get_color() == looks[1]["color"]
    values = {"nfm": {"fog": [90.0] * 5}}
    figure = figures.corruption_bars(values, tmp_path / "b.png")
    assert lines(figure.axes[0])["nfm"].get_color() == looks[1]["color"]


def shade(figure):
    paths = figure.axes[0].collections[0].get_paths()
    return np.vstack([path.vertices for path in paths])


def test_intervals_of_bins_and_of_certified_shares_are_wilsons(tmp_path):
    figure = figures.reliability_diagram({"a": diagram()}, tmp_path / "x.png")
    vertices = np.vstack(
        [p.vertices for p in figure.axes[0].collections[0].get_paths()]
    )
    for correct, n in ((3, 10), (24, 30)):
        ends = wilson_interval(correct, n)
        assert np.isclose(vertices[:, 1][:, None], ends, atol=1e-6).any(0).all()
    radii = {"a": ([0.1] * 4, [True, True, True, False])}
    figure = figures.certified_curves(radii, tmp_path / "y.png")
    vertices = np.vstack(
        [p.vertices for p in figure.axes[0].collections[0].get_paths()]
    )
    ends = wilson_interval(3, 4)
    assert np.isclose(vertices[:, 1][:, None], ends, atol=1e-6).any(0).all()


def test_a_short_range_is_not_stretched_into_a_trend(tmp_path):
    points = [(s, 90.0 - s, 89.0, 91.0) for s in (0, 0.1, 0.2, 0.3)]
    figure = figures.accuracy_curves({"blur": {"a": points}}, tmp_path / "x.png")
    low, high = figure.axes[0].get_ylim()
    assert high - low == pytest.approx(20) and high <= 101


@pytest.mark.parametrize("panels, across", [(1, 1), (4, 4), (5, 3), (7, 4)])
def test_curves_are_at_most_four_panels_a_row_and_nothing_overlaps(
    panels, across, tmp_path
):
    points = [(s, 90.0 - s, 30.0, 95.0) for s in (0, 1 / 255, 4 / 255, 8 / 255, 0.25)]
    names = ("white_noise", "salt_and_pepper", "autoattack", "apgd_dlr_l2", "pgd_l2")
    curves = {
        f"{names[i % 5]} ({i})": {"manifold_mixup": points, "nfm": points}
        for i in range(panels)
    }
    figure = figures.accuracy_curves(curves, tmp_path / "x.png", caption="n " * 90)
    places = [axis.get_subplotspec() for axis in figure.axes]
    assert {place.get_gridspec().ncols for place in places} == {across}
    assert figure.get_size_inches()[0] <= 10
    labels = [text for a in figure.axes for text in (a.xaxis.label, a.yaxis.label)]
    ticks = [
        text
        for axis in figure.axes
        for text in axis.get_xticklabels()
        if axis.get_xlim()[0] <= text.get_position()[0] <= axis.get_xlim()[1]
    ]
    others = [figure._suptitle, *figure.legends[0].get_texts()]
    assert not overlapping([*labels, *ticks, *others])


def test_long_names_do_not_take_the_room_of_the_panels(tmp_path):
    points = [(s, 90.0 - s, 30.0, 95.0) for s in (0, 0.1, 0.2, 0.3)]
    names = [f"{'a long name of a row of settings, ' * 7}{i}" for i in range(8)]
    curves = {kind: dict.fromkeys(names, points) for kind in ("white_noise", "pgd")}
    figure = figures.accuracy_curves(curves, tmp_path / "x.png")
    labels = [text for a in figure.axes for text in (a.xaxis.label, a.yaxis.label)]
    assert not overlapping([*labels, *figure.legends[0].get_texts()])
    assert all(axis.get_window_extent().height > 150 for axis in figure.axes)


def test_a_point_alone_has_whiskers_where_others_of_its_line_are_gaps():
    gap = math.nan, math.nan, math.nan
    lines = {"nfm": [(0.0, *gap), (0.4, 80.0, 78.0, 82.0)], "erm": [(0.0, *gap)]}
    looks = {name: {"color": "black", "marker": "o"} for name in lines}
    (axis,) = figures.against_setting({"clean": lines}, "sigma_add", None, looks).axes
    ((_, (low, high), _),) = [c.lines for c in axis.containers]
    assert (low.get_ydata()[0], high.get_ydata()[0]) == (78.0, 82.0)


def diagram(counts=(10, 0, 30), confidence=(0.2, 0.0, 0.9), accuracy=(0.3, 0.0, 0.8)):
    arrays = {"counts": counts, "confidence": confidence, "accuracy": accuracy}
    arrays = {name: np.array(values) for name, values in arrays.items()}
    return types.SimpleNamespace(edges=np.linspace(0, 1, 4), **arrays)


def test_a_reliability_diagram_has_bins_counts_and_error(tmp_path):
    perfect = diagram((5, 5, 5), (0.1, 0.5, 0.9), (0.1, 0.5, 0.9))
    diagrams = {"nfm": diagram(), "perfect": perfect}
    figure = figures.reliability_diagram(diagrams, tmp_path / "x.png")
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
    figure = figures.certified_curves(curves, tmp_path / "x.png")
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


def test_axes_say_what_is_measured_and_how():
    assert axis_label("white_noise", "reference").endswith("σ (after normalisation)")
    assert axis_label("white_noise", "pixel").endswith("σ ([0, 1] pixels)")
    assert axis_label("white_noise").endswith("σ")
    assert axis_label("pgd_l2 (steps=7)") == "PGD, l2 ε ([0, 1] pixels) (steps=7)"
    assert axis_label("blur", "pixel") == "blur, severity"


NAN = math.nan
REFUSED = [
    (figures.accuracy_curves, {}, "`curves` must"),
    (figures.accuracy_curves, {"pgd": {"a": []}}, "`curves` must"),
    (figures.accuracy_curves, {"pgd": {"a": [(0, NAN, 1, 2)]}}, "`curves` must"),
    (figures.accuracy_curves, {"pgd": {"a": [(0, 1.0)]}}, "low, high.*'pgd' and"),
    (figures.reliability_diagram, {}, "`diagrams` must"),
    (figures.reliability_diagram, {"a": diagram((0, 0, 0))}, "one image.*'a'"),
    (figures.reliability_diagram, {"a": diagram((1, 2))}, "one edge more.*'a'"),
    (figures.certified_curves, {}, "`radii` must"),
    (figures.certified_curves, {"a": ([], [])}, "one image.*'a'"),
    (figures.certified_curves, {"a": ([0.1], [True, False])}, "two arrays.*'a'"),
    (figures.certified_curves, {"a": ([NAN], [True])}, "finite number.*'a'"),
]


def test_what_cannot_be_drawn_is_refused_by_name(tmp_path):
    for figure, values, words in REFUSED:
        with pytest.raises(ValueError, match=f"(?s){words}") as error:
            figure(values, tmp_path / "x.png")
        assert "Received: " in str(error.value)
    assert not list(tmp_path.iterdir())
