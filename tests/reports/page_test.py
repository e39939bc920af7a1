import base64
import dataclasses
import html.parser
import io
import os
import shutil
import subprocess

import numpy as np
import pytest
from conftest import BACKEND, save_run, score
from PIL import Image

from nfm_keras import data, records
from nfm_keras.figures import training as figures
from nfm_keras.mixing.seen import mixed_images, site_names
from nfm_keras.records import Record, Score, history
from nfm_keras.reports import html as html_page
from nfm_keras.reports import page as run_page
from nfm_keras.reports.pages import measured
from nfm_keras.table import Table, Text
from nfm_keras.training import inputs
from nfm_keras.training.config import Config

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="pages, once")

NAN = float("nan")
NASTY = "<script>alert('1') && \"2\"</script>"
CONFIG = Config(
    network="mlp",
    width=0.25,
    epochs=5,
    batch_size=64,
    limit=300,
    alpha=0.5,
    sites=("site_0", "site_1"),
)
HISTORY = {
    "loss": [2.0, 1.5, 1.25, 1.3, 1.2],
    "mixed_accuracy": [0.3, 0.4, 0.45, 0.5, 0.55],
    "val_loss": [NAN, 1.4, NAN, 1.1, 1.15],
    "val_accuracy": [NAN, 0.5, NAN, 0.75, 0.7025],
    "val_accuracy_white_noise@0.1": [NAN, 0.4, NAN, 0.6, 0.55],
    "learning_rate": [0.1, 0.1, 0.1, 0.01, 0.01],
}
SCORES = (
    Score("clean", 0.0, "none", 70.25, 65.1, 74.9, 400, 281, 0, 1.0, {}),
    Score("pgd@8/255", 8 / 255, "none", 12.5, 9.2, 16.7, 400, 50, 0, 1.0, {"steps": 7}),
)


class Page(html.parser.HTMLParser):
    """What is on a page; a tag that is not closed, or twice, is an error."""

    VOID = ("meta", "img")

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.rows, self.text = [], [], [], ""
        self.tags, self.links = set(), []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        attributes = dict(attributes)
        self.links += [v for k, v in attributes.items() if k in ("src", "href")]
        if tag == "img":
            self.images.append(attributes["src"])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.text += text
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += text

    def row(self, name):
        (found,) = [row for row in self.rows if row and row[0] == name]
        return found[1:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mine"
    config, model = inputs.rebuild(CONFIG.to_json())
    record = Record(
        name=NASTY,
        scheme="nfm",
        dataset="digits",
        network="mlp",
        config=config.to_json(),
        sites=config.sites,
        parameters=1234,
        versions={"python": "3.11", "backend": BACKEND},
        hardware={"cpu": NASTY, "accelerators": []},
        command=f"python -m apps.train --run_dir={NASTY}",
        seconds=300.0,
        started="2026-01-01T00:00:00+00:00",
        history=HISTORY,
        scores=SCORES,
    )
    save_run(record, folder)
    run_page.write(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_the_page_stands_alone_and_escapes_everything(page):
    assert "script" not in page.tags and page.text.count(NASTY) == 4
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert len(page.images) == 16 + 2
    for source in page.images:
        content = base64.b64decode(source.partition(",")[2], validate=True)
        with Image.open(io.BytesIO(content)) as image:
            image.load()


def test_cells_of_a_table_have_their_links_and_styles():
    html, body = html_page.start("A page")
    cells = [Text("<a>", "b.json", "code"), [Text("0", "c"), Text("1", style="aside")]]
    html_page.table(body, Table(["name", "", "n"], [[*cells, 3]], "lr"))
    text = html_page.text(html)
    assert '<td><a href="b.json"><code>&lt;a&gt;</code></a> </td>' in text
    assert '<a href="c"><span>0</span></a> <em>1</em>' in text
    assert '<td class="number">3</td>' in text


def test_the_numbers_are_the_record_s(page):
    assert page.row("loss (training)") == ["1.2000", "5", "1.2000", "5"]
    assert page.row("loss (test)") == ["1.1500", "5", "1.1000", "4"]
    assert page.row("accuracy (test)") == ["70.25", "5", "75.00", "4"]
    assert page.row("accuracy (test, white_noise@0.1)") == ["55.00", "5", "60.00", "4"]
    assert page.row("accuracy (training, mixed batches)")[0] == "55.00"
    expected = ["none", "12.50", "9.20 to 16.70", "400", "steps 7"]
    assert page.row("pgd@8/255") == expected
    assert page.row("clean") == ["none", "70.25", "65.10 to 74.90", "400", ""]
    assert "5 epochs in 5 min" in page.text and "1,234 parameters" in page.text


def evaluated(folder, **fields):
    """The run with an evaluation of its first test images, of which three are wrong."""
    test = data.load("digits", limit=300).test
    labels, predicted = test.labels[:50], np.array(test.labels[:50])
    predicted[[4, 9, 30]] = (predicted[[4, 9, 30]] + 1) % 10
    scores = [*SCORES, *(score(f"white_noise@0.{i}", 90 - i) for i in range(1, 4))]
    evaluation = records.Evaluation(
        *("mine", "digits", "", [[0.0]]),
        scores=(*scores, score("fog@1", 55.0)),
        **{
            "classes": test.spec.classes,
            "labels": records.pack_classes(labels),
            "predicted": records.pack_classes(predicted),
        }
        | fields,
    )
    record = dataclasses.replace(
        records.load(folder / "record.json"), scores=evaluation.scores
    )
    run = run_page.Run(folder, record.config, record.history, record, evaluation)
    whole, body = html_page.start("A page")
    measured.add_scores(body, run)
    measured.add_classes(body, run, CONFIG, data.load("digits", limit=300))
    return test, Page(html_page.text(whole))


def test_an_evaluated_run_shows_curves_confusions_and_wrong_images(folder):
    test, shown = evaluated(folder)
    # Curves, bars of the corruption, the confusion matrix and three images.
    assert len(shown.images) == 3 + 3
    assert "The first 3 of the 3 that are wrong among 50" in shown.text
    true = test.labels[4]
    assert f"true: {true}\npredicted: {(true + 1) % 10}" in shown.text
    content = base64.b64decode(shown.images[-3].partition(",")[2])
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(content))), test.images[4, ..., 0]
    )
    assert "The other 1 scores" in shown.text and shown.row("fog@1")
    count, wrong = (test.labels[:50] == true).sum(), test.labels[[4, 9, 30]] == true
    share = 100 * (count - wrong.sum()) / count
    assert shown.row(str(true))[0].startswith(f"{share:.1f} [")


