"""The report of many runs: tables and figures, from their records."""

import pathlib
from collections.abc import Sequence

from nfm_keras import records
from nfm_keras.mixing import schemes
from nfm_keras.records.schema import refuse_difference
from nfm_keras.reports import aggregate, suite, tables
from nfm_keras.reports.curves import corruptions, epochs, settings, severities
from nfm_keras.types import StrPath

# Of a scheme, but no field of a config as they stand.
_RESOLVED = {"sites", "technique"}


def write(
    runs: Sequence[records.Record],
    folder: StrPath,
    *,
    title: str | None = None,
    columns: Sequence[str] | None = None,
    paper: bool = False,
) -> list[pathlib.Path]:
    """Writes table.md, table.csv, table.tex and the figures that there is data for.

    Figures are curves.png, corruptions.png and history.png. Where runs were scored
    under both protocols, each gets a folder of its own: protocols are never mixed.

    Args:
        runs: List of `Record`.
        folder: Where to write.
        title: Title of the table and the figures.
        columns: Columns of the table; `None` for the paper's severities.
        paper: Show the paper's numbers beside ours, where the settings are equal.

    Returns:
        Paths of the tables, table.md, one a protocol.

    Raises:
        ValueError: If there is no run, or a column that no run has.
    """
    written = []
    for protocol, place in _places(runs, folder):
        aggregates = aggregate.over_settings(runs, protocol)
        _write_scores(aggregates, place, title, columns, paper)
        written.append(place / "table.md")
    _write_history(aggregate.over_settings(runs, "none"), pathlib.Path(folder), title)
    return written


def write_against(
    runs: Sequence[records.Record],
    fields: Sequence[str],
    folder: StrPath,
    *,
    title: str | None = None,
    columns: Sequence[str] | None = None,
) -> list[pathlib.Path]:
    """Draws the accuracy of runs against a setting that they differ in.

    Args:
        runs: List of `Record`.
        fields: The field of the horizontal axis, and those that go with it, as in
            `nfm_keras.reports.curves.settings.draw`.
        folder: Where to write against_<field>.png, or a folder of it a protocol where
            runs were scored under both.
        title: Title of the figure.
        columns: One panel each, such as `["clean", "pgd@1/255"]`; `None` for those
            that a table would have.

    Returns:
        Paths of the figures.

    Raises:
        ValueError: If there is no run, a column or a field that no run has, or what
            `nfm_keras.reports.curves.settings.draw` refuses.

    Example:

    >>> write_against(runs, ["sigma_add", "sigma_mult"], "report")  # doctest: +SKIP
    """
    written = []
    for protocol, place in _places(runs, folder):
        path = place / f"against_{fields[0]}.png"
        aggregates = aggregate.over_settings(runs, protocol)
        settings.draw(aggregates, fields, path, columns=columns, title=title)
        written.append(path)
    return written


def write_experiment(
    experiment: aggregate.Rows,
    runs: StrPath,
    folder: StrPath,
    *,
    title: str | None = None,
    columns: Sequence[str] | None = None,
) -> list[aggregate.Aggregate]:
    """Writes what `write` does in the rows of an experiment, the paper's number in it.

    A row that has no run yet is there, and is counted in the captions.

    Args:
        experiment: `nfm_keras.experiments.experiment.Experiment`.
        runs: Folder of its runs, `<runs>/<row>/seed_<n>/record.json`.
        folder: Where to write; the table's links start from here.
        title: Title of the table and the figures; `None` for the experiment's.
        columns: Columns of the table; `None` for the paper's.

    Returns:
        List of `nfm_keras.reports.aggregate.Aggregate`, a row each.

    Raises:
        FileNotFoundError: If there is no folder of runs.
        ValueError: If there is no run, a record is broken, or one is not what its
            folder says.

    Example:

    >>> write_experiment(load("table1"), "results/table1", "report")  # doctest: +SKIP
    """
    aggregates = aggregate.of_experiment(experiment, find(experiment, runs))
    title, folder = title or experiment.title, pathlib.Path(folder)
    paper = experiment.paper is not None
    _write_scores(aggregates, folder, title, columns, paper)
    _write_history(aggregates, folder, title)
    return aggregates


