"""Tables and figures of finished runs.

python -m apps.report --runs=runs/nfm,runs/erm --output=report
python -m apps.report --experiment=table1 --runs=results/table1 --output=results/table1

prints the table and writes table.md, table.csv, table.tex, curves.png, corruptions.png
and history.png. table.csv has every severity measured, the other two only the paper's
where there are many, unless told otherwise. Where runs were scored under both
protocols, each gets a folder of its own: protocols are never mixed.

python -m apps.report --pages --runs=runs/nfm

writes report.html, one page that needs no other file, into the folder of every run
there is, finished or not, and prints the paths.

python -m apps.report --side_by_side --runs=runs/erm,runs/nfm --output=report

writes report.md, the same as one page, comparison.html, its figures and its paired
tests from the runs' evaluations, as `nfm-evaluate` does, and measures nothing.

python -m apps.report --leaderboard --runs=results/cifar10,results/table1 --output=board

writes leaderboard.md and leaderboard.html, one page that can be sorted, with a row for
every evaluation there is.

python -m apps.report --against=sigma_add,sigma_mult --runs=runs/nfm --output=report

draws accuracy against a setting that runs differ in, here the level of the noise they
were trained with, a line a scheme, into against_sigma_add.png. Settings after the first
go with it from run to run; what else differs makes lines of its own.

With an experiment, the rows and their order are its own, each run is looked for in
RUNS/<row>/seed_<n>, the table links the records, and the paper's numbers are beside
ours.
"""

import pathlib

from absl import app, flags, logging

from nfm_keras import experiments, reports

from .start import start

_RUNS = flags.DEFINE_list("runs", None, "Folders to look for records in.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.")
_EXPERIMENT = flags.DEFINE_string("experiment", None, "Name of the runs' experiment.")
_TITLE = flags.DEFINE_string("title", None, "Title of the table and figures.")
_COLUMNS = flags.DEFINE_list("columns", None, "Columns of the table, such as clean.")
_PAPER = flags.DEFINE_bool("paper", False, "Show the paper's numbers beside ours.")
_PAGES = flags.DEFINE_bool("pages", False, "Write report.html into each run's folder.")
_SIDE_BY_SIDE = flags.DEFINE_bool(
    "side_by_side", False, "Report the runs' evaluations, as nfm-evaluate does."
)
_LEADERBOARD = flags.DEFINE_bool(
    "leaderboard", False, "Rank all evaluations in one table that can be sorted."
)
_AGAINST = flags.DEFINE_list(
    "against", None, "Draw accuracy against this setting, and name those that go along."
)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of TensorFlow Datasets.")
_SKIP = flags.DEFINE_bool("skip_broken", False, "Warn about broken records only.")
flags.mark_flag_as_required("runs")
_ONE_OF = _EXPERIMENT, _PAGES, _SIDE_BY_SIDE, _LEADERBOARD, _AGAINST
_TAKES = {
    "a table": ("title", "columns", "paper", "skip_broken"),
    "--experiment": ("title", "columns"),  # the paper's numbers are its own
    "--pages": ("data_dir",),
    "--side_by_side": ("title",),
    "--leaderboard": ("title", "skip_broken"),
    "--against": ("title", "columns", "skip_broken"),
}


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    if _PAGES.value == bool(_OUTPUT.value):
        raise app.UsageError("Give either --output=FOLDER or --pages.")
    given = [flag.name for flag in _ONE_OF if flag.value]
    if len(given) > 1:
        raise app.UsageError(f"Give one of these at a time: --{', --'.join(given)}.")
    if _EXPERIMENT.value and len(_RUNS.value) > 1:
        raise app.UsageError("--experiment takes one folder of --runs.")
    _check_taken(f"--{given[0]}" if given else "a table")
    looks = {"title": _TITLE.value, "columns": _COLUMNS.value}
    if _PAGES.value:
        for path in reports.write_pages(_RUNS.value, _DATA_DIR.value):
            print(path, flush=True)
        return
    if _SIDE_BY_SIDE.value:
        print(reports.write_evaluations(_RUNS.value, _OUTPUT.value, title=_TITLE.value))
        return
    if _LEADERBOARD.value:
        written = reports.boards.write(
            *(_RUNS.value, _OUTPUT.value), title=_TITLE.value, skip_broken=_SKIP.value
        )
        print(*written, sep="\n")
        return
    if _EXPERIMENT.value:
        table, (folder,) = experiments.load(_EXPERIMENT.value), _RUNS.value
        written = []
        for view in table.by_protocol():
            place = () if view.protocol == table.protocol else (view.protocol,)
            output = pathlib.Path(_OUTPUT.value, *place)
            rows = reports.write_experiment(view, folder, output, **looks)
            written.append(output / "table.md")
        count = sum(row.seeds for row in rows)
    else:
        runs = reports.read(_RUNS.value, skip_broken=_SKIP.value)
        if _AGAINST.value:
            for path in reports.write_against(
                runs, _AGAINST.value, _OUTPUT.value, **looks
            ):
                print(path)
            return
        written = reports.write(runs, _OUTPUT.value, paper=_PAPER.value, **looks)
        count = len(runs)
    for path in written:
        print(path.read_text(encoding="utf-8"), end="\n\n")
    print(f"{count} run(s) reported in {_OUTPUT.value}")


def _check_taken(mode):
    """Refuses flags that would be without effect."""
    for flag in (_TITLE, _COLUMNS, _PAPER, _SKIP, _DATA_DIR):
        if flag.value and flag.name not in _TAKES[mode]:
            raise app.UsageError(f"--{flag.name} is without effect on {mode}.")


def run():
    """The command `nfm-report`."""
    start(main)


if __name__ == "__main__":
    run()
