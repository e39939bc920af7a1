"""A suite by this build and by an earlier one: processor time, and the same hits.

    git worktree add ../before 575f9cf
    python -m benchmarks.suite --before=../before --limit=2000 --attack_limit=200

Each build evaluates the same model in a process of its own, by the command that users
give, one after the other; the processor time is that of the process from its start to
its end, so data, compilation and the report are in it. The bar: at most 0.6 of the
time before. Compared besides, image by image: every score's hits, the certified radii
and the masking report. `--perturbations` instead of the suite measures some of its
rows alone; `--seconds` of each row are wall-clock time and tell where it goes.
"""

import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl import app, flags

from benchmarks import timing
from nfm_keras.records.evaluation import load_evaluation

_BEFORE = flags.DEFINE_string("before", None, "Checkout of the earlier build.")
_MODEL = flags.DEFINE_string("model", "savedmodels/cifar10_nfm/2", "Model to evaluate.")
_DATASET = flags.DEFINE_string("dataset", "cifar10", "Its data set.")
_SUITE = flags.DEFINE_string("suite", "standard", "Suite to run.")
_PERTURBATIONS = flags.DEFINE_string("perturbations", None, "Ids instead of the suite.")
_LIMIT = flags.DEFINE_integer("limit", 2000, "Images to score.")
_ATTACK_LIMIT = flags.DEFINE_integer("attack_limit", 200, "Images to attack.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
flags.mark_flag_as_required("before")

BARS = {"now_to_before": "<= 0.6", "hits_different": "0"}
SETTINGS = ("model", "dataset", "suite", "perturbations", "limit", "attack_limit")


def evaluated(build, folder):
    """Runs `apps.evaluate` of a build; returns seconds and its `Evaluation`."""
    rows = f"--suite={_SUITE.value}"
    if _PERTURBATIONS.value:
        rows = f"--perturbations={_PERTURBATIONS.value}"
    model = pathlib.Path(_MODEL.value).resolve()
    command = [sys.executable, "-m", "apps.evaluate", f"--model=subject={model}"]
    command += [f"--dataset={_DATASET.value}", rows, f"--limit={_LIMIT.value}"]
    command += [f"--attack_limit={_ATTACK_LIMIT.value}", f"--output={folder}"]
    started, before = time.perf_counter(), _children()
    subprocess.run(command, cwd=build, check=True, env=_environment(build))
    seconds = {"wall": time.perf_counter() - started, "processor": _children() - before}
    return seconds, load_evaluation(pathlib.Path(folder, "subject", "evaluation.json"))


def _environment(build):
    # oneDNN for both: the commands of an earlier build do not switch it on.
    usual = {"TF_ENABLE_ONEDNN_OPTS": "1"}
    return usual | os.environ | {"PYTHONPATH": str(pathlib.Path(build).resolve())}


def _children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compared(before, now):
    """What differs between two evaluations, image by image."""
    pairs = list(zip(before.scores, now.scores, strict=True))
    rows = {b.perturbation: (b.right, n.right) for b, n in pairs}
    different = {name: int((b != n).sum()) for name, (b, n) in rows.items()}
    only_before = {name: int((n & ~b).sum()) for name, (b, n) in rows.items()}
    certified = [
        int(np.sum(np.asarray(b["radii"]) != np.asarray(n["radii"])))
        for b, n in zip(before.certifications, now.certifications, strict=True)
    ]
    checks = [
        n["name"]
        for b, n in zip(before.checks, now.checks, strict=True)
        if (b["passed"], b["value"]) != (n["passed"], n["value"])
    ]
    return {
        "hits_different": sum(different.values()),
        "scores_different": {name: n for name, n in different.items() if n},
        "broken_before_alone": {name: n for name, n in only_before.items() if n},
        "radii_different": certified,
        "checks_different": checks,
    }


def measure():
    """The report: settings, seconds of both builds, what differs, and the machine."""
    head = timing.header("benchmarks.suite", SETTINGS)
    seconds, found = {}, {}
    builds = {"before": _BEFORE.value, "now": pathlib.Path(__file__).parents[1]}
    for name, build in builds.items():
        with tempfile.TemporaryDirectory() as folder:
            seconds[name], found[name] = evaluated(build, folder)
    ratio = {k: seconds["now"][k] / seconds["before"][k] for k in seconds["now"]}
    rows = {
        name: {score.perturbation: score.seconds for score in one.scores}
        for name, one in found.items()
    }
    return {
        **head,
        "seconds": seconds,
        "now_to_before": ratio,
        **compared(found["before"], found["now"]),
        "stages": {s.perturbation: s.stages for s in found["now"].scores if s.stages},
        "seconds_of_rows": rows,
        "bars": BARS,
    }


def table(report):
    """The report as lines of text."""
    lines = [f"{report['settings']}", f"load {report['load_average']:.1f}"]
    for name, seconds in report["seconds"].items():
        lines.append(f"{name:<7} {seconds['processor']:.1f} s of processor time")
    ratio = report["now_to_before"]["processor"]
    lines.append(f"now to before {ratio:.2f}  bar {BARS['now_to_before']}")
    for name in ("scores_different", "broken_before_alone"):
        lines.append(f"{name} {report[name]}")
    for name in ("radii_different", "checks_different"):
        lines.append(f"{name} {report[name]}")
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(timing.main(measure, table, _OUTPUT))
