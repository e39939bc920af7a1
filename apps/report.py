"""Tables and figures of finished runs.

python -m apps.report --runs=runs/nfm,runs/erm --output=report

writes table.md, table.csv, curves.png and history.png. table.csv has every severity
measured, table.md only the paper's where there are many, unless told otherwise. Where
runs were scored under both protocols, each gets a folder of its own: protocols are
never mixed.
"""

from absl import app, flags, logging

from apps.start import start
from nfm_keras import records, reports

_RUNS = flags.DEFINE_list("runs", None, "Folders to look for records in.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.")
_TITLE = flags.DEFINE_string("title", None, "Title of the table and figures.")
_COLUMNS = flags.DEFINE_list("columns", None, "Columns of table.md, such as clean.")
_PAPER = flags.DEFINE_bool("paper", False, "Show the paper's numbers beside ours.")
_SKIP = flags.DEFINE_bool("skip_broken", False, "Warn about broken records only.")
flags.mark_flags_as_required(["runs", "output"])


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    runs = [
        r for path in _RUNS.value for r in records.find(path, skip_broken=_SKIP.value)
    ]
    if not runs:
        raise ValueError(f"no {records.FILE} found under {', '.join(_RUNS.value)}")
    reports.write(
        runs,
        _OUTPUT.value,
        title=_TITLE.value,
        columns=_COLUMNS.value,
        paper=_PAPER.value,
    )
    print(f"{len(runs)} run(s) reported in {_OUTPUT.value}")


if __name__ == "__main__":
    start(main)
