"""A leaderboard: a row an evaluation, as Markdown and as one page that can be sorted.

Everything is made from evaluations on disk, never from a model.
"""

import os
import pathlib
import urllib.parse
import warnings
from collections.abc import Sequence
from typing import NamedTuple

from nfm_keras import records
from nfm_keras.reports import html
from nfm_keras.reports.boards import measures
from nfm_keras.reports.columns import MISSING
from nfm_keras.table import Table, Text
from nfm_keras.types import StrPath

_NOTES = (
    "Accuracy in percent with its 95 % interval over images, n of them. In italics: by "
    "how many points a row differs from the one above it as ranked here, with the 95 % "
    "interval of that paired difference, where both were measured alike on the same "
    "images. "
    "**?**: an attack was hindered, so that robustness may be lower than it seems.",
    "Worst case at a radius: images that are right as they are and under every "
    "l-infinity attack of at most that radius, whichever were run; corruptions: the "
    "mean over the 15 common ones at five severities; calibration error: the expected "
    "one of clean images in percent, which has no interval here.",
)

_SORT = """
document.querySelectorAll("table.sortable th").forEach((head) => {
  const column = head.cellIndex, body = head.closest("table").tBodies[0];
  const number = (row) => parseFloat(row.cells[column].dataset.value ?? "NaN");
  const sort = () => {
    const down = head.getAttribute("aria-sort") !== "descending";
    [...body.rows].sort((a, b) => {
      const [x, y] = [number(a), number(b)];
      if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
      return down ? y - x : x - y;
    }).forEach((row) => body.append(row));
    head.closest("tr").querySelectorAll("th").forEach((one) =>
      one.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  };
  head.tabIndex = 0;
  head.addEventListener("click", sort);
  head.addEventListener("keydown", (e) => { if (e.key === "Enter") sort(); });
});
"""

_STYLE = """
body { max-width: none; }
div.wide { overflow-x: auto; }
table.sortable th { cursor: pointer; text-align: left; }
table.sortable th[aria-sort=descending]::after { content: " ▾"; }
table.sortable th[aria-sort=ascending]::after { content: " ▴"; }
table.sortable td { text-align: left; white-space: nowrap; }
table.sortable td em { display: block; color: #555; }
"""


class Entry(NamedTuple):
    """A row: an evaluation, its name and link, and its numbers by column."""

    name: str
    link: str
    evaluation: records.Evaluation
    found: dict[str, measures.Measure]


def write(
    folders: Sequence[StrPath],
    folder: StrPath,
    *,
    title: str | None = None,
    skip_broken: bool = False,
) -> list[pathlib.Path]:
    """Writes leaderboard.md and leaderboard.html from evaluations on disk.

    Args:
        folders: Paths; every `evaluation.json` under them is a row. Each data set has a
            table of its own.
        folder: Where to write; the links of the rows start from here. A row links its
            run's report.html or, without, its evaluation.
        title: Title of the page.
        skip_broken: Warn about a broken evaluation and go on without it.

    Returns:
        Paths of the two files.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If there is no evaluation with scores, or one is broken and
            `skip_broken` is false.

    Example:

    >>> write(["results/table1"], "board")  # doctest: +SKIP
    """
    folder, title = pathlib.Path(folder), title or "Leaderboard"
    boards = _boards(folders, folder, skip_broken)
    tables = {dataset: _table(entries) for dataset, entries in boards.items()}
    parts = [f"# {title}", *_NOTES]
    for dataset, table in tables.items():
        parts += [f"## {dataset}", table.to_markdown().strip()]
    markdown, page = folder / "leaderboard.md", folder / "leaderboard.html"
    records.write_text(markdown, "\n\n".join(parts) + "\n")
    records.write_text(page, _page(title, boards, tables))
    return [markdown, page]


def _loaded(folders, skip_broken):
    """Evaluations with scores by their paths, each file once."""
    names, loaded = [records.EVALUATION_FILE], {}
    paths = [path for place in folders for path in records.paths(place, names)]
    for path in {path.resolve(): path for path in reversed(paths)}.values():
        try:
            loaded[path] = records.load_evaluation(path).merged()
        except ValueError as error:
            if not skip_broken:
                raise
            warnings.warn(f"Skipped: {error}", stacklevel=2)
    return {path: loaded[path] for path in paths if len(loaded.get(path, ()))}


