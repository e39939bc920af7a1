"""Rows of accuracies as Markdown and CSV, with the paper's numbers beside them."""

import csv
import io
import json
import pathlib
import statistics

from nfm_keras import corruptions
from nfm_keras.summary import caption, columns

HEADLINES = (
    *("white_noise@0.1", "white_noise@0.2", "white_noise@0.3"),
    *("salt_and_pepper@0.02", "salt_and_pepper@0.04", "salt_and_pepper@0.1"),
)
"""The severities of the published tables, shown where there are more than fit."""

_FIT = 10


def to_markdown(rows, names=None, *, paper=False):
    """Write rows as a Markdown table with its caption.

    A cell reads `mean ± deviation` in percent, or the plain accuracy for one seed.

    Args:
        rows: list of `nfm_keras.summary.Row`.
        names: columns to show. By default all; where they are more than ten,
            `headlines` of them.
        paper: bool. Put the published number below each row it can be compared
            with: CIFAR-10 or CIFAR-100, protocol `reference`, the same alpha and
            noise levels. A line of the caption says where the number is from.

    Returns:
        str ending in a newline.

    Raises:
        ValueError: if a column is not there.

    Example:

    >>> print(to_markdown(summarise(runs, "pixel"), ["clean"]))  # doctest: +SKIP
    """
    names = _headlines(rows) if names is None else _known(names, rows)
    lines = [_line("scheme", "seeds", "hours", *names)]
    lines += ["|---|" + "---:|" * (len(names) + 2)]
    titles = {}
    for row in rows:
        cells = [_text(row.cells.get(name), row.seeds) for name in names]
        lines.append(_line(row.label, row.seeds, f"{_hours(row):.2g}", *cells))
        title, numbers = _published(row) if paper else (None, {})
        if numbers:
            titles[title] = f"Rows marked *paper*: *Noisy Feature Mixup*, {title}."
            cells = [numbers.get(name, "") for name in names]
            lines.append(_line(f"*{row.scheme}, paper*", 5, "", *cells))
    notes = [f"Test accuracy in percent. {caption(rows)}.", *titles.values()]
    if paper and not titles:
        notes.append("The paper has no number to compare with.")
    return "\n\n".join([*notes, "\n".join(lines)]) + "\n"


def to_csv(rows):
    """Write rows as CSV, one line a row, numbers in full precision.

    Args:
        rows: list of `nfm_keras.summary.Row`.

    Returns:
        str. A perturbation has four columns: `<id>` (mean), `<id> deviation`,
        `<id> low` and `<id> high`, in percent. What is not known is empty.
    """
    names, parts = columns(rows), ("mean", "deviation", "low", "high")
    head = ["scheme", "settings", "dataset", "network", "protocol", "seeds", "hours"]
    heads = [f"{name} {part}".removesuffix(" mean") for name in names for part in parts]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head + heads)
    for row in rows:
        run = row.records[0]
        values = [row.scheme, json.dumps(row.settings), run.dataset, run.network]
        values += [row.protocol, row.seeds, _hours(row)]
        cells = [row.cells.get(name) for name in names]
        values += [getattr(cell, part, "") for cell in cells for part in parts]
        writer.writerow(values)
    return stream.getvalue()


def _hours(row):
    return statistics.fmean(record.seconds for record in row.records) / 3600


def _headlines(rows):
    names = columns(rows)
    if len(names) <= _FIT:
        return names
    return headlines(names)


def headlines(names):
    """Columns that fit a page: no single corruption, few severities of the noises.

    Args:
        names: list of ids of perturbations, such as `"white_noise@0.1"`.

    Example:

    >>> headlines(["clean", "fog@3", "white_noise@0.1", "white_noise@0.12"])
    ['clean', 'white_noise@0.1']
    """
    names = [name for name in names if name.partition("@")[0] not in corruptions.NAMES]
    noises = {name.partition("@")[0] for name in names if name in HEADLINES}
    return [n for n in names if n in HEADLINES or n.partition("@")[0] not in noises]


def _known(names, rows):
    unknown = [name for name in names if name not in columns(rows)]
    if unknown:
        raise ValueError(f"Columns must be among {columns(rows)}. Received: {unknown}")
    return names


def _line(*cells):
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _text(cell, seeds):
    if cell is None:
        return ""
    text = f"{cell.mean:.1f}"
    if cell.deviation is not None:
        text += f" ± {cell.deviation:.1f}"
    # A row's seeds need not all have every score.
    return text if cell.seeds == seeds else f"{text} (n={cell.seeds})"


def _published(row):
    """Title of the paper's table and its numbers for a row, if there are any.

    They are compared with what shares protocol, dataset, scheme and the settings the
    paper names; the caption says how network, width and epochs differ.
    """
    path = pathlib.Path(__file__).with_name("paper_tables.json")
    table = json.loads(path.read_text(encoding="utf-8")).get(row.records[0].dataset)
    config = row.records[0].config
    if table is None or row.protocol != "reference":
        return None, {}
    for entry in table["rows"]:
        settings = entry["settings"].items()
        same = all(config.get(key) == value for key, value in settings)
        if entry["scheme"] == row.scheme and same:
            return table["title"], entry["accuracy"]
    return None, {}
