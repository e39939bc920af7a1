"""Tables of aggregates: the one to read, and the one that has every number."""

import itertools
import json
import os
import pathlib
import statistics
import urllib.parse

from nfm_keras.records import ids
from nfm_keras.records.naming import naming
from nfm_keras.reports import captions
from nfm_keras.reports.cells import of_protocol
from nfm_keras.reports.columns import MISSING, columns, shown
from nfm_keras.reports.paper import published
from nfm_keras.table import Table, Text

_GROUPS = {
    "white_noise": "white noise σ",
    "salt_and_pepper": "salt and pepper γ",
}


def to_read(aggregates, names=None, *, paper=False, folder=None, grouped=False):
    """Returns the table to read, a row an aggregate.

    A cell reads `mean ± deviation` in percent or, for one seed, the accuracy with its
    95 % interval over images, then the number of images; `—` where there is none.

    Args:
        aggregates: list of `nfm_keras.reports.aggregate.Aggregate`.
        names: columns to show, as in `nfm_keras.reports.columns.shown`.
        paper: bool. Put the published number below each row it can be compared with
            (`nfm_keras.reports.paper.published`). `remarks` say where it is from.
        folder: where the table goes. With it, the last column links the records where
            their files are known.
        grouped: bool. Put severities under the name of their noise, as in the paper.

    Returns:
        `nfm_keras.table.Table`.

    Raises:
        ValueError: If a column is not there.

    Example:

    >>> aggregates = over_settings(runs, "pixel")  # doctest: +SKIP
    >>> print(to_read(aggregates, ["clean"]).to_markdown())  # doctest: +SKIP
    """
    names = shown(aggregates, names)
    linked = folder is not None and any(a.paths for a in aggregates)
    rows = []
    for aggregate in aggregates:
        links = [_links(aggregate, folder)] if linked else []
        rows.append([*_row(aggregate, names), *links])
        number = published(aggregate) if paper else None
        if number:
            label = "paper" if aggregate.name else f"{aggregate.scheme}, paper"
            cells = [number.accuracy.get(name) for name in names]
            own = [Text(label, style="aside"), number.seeds, None]
            rows.append([*own, *cells, *([None] if linked else [])])
    groups, heads = _groups(names) if grouped else ((), names)
    return Table(
        ["scheme", "seeds", "hours", *heads, *(["records (seed)"] if linked else [])],
        rows,
        "l" + "r" * (len(names) + 2) + ("l" if linked else ""),
        groups=[("", 3), *groups] if groups else (),
    )


def with_every_number(aggregates, *, paper=False, folder=None):
    """Returns the table for other programs, a row an aggregate, in full precision.

    Args:
        aggregates: list of `nfm_keras.reports.aggregate.Aggregate`.
        paper: bool. Add the published numbers.
        folder: where the table goes, which the paths of the records start from.

    Returns:
        `nfm_keras.table.Table`. A perturbation has four columns: `<id>` (mean),
        `<id> deviation`, `<id> low` and `<id> high`, in percent, and with `paper` a
        fifth, `<id> paper`. One that not all seeds of a row have has `<id> seeds`, how
        many do. What is not known is empty. The last column has the paths of the
        records.
    """
    numbers = [published(aggregate) if paper else None for aggregate in aggregates]
    names = columns(aggregates)
    if aggregates[0].table:
        printed = [name for number in numbers if number for name in number.accuracy]
        names = list(dict.fromkeys([*names, *printed]))
    pairs = [(a.seeds, a.cells.get(name), name) for a in aggregates for name in names]
    uneven = {name for seeds, cell, name in pairs if cell and cell.seeds != seeds}
    rows = []
    for aggregate, number in zip(aggregates, numbers, strict=True):
        row = _facts(aggregate)
        for name in names:
            cell = aggregate.cells.get(name)
            row |= _parts(name, cell)
            if name in uneven:
                row[f"{name} seeds"] = cell and cell.seeds
            if paper:
                row[f"{name} paper"] = number.accuracy.get(name) if number else None
        paths = [_relative(path, folder) for path in aggregate.paths]
        rows.append(row | {"records": " ".join(paths)})
    return Table.from_dicts(rows)


