"""Curves, reliability diagrams and certificates, made from plain values."""

import math
import types

import numpy as np
import pytest
from conftest import overlapping

from nfm_keras import figures
from nfm_keras.figures.robustness import axis_label


def lines(axis):
    return {line.get_label(): line for line in axis.get_lines()}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_curves_are_the_numbers_in_order_of_severity_with_gaps(tmp_path):
    points = [(0.2, 70.0, 60.0, 75.0), (0.0, 95.0, 90.0, 99.0), (0.1, None, None, None)]
    curves = {
        "white_noise": {"erm": points, "nfm": [(0, 94.0, 93.0, 95.0)]},
        "apgd_t": {"nfm": [(0, 94.0, 93.0, 95.0), (0.1, 3.0, 2.0, 5.0)], "none": []},
        "fgsm": {"erm": []},
    }
    figure = figures.accuracy_curves(curves, tmp_path / "x.png")
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
    figure = figures.accuracy_curves(curves, tmp_path / "x.png", caption="n " * 90)
    places = [axis.get_subplotspec() for axis in figure.axes]
    assert {place.get_gridspec().ncols for place in places} == {across}
    assert figure.get_size_inches()[0] <= 10
    labels = [text for a in figure.axes for text in (a.xaxis.label, a.yaxis.label)]
    ticks = [text for axis in figure.axes for text in axis.get_xticklabels()]
    others = [figure._suptitle, *figure.legends[0].get_texts()]
    assert not overlapping([*labels, *ticks, *others])


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
