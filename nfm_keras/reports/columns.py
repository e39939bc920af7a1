"""Rows of accuracies as Markdown and CSV, with the paper's numbers beside them."""

import csv
import dataclasses
import functools
import io
import json
import os
import pathlib
import statistics
import urllib.parse

from nfm_keras import corruptions
from nfm_keras.reports.aggregate import caption, columns

HEADLINES = (
    *("white_noise@0.1", "white_noise@0.2", "white_noise@0.3"),
    *("salt_and_pepper@0.02", "salt_and_pepper@0.04", "salt_and_pepper@0.1"),
)
"""The severities of the published tables, shown where there are more than fit."""

MISSING = "—"
_FIT = 10
_NONE = (None,) * 4


@dataclasses.dataclass(frozen=True)
class Published:
    """What the paper prints for one row.

    `table` is the title of its table, `accuracy` a dict from column name to percent,
    `seeds` how many it averages over, and `note` what is to be known of the table.
    """

    table: str
    accuracy: dict[str, float]
    seeds: int
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a table: ours, or the paper's where `row` is None."""

    label: str
    seeds: int
    hours: str
    cells: list[str]
    row: object = None


def to_markdown(rows, names=None, *, paper=False, folder=None):
    """Write rows as a Markdown table with its caption.

    A cell reads `mean ± deviation` in percent, or the plain accuracy for one seed, and
    `—` where there is none.

    Args:
        rows: list of `nfm_keras.reports.aggregate.Row`.
        names: columns to show. By default all or, where they are more than ten, those
            of the paper's table that an experiment repeats, else `headlines` of them.
        paper: bool. Put the published number below each row it can be compared with
            (`published`). A line of the caption says where the number is from.
        folder: where the table goes, which the links to the records start from; needed
            where the rows know their files.

    Returns:
        str ending in a newline.

    Raises:
        ValueError: if a column is not there.

    Example:

    >>> print(to_markdown(summarise(runs, "pixel"), ["clean"]))  # doctest: +SKIP
    """
    names = shown(rows, names)
    linked = any(row.paths for row in rows)
    links = ["records (seed)"] if linked else []
    table = [_line("scheme", "seeds", "hours", *names, *links)]
    table += ["|---|" + "---:|" * (len(names) + 2) + "---|" * linked]
    for line in lines(rows, names, paper=paper):
        label = line.label if line.row else f"*{line.label}*"
        links = [_links(line.row, folder) if line.row else ""] if linked else []
        table.append(_line(label, line.seeds, line.hours, *line.cells, *links))
    notes = [note.replace("{paper}", "*paper*") for note in remarks(rows, paper=paper)]
    return "\n\n".join([*notes, "\n".join(table)]) + "\n"


def to_csv(rows, *, paper=False, folder=None):
    """Write rows as CSV, one line a row, numbers in full precision.

    Args:
        rows: list of `nfm_keras.reports.aggregate.Row`.
        paper: bool. Add the published numbers.
        folder: as in `to_markdown`.

    Returns:
        str. A perturbation has four columns: `<id>` (mean), `<id> deviation`,
        `<id> low` and `<id> high`, in percent, and with `paper` a fifth, `<id> paper`.
        What is not known is empty. The last column has the paths of the records.
    """
    numbers = [published(row) if paper else None for row in rows]
    names = columns(rows)
    if rows[0].table:
        printed = {n: None for number in numbers if number for n in number.accuracy}
        names += [name for name in printed if name not in names]
    parts = ["", *(" deviation", " low", " high"), *[" paper"] * paper]
    head = ["row", "label", "scheme", "settings", "dataset", "network", "protocol"]
    head += ["seeds", "hours", *(name + part for name in names for part in parts)]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*head, "records"])
    for row, number in zip(rows, numbers, strict=True):
        paths = " ".join(_relative(path, folder) for path in row.paths)
        writer.writerow([*_facts(row), *_values(row, names, number, paper), paths])
    return stream.getvalue()


def _facts(row):
    run = row.records[0] if row.records else None
    own = [row.name, row.label, row.scheme, json.dumps(row.settings)]
    own += [run and run.dataset, run and run.network]
    return [*own, row.protocol, row.seeds, _hours(row)]


def _values(row, names, number, paper):
    for name in names:
        cell = row.cells.get(name)
        yield from ((cell.mean, cell.deviation, cell.low, cell.high) if cell else _NONE)
        if paper:
            yield number and number.accuracy.get(name)


def lines(rows, names, *, paper=False):
    """The lines of a table as text, the paper's below the row they belong to.

    Args:
        rows: list of `nfm_keras.reports.aggregate.Row`.
        names: columns, as `shown` gives them.
        paper: bool.

    Returns:
        List of `Line`.
    """
    found = []
    for row in rows:
        hours = _hours(row)
        cells = [_text(row.cells.get(name), row.seeds) for name in names]
        hours = "" if hours is None else f"{hours:.2g}"
        found.append(Line(row.label, row.seeds, hours, cells, row))
        number = published(row) if paper else None
        if number:
            cells = [str(number.accuracy.get(name, "")) for name in names]
            label = "paper" if row.name else f"{row.scheme}, paper"
            found.append(Line(label, number.seeds, "", cells))
    return found