def test_what_an_evaluation_does_not_record_is_called_so(folder):
    _, shown = evaluated(folder, labels="", predicted="")
    assert "Not recorded" in shown.text and "Wrong images" not in shown.text
    other = records.pack_classes([0] * 50)
    _, shown = evaluated(folder, labels=other)
    assert "other images than the test images of the run" in shown.text


def test_settings_that_differ_come_first(page):
    start = page.rows.index(["setting", "value", "default"])
    names = [row[0] for row in page.rows[start + 1 :]]
    assert names[:3] == ["scheme", "dataset", "network"]
    differ = {"width", "epochs", "batch_size", "limit", "alpha", "sites"}
    differ |= {"rate_drops"}  # they are parts of the epochs
    assert set(names[3 : 3 + len(differ)]) == differ
    assert page.row("alpha") == ["0.5", "1.0"]
    assert page.row("sigma_add") == ["0.4", "0.4"]  # the scheme's, in both
    assert page.row("sites") == ["site_0, site_1", "site_0, site_1, site_2, site_3"]


def test_images_are_those_of_the_first_steps(page):
    config, model = inputs.rebuild(CONFIG.to_json())
    splits = data.load("digits", limit=300)
    images, labels = inputs.first_batch(config, splits.train, 4)
    seen = mixed_images(model, images, labels, 4 * 5, at_input=True)  # 5 steps
    content = base64.b64decode(page.images[13].partition(",")[2])
    shown = np.asarray(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(shown, figures.pixels(seen.images[0, ..., 0]))
    assert f"Epoch 5, first batch: {figures.description(seen)}" in page.text
    words = figures.soft_label(seen.labels[0], splits.train.spec.classes)
    assert words.replace(", ", "\n") in page.text


def test_draws_of_another_backend_are_called_so(folder, page):
    assert "whose draws" not in page.text
    record = records.load(folder / "record.json")
    record = dataclasses.replace(
        record,
        config=record.config | {"scheme": "erm"},
        history={name: values[:1] for name, values in record.history.items()},
        versions={"backend": "torch"},
    )
    run = run_page.Run(folder, record.config, record.history, record)
    assert "The run was on torch, whose draws" in Page(run_page.page(run)).text


def test_an_unfinished_run_is_reported(tmp_path):
    config = CONFIG.to_json() | {"dataset": "mnist"}  # whose images are not at hand
    records.write_json(tmp_path / "config.json", config)
    text = Page(run_page.write(tmp_path, tmp_path).read_text(encoding="utf-8")).text
    assert "not finished: 0 of 5 epochs" in text and "No epoch is over yet" in text
    three = {name: values[:3] for name, values in HISTORY.items()}
    history.write_history(tmp_path / "history.csv", three)
    page = Page(run_page.write(tmp_path, tmp_path).read_text(encoding="utf-8"))
    assert "not finished: 3 of 5 epochs" in page.text
    assert page.row("accuracy (test)") == ["50.00", "2", "50.00", "2"]
    assert "To repeat it" not in page.text


def test_without_its_images_the_page_goes_without(folder, tmp_path):
    record = records.load(folder / "record.json")
    config = record.config | {"dataset": "mnist"}
    record = dataclasses.replace(record, config=config)
    run = run_page.Run(tmp_path, record.config, record.history, record)
    page = Page(run_page.page(run, data_dir=tmp_path))
    assert "the images of mnist are not at hand" in page.text
    assert len(page.images) == 1 and str(tmp_path) not in page.text


def test_a_config_of_another_version_is_reported_without_a_network(folder, tmp_path):
    record = records.load(folder / "record.json")
    run = run_page.Run(tmp_path, record.config | {"newer": 1}, record.history, record)
    page = Page(run_page.page(run))
    assert "cannot be built again" in page.text and "newer" in page.text
    assert page.row("alpha")[0] == "0.5"


@pytest.mark.parametrize(
    "settings",
    [
        {"scheme": "erm"},
        {"scheme": "puzzlemix", "grids": (2, 4)},
        {"scheme": "noise", "noise_schedule": "rise"},
        {"scheme": "mixup", "per_sample": True, "probability": 0.5},
        {"alpha_schedule": "rise", "off_epoch": 1},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_every_kind_of_run_has_a_page(settings, tmp_path):
    fields = {"network": "mlp", "width": 0.25, "epochs": 2, "limit": 300} | settings
    records.write_json(tmp_path / "config.json", Config(**fields).to_json())
    page = Page(run_page.write(tmp_path).read_text(encoding="utf-8"))
    chances = settings.get("scheme") not in ("erm", "noise")
    assert len(page.images) == 8 + chances
    if "off_epoch" in settings:
        assert "Epoch 2, first batch: not mixed" in page.text


def test_draws_of_a_run_follow_its_levels():
    fields = dataclasses.replace(
        CONFIG, alpha=2.0, epochs=4, alpha_schedule="rise", off_epoch=3
    )
    config, model = inputs.rebuild(fields.to_json())
    sites, lam, laws = inputs.run_draws(config, model, steps=500, epochs=4)
    assert len(sites) == 2000 and len(site_names(model)) == 2
    assert (sites[1500:] == -1).all() and (sites[:1500] >= 0).all()
    np.testing.assert_allclose(laws[::500], [[0.5] * 2, [1] * 2, [1.5] * 2, [2] * 2])
    for epoch in range(3):  # the variance of a Beta law
        values = lam[500 * epoch : 500 * (epoch + 1)]
        expected = 1 / (4 * (2 * laws[500 * epoch, 0] + 1))
        assert abs(values.var() / expected - 1) < 0.2
    figure = figures.draws(sites, lam, site_names(model), laws)
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == [100 * np.mean(sites == i) for i in (0, 1, -1)]


def test_runs_are_found(folder, tmp_path):
    assert run_page.find(folder.parent) == [folder]
    for name in (".hidden", "saved", "new"):
        (tmp_path / name).mkdir()
        shutil.copy(folder / "record.json", tmp_path / name / "config.json")
    (tmp_path / "saved" / "saved_model.pb").touch()
    assert run_page.find(tmp_path) == [tmp_path / "new"]
    with pytest.raises(FileNotFoundError, match="No folder of runs"):
        run_page.find(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="must hold record.json or config"):
        run_page.read(tmp_path)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_shows_it(folder, tmp_path):
    shown = subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu"),
            *(f"--user-data-dir={tmp_path}", "--dump-dom"),
            f"file://{folder / 'report.html'}",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    ours = Page((folder / "report.html").read_text(encoding="utf-8"))
    theirs = Page(shown.stdout)
    assert theirs.rows == ours.rows and theirs.images == ours.images
    assert theirs.text.split() == ours.text.split()


def test_runs_of_ones_own_script_have_pages_and_a_broken_one_ends_none(
    folder, tmp_path
):
    record = records.load(folder / records.FILE)
    own = dataclasses.replace(record, name="own", scheme="mine", config={"rate": 0.1})
    save_run(own, tmp_path / "a")
    for name, text in (("b", "[]"), ("c", "{}"), ("d", "{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
    pages = run_page.write_pages([tmp_path, tmp_path.resolve()])
    first, second = next(pages), next(pages)
    text = Page(first.read_text(encoding="utf-8")).text
    assert "mine on digits, mlp" in text and "5 epochs in 5 min" in text
    text = Page(second.read_text(encoding="utf-8")).text
    assert "unknown scheme on unknown dataset" in text and "not finished" in text
    assert "names no scheme" in text
    with pytest.raises(ValueError, match=r"b/config.json must be a JSON .*d/config"):
        next(pages)
