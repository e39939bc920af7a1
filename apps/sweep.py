"""Runs an experiment: trains and scores every row with every seed.

    python -m apps.sweep --experiment=table1 --output=results/table1 --dry_run
    python -m apps.sweep --experiment=table1 --output=results/table1 --seeds=1 \\
        --width=0.25 --epochs=20 --limit=20000

Experiments are the files of `nfm_keras/experiments/tables`; every field of the
training config is a flag that scales all rows. Runs go one after the other into
OUTPUT/ROW/seed_N, each in processes of its own that write to sweep.log there. What is
recorded is skipped, and the same command goes on after a kill. A run that fails is left
out, told at the end, and makes the exit status 1. `apps.report --experiment` makes the
tables.
"""

import shlex
import subprocess
import sys

from absl import app, flags, logging

from nfm_keras import experiments
from nfm_keras.records.processor import device_files, slow_precision

from . import config_flags
from .start import module, say, start

FLAGS = flags.FLAGS

_EXPERIMENT = flags.DEFINE_enum(
    "experiment", None, experiments.NAMES, "What to run.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the runs.", required=True)
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print the runs and an estimate only.")
_SEEDS = flags.DEFINE_integer("seeds", None, "How many seeds; by default the table's.")
_ROWS = flags.DEFINE_list("rows", None, "Rows to run; by default all.")
_TEST_LIMIT = flags.DEFINE_integer("test_limit", None, "Score the first N only.")
_ATTACK_LIMIT = flags.DEFINE_integer("attack_limit", None, "Attack the first N only.")
_CORRUPTION_LIMIT = flags.DEFINE_integer(
    "corruption_limit", None, "Corrupt the first N images only."
)
_CACHE = flags.DEFINE_string("cache_dir", None, "Folder to keep corrupted images in.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of TensorFlow Datasets.")
_DOWNLOAD = flags.DEFINE_bool("download", False, "Download a dataset not there.")
_FIELDS = config_flags.define(leave_out=("seed", "scheme"))
flags.adopt_module_key_flags(config_flags)

TOY = "toy"
TOY_SEEDS = 20
TOY_FIELDS = ("epochs", "batch_size", "learning_rate", "width")


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    if _EXPERIMENT.value == TOY:
        return _toy()
    limits = _TEST_LIMIT.value, _ATTACK_LIMIT.value, _CORRUPTION_LIMIT.value
    experiment = experiments.load(_EXPERIMENT.value).scaled(
        _SEEDS.value,
        _ROWS.value,
        dict(zip(experiments.LIMITS, limits, strict=True)),
        **{name: FLAGS[name].value for name in _FIELDS if FLAGS[name].present},
    )
    for precision in {experiment.config(row, 0).precision for row in experiment.rows}:
        say(slow_precision(precision, device_files()))
    sweep = experiments.Sweep(
        experiment,
        _OUTPUT.value,
        train=_train,
        score=_evaluate,
        data_dir=_DATA_DIR.value,
        download=_DOWNLOAD.value,
    )
    if _DRY_RUN.value:
        sweep.plan()
    else:
        sweep.carry_out()


def _train(run):
    places = [f"--run_dir={run.folder}", "--resume", "--verbose=2"]
    return [
        module("train"),
        *config_flags.serialize(run.config),
        *places,
        *_data_flags(),
    ]


def _evaluate(run, experiment):
    limits = [f"--{name}={n}" for name, n in experiment.limits.items()]
    cache = [f"--cache_dir={_CACHE.value}"] if _CACHE.value else []
    split = [] if experiment.split == "test" else [f"--split={experiment.split}"]
    return [
        module("evaluate"),
        f"--run_dir={run.folder}",
        f"--perturbations={','.join(experiment.perturbations)}",
        f"--protocol={experiment.protocol}",
        *(*split, *limits, *cache, *_data_flags()),
    ]


def _data_flags():
    place = [f"--data_dir={_DATA_DIR.value}"] if _DATA_DIR.value else []
    return [*place, *(["--download"] if _DOWNLOAD.value else [])]


def _toy():
    """The toy trains all its rows in one process, and resumes by itself."""
    given = [name for name in _FIELDS if FLAGS[name].present]
    alien = [name for name in given if name not in TOY_FIELDS]
    if alien:
        raise ValueError(f"The toy has the settings {TOY_FIELDS}. Received: {alien}")
    command = [module("toy"), f"--output={_OUTPUT.value}"]
    command += [f"--seeds={_SEEDS.value or TOY_SEEDS}"]
    command += [f"--{name}={FLAGS[name].value}" for name in given]
    command += [f"--regularizers={','.join(_ROWS.value)}"] if _ROWS.value else []
    print(shlex.join(["python", "-m", *command]), flush=True)
    if not _DRY_RUN.value:
        sys.exit(subprocess.run([sys.executable, "-m", *command]).returncode)


def run():
    """The command `nfm-sweep`."""
    start(main, "what is done is kept: the same command goes on")


if __name__ == "__main__":
    run()