def _boards(folders, folder, skip_broken):
    """Entries by data set, each ranked."""
    loaded = _loaded(folders, skip_broken)
    if not loaded:
        where = ", ".join(map(str, folders))
        raise ValueError(
            "A leaderboard needs an evaluation.json with scores. "
            f"Received: none under {where}"
        )
    used = [(evaluation.dataset, evaluation.model) for evaluation in loaded.values()]
    boards: dict[str, list[Entry]] = {}
    for path, evaluation in loaded.items():
        name = evaluation.model
        if used.count((evaluation.dataset, name)) > 1:
            name = f"{name} ({path.parent})"
        page = path.with_name("report.html")
        link = pathlib.Path(os.path.relpath(page if page.exists() else path, folder))
        link = urllib.parse.quote(link.as_posix())
        entry = Entry(name, link, evaluation, measures.measures(evaluation))
        boards.setdefault(evaluation.dataset, []).append(entry)
    return {dataset: _ranked(entries) for dataset, entries in sorted(boards.items())}


def _columns(entries):
    """The columns in their order; worst cases only where every row has them."""
    names = dict.fromkeys(name for entry in entries for name in entry.found)
    kept = [
        name
        for name in names
        if not name.startswith("worst") or all(name in entry.found for entry in entries)
    ]
    order = ("clean", "corruptions", "mCE", "Auto", "worst", "calibration")
    place = {n: i for n in kept for i, start in enumerate(order) if n.startswith(start)}
    return sorted(kept, key=place.__getitem__)


def _ranked(entries):
    """By the worst case that all have, at the smallest radius; else by clean."""
    columns = _columns(entries)
    by = next((name for name in columns if name.startswith("worst")), "clean")

    def key(entry):
        values = (entry.found.get(name) for name in (by, "clean"))
        return [-one.value if one else float("inf") for one in values]

    return sorted(entries, key=key)


def _table(entries):
    columns, rows = _columns(entries), []
    for rank, entry in enumerate(entries):
        above = entries[rank - 1] if rank else None
        cells = [_cell(entry, above, name) for name in columns]
        rows.append([rank + 1, Text(entry.name, entry.link), *cells])
    return Table(["", "model", *columns], rows)


def _cell(entry, above, name):
    measure = entry.found.get(name)
    if measure is None:
        return MISSING
    text = f"{measure.value:.1f}"
    if measure.low is not None:
        text += f" [{measure.low:.1f}, {measure.high:.1f}]"
    if measure.right is not None:
        text += f" n={len(measure.right)}"
    parts = [Text(text + (" ?" if measure.doubtful else ""))]
    other = above.found.get(name) if above else None
    if other is not None:
        same = entry.evaluation.images == above.evaluation.images
        paired = measures.difference(measure, other, same)
        if paired:
            change, low, high = paired
            told = f"{change:+.1f} [{low:+.1f}, {high:+.1f}]"
            parts.append(Text(told, style="aside"))
    return parts


def _page(title, boards, tables):
    page, body = html.start(title)
    html.add(page.find("head"), "style", _STYLE)
    html.add(page.find("head"), "meta", name="viewport", content="width=device-width")
    html.add(body, "h1", title)
    for note in _NOTES:
        html.note(body, note.replace("**", ""))
    html.note(body, "A click on the head of a column sorts by it.")
    for dataset, table in tables.items():
        html.add(body, "h2", dataset)
        drawn = html.table(html.add(body, "div", **{"class": "wide"}), table)
        drawn.set("class", "sortable")
        lines = zip(drawn.findall("tbody/tr"), boards[dataset], strict=True)
        for rank, (line, entry) in enumerate(lines):
            cells = line.findall("td")
            cells[0].set("data-value", str(-rank))  # the best one comes first
            for name, cell in zip(_columns(boards[dataset]), cells[2:], strict=True):
                if name in entry.found:
                    sign = -1 if name in measures.LOWER_IS_BETTER else 1
                    cell.set("data-value", f"{sign * entry.found[name].value:.6f}")
    html.add(body, "script", _SORT)
    return html.text(page)
