"""One page of HTML about one run: report.html."""

import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nfm_keras import records
from nfm_keras.data import from_config
from nfm_keras.figures import theory, training
from nfm_keras.records import history
from nfm_keras.reports import html, seen
from nfm_keras.reports.pages import measured
from nfm_keras.table import Table
from nfm_keras.training import inputs
from nfm_keras.training.folder import CONFIG, read_config
from nfm_keras.types import StrPath

FILE = "report.html"
"""Name of the page inside the run's folder."""


class Run(NamedTuple):
    """What a folder says of its run.

    Attributes:
        folder: `pathlib.Path`.
        config: Dict.
        history: Dict of str to list of float.
        record: `Record`; `None` of a run that is not finished.
        evaluation: `Evaluation` beside the record; `None` without one.
    """

    folder: pathlib.Path
    config: dict
    history: dict
    record: records.Record | None
    evaluation: records.Evaluation | None = None


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
        beside = folder / records.EVALUATION_FILE
        evaluation = records.load_evaluation(beside) if beside.exists() else None
        return Run(folder, record.config, record.history, record, evaluation)
    if not (folder / CONFIG).exists():
        raise FileNotFoundError(
            f"A run's folder must hold {records.FILE} or {CONFIG}. Received: {folder}"
        )
    table = folder / history.FILE
    logged = history.read_history(table) if table.exists() else {}
    return Run(folder, read_config(folder / CONFIG), logged, None)


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
    paths = records.paths(folder, (records.FILE, CONFIG))
    return sorted({path.parent for path in paths})