def remarks(aggregates, mark, *, paper=False):
    """Returns the caption of a table, and where the paper's numbers are from.

    Args:
        aggregates: list of `nfm_keras.reports.aggregate.Aggregate`.
        mark: str. How the paper's rows are marked.
        paper: bool.

    Returns:
        List of str, paragraphs.
    """
    caption = captions.of_aggregates(aggregates)
    cells = "one training's with its 95 % interval over the n images"
    if any(a.seeds > 1 for a in aggregates):
        cells += ", or the mean of several ± one standard deviation over them"
    notes = {f"Test accuracy in percent: {cells}. {caption}": None}
    notes |= dict.fromkeys(_unlike(aggregates))
    numbers = [n for a in aggregates if (n := published(a))] if paper else []
    for number in numbers:
        text = f"Rows marked {mark}: Noisy Feature Mixup, {number.table}."
        notes[f"{text} {number.note}".strip()] = None
    if paper and not numbers:
        notes["The paper has no number for this data set, network and settings."] = None
    return list(notes)


def _unlike(aggregates):
    """Which columns were not measured alike in all runs, in sentences."""
    scores = [
        score
        for a in aggregates
        for run in a.records
        for score in of_protocol(run.scores, a.protocol)
    ]
    name, made = naming(scores), {}
    for score in scores:
        made.setdefault(name(score)[1], set()).add((score.revision, score.seed))
    reasons = "by different versions of the code", "with different seeds of the noise"
    for place, what in enumerate(reasons):
        unlike = [c for c, how in made.items() if len({h[place] for h in how}) > 1]
        if unlike:
            yield f"Measured {what} from run to run: {captions.listed(unlike)}."


def _row(aggregate, names):
    hours = _hours(aggregate)
    hours = None if hours is None else f"{hours:.2g}"
    cells = [_text(aggregate.cells.get(name), aggregate.seeds) for name in names]
    return [aggregate.label, aggregate.seeds, hours, *cells]


def _text(cell, seeds):
    if cell is None:
        return MISSING
    text = f"{cell.mean:.1f}"
    if cell.deviation is not None:
        text += f" ± {cell.deviation:.1f}"
    elif cell.low is not None:
        text += f" [{cell.low:.1f}, {cell.high:.1f}]"
    text += f" n={cell.n}" if cell.n else ""
    # The seeds of a row need not all have every score.
    return text if cell.seeds == seeds else f"{text} ({cell.seeds} of {seeds} seeds)"


def _groups(names):
    """What stands over columns, and what is left to stand in them."""
    groups, heads = [], []
    for kind, members in itertools.groupby(names, ids.kind):
        members = list(members)
        if kind in _GROUPS:
            groups.append((_GROUPS[kind], len(members)))
            heads += [name.removeprefix(f"{kind}@") for name in members]
        else:
            groups.append(("", len(members)))
            heads += members
    return (groups, heads) if any(text for text, _ in groups) else ((), names)


def _facts(aggregate):
    run = aggregate.records[0] if aggregate.records else None
    return {
        "row": aggregate.name,
        "label": aggregate.label,
        "scheme": aggregate.scheme,
        "settings": json.dumps(aggregate.settings),
        "dataset": run and run.dataset,
        "network": run and run.network,
        "protocol": aggregate.protocol,
        "seeds": aggregate.seeds,
        "hours": _hours(aggregate),
    }


def _parts(name, cell):
    names = name, f"{name} deviation", f"{name} low", f"{name} high"
    numbers = (cell.mean, cell.deviation, cell.low, cell.high) if cell else [None] * 4
    return dict(zip(names, numbers, strict=True))


def _hours(aggregate):
    if not aggregate.records:
        return None
    return statistics.fmean(record.seconds for record in aggregate.records) / 3600


def _links(aggregate, folder):
    runs = zip(aggregate.records, aggregate.paths, strict=True)
    return [
        Text(f"{run.config.get('seed')}", urllib.parse.quote(_relative(path, folder)))
        for run, path in runs
    ]


def _relative(path, folder):
    return pathlib.Path(os.path.relpath(path, folder)).as_posix()
