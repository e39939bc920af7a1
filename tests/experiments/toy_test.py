"""The toy: data, training, record, report, command."""

import csv
import dataclasses
import json
import pathlib
import shutil

import numpy as np
import programs
import pytest
import scipy.special
import scipy.stats
from conftest import BACKEND
from keras import ops
from PIL import Image

from nfm_keras.experiments.tables.toy import (
    REGULARISERS,
    Regulariser,
    Settings,
    choose,
)
from nfm_keras.experiments.toy import report, toy, training
from nfm_keras.experiments.toy.training import Run, circles
from nfm_keras.records import schema

pytestmark = pytest.mark.backends

REPOSITORY = pathlib.Path(__file__).parents[2]

# PyTorch runs its steps one by one.
LENGTH = 100 if BACKEND == "torch" else 200
SHORT = Settings(epochs=3, batch_size=150, width=0.25)
PAIR = {name: REGULARISERS[name] for name in ("none", "nfm")}
SURFACE = (training.RESOLUTION, training.RESOLUTION)


def train_all(regularisers, folder, settings=SHORT, seeds=(0,), **options):
    options = {"tell": lambda run: None} | options
    return toy.train_all(regularisers, folder, settings, seeds, **options)


def numbers(record):
    """What a repetition has to give again: all but the seconds."""
    return [dataclasses.replace(run, seconds=0.0) for run in record.runs]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two regularisers of three seeds, with four frames of the first."""
    folder = tmp_path_factory.mktemp("toy")
    train_all(PAIR, folder, SHORT, seeds=range(3), frames=4, command="python")
    return folder


def test_circles_have_the_radii_the_noise_and_the_split_of_the_paper():
    draws = [circles(seed) for seed in range(40)]
    for (train_points, train_labels), (test_points, test_labels) in draws:
        assert train_points.shape == (300, 2) and test_points.shape == (200, 2)
        assert np.concatenate([train_labels, test_labels]).sum() == 250
        # A split that ignores the class: hypergeometric, deviation 5.5.
        assert abs(train_labels.sum() - 150) < 25
        assert not np.isin(test_points, train_points).all(axis=1).any()
    points = np.concatenate([part[0] for draw in draws for part in draw])
    labels = np.concatenate([part[1] for draw in draws for part in draw])
    assert points.dtype == "float32" and len(points) == 20000
    for label, radius in enumerate((1.0, 0.05)):
        # E r^2 = R^2 + 2 sigma^2, E |r^2 - E r^2|^2 = 4 sigma^4 + 4 sigma^2 R^2
        squares = np.square(points[labels == label]).sum(axis=1)
        spread = 2 * 0.3 * np.hypot(0.3, radius)
        assert abs(squares.mean() - radius**2 - 2 * 0.3**2) < 4 * spread / 100
        assert squares.std() == pytest.approx(spread, rel=0.04)
        assert np.abs(points[labels == label].mean(axis=0)).max() < 4 * 0.8 / 100
    assert not np.array_equal(draws[0][1][0], draws[1][1][0])


def test_no_classifier_can_expect_more_than_the_caption_says():
    """Half the integral of the larger density, over the distance from the centre."""
    r = np.linspace(0, 4, 4001)
    outer, inner = (
        r / 0.09 * np.exp(-((r - a) ** 2) / 0.18) * scipy.special.ive(0, r * a / 0.09)
        for a in (1.0, 0.05)
    )
    assert np.trapezoid(outer, r) == pytest.approx(1, abs=1e-6)
    best = 50 * np.trapezoid(np.maximum(outer, inner), r)
    assert best == pytest.approx(report.BEST, abs=0.05)


def test_without_a_regulariser_the_training_points_are_learnt_best(tmp_path):
    plain = {"none": REGULARISERS["none"]}
    # With so large a learning rate the last bits of a processor decide what a seed
    # ends with: the middle one of five seeds does not depend on them.
    runs = train_all(plain, tmp_path, Settings(epochs=LENGTH), range(200, 205)).runs
    test = np.median([run.accuracy for run in runs])
    learnt = np.median([run.train_accuracy for run in runs])
    assert learnt >= test + 2 and learnt > 90 and 80 < test < 95
    assert sum(run.collapsed for run in runs) < 3


def test_the_seed_alone_decides_whatever_was_trained_before():
    row = Regulariser("all at once", scheme="nfm", dropout=0.2, weight_decay=9e-3)
    name, end = "all", [SHORT.steps]
    used = training.compile_model(row, SHORT)
    first = training.train(used, name, 1, SHORT, end)
    other = training.train(used, name, 2, SHORT, end)
    again = training.train(used, name, 1, SHORT, end)
    model = training.compile_model(row, SHORT)
    fresh = training.train(model, name, 1, SHORT, [1, 4, *end])
    np.testing.assert_array_equal(again[1], first[1])
    np.testing.assert_array_equal(fresh[1][-1:], first[1])
    assert fresh[0].accuracy == again[0].accuracy == first[0].accuracy
    assert not np.array_equal(other[1], first[1])


def test_seeds_have_draws_of_their_own():
    """From the same weights on the same points, two seeds' steps part."""
    model = training.compile_model(REGULARISERS["noise"], SHORT)
    (points, labels), weights = circles(0)[0], []
    for seed in (0, 1):
        training._restart(model, seed, 0.1)
        start = weights[0] if weights else model.model.get_weights()
        weights = weights or [start]
        model.model.set_weights(start)
        model.fit(points, labels, batch_size=300, shuffle=False, verbose=0)
        weights.append(model.model.get_weights())
    assert not np.array_equal(weights[1][0], weights[2][0])


