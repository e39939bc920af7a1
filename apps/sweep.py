"""Runs an experiment: trains and scores every row with every seed.

    python -m apps.sweep --experiment=table1 --output=results/table1 --dry_run
    python -m apps.sweep --experiment=table1 --output=results/table1 --seeds=1 \\
        --width=0.25 --epochs=20 --limit=20000

Experiments are the files of `experiments/`; every field of the training config is a
flag that scales all rows. Runs go one after the other into OUTPUT/ROW/seed_N, each in
processes of its own that write to OUTPUT/ROW/seed_N/sweep.log. What is recorded is
skipped, and the same command goes on after a kill. A run that fails is left out, told
at the end, and makes the exit status 1. `apps.report --experiment` makes the tables.
"""

import functools
import shlex
import signal
import subprocess
import sys
import time

from absl import app, flags, logging

from nfm_keras import data
from nfm_keras.experiments import tables as experiments
from nfm_keras.experiments.experiment import LIMITS, estimate, runs, unscored

from . import config_flags
from .start import start

FLAGS = flags.FLAGS

_EXPERIMENT = flags.DEFINE_enum(
    "experiment", None, experiments.NAMES, "What to run.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the runs.", required=True)
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print the runs and an estimate only.")
_SEEDS = flags.DEFINE_integer("seeds", None, "How many seeds; by default the table's.")
_ROWS = flags.DEFINE_list("rows", None, "Rows to run; by default all.")
_TEST_LIMIT = flags.DEFINE_integer("test_limit", None, "Score so many test images.")
_ATTACK_LIMIT = flags.DEFINE_integer("attack_limit", None, "Attack so many images.")
_CORRUPTION_LIMIT = flags.DEFINE_integer(
    "corruption_limit", None, "Corrupt so many images."
)
_CACHE = flags.DEFINE_string("cache_dir", None, "Folder to keep corrupted images in.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of TensorFlow Datasets.")
_DOWNLOAD = flags.DEFINE_bool("download", False, "Download a dataset not there.")
_FIELDS = config_flags.define(leave_out=("seed", "scheme"))

LOG = "sweep.log"
TOY = "toy"
TOY_SEEDS = 20
TOY_FIELDS = ("epochs", "batch_size", "learning_rate", "width")


class Failure(Exception):
    """A run that failed, and why."""


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    # As an exception, so that what runs at the time is stopped too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if _EXPERIMENT.value == TOY:
        return _toy()
    table = _scaled()
    todo = runs(table, _OUTPUT.value)
    if _DRY_RUN.value:
        _print_plan(todo)
        return
    failed, begun = {}, time.monotonic()
    for place, run in enumerate(todo, start=1):
        print(f"[{place}/{len(todo)}] {run.name}", flush=True)
        try:
            print("  " + _finish(run, table), flush=True)
        except (Failure, ValueError) as error:
            failed[run.name] = error
            print(f"  failed: {error}", file=sys.stderr, flush=True)
    minutes = (time.monotonic() - begun) / 60
    print(f"{len(todo) - len(failed)} of {len(todo)} run(s) done, {minutes:.0f} min")
    if failed:
        raise RuntimeError(
            f"{len(failed)} run(s) failed; the same command tries again. Received: "
            + "; ".join(f"{name}: {error}" for name, error in failed.items())
        )


def _scaled():
    limits = _TEST_LIMIT.value, _ATTACK_LIMIT.value, _CORRUPTION_LIMIT.value
    return experiments.load(_EXPERIMENT.value).scaled(
        _SEEDS.value,
        _ROWS.value,
        dict(zip(LIMITS, limits, strict=True)),
        **{name: FLAGS[name].value for name in _FIELDS if FLAGS[name].present},
    )


def _toy():
    """The toy trains all its rows in one process, and resumes by itself."""
    given = [name for name in _FIELDS if FLAGS[name].present]
    alien = [name for name in given if name not in TOY_FIELDS]
    if alien:
        raise ValueError(f"The toy has the settings {TOY_FIELDS}. Received: {alien}")
    command = ["apps.toy", f"--output={_OUTPUT.value}"]
    command += [f"--seeds={_SEEDS.value or TOY_SEEDS}"]
    command += [f"--{name}={FLAGS[name].value}" for name in given]
    command += [f"--regularisers={','.join(_ROWS.value)}"] if _ROWS.value else []
    print(shlex.join(["python", "-m", *command]), flush=True)
    if not _DRY_RUN.value:
        sys.exit(subprocess.run([sys.executable, "-m", *command]).returncode)


def _print_plan(todo):
    open_runs = [run for run in todo if not run.record]
    sizes = [_images(run.config.dataset)[0] for run in open_runs[:1]]
    seconds = iter(estimate(open_runs, *sizes) if open_runs else ())
    total = 0
    for run in todo:
        if run not in open_runs:
            print(f"{run.name:32} recorded")
            continue
        spent = next(seconds)
        total += spent
        print(f"{run.name:32} {spent / 60:6.1f} min  {shlex.join(_train(run))}")
    print(
        f"{len(open_runs)} of {len(todo)} run(s) to do: about {total / 3600:.1f} hours "
        "of training here, and the scoring."
    )


def _finish(run, table):
    """Does what is left of a run, and says in a line what it came to."""
    if not run.record:
        _call(run, _train(run))
    _, images = _images(run.config.dataset)
    if unscored(table, run.record, images):
        _call(run, _evaluate(run, table))
    record = run.record
    first = record.scores[0]
    minutes = record.seconds / 60
    return f"{first.perturbation} {first.value:.1f} %, {minutes:.0f} min of training"


@functools.cache
def _images(dataset):
    """How many images there are to train on and to test on."""
    splits = data.load(dataset, _DATA_DIR.value, _DOWNLOAD.value)
    return len(splits.train.images), len(splits.test.images)


def _train(run):
    places = [f"--run_dir={run.folder}", "--resume", "--verbose=2"]
    return ["apps.train", *config_flags.serialize(run.config), *places, *_data_flags()]


def _evaluate(run, table):
    limits = [f"--{name}={n}" for name, n in table.limits.items()]
    cache = [f"--cache_dir={_CACHE.value}"] if _CACHE.value else []
    return [
        "apps.evaluate",
        f"--run_dir={run.folder}",
        f"--perturbations={','.join(table.perturbations)}",
        f"--protocol={table.protocol}",
        *(*limits, *cache, *_data_flags()),
    ]


def _data_flags():
    place = [f"--data_dir={_DATA_DIR.value}"] if _DATA_DIR.value else []
    return [*place, *(["--download"] if _DOWNLOAD.value else [])]


def _call(run, command):
    """Runs an app in a process of its own, its output in the run's log."""
    run.folder.mkdir(parents=True, exist_ok=True)
    path = run.folder / LOG
    with path.open("a", encoding="utf-8") as log:
        log.write(f"$ python -m {shlex.join(command)}\n")
        log.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", *command], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            status = process.wait()
        except BaseException:
            process.terminate()  # or it would go on alone
            process.wait()
            raise
    if status:
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise Failure(f"{command[0]} ended with {status}: {lines[-1]} ({path})")


if __name__ == "__main__":
    start(main)
