"""Tables and figures of many runs, from their records."""

import pathlib

from nfm_keras import records
from nfm_keras.figures import base as plots
from nfm_keras.mixing import schemes
from nfm_keras.reports import aggregate as summary
from nfm_keras.reports import columns as tables
from nfm_keras.reports import curves as corruption_plots
from nfm_keras.reports.latex import to_latex

# Of a scheme, but no field of a config as they stand.
_RESOLVED = {"sites", "technique"}


def write(runs, folder, *, title=None, columns=None, paper=False):
    """Writes table.md, table.csv, table.tex and the figures that there is data for.

    Figures are curves.png, corruptions.png and history.png. Where runs were scored
    under both protocols, each gets a folder of its own: protocols are never mixed.

    Args:
        runs: List of `Record`.
        folder: Where to write.
        title: Title of the table and the figures.
        columns: Columns of the table; `None` for the paper's severities.
        paper: Show the paper's numbers beside ours, where the settings are equal.

    Raises:
        ValueError: If there is no run, or a column that no run has.
    """
    folder = pathlib.Path(folder)
    if not runs:
        raise ValueError("A report needs at least one record. Received: none")
    protocols = summary.protocols(runs)
    for protocol in protocols:
        place = folder if len(protocols) == 1 else folder / protocol
        _scores(summary.summarise(runs, protocol), place, title, columns, paper)
    _history(summary.summarise(runs, "none"), folder, title)


def write_experiment(experiment, runs, folder, *, title=None, columns=None):
    """Writes what `write` does in the rows of an experiment, the paper's number in it.

    A row that has no run yet is there, and is counted in the captions.

    Args:
        experiment: `nfm_keras.experiments.experiment.Experiment`.
        runs: Folder of its runs, `<runs>/<row>/seed_<n>/record.json`.
        folder: Where to write; the table's links start from here.
        title: Title of the table and the figures; `None` for the experiment's.
        columns: Columns of the table; `None` for the paper's.

    Returns:
        The rows, a list of `nfm_keras.reports.aggregate.Row`.

    Raises:
        FileNotFoundError: If there is no folder of runs.
        ValueError: If there is no run, a record is broken, or one is not what its
            folder says.

    Example:

    >>> write_experiment(load("table1"), "results/table1", "report")  # doctest: +SKIP
    """
    rows = summary.arrange(experiment, find(experiment, runs))
    title, folder = title or experiment.title, pathlib.Path(folder)
    _scores(rows, folder, title, columns, experiment.paper is not None)
    _history(rows, folder, title)
    return rows


def find(experiment, folder):
    """Reads the runs of an experiment, each row's in the order of their seeds.

    Args:
        experiment: `nfm_keras.experiments.experiment.Experiment`.
        folder: Folder of its runs.

    Returns:
        Dict from row name to a dict from path to `Record`, empty for a missing row.

    Raises:
        FileNotFoundError: If there is no folder of runs.
        ValueError: If a record is broken, or contradicts its row or its folder.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"No folder of runs at {folder}.")
    found = {}
    for name, row in experiment.rows.items():
        paths = folder.glob(f"{name}/seed_*/{records.FILE}")
        runs = {path: records.load(path) for path in paths}
        for path, record in runs.items():
            # What all rows share may be scaled; the captions say to what.
            own = {k: v for k, v in row.items() if k != "label"}
            _check(record, {"scheme": experiment.settings.get("scheme")} | own, path)
        ordered = sorted(runs.items(), key=lambda run: run[1].config.get("seed"))
        found[name] = dict(ordered)
    return found


def _check(record, wanted, path):
    """Refuses a record that is not of the row and the seed it lies under.

    What the row does not set is the scheme's, where that decides.
    """
    kind = schemes.lookup(wanted["scheme"])
    decided = {k: v for k, v in kind._asdict().items() if k not in _RESOLVED}
    stated = {k: v for k, v in wanted.items() if v is not None}
    held = record.config | {
        k: getattr(record, k) for k in ("scheme", "dataset", "network")
    }
    expected = decided | stated
    differ = [k for k, v in expected.items() if _plain(v) != held.get(k)]
    if differ:
        raise ValueError(
            f"{path} is not of the row in whose folder it lies. Expected "
            f"{ {k: expected[k] for k in differ} }. "
            f"Received: { {k: held.get(k) for k in differ} }"
        )
    if path.parent.name != f"seed_{record.config.get('seed')}":
        raise ValueError(
            f"{path} must hold the seed of its folder. "
            f"Received: {record.config.get('seed')}"
        )


def _plain(value):
    return list(value) if isinstance(value, tuple) else value  # as JSON reads back


def _scores(rows, folder, title, columns, paper):
    folder.mkdir(parents=True, exist_ok=True)
    heading = f"# {title}\n\n" if title else ""
    markdown = tables.to_markdown(rows, columns, paper=paper, folder=folder)
    texts = {
        "table.md": heading + markdown,
        "table.csv": tables.to_csv(rows, paper=paper, folder=folder),
        "table.tex": to_latex(rows, columns, paper=paper, title=title),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    if plots.families(rows):
        plots.curves(rows, folder / "curves.png", title=title)
    if corruption_plots.corruptions_shown(rows):
        corruption_plots.corruption_bars(rows, folder / "corruptions.png", title=title)


def _history(rows, folder, title):
    if any(record.history for row in rows for record in row.records):
        plots.histories(rows, folder / "history.png", title=title)
