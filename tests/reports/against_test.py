"""Accuracy against a setting of training."""

import dataclasses

import numpy as np
import pytest
from conftest import run, score
from matplotlib.container import ErrorbarContainer

from nfm_keras import reports
from nfm_keras.reports.aggregate import over_settings
from nfm_keras.reports.curves import settings


def a_run(scheme, level, clean, seed=0, **config):
    scores = [score("clean", clean), score("white_noise@0.2", clean - 10)]
    noise = {"sigma_add": level, "sigma_mult": level / 2}
    return run(scheme, seed, scores, **noise | config)


def _data(handle):
    line = handle[0] if isinstance(handle, ErrorbarContainer) else handle
    return line.get_xdata().tolist(), line.get_ydata().tolist()


def drawn(runs, fields, path, **options):
    """Panel -> line -> (places, accuracies), and the caption."""
    figure = settings.draw(over_settings(runs, "reference"), fields, path, **options)
    lines = {
        axis.get_title(): {
            label: _data(handle)
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        for axis in figure.axes
    }
    return lines, " ".join(figure.get_suptitle().split())


def test_a_line_is_a_scheme_and_a_panel_a_perturbation(tmp_path):
    levels = {0.4: 86.0, 0.0: 88.0, 1.0: 80.0}
    runs = [a_run("nfm", level, clean) for level, clean in levels.items()]
    runs += [a_run("nfm", 0.4, 84.0, seed=1), a_run("erm", 0.0, 89.0)]
    path = tmp_path / "new" / "against.png"
    lines, caption = drawn(runs, ["sigma_add", "sigma_mult", "epochs"], path)
    assert path.exists() and list(lines) == ["clean", "white noise 0.2"]
    for name, drop in (("clean", 0), ("white noise 0.2", 10)):
        places, values = lines[name]["nfm"]
        assert places == [0.0, 0.4, 1.0]
        np.testing.assert_allclose(values, np.array([88, 85, 80]) - drop)
        assert lines[name]["erm"] == ([0.0], [89.0 - drop])
    assert "With sigma_add goes sigma_mult: 0.0 at 0, 0.2 at 0.4, 0.5 at 1." in caption
    assert "goes epochs" not in caption  # the same everywhere


def test_what_else_differs_is_a_line_of_its_own(tmp_path):
    runs = [
        a_run("nfm", level, 80.0, epochs=epochs)
        for level in (0.2, 0.4)
        for epochs in (20, 30)
    ]
    lines, _ = drawn(runs, ["sigma_add", "sigma_mult"], tmp_path / "x.png")
    assert sorted(lines["clean"]) == ["nfm (epochs=20)", "nfm (epochs=30)"]
    # sigma_mult is not named: no two runs are alike but for sigma_add.
    lines, _ = drawn(runs[:2], ["epochs"], tmp_path / "x.png", columns=["clean"])
    assert lines == {"clean": {"nfm": ([20, 30], [80.0, 80.0])}}
    lines, _ = drawn(runs, ["sigma_add"], tmp_path / "x.png", columns=["clean"])
    assert all(len(places) == 1 for places, _ in lines["clean"].values())


def test_what_was_not_measured_is_a_gap(tmp_path):
    runs = [a_run("nfm", level, 80.0) for level in (0.0, 0.2, 0.4)]
    runs[1] = dataclasses.replace(runs[1], scores=runs[1].scores[1:])
    lines, _ = drawn(runs, ["sigma_add", "sigma_mult"], tmp_path / "x.png")
    np.testing.assert_array_equal(lines["clean"]["nfm"][1], [80, np.nan, 80])


@pytest.mark.parametrize(
    "fields, words",
    [
        (["sigma_add", "epochs"], "one accuracy at each sigma_add.*sigma_add=0.2"),
        (["optimizer"], "needs a number.*Received: optimizer='sgd'"),
        (["epoch"], "Did you mean 'epochs'.*Received: 'epoch'"),
        (["epochs", "width_"], "Did you mean 'width'.*Received: 'width_'"),
    ],
    ids=["two_runs", "a_word", "a_typo", "a_typo_beside"],
)
def test_fields_that_make_no_line_are_refused(fields, words, tmp_path):
    runs = [a_run("nfm", 0.2, 80.0, epochs=n, optimizer="sgd") for n in (20, 30)]
    with pytest.raises(ValueError, match=words):
        drawn(runs, fields, tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("field", ["seed", "eval_every"])
def test_what_a_row_averages_over_is_no_axis(field, tmp_path):
    """It was one point, at the value of the first run."""
    runs = [a_run("nfm", 0.2, 80.0 + s, s, eval_every=1 + s) for s in (0, 1)]
    with pytest.raises(ValueError, match=f"{field} alone are one row, .*: {field} of"):
        drawn(runs, [field], tmp_path / "x.png")


def test_protocols_have_a_figure_each(tmp_path):
    runs = []
    for level in (0.2, 0.4):
        both = [score("white_noise@0.2", 70.0, p) for p in ("reference", "pixel")]
        noise = {"sigma_add": level, "sigma_mult": 0.1}
        runs.append(run("nfm", 0, [score("clean", 80.0), *both], **noise))
    paths = reports.write_against(runs, ["sigma_add"], tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "pixel/against_sigma_add.png",
        "reference/against_sigma_add.png",
    ]
    assert all(path.exists() for path in paths)
    with pytest.raises(ValueError, match="at least one record"):
        reports.write_against([], ["sigma_add"], tmp_path)


def test_drops_at_the_same_share_of_the_epochs_go_along_with_them(tmp_path):
    """Rounded to epochs; others make lines of their own."""
    lengths = {20: [11, 16, 19], 30: [16, 23, 28], 60: [31, 46, 55]}
    runs = [
        a_run("nfm", 0.4, 80.0 + epochs / 10, epochs=epochs, rate_drops=drops)
        for epochs, drops in lengths.items()
    ]
    lines, caption = drawn(runs, ["epochs"], tmp_path / "epochs.png")
    assert lines["clean"]["nfm"] == ([20, 30, 60], [82.0, 83.0, 86.0])
    assert "rate_drops" in caption
    other = a_run("nfm", 0.4, 70.0, epochs=40, rate_drops=[5, 10, 15])
    lines, _ = drawn([*runs, other], ["epochs"], tmp_path / "other.png")
    assert len(lines["clean"]) == 4


def test_runs_without_scores_are_told_so(tmp_path):
    runs = [run("nfm", 0, [], epochs=epochs) for epochs in (2, 3)]
    with pytest.raises(ValueError, match="must have scores.*nfm-evaluate"):
        settings.draw(over_settings(runs, "none"), ["epochs"], tmp_path / "epochs.png")
