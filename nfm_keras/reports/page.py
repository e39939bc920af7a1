"""One page of HTML about one run: report.html."""

import math
import pathlib
from typing import NamedTuple

import keras

from nfm_keras import data, records
from nfm_keras.figures import training as run_figures
from nfm_keras.mixing.seen import site_names
from nfm_keras.records import history
from nfm_keras.reports import html as html_page
from nfm_keras.training import inputs as run_inputs

FILE = "report.html"
"""Name of the page inside the run's folder."""

CONFIG = "config.json"

_SHOWN = 4  # images of each batch


class Run(NamedTuple):
    """What a folder says of its run.

    Attributes:
        folder: `pathlib.Path`.
        config: Dict.
        history: Dict of str to list of float.
        record: `Record`; `None` of a run that is not finished.
    """

    folder: pathlib.Path
    config: dict
    history: dict
    record: records.Record | None


def read(folder) -> Run:
    """Reads what there is of a run.

    Args:
        folder: With `record.json`, or of an unfinished run `config.json` and, once an
            epoch is over, `history.csv`.

    Raises:
        FileNotFoundError: If there is neither.
        ValueError: If a file is broken.
    """
    folder = pathlib.Path(folder)
    if (folder / records.FILE).exists():
        record = records.load(folder / records.FILE)
        return Run(folder, record.config, record.history, record)
    if not (folder / CONFIG).exists():
        raise FileNotFoundError(
            f"A run's folder must hold {records.FILE} or {CONFIG}. Received: {folder}"
        )
    table = folder / history.FILE
    measured = history.read_history(table) if table.exists() else {}
    return Run(folder, records.read_json(folder / CONFIG), measured, None)


