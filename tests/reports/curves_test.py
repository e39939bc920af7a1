import dataclasses
import math

import numpy as np
import programs
import pytest
from conftest import run, runs, save_run, score, scored

from nfm_keras import corruptions, records
from nfm_keras.mixing.schemes import SCHEMES
from nfm_keras.reports.aggregate import over_settings
from nfm_keras.reports.curves import corruptions as corruption_curves
from nfm_keras.reports.curves import epochs, severities
from nfm_keras.reports.curves.looks import styles

PNG = b"\x89PNG\r\n\x1a\n"


def aggregated(found, protocol="reference"):
    return over_settings(found, protocol)


def test_curves_carry_the_data_and_the_interval(tmp_path):
    found = [
        run(scheme, seed, [score("clean", 90.0), *noises, score("pgd@8/255", 20.0)])
        for scheme in ("nfm", "erm")
        for seed in range(2 if scheme == "nfm" else 1)
        for noises in [
            [score(f"white_noise@{s}", 80.0 - 100 * s + seed) for s in (0.3, 0.1, 0.2)]
        ]
    ]
    path = tmp_path / "new" / "curves.png"
    figure = severities.draw(aggregated(found), path, title="A title")
    content = path.read_bytes()
    assert content.startswith(PNG)
    size = tuple(int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
    assert size == tuple(round(x * figure.dpi) for x in figure.get_size_inches())
    noise, pgd = figure.axes
    lines = {line.get_label(): line for line in noise.get_lines()}
    assert list(lines) == ["erm", "nfm"]
    for name, shift in (("erm", 0.0), ("nfm", 0.5)):
        np.testing.assert_allclose(lines[name].get_xdata(), [0, 0.1, 0.2, 0.3])
        np.testing.assert_allclose(
            lines[name].get_ydata(), [90, 70 + shift, 60 + shift, 50 + shift]
        )
    shades = [
        np.ptp(shade.get_paths()[0].vertices[:, 1]) for shade in noise.collections
    ]
    assert shades[0] == pytest.approx(91 - 48)  # Wilson, one seed
    assert shades[1] == pytest.approx(90 - (50.5 - math.sqrt(0.5)))
    assert "σ (after normalisation)" in noise.get_xlabel().replace("\n", " ")
    assert "ε ([0, 1] pixels)" in pgd.get_xlabel()
    assert "(%)" in noise.get_ylabel()
    title = figure.get_suptitle().replace("\n", " ")
    for words in ("A title", "cifar10", "width 0.25", "200 epochs", "reference"):
        assert words in title


def test_a_curve_is_of_the_same_images_from_its_start_to_its_end(tmp_path):
    """The first 40 of 100 are attacked: 30 of them are right when clean, 90 of all."""
    right = np.arange(100) >= 10
    attacked = np.arange(40) >= 10
    radii = [k / 255 for k in (1, 2, 4)]
    attacks = [
        scored(f"pgd@{k}/255", attacked & (np.arange(40) > 8 * k), severity=e)
        for k, e in zip((1, 2, 4), radii, strict=True)
    ]
    clean = scored("clean", right, severity=0.0)
    rows = aggregated([run("nfm", 0, [clean, *attacks])], "none")
    figure = severities.draw(rows, tmp_path / "x.png")
    (axis,) = figure.axes
    (line,) = axis.get_lines()
    np.testing.assert_allclose(line.get_xdata(), [0, *radii])
    assert line.get_ydata()[0] == 75.0  # and not 90
    assert axis.get_title(loc="right") == "n = 40 images"
    # Where it is not known which were right, the curve does without a start.
    unknown = dataclasses.replace(clean, hits="")
    rows = aggregated([run("nfm", 0, [unknown, *attacks])], "none")
    (axis,) = severities.draw(rows, tmp_path / "x.png").axes
    np.testing.assert_allclose(axis.get_lines()[0].get_xdata(), radii)
    # Another row, of fewer images, cuts this one too.
    fewer = [scored(s.perturbation, s.right[:20], severity=s.severity) for s in attacks]
    both = [run("nfm", 0, [clean, *attacks]), run("erm", 0, [clean, *fewer])]
    (axis,) = severities.draw(aggregated(both, "none"), tmp_path / "x.png").axes
    assert axis.get_title(loc="right") == "n = 20 images"
    assert {line.get_ydata()[0] for line in axis.get_lines()} == {50.0}
    # Not one of another data set, which has other images.
    both[1] = run("erm", 0, [clean, *fewer], dataset="digits")
    (axis,) = severities.draw(aggregated(both, "none"), tmp_path / "x.png").axes
    assert axis.get_title(loc="right") == "n = 20 (digits), 40 (cifar10)"
    assert {line.get_ydata()[0] for line in axis.get_lines()} == {50.0, 75.0}


def test_a_level_that_a_run_lacks_is_no_point_of_the_mean(tmp_path):
    """It would be the mean of other runs than its neighbours."""
    levels = 0.1, 0.2, 0.3, 0.4, 0.5
    scores = [score(f"white_noise@{level}", 90.0) for level in levels]
    found = [run("nfm", 0, scores), run("nfm", 1, [*scores[:2], *scores[3:]])]
    figure = severities.draw(aggregated(found), tmp_path / "x.png")
    places = {x for line in figure.axes[0].get_lines() for x in line.get_xdata()}
    assert {0.1, 0.2, 0.4, 0.5} <= places and 0.3 not in places


def test_an_attack_with_two_settings_has_two_panels(tmp_path):
    scores = [score("pgd@0.1", 40.0, steps=7), score("pgd@0.1", 30.0, steps=20)]
    rows = aggregated([run(scores=scores)], "none")
    assert sorted(severities.families(row.cells for row in rows)) == [
        "pgd (steps=20)",
        "pgd (steps=7)",
    ]
    figure = severities.draw(rows, tmp_path / "x.png")
    assert "(steps=20)" in figure.axes[0].get_xlabel()


def test_corruptions_of_two_versions_have_no_curves_of_their_own():
    rows = [
        run("nfm", seed, [score("clean", 90.0), score("fog@3", 80.0, version=version)])
        for seed, version in ((0, 1), (1, 2))
    ]
    found = aggregated(rows, "none")
    assert len(found[0].cells) > 2 and severities.families(r.cells for r in found) == []


def test_a_scheme_keeps_its_colour_and_a_variant_has_its_dashes():
    def told(found):
        looks = styles(aggregated(found))
        return {k: (look["color"], look["linestyle"]) for k, look in looks.items()}

    nfm, erm, other = (runs(scheme, [50.0]) for scheme in ("nfm", "erm", "zeta"))
    alone, beside = told(nfm), told([*nfm, *erm, *other])
    assert alone["nfm"] == beside["nfm"]
    assert len(set(beside.values())) == 3
    variants = told([*runs("nfm", [50.0], alpha=1), *runs("nfm", [1.0], alpha=2)])
    colours, dashes = zip(*variants.values(), strict=True)
    assert (len(set(colours)), len(set(dashes))) == (1, 2)


def test_histories_average_over_seeds_and_pass_over_nan(tmp_path):
    errors = [[0.3, 0.2, 0.1], [0.1, math.nan, 0.2]]
    found = [
        run(
            seed=seed,
            history={
                "loss": [3.0, 2.0, 1.0 + seed],
                "mixed_accuracy": [1 - error for error in each],
                "val_accuracy": [0.5, 0.6, math.nan],
            },
        )
        for seed, each in enumerate(errors)
    ]
    found.append(run("erm", history={"accuracy": [0.9, 1.0]}))
    figure = epochs.draw(aggregated(found, "none"), tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(PNG)
    panels = {axis.get_ylabel(): axis.get_lines() for axis in figure.axes}
    expected = {
        "training error (%)": ("erm", [[1, 10.0], [2, 0.0]]),
        "training error (mixed batches, %)": ("nfm", [[1, 20.0], [3, 15.0]]),
        "test error (%)": ("nfm", [[1, 50.0], [2, 40.0]]),
        "training loss (nats)": ("nfm", [[1, 3.0], [2, 2.0], [3, 1.5]]),
    }
    assert list(panels) == list(expected)
    for label, (name, points) in expected.items():
        (line,) = panels[label]
        assert line.get_label() == name
        np.testing.assert_allclose(line.get_xydata(), points, atol=1e-9)


@pytest.mark.parametrize("held_out, words", [(0, "test"), (500, "validation")])
def test_error_is_called_after_the_set_it_is_of(held_out, words, tmp_path):
    history = {"loss": [1.0], "val_accuracy": [0.5]}
    rows = aggregated([run(history=history, validation=held_out)], "none")
    figure = epochs.draw(rows, tmp_path / "x.png")
    assert figure.axes[0].get_ylabel() == f"{words} error (%)"


def test_an_error_on_images_that_the_set_brought_is_called_so(tmp_path):
    one = run(history={"val_accuracy": [0.5]}, validation=0)
    one = dataclasses.replace(one, measured_on="validation")
    figure = epochs.draw(aggregated([one], "none"), tmp_path / "x.png")
    assert figure.axes[0].get_ylabel() == "validation error (%)"


def test_every_scheme_looks_different_and_variants_in_an_experiment_too():
    def looks(rows):
        return [tuple(look.values()) for look in styles(rows).values()]

    known = aggregated([run(s, scores=[score("white_noise@0.1", 9)]) for s in SCHEMES])
    assert len(set(looks(known))) == len({color for color, *_ in looks(known)})
    assert len(set(looks(known))) == len(SCHEMES)
    (row,) = aggregated(runs("nfm", [50.0]))
    rows = [dataclasses.replace(row, name=str(i), title=f"row {i}") for i in range(12)]
    seen = looks(rows)
    assert len(set(seen)) == 12 and len({color for color, *_ in seen}) == 1
    # A row that is not there yet keeps its style free.
    rows[0] = dataclasses.replace(rows[0], records=(), cells={})
    assert looks(rows) == seen


def test_corruptions_are_averaged_over_the_papers_and_the_standard(tmp_path):
    values = {k: 40.0 + i for i, k in enumerate(corruptions.NAMES)}
    found = [
        run("nfm", seed, [score(f"{k}@{s}", v + s + seed) for k, v in values.items()])
        for seed in range(2)
        for s in [3]
    ]
    # It lacks most of the standard ones.
    six = [score(f"{k}@{s}", 10.0 * s) for k in corruptions.PAPER for s in (1, 3)]
    rows = aggregated([*found, run("erm", scores=six)], "none")
    figure = corruption_curves.draw(rows, tmp_path / "corruptions.png")
    paper, standard, bars, more = figure.axes
    lines = {line.get_label(): line.get_xydata() for line in paper.get_lines()}
    mean = np.mean([values[kind] for kind in corruptions.PAPER]) + 3.5
    np.testing.assert_allclose(lines["nfm"], [[3, mean]])
    np.testing.assert_allclose(lines["erm"], [[1, 10.0], [3, 30.0]])
    (line,) = standard.get_lines()
    mean = np.mean([values[kind] for kind in corruptions.STANDARD]) + 3.5
    np.testing.assert_allclose(line.get_xydata(), [[3, mean]])
    (shade,) = standard.collections
    assert np.ptp(shade.get_paths()[0].vertices[:, 1]) == pytest.approx(2 * 0.5**0.5)
    erm, nfm = bars.containers
    assert [bar.get_height() for bar in erm] == [30.0] * 6
    heights = [values[kind] + 3.5 for kind in corruptions.PAPER]
    assert [bar.get_height() for bar in nfm] == heights
    assert len(more.containers) == 1 and len(more.containers[0]) == 13
    noisy = aggregated(runs("nfm", [1.0]))
    assert corruption_curves.draw(noisy, tmp_path / "x.png") is None
    assert not (tmp_path / "x.png").exists()


def test_nothing_to_show_is_a_clear_error_and_nan_alone_is_none(tmp_path):
    rows = aggregated([run(history={}, scores=[score("clean", 1.0)])], "none")
    with pytest.raises(ValueError, match="some perturbation"):
        severities.draw(rows, tmp_path / "x.png")
    with pytest.raises(ValueError, match="need a history"):
        epochs.draw(rows, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())
    diverged = aggregated([run(history={"loss": [math.nan]})], "none")
    epochs.draw(diverged, tmp_path / "x.png")


def report(*arguments):
    return programs.run("apps.report", *arguments)


def test_report_writes_tables_and_figures_and_names_what_is_broken(tmp_path):
    found = [*runs("nfm", [50.0, 51.0]), *runs("erm", [40.0])]
    for each in found:
        save_run(each, tmp_path / "runs" / each.name)
    output = tmp_path / "out"
    flags = [f"--runs={tmp_path / 'runs'}", f"--output={output}", "--paper"]
    result = report(*flags)
    assert result.returncode == 0, result.stderr
    names = sorted(path.name for path in output.iterdir())
    tables = ["table.csv", "table.md", "table.tex"]
    assert names == ["curves.png", "history.png", *tables]
    assert "*erm, paper*" in (output / "table.md").read_text()
    (tmp_path / "runs" / "nfm-0" / records.FILE).write_text("{")
    result = report(*flags)
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith("report: ")
    assert "nfm-0/record.json" in result.stderr
    assert "Traceback" not in result.stderr
