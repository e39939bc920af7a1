"""Figures of training, made from plain values."""

import types

import numpy as np
import pytest

from nfm_keras import figures as public
from nfm_keras.figures import theory
from nfm_keras.figures import training as figures


def test_the_density_is_that_of_the_draws():
    lam = np.random.default_rng(0).beta(2, 5, 20_000)
    figure = figures.draws(np.zeros(20_000), lam, ["site_0"], [(2, 5)] * 20_000)
    (axis,) = figure.axes  # one site: nothing to draw
    (line,) = axis.lines
    for bar in axis.patches:
        middle = bar.get_x() + bar.get_width() / 2
        density = np.interp(middle, *line.get_data())
        assert abs(bar.get_height() - density) < 0.15
    assert "Beta(2, 5)" in line.get_label()


def test_words_of_labels_and_batches():
    assert figures.soft_label([0.0, 1.0]) == "1: 100 %"
    seen = types.SimpleNamespace(site="site_1", lam=np.array([0.25, 0.5]))
    assert figures.description(seen) == "mixed at site_1, λ from 0.25 to 0.50"
    assert figures.description(types.SimpleNamespace(site=None)) == "not mixed"


def test_histories_are_lines_in_the_order_of_their_styles(tmp_path):
    styles = {"nfm": {"color": "red"}, "erm": {"color": "black"}}
    points = [(1, 50.0, 45.0, 55.0), (2, 40.0, 38.0, 42.0)]
    panels = {"test error (%)": {"erm": points, "nfm": points[:1]}, "loss": {}}
    figure = public.histories(panels, tmp_path / "x.png", styles, title="A title")
    error, loss = figure.axes
    assert [axis.get_ylabel() for axis in figure.axes] == list(panels)
    lines = {line.get_label(): line for line in error.get_lines()}
    np.testing.assert_array_equal(lines["erm"].get_xydata(), [[1, 50], [2, 40]])
    assert lines["nfm"].get_color() == "red" and not loss.get_lines()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(styles)
    with pytest.raises(ValueError, match="at least one history.*Received: {}"):
        public.histories({}, tmp_path / "y.png", styles)


def test_what_hardly_changes_looks_like_that():
    """And what changes, or is constant, is drawn as ever."""
    still = [0.5, 0.5001, 0.4999]
    history = {"val_accuracy": still, "loss": [2.0, 1.999, 2.0]}
    moving = {"val_accuracy": [0.1, 0.9], "loss": [2.0, 0.5]}
    for measured, share in ((history, 0.1), (moving, 0.95)):
        for axis in figures.curves(measured, "test").axes:
            (line,) = axis.lines
            low, high = axis.get_ylim()
            drawn = np.ptp(line.get_ydata()) / (high - low)
            assert drawn < share and drawn > (share > 0.5) * 0.8
            assert low < line.get_ydata().min() <= line.get_ydata().max() < high


def test_a_loss_within_a_tenth_does_not_fill_its_axis(tmp_path):
    """Nor an error of some points, of one run or of many."""
    history = {"loss": [0.1, 0.02], "learning_rate": [0.1, 0.09]}
    loss, rate = figures.curves(history, "test").axes
    assert np.ptp(loss.get_ylim()) >= 0.5 and rate.get_ylim()[0] == 0
    points = [(1, 5.0, 4.9, 5.1), (2, 4.0, 3.9, 4.1)]
    panels = {
        "test error (%)": {"a": points},
        "training loss (nats)": {"a": points[:1]},
    }
    styles = {"a": {"color": "red"}}
    error, loss = public.histories(panels, tmp_path / "x.png", styles).axes
    assert np.ptp(error.get_ylim()) >= 20 and np.ptp(loss.get_ylim()) >= 0.5


def test_every_site_and_every_output_has_a_line_and_a_look_of_its_own():
    history = {f"jacobian_norm/site_{i}": [1.0, 2.0 + i] for i in range(11)}
    (axis,) = theory.smoothness(history).axes
    looks = {(x.get_color(), x.get_linestyle()) for x in axis.get_lines()}
    assert len(axis.get_lines()) == len(looks) == 11
    history = {f"output_{i}_accuracy": [0.1, 0.2] for i in range(11)}
    (axis,) = figures.curves(history, "test").axes
    assert len(axis.get_lines()) == 11


def test_two_classifiers_of_one_scheme_are_told_apart():
    margins = {"nfm_a": np.arange(5.0), "nfm_b": np.arange(4.0)}
    axis = theory.margins(margins, None).axes[0]
    assert len({(p.get_edgecolor(), p.get_linestyle()) for p in axis.patches}) == 2
    values = {"input": {name: [[(1.0, 0.1)] * 2] for name in margins}}
    axis = theory.regularizers(values, ["R1", "R2"], None).axes[0]
    assert len({p.get_hatch() for p in axis.patches}) == 2