def test_weight_decay_is_the_gradient_of_pytorch():
    row = Regulariser("decay", weight_decay=0.3)
    model = training.compile_model(row, SHORT)
    weights = model.model.get_weights()
    expected = 0.15 * sum(np.square(w).sum() for w in weights)
    loss = sum(float(ops.convert_to_numpy(term)) for term in model.losses)
    assert loss == pytest.approx(expected, rel=1e-5) and loss > 0.1


def test_what_is_on_file_is_not_repeated(folder, monkeypatch):
    held = toy.load(folder)
    assert [(r.regulariser, r.seed) for r in held.runs] == [
        (name, seed) for name in PAIR for seed in range(3)
    ]
    told = []
    train = training.train

    def counted(model, name, seed, *rest):
        told.append((name, seed))
        return train(model, name, seed, *rest)

    monkeypatch.setattr(training, "train", counted)
    assert train_all(PAIR, folder, SHORT, seeds=range(3), frames=4) == held
    assert told == []
    (folder / "surfaces" / "nfm_0.npy").unlink()
    new = train_all(PAIR, folder, SHORT, seeds=range(3), frames=4, command="again")
    assert told == [("nfm", 0)] and new.command == "again"
    assert sorted(numbers(new), key=str) == sorted(numbers(held), key=str)


def test_other_settings_and_broken_files_are_refused_by_name(folder, tmp_path):
    with pytest.raises(
        ValueError, match="toy.json holds .* another config.*epochs.*Received"
    ):
        train_all(PAIR, folder, dataclasses.replace(SHORT, epochs=4))
    changed = {"nfm": dataclasses.replace(PAIR["nfm"], dropout=0.5)}
    with pytest.raises(ValueError, match="another config.*nfm.*Received"):
        train_all(changed, folder, SHORT)
    content = (folder / toy.FILE).read_text()
    (tmp_path / toy.FILE).write_text(content[:-40])
    with pytest.raises(ValueError, match="toy.json is truncated"):
        train_all(PAIR, tmp_path, SHORT)
    (tmp_path / toy.FILE).write_text(content.replace('"seed"', '"sead"', 1))
    with pytest.raises(ValueError, match=r"toy.json is not a valid toy.*sead"):
        train_all(PAIR, tmp_path, SHORT)
    (tmp_path / toy.FILE).write_text(content)
    surfaces = toy.surface_path(tmp_path, "none", 0)
    surfaces.parent.mkdir()
    surfaces.write_bytes(toy.surface_path(folder, "none", 0).read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"none_0.npy is broken.*Received"):
        train_all(PAIR, tmp_path, SHORT, frames=4)


def test_one_process_at_a_time_trains_into_a_folder(folder):
    held = toy.load(folder)

    def tell(run):
        with pytest.raises(BlockingIOError, match="toy.* is in use: one process.*Rec"):
            train_all(PAIR, folder, SHORT, seeds=[3])
        told.append(run)

    told = []
    (folder / "surfaces" / "nfm_0.npy").unlink()
    train_all(PAIR, folder, SHORT, seeds=range(3), frames=4, tell=tell)
    assert len(told) == 1 and len(toy.load(folder).runs) == len(held.runs)


def test_a_surface_without_its_run_is_not_drawn(folder, tmp_path, monkeypatch):
    """As a kill between the two files leaves it."""
    shutil.copytree(folder, tmp_path / "killed")
    held = toy.load(folder)
    runs = tuple(run for run in held.runs if run.regulariser == "none")
    left = dataclasses.replace(held, runs=runs)
    schema.write(tmp_path / "killed" / toy.FILE, left, toy.FORMAT)
    drawn = []
    monkeypatch.setattr(report, "draw", lambda record, kept, *rest: drawn.extend(kept))
    monkeypatch.setattr(report, "animate", lambda *given: None)
    report.write(tmp_path / "killed", seed=0)
    assert drawn == ["none"]


