"""Tables and figures of many runs, from their records."""

import pathlib

from nfm_keras import plots, summary, tables


def write(runs, folder, *, title=None, columns=None, paper=False):
    """Writes table.md, table.csv, curves.png and history.png.

    Where runs were scored under both protocols, each gets a folder of its own:
    protocols are never mixed.

    Args:
        runs: List of `Record`.
        folder: Where to write.
        title: Title of the table and the figures.
        columns: Columns of table.md; `None` for the paper's severities.
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
        rows = summary.summarise(runs, protocol)
        place.mkdir(parents=True, exist_ok=True)
        heading = f"# {title}\n\n" if title else ""
        markdown = heading + tables.to_markdown(rows, columns, paper=paper)
        (place / "table.md").write_text(markdown, encoding="utf-8")
        (place / "table.csv").write_text(tables.to_csv(rows), encoding="utf-8")
        if plots.families(rows):
            plots.curves(rows, place / "curves.png", title=title)
    if any(run.history for run in runs):
        rows = summary.summarise(runs, "none")
        plots.histories(rows, folder / "history.png", title=title)