def write(folder, data_dir=None):
    """Writes `report.html` of a run: one page that needs no other file.

    What was trained and how to repeat it, curves, the images as the network sees them
    after mixing, which sites and weights were drawn, and, once it is evaluated, scores
    with their intervals and curves, the confusion matrix and images that are wrong. The
    network is built again from the config; images come from the data set, and where
    that is not at hand, the page says so and goes without.

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


def write_pages(
    folders: Sequence[StrPath], data_dir: StrPath | None = None
) -> Iterator[pathlib.Path]:
    """Writes the page of every run under some folders.

    Args:
        folders: Paths, looked through as `find` does.
        data_dir: As in `write`.

    Yields:
        Path of each page, once it is written.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If there is no run or, once all other pages are written, if a file
            is broken.
    """
    found = [run for folder in folders for run in find(folder)]
    runs = {run.resolve(): run for run in found}.values()
    if not runs:
        names = ", ".join(map(str, folders))
        raise ValueError(f"A page needs a run. Received: none under {names}")
    broken = []
    for run in runs:
        try:
            yield write(run, data_dir)
        except ValueError as error:
            broken.append(str(error))
    if broken:
        raise ValueError("; ".join(broken))


def page(run, data_dir=None) -> str:
    """Returns the page of a `Run` as text.

    Args:
        run: `Run`.
        data_dir: As in `write`.
    """
    whole, body = html.start(f"{_title(run)}: {_name(run)}")
    _add_heading(body, run)
    _add_training(body, run)
    config, model, problem = _rebuilt(run)
    splits = None if config is None else _splits(config, data_dir)
    html.add(body, "h2", "What the network sees")
    if model is None:
        html.note(body, f"Not shown: the network cannot be built again. {problem}")
    else:
        seen.add_inputs(
            *(body, config, model),
            folder=run.folder,
            epochs=_epochs(run),
            backend=run.record and run.record.versions.get("backend"),
            splits=splits,
        )
    measured.add_scores(body, run)
    measured.add_classes(body, run, config, splits)
    _add_settings(body, run, config, model)
    _add_origin(body, run)
    return html.text(whole)


def _splits(config, data_dir):
    try:
        return from_config.load(config, data_dir)
    except FileNotFoundError:
        return None


def _title(run):
    """Of the record; the config, of a run by its own script, need not have names."""
    names = vars(run.record) if run.record else run.config
    parts = [names.get(n, f"unknown {n}") for n in ("scheme", "dataset", "network")]
    return "{} on {}, {}".format(*parts)


def _name(run):
    return run.record.name if run.record else run.folder.resolve().name


def _add_heading(body, run):
    html.add(body, "h1", _title(run))
    done = _epochs(run)
    epochs = run.config.get("epochs", done)
    facts = [f"seed {run.config['seed']}"] if "seed" in run.config else []
    if run.record is None:
        facts.append(f"not finished: {done} of {epochs} epochs")
    else:
        facts += [f"{epochs} epochs in {_duration(run.record.seconds)}"]
        facts += [f"extended from {before} epochs" for before in run.record.extended]
        facts += [f"begun {run.record.started}"]
        facts += [f"{run.record.parameters:,} parameters"]
    html.note(body, f"Run {_name(run)}: {', '.join(facts)}.")


def _add_training(body, run):
    html.add(body, "h2", "Training")
    logged = {
        name: values
        for name, values in run.history.items()
        if name not in ("seconds", "learning_rate", *theory.smooth(run.history))
        and any(map(math.isfinite, values))
    }
    if not logged:
        html.note(body, "No epoch is over yet, or none is recorded.")
        return
    watched = (run.record and run.record.measured_on) or history.watched(run.config)
    order = sorted(logged, key=lambda n: ("loss" in n, n))
    rows = [_extremes(name, logged[name], watched) for name in order]
    html.table(body, Table(["", "last", "epoch", "best", "epoch"], rows, "lr"))
    html.note(
        body,
        "Accuracies are in percent. The classifier is that of the last epoch; the best "
        f"one on the {watched} set is for information.",
    )
    html.figure(body, training.curves(run.history, watched), "Curves over the epochs")
    html.figure(body, theory.smoothness(run.history), "Smoothness over the epochs")


def _extremes(name, values, watched):
    accuracy = "accuracy" in name
    points = [(v, e) for e, v in enumerate(values, start=1) if math.isfinite(v)]
    best = (max if accuracy else min)(points, key=lambda point: point[0])
    label = "accuracy" if accuracy else name.removeprefix("val_")
    cells = [f"{label} ({training.series_name(name, watched)})"]
    for value, epoch in (points[-1], best):
        cells += [f"{100 * value:.2f}" if accuracy else f"{value:.4f}", str(epoch)]
    return cells


def _rebuilt(run):
    """`(config, model, None)`, or `(None, None, why not)`."""
    if "scheme" not in run.config:
        return None, None, "Its config is of a script of its own, and names no scheme."
    try:
        return *inputs.rebuild(run.config), None
    except ValueError as error:
        return None, None, str(error)


def _add_settings(body, run, config, model):
    """What differs from the defaults of the scheme and the network comes first."""
    usual = {} if config is None else inputs.defaults(config, model).to_json()
    values = run.config if config is None else config.to_json()
    what = ("scheme", "dataset", "network")
    differs = {name for name in values if usual and values[name] != usual[name]}
    order = sorted(values, key=lambda n: (n not in what, n not in differs))
    html.add(body, "h2", "Settings")
    rows = [(n, _text(values[n]), _text(usual[n]) if usual else "") for n in order]
    table = html.table(body, Table(["setting", "value", "default"], rows))
    for name, row in zip(order, table.findall("tbody/tr")):
        if name in differs:
            row.set("class", "differs")
    if usual:
        html.note(
            body, "Bold: other than the default of this scheme, data set and network."
        )


def _add_origin(body, run):
    if run.record is None:
        return
    html.add(body, "h2", "Versions and hardware")
    facts = run.record.versions | run.record.hardware
    rows = [(name, _text(value)) for name, value in facts.items()]
    html.table(body, Table(["", ""], rows))
    html.add(body, "h2", "To repeat it")
    html.add(body, "pre", run.record.command)


def _epochs(run):
    return max(map(len, run.history.values()), default=0)


def _duration(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _text(value):
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