def find(folder):
    """Finds the folders of runs, finished or not, under a folder.

    As in `records.find`, hidden folders and SavedModels are passed over.

    Args:
        folder: Path.

    Returns:
        Sorted list of paths.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"No folder of runs at {folder}.")
    files = [path for name in (records.FILE, CONFIG) for path in folder.rglob(name)]
    found = {path.parent for path in files}
    return sorted(
        path
        for path in found
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not (path / "saved_model.pb").exists()
    )


def write(folder, data_dir=None):
    """Writes `report.html` of a run: one page that needs no other file.

    What was trained and how to repeat it, curves, results with their intervals, the
    images as the network sees them after mixing, and which sites and weights were
    drawn. The network is built again from the config; images come from the data set,
    and where that is not at hand, the page says so and goes without.

    Args:
        folder: The run's, finished or not (`read`).
        data_dir: As in `nfm_keras.data.load`.

    Returns:
        Path of the page.

    Raises:
        FileNotFoundError, ValueError: As `read`.
        OSError: If the page cannot be written; an older one is untouched.

    Example:

    >>> write("runs/nfm")  # doctest: +SKIP
    PosixPath('runs/nfm/report.html')
    """
    run = read(folder)
    path = run.folder / FILE
    records.write_text(path, page(run, data_dir))
    return path


def page(run, data_dir=None) -> str:
    """Returns the page of a `Run` as text.

    Args:
        run: `Run`.
        data_dir: As in `write`.
    """
    html, body = html_page.start(f"{_title(run)}: {_name(run)}")
    _heading(body, run)
    _results(body, run)
    config, model, problem = _rebuilt(run)
    html_page.add(body, "h2", "What the network sees")
    if model is None:
        html_page.note(body, f"Not shown: the network cannot be built again. {problem}")
    else:
        _inputs(body, run, config, model, data_dir)
    _scores(body, run)
    _settings(body, run, config, model)
    _origin(body, run)
    return html_page.text(html)


def _title(run):
    return "{scheme} on {dataset}, {network}".format(**run.config)


def _name(run):
    return run.record.name if run.record else run.folder.resolve().name


def _heading(body, run):
    html_page.add(body, "h1", _title(run))
    epochs, done = run.config["epochs"], _epochs(run)
    facts = [f"seed {run.config['seed']}"]
    if run.record is None:
        facts.append(f"not finished: {done} of {epochs} epochs")
    else:
        facts += [f"{epochs} epochs in {_duration(run.record.seconds)}"]
        facts += [f"begun {run.record.started}"]
        facts += [f"{run.record.parameters:,} parameters"]
    html_page.note(body, f"Run {_name(run)}: {', '.join(facts)}.")


def _results(body, run):
    html_page.add(body, "h2", "Training")
    measured = {
        name: values
        for name, values in run.history.items()
        if name not in ("seconds", "learning_rate") and any(map(math.isfinite, values))
    }
    if not measured:
        html_page.note(body, "No epoch is over yet, or none is recorded.")
        return
    watched, order = _watched(run), sorted(measured, key=lambda n: ("loss" in n, n))
    rows = [_extremes(name, measured[name], watched) for name in order]
    head = ("", "last", "epoch", "best", "epoch")
    html_page.table(body, head, rows, numbers=(1, 2, 3, 4))
    html_page.note(
        body,
        "Accuracies are in percent. The classifier is that of the last epoch; the best "
        f"one on the {watched} set is for information.",
    )
    html_page.figure(
        body, run_figures.curves(run.history, watched), "Curves over the epochs"
    )


def _extremes(name, values, watched):
    accuracy = "accuracy" in name
    points = [(v, e) for e, v in enumerate(values, start=1) if math.isfinite(v)]
    best = (max if accuracy else min)(points, key=lambda point: point[0])
    label = "accuracy" if accuracy else name.removeprefix("val_")
    cells = [f"{label} ({run_figures.series_name(name, watched)})"]
    for value, epoch in (points[-1], best):
        cells += [f"{100 * value:.2f}" if accuracy else f"{value:.4f}", str(epoch)]
    return cells


def _scores(body, run):
    if run.record is None or not run.record.scores:
        return
    html_page.add(body, "h2", "Robustness")
    rows = [
        (
            score.perturbation,
            score.protocol,
            f"{score.value:.2f}",
            f"{score.low:.2f} to {score.high:.2f}",
            str(score.n),
            _settings_text(score.settings),
        )
        for score in run.record.scores
    ]
    head = (
        "perturbation",
        "protocol",
        "accuracy (%)",
        "95 % interval",
        "images",
        "settings",
    )
    html_page.table(body, head, rows, numbers=(2, 3, 4))


def _settings_text(settings):
    words = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in settings.items()}
    return ", ".join(f"{name} {value}" for name, value in words.items())


def _rebuilt(run):
    """`(config, model, None)`, or `(None, None, why not)`."""
    try:
        return *run_inputs.rebuild(run.config), None
    except ValueError as error:
        return None, None, str(error)


def _inputs(body, run, config, model, data_dir):
    epochs = _epochs(run) or config.epochs
    try:
        splits = data.load(
            config.dataset, data_dir, limit=config.limit, validation=config.validation
        )
    except FileNotFoundError:
        html_page.note(
            body, f"Not shown: the images of {config.dataset} are not at hand."
        )
        return
    weights = run.folder / "classifier.keras"
    if model.technique is not None and weights.exists():
        run_inputs.load_weights(model, weights)
    sheet = html_page.add(body, "div", **{"class": "batches"})
    for seen in run_inputs.seen_batches(config, model, splits.train, epochs):
        _batch(sheet, seen, splits.train.spec.classes)
    if model.technique is not None:
        name = type(model.technique).__name__
        source = "the trained" if weights.exists() else "an untrained"
        html_page.note(
            body, f"What {name} asks of the network is answered by {source} one."
        )
    _same_backend(body, run)
    if not model.mixing.is_identity:
        _draws(body, config, model, splits.train, epochs)


def _same_backend(body, run):
    """Says so where the draws are not those of the run: each backend has its own."""
    there = run.record and run.record.versions.get("backend")
    here = keras.backend.backend()
    if there not in (None, here):
        html_page.note(
            body,
            f"Drawn with {here}. The run was on {there}, whose draws have the same law "
            "and are others.",
        )


def _batch(sheet, seen, classes):
    text = f"Epoch {seen.epoch}, first batch: {run_figures.description(seen.mixed)}"
    if seen.is_deeper:
        text += "; shown as if mixed at the input"
    row = html_page.add(sheet, "div", **{"class": "batch"})
    html_page.note(row, f"{text}.")
    labels = seen.mixed.labels[:_SHOWN]
    for image, label in zip(run_figures.pixels(seen.mixed.images), labels):
        figure = html_page.add(row, "figure")
        words = run_figures.soft_label(label, classes)
        html_page.image(figure, html_page.encoded(image), words)
        html_page.add(figure, "figcaption", words.replace(", ", "\n"))


def _draws(body, config, model, split, epochs):
    steps = run_inputs.steps_per_epoch(config, split)
    sites, lam, laws = run_inputs.run_draws(config, model, steps, epochs)
    figure = run_figures.draws(sites, lam, site_names(model), laws)
    if figure is None:
        return
    html_page.add(body, "h2", "Where and how much was mixed")
    html_page.figure(body, figure, "Histograms of the sites and of lambda")
    html_page.note(
        body,
        f"The draws of {len(sites):,} of {steps * epochs:,} steps, spread evenly over "
        f"{epochs} epochs.",
    )


def _settings(body, run, config, model):
    """What differs from the defaults of the scheme and the network comes first."""
    usual = {} if config is None else run_inputs.defaults(config, model).to_json()
    values = run.config if config is None else config.to_json()
    what = ("scheme", "dataset", "network")
    differs = {name for name in values if usual and values[name] != usual[name]}
    order = sorted(values, key=lambda n: (n not in what, n not in differs))
    html_page.add(body, "h2", "Settings")
    rows = [(n, _text(values[n]), _text(usual[n]) if usual else "") for n in order]
    table = html_page.table(body, ("setting", "value", "default"), rows)
    for name, row in zip(order, table.findall("tbody/tr")):
        if name in differs:
            row.set("class", "differs")
    if usual:
        html_page.note(
            body, "Bold: other than the default of this scheme, data set and network."
        )


def _origin(body, run):
    if run.record is None:
        return
    html_page.add(body, "h2", "Versions and hardware")
    facts = run.record.versions | run.record.hardware
    html_page.table(
        body, ("", ""), [(name, _text(value)) for name, value in facts.items()]
    )
    html_page.add(body, "h2", "To repeat it")
    html_page.add(body, "pre", run.record.command)


def _epochs(run):
    return max(map(len, run.history.values()), default=0)


def _watched(run):
    return "validation" if run.config.get("validation") else "test"


def _duration(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _text(value):
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