def write_evaluations(
    folders: Sequence[StrPath], folder: StrPath, *, title: str | None = None
) -> pathlib.Path:
    """Writes what `nfm_keras.reports.suite.write` does, from evaluations on disk.

    Args:
        folders: Paths; all `evaluation.json` under them are reported side by side, in
            the order of the folders. The first is what the others are compared with.
        folder: Where to write.
        title: Title of the report.

    Returns:
        `pathlib.Path` of report.md.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If there is no evaluation, one is broken, or they do not fit.
    """
    names = [records.EVALUATION_FILE]
    found = [path for place in folders for path in records.paths(place, names)]
    loaded = [records.load_evaluation(path) for path in found]
    return suite.write(loaded, folder, title=title)


def read(
    folders: Sequence[StrPath], *, skip_broken: bool = False
) -> list[records.Record]:
    """Reads the records of all runs under some folders.

    Args:
        folders: Paths, looked through as `records.find` does.
        skip_broken: Warn about a broken record and go on without it.

    Returns:
        List of `Record`.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If there is no record, or one is broken.
    """
    runs = [r for f in folders for r in records.find(f, skip_broken=skip_broken)]
    if not runs:
        names = ", ".join(map(str, folders))
        raise ValueError(
            f"A report needs a {records.FILE}. Received: none under {names}"
        )
    return runs


def find(
    experiment: aggregate.Rows, folder: StrPath
) -> dict[str, dict[pathlib.Path, records.Record]]:
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
    paths = records.paths(folder)
    runs: dict[str, dict[pathlib.Path, records.Record]] = {}
    for name, row in experiment.rows.items():
        # What all rows share may be scaled; the captions say to what.
        own = {key: value for key, value in row.items() if key != "label"}
        wanted = {"scheme": experiment.settings.get("scheme")} | own
        loaded = {
            path: records.load(path, experiment.split)
            for path in _of_row(paths, folder, name)
        }
        for path, record in loaded.items():
            _check(record, wanted, path)
        ordered = sorted(loaded.items(), key=lambda run: run[1].config["seed"])
        runs[name] = dict(ordered)
    return runs


def _places(runs, folder):
    """The protocols of runs, and the folder of what is written under each of them."""
    if not runs:
        raise ValueError("A report needs at least one record. Received: none")
    names, folder = aggregate.protocols(runs), pathlib.Path(folder)
    return [(name, folder if len(names) == 1 else folder / name) for name in names]


def _of_row(paths, folder, name):
    """The paths of the records in `<folder>/<name>/seed_<n>`."""
    row = pathlib.Path(folder, name)
    return [
        path
        for path in paths
        if path.parent.parent == row and path.parent.name.startswith("seed_")
    ]


def _check(record, wanted, path):
    """Refuses a record that is not of the row and the seed it lies under.

    What the row does not set is the scheme's, where that decides.
    """
    kind = schemes.lookup(wanted["scheme"])._asdict()
    decided = {key: value for key, value in kind.items() if key not in _RESOLVED}
    stated = {key: value for key, value in wanted.items() if value is not None}
    expected = {key: _plain(value) for key, value in (decided | stated).items()}
    names = {key: getattr(record, key) for key in ("scheme", "dataset", "network")}
    held = record.config | names
    refuse_difference(
        f"{path} is of a run",
        expected,
        {key: held.get(key) for key in expected},
        "It must be of the row in whose folder it lies.",
    )
    if path.parent.name != f"seed_{record.config.get('seed')}":
        raise ValueError(
            f"{path} must hold the seed of its folder. "
            f"Received: {record.config.get('seed')}"
        )


def _plain(value):
    return list(value) if isinstance(value, tuple) else value  # as JSON reads back


def _write_scores(aggregates, folder, title, columns, paper):
    """Writes the tables of aggregates of one protocol, and their figures."""
    notes = tables.remarks(aggregates, "*paper*", paper=paper)
    table = tables.to_read(aggregates, columns, paper=paper, folder=folder)
    heading = [f"# {title}"] if title else []
    markdown = "\n\n".join([*heading, *notes, table.to_markdown()])
    records.write_text(folder / "table.md", markdown)

    table = tables.with_every_number(aggregates, paper=paper, folder=folder)
    records.write_text(folder / "table.csv", table.to_csv())

    notes = tables.remarks(aggregates, "paper", paper=paper)
    caption = " ".join([*([f"{title}."] if title else []), *notes])
    table = tables.to_read(aggregates, columns, paper=paper, grouped=True)
    records.write_text(folder / "table.tex", table.to_latex(caption))

    if severities.families(a.cells for a in aggregates):
        severities.draw(aggregates, folder / "curves.png", title=title)
    corruptions.draw(aggregates, folder / "corruptions.png", title=title)


def _write_history(aggregates, folder, title):
    if any(record.history for a in aggregates for record in a.records):
        epochs.draw(aggregates, folder / "history.png", title=title)