def remarks(rows, *, paper=False):
    """The caption of a table: what it shows and where the paper's numbers are from.

    Args:
        rows: list of `nfm_keras.reports.aggregate.Row`.
        paper: bool.

    Returns:
        List of str, paragraphs; `{paper}` stands for the mark of the paper's lines.
    """
    notes = {f"Test accuracy in percent. {caption(rows)}.": None}
    found = [number for row in rows if (number := published(row))] if paper else []
    for number in found:
        text = f"Rows marked {{paper}}: Noisy Feature Mixup, {number.table}."
        notes[f"{text} {number.note}".strip()] = None
    if paper and not found:
        notes["The paper has no number for this data set, network and settings."] = None
    return list(notes)


def shown(rows, names=None):
    """The columns of a table: those asked for, or what fits a page.

    Args:
        rows: list of `nfm_keras.reports.aggregate.Row`.
        names: list of str, or None; see `to_markdown`.

    Raises:
        ValueError: if a column is not there.
    """
    measured = columns(rows)
    table = _tables().get(rows[0].table, {"rows": {}})
    printed = dict.fromkeys(n for e in table["rows"].values() for n in e["accuracy"])
    if names is not None:
        unknown = [name for name in names if name not in {*measured, *printed}]
        if unknown:
            raise ValueError(f"Columns must be among {measured}. Received: {unknown}")
        return names
    if printed:
        severities = printed.keys() - {"clean"} or HEADLINES
        more = printed | dict.fromkeys(headlines(measured, severities))
        return list(more if len(more) <= _FIT else printed)
    return measured if len(measured) <= _FIT else headlines(measured)


def headlines(names, chosen=HEADLINES):
    """Columns that fit a page: no single corruption, few severities of the noises.

    Args:
        names: list of ids of perturbations, such as `"white_noise@0.1"`.
        chosen: ids of the severities to keep.

    Example:

    >>> headlines(["clean", "fog@3", "white_noise@0.1", "white_noise@0.12"])
    ['clean', 'white_noise@0.1']
    """
    names = [name for name in names if name.partition("@")[0] not in corruptions.NAMES]
    noises = {name.partition("@")[0] for name in chosen}
    noises &= {name.partition("@")[0] for name in names if name in chosen}
    return [n for n in names if n in chosen or n.partition("@")[0] not in noises]


def published(row):
    """What the paper prints for a row, if anything.

    A row of an experiment has the number of the same row of the experiment's table. Any
    other has that of the first row, in any table, with its scheme. The data set, the
    network and the settings that the paper names must be the same in both cases; the
    caption says how width and epochs differ. Only the `reference` protocol, and scores
    no protocol touches, can be compared.

    Args:
        row: `nfm_keras.reports.aggregate.Row`.

    Returns:
        `Published`, or None.

    Raises:
        ValueError: if an experiment names a table there is not.

    Example:

    >>> from nfm_keras.reports.aggregate import Row
    >>> row = Row("nfm", {}, "reference", (), {}, name="nfm", table="table1")
    >>> published(row).accuracy["white_noise@0.3"]
    83.0
    """
    tables = _tables()
    if row.table is not None and row.table not in tables:
        raise ValueError(
            f"The paper's tables are {list(tables)}. Received: {row.table!r}"
        )
    if row.protocol == "pixel" or bool(row.name) != bool(row.table):
        return None
    for key, table in tables.items():
        for name, entry in table["rows"].items():
            if entry["accuracy"] and _same(row, key, table, name, entry):
                note = table.get("note", "")
                facts = table["title"], entry["accuracy"], table["seeds"], note
                return Published(*facts)
    return None


def _same(row, key, table, name, entry):
    if row.name:
        # The experiment says which scheme stands for the paper's row: the published
        # noise baseline is not the scheme of that name.
        if (row.table, row.name) != (key, name):
            return False
    elif row.scheme != entry["scheme"]:
        return False
    place = table["dataset"], table["network"]
    settings = entry["settings"].items()
    return all(
        (run.dataset, run.network) == place
        and all(run.config.get(key) == value for key, value in settings)
        for run in row.records[:1]
    )


@functools.cache
def _tables():
    path = pathlib.Path(__file__).with_name("paper_tables.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    return {key: table for key, table in content.items() if key != "about"}


def _hours(row):
    if not row.records:
        return None
    return statistics.fmean(record.seconds for record in row.records) / 3600


def _links(row, folder):
    return " ".join(
        f"[{record.config.get('seed')}]({urllib.parse.quote(_relative(path, folder))})"
        for record, path in zip(row.records, row.paths, strict=True)
    )


def _relative(path, folder):
    return pathlib.Path(os.path.relpath(path, folder)).as_posix()


def _line(*cells):
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _text(cell, seeds):
    if cell is None:
        return MISSING
    text = f"{cell.mean:.1f}"
    if cell.deviation is not None:
        text += f" ± {cell.deviation:.1f}"
    # A row's seeds need not all have every score.
    return text if cell.seeds == seeds else f"{text} (n={cell.seeds})"
