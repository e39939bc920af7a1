"""Tables and figures of finished runs.

python -m apps.report --runs=runs/nfm,runs/erm --output=report

writes table.md, table.csv, curves.png and history.png. table.csv has every severity
measured, table.md only the paper's where there are many, unless told otherwise. Where
runs were scored under both protocols, each gets a folder of its own: protocols are
never mixed.
"""

import pathlib
import sys

from absl import app, flags

from nfm_keras import plots, records, summary, tables

_RUNS = flags.DEFINE_list("runs", None, "Folders to look for records in.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.")
_TITLE = flags.DEFINE_string("title", None, "Title of the table and figures.")
_COLUMNS = flags.DEFINE_list("columns", None, "Columns of table.md, such as clean.")
_PAPER = flags.DEFINE_bool("paper", False, "Show the paper's numbers beside ours.")
_SKIP = flags.DEFINE_bool("skip_broken", False, "Warn about broken records only.")
flags.mark_flags_as_required(["runs", "output"])


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    try:
        _report(pathlib.Path(_OUTPUT.value))
    except (ValueError, OSError) as error:
        sys.exit(f"report: {error}")


def _report(output):
    runs = [
        r for path in _RUNS.value for r in records.find(path, skip_broken=_SKIP.value)
    ]
    if not runs:
        raise ValueError(f"no {records.FILE} found under {', '.join(_RUNS.value)}")
    protocols = summary.protocols(runs)
    for protocol in protocols:
        folder = output if len(protocols) == 1 else output / protocol
        _tabulate(summary.summarise(runs, protocol), folder)
    if any(run.history for run in runs):
        rows = summary.summarise(runs, "none")
        plots.histories(rows, output / "history.png", title=_TITLE.value)
    print(f"{len(runs)} run(s) reported in {output}")


def _tabulate(rows, folder):
    folder.mkdir(parents=True, exist_ok=True)
    heading = f"# {_TITLE.value}\n\n" if _TITLE.value else ""
    markdown = heading + tables.to_markdown(rows, _COLUMNS.value, paper=_PAPER.value)
    (folder / "table.md").write_text(markdown, encoding="utf-8")
    (folder / "table.csv").write_text(tables.to_csv(rows), encoding="utf-8")
    if plots.families(rows):
        plots.curves(rows, folder / "curves.png", title=_TITLE.value)


if __name__ == "__main__":
    app.run(main)
