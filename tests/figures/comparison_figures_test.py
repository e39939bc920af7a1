"""Figures of models side by side, made from plain values."""

import numpy as np
import pytest

from nfm_keras import figures


def test_small_differences_do_not_fill_the_axes(tmp_path):
    points = {
        "a": ((90.0, 89.9, 90.1), (10.0, 9.9, 10.1)),
        "b": ((90.2,) * 3, (10.2,) * 3),
    }
    figure = figures.clean_against_worst(points, tmp_path / "a.png", worst="PGD")
    (axis,) = figure.axes
    assert np.ptp(axis.get_xlim()) >= 20 and np.ptp(axis.get_ylim()) >= 20
    rows = {"fog": {"nfm": (0.1, 0.0, 0.2)}}
    (axis,) = figures.differences(rows, tmp_path / "b.png", first="erm").axes
    low, high = axis.get_xlim()
    assert low <= -5 and high >= 5
    with pytest.raises(ValueError, match="at least one row.*Received"):
        figures.differences({}, tmp_path / "c.png", first="erm")


def test_whiskers_reach_in_both_directions(tmp_path):
    points = {"a": ((60.0, 50.0, 65.0), (30.0, 20.0, 50.0))}
    figure = figures.clean_against_worst(points, tmp_path / "a.png", worst="PGD")
    across, up = (c.get_segments()[0] for c in figure.axes[0].collections)
    np.testing.assert_allclose(across, [[50, 30], [65, 30]])
    np.testing.assert_allclose(up, [[60, 20], [60, 50]])


def test_confusions_are_shares_of_the_true_class():
    counts = [[8, 2, 0], [0, 4, 0], [0, 0, 0]]
    figure = figures.confusions({"a": counts}, None, classes=["cat", "dog", "none"])
    (axis,) = figure.axes
    texts = {t.get_position(): t.get_text() for t in axis.texts}
    assert texts == {(0, 0): "80", (1, 0): "20", (1, 1): "100"}
    shares = np.ma.filled(axis.images[0].get_array(), np.nan)
    assert np.isnan(shares[0, 0]) and shares[0, 1] == 20  # no colour for what is right
    with pytest.raises(ValueError, match="3 rows and columns.*Received"):
        figures.confusions({"a": np.eye(2)}, None, classes=["cat", "dog", "none"])
