"""How much of a sweep's time is spent on training steps and on evaluation.

    python -m benchmarks.sweep --output=benchmarks/records/sweep.json

Runs `apps.sweep` on five rows of Table 1, three epochs each at width 0.25, in processes
of their own as always, and compares the wall time of the whole command with what its
runs say of themselves:

* `epochs`: three times the shorter of each run's second and third epoch, its scheduled
  validation included. The first epoch also compiles the step, which is not counted.
* `scores`: the seconds of each perturbation, as the runs' records have them, on 2,000
  images (200 under attack): a long evaluation would hide the rest.

What is left is the start of ten processes, the reading of the images, the compilation
and the files. The bar: epochs and scores are at least 0.90 of the whole.
"""

import csv
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from absl import app, flags

from benchmarks import timing
from nfm_keras import records
from nfm_keras.records import history

EPOCHS = 3
SCORED = ("--test_limit=2000", "--attack_limit=200")
"""On how few images the runs are scored: a long evaluation would hide the rest."""

BAR = 0.90

_ROWS = flags.DEFINE_list(
    "rows", ["erm", "nfm", "mixup", "manifold_mixup", "noisy_mixup"], "Rows of Table 1."
)
_WIDTH = flags.DEFINE_float("width", 0.25, "Width of the network.")
_LIMIT = flags.DEFINE_integer("limit", None, "Train on so many images; default all.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

SETTINGS = ("rows", "width", "limit")


def sweep(folder):
    """Seconds that the command takes."""
    command = [sys.executable, "-m", "apps.sweep", "--experiment=table1", "--seeds=1"]
    command += [f"--output={folder}", f"--rows={','.join(_ROWS.value)}"]
    command += [f"--width={_WIDTH.value}", f"--epochs={EPOCHS}", *SCORED]
    command += [f"--limit={_LIMIT.value}"] if _LIMIT.value else []
    begun = time.perf_counter()
    if subprocess.run(command).returncode:
        sys.exit("benchmarks.sweep: the sweep failed; what it said is above")
    return time.perf_counter() - begun


def work(folder):
    """What a run says of itself, in seconds: epochs and scores."""
    with (folder / history.FILE).open(encoding="utf-8") as file:
        epochs = [float(row["seconds"]) for row in csv.DictReader(file)]
    if len(epochs) != EPOCHS:
        raise ValueError(f"{folder} must have {EPOCHS} epochs. Received: {epochs}")
    scores = records.load(folder / records.FILE).scores
    return {
        "epochs": EPOCHS * min(epochs[1:]),
        "first_epoch_more": epochs[0] - min(epochs[1:]),
        "scores": sum(score.seconds for score in scores),
    }


def measure():
    """The report: seconds of the command, of its runs, and the share."""
    header = timing.header("benchmarks.sweep", SETTINGS)
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        wall = sweep(place)
        runs = {row: work(place / row / "seed_0") for row in _ROWS.value}
    done = sum(run["epochs"] + run["scores"] for run in runs.values())
    return header | {
        "load_average_at_end": os.getloadavg()[0],
        "seconds": {"wall": wall, "runs": runs},
        "share": done / wall,
        "bar": BAR,
    }


def table(report):
    """The report as text."""
    seconds = report["seconds"]
    lines = [report["command"], f"load {report['load_average']:.1f}"]
    for row, spent in seconds["runs"].items():
        told = ", ".join(f"{name} {value:.0f} s" for name, value in spent.items())
        lines.append(f"{row:<16} {told}")
    lines.append(f"whole command {seconds['wall']:.0f} s")
    lines.append(f"share {report['share']:.3f}, bar >= {BAR}")
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(timing.main(measure, table, _OUTPUT))