@pytest.mark.parametrize(
    "wrong, said",
    [
        (lambda: train_all(PAIR, "never", seeds=()), "at least one seed"),
        (lambda: train_all(PAIR, "never", SHORT, seeds=[2048]), "from 0 to 2047"),
        (lambda: train_all(PAIR, "never", SHORT, frames=-1), "`frames`"),
        (lambda: choose(["mixop"]), "Unknown regulariser.*mixup"),
        (lambda: choose([]), "at least one regulariser"),
        (lambda: Settings(batch_size=128), "must divide the 300"),
        (lambda: Settings(epochs=0), "`epochs`"),
        (lambda: Settings(epochs=2**20), "`epochs`"),
        (lambda: Settings(learning_rate=float("nan")), "`learning_rate`"),
        (lambda: Settings(width=0.0), "`width`"),
        (
            lambda: training.compile_model(Regulariser("", scheme="cutmix"), SHORT),
            "only mixes or adds noise",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, said):
    with pytest.raises(ValueError, match=f"{said}.*Received"):
        wrong()


def record(accuracies):
    """A record of runs with these accuracies, `{name: {seed: accuracy}}`."""
    runs = [
        Run(name, seed, value, 99.0, value == 50, 1.0)
        for name, values in accuracies.items()
        for seed, value in values.items()
    ]
    rows = {n: dataclasses.asdict(REGULARISERS[n]) for n in accuracies}
    settings = dataclasses.asdict(SHORT) | {"backend": BACKEND}
    return toy.Toy(settings, rows, tuple(runs), {}, {}, "")


def test_the_table_pairs_seeds_and_compares_with_the_paper():
    none = {0: 80.0, 1: 84.0, 2: 86.0, 3: 90.0, 9: 10.0}
    nfm = {0: 83.0, 1: 85.0, 2: 91.0, 3: 90.0, 7: 50.0}
    first, second = report.summarise(record({"none": none, "nfm": nfm}))
    assert (first["paper"], first["difference"], first["pairs"]) == (None, None, 0)
    assert (second["paper"], second["pairs"], second["collapsed"]) == (90.0, 4, 1)
    assert second["mean"] == pytest.approx(np.mean(list(nfm.values())))
    assert second["deviation"] == pytest.approx(np.std(list(nfm.values()), ddof=1))
    ours, theirs = ([runs[seed] for seed in range(4)] for runs in (nfm, none))
    test = scipy.stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert second["difference"] == pytest.approx(2.25)
    assert (second["low"], second["high"]) == pytest.approx((test.low, test.high))


def test_the_report_shows_what_was_measured(folder):
    report.write(folder, seed=0)
    held = toy.load(folder)
    nfm = report.summarise(held)[1]
    cell = f"| NFM | 3 | {nfm['mean']:.1f} ± {nfm['deviation']:.1f} | 90.0 |"
    assert cell in (folder / "table.md").read_text()
    assert cell[2:-2].replace("|", "&").replace("±", r"$\pm$") in (
        folder / "table.tex"
    ).read_text().replace("\\%", "%")
    line = (folder / "table.csv").read_text().splitlines()[2].split(",")
    assert line[:4] == ["nfm", "NFM", "3", repr(nfm["mean"])]
    surfaces = toy.load_surfaces(folder, "nfm", 0)
    steps = SHORT.frames(4)
    assert surfaces.shape == (len(steps), *SURFACE) and steps[-1] == SHORT.steps
    with Image.open(folder / "boundaries.gif") as animation:
        assert animation.n_frames == len(steps)
    figure = report.draw(held, {"nfm": surfaces}, 0, folder / "one.png")
    accuracy = held.run("nfm", 0).accuracy
    assert figure.axes[0].get_title() == f"NFM ({accuracy:.1f} %)"
    with pytest.raises(FileNotFoundError, match="Received: seed=1"):
        report.write(folder, seed=1)


def test_a_record_of_before_gives_the_table_of_before():
    folder = REPOSITORY / "results" / "toy"
    texts = report.tables(toy.load(folder))
    for name, text in texts.items():
        written = (folder / name).read_text()
        if name == "table.csv":  # in full precision, which rounding may touch
            rows = zip(csv.reader(text.splitlines()), csv.reader(written.splitlines()))
            for row, before in rows:
                assert row[:3] == before[:3]
                for ours, theirs in zip(row[3:], before[3:], strict=True):
                    numeric = theirs.replace(".", "").lstrip("-").isdigit()
                    expected = pytest.approx(float(theirs)) if numeric else theirs
                    assert (float(ours) if numeric else ours) == expected
        else:
            assert text == written


def test_a_surface_lies_as_the_points_do(folder):
    """The panel's shade at a place is what the network says of that place."""
    model = training.compile_model(PAIR["none"], SHORT)
    surface = training.train(model, "none", 0, SHORT, [SHORT.steps])[1][-1]
    side = np.linspace(-2.2, 2.2, SURFACE[0], dtype="float32")
    logits = training._logits(model.model, np.array([[side[150], side[40]]]))
    inner = scipy.special.softmax(logits)[0, 1]
    assert surface[40, 150] == pytest.approx(255 * inner, abs=0.6)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a slow process, once")
def test_the_command(tmp_path):
    flags = [f"--output={tmp_path}", "--epochs=2", "--width=0.1", "--seeds=2"]
    flags.append("--regularizers=none,manifold_mixup")
    done = programs.run("apps.toy", *flags, "--first_seed=3")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "| Manifold mixup | 2 |" in done.stdout
    held = json.loads((tmp_path / "toy.json").read_text())
    assert [run["seed"] for run in held["runs"]] == [3, 4, 3, 4]
    assert held["command"].startswith("python -m apps.toy --output")
    assert (tmp_path / "boundaries.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "boundaries.gif").exists()
