"""What it costs a run to survive: checkpoints, and starting again.

    python -m benchmarks.survival --output=benchmarks/survival.json

* `checkpoint`: seconds to write one (weights, optimiser, checksum, rename) over the
  seconds of an epoch of the same model, 391 steps of 128 CIFAR-10 images, reckoned
  from the steps between two checkpoints. The bar: at most 2 %.
* `start`: from the command `python -m apps.train` to the first step done and saved,
  wall time, in a new process each; imports, data and the compilation of the step
  included. The bar: at most 15 s; and with `--before`, the checkout of an earlier
  build, at most 0.65 of its time, the two started in turns.

PreActResNet-18 at `--width` in float32, without XLA. The images are random: they cost
what real ones cost. For `start`, `--dataset` has to be where TFDS looks. Takes about
two minutes on 2 idle cores.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np
from absl import app, flags

from benchmarks import timing
from nfm_keras import training
from nfm_keras.training import checkpoints

EPOCH = 391
REPOSITORY = pathlib.Path(__file__).parents[1]
BARS = {"checkpoint": 0.02, "start": 15.0, "start_over_before": 0.65}

_WIDTH = flags.DEFINE_float("width", 0.25, "Width of the network.")
_DATASET = flags.DEFINE_string("dataset", "cifar10", "What `start` trains on.")
_STEPS = flags.DEFINE_integer("steps", 10, "Steps between two checkpoints.")
_REPEATS = flags.DEFINE_integer("repeats", 10, "Checkpoints.")
_STARTS = flags.DEFINE_integer("starts", 3, "Processes started.")
_BEFORE = flags.DEFINE_string("before", None, "Checkout of an earlier build.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

SETTINGS = ("width", "dataset", "steps", "repeats", "starts")


class Clock(keras.callbacks.Callback):
    """Times steps, and saves between them."""

    def __init__(self, saver):
        super().__init__()
        self.saver, self.steps, self.saves, self.begun = saver, [], [], None

    def on_train_batch_end(self, batch, logs=None):
        if (batch + 1) % _STEPS.value:
            return
        if self.begun is not None:
            self.steps.append((time.perf_counter() - self.begun) / _STEPS.value)
            spent = timing.seconds(lambda: self.saver._write(0, batch + 1))
            self.saves.append(spent["wall"])
        self.begun = time.perf_counter()


def checkpoint(folder):
    """Seconds of steps and of checkpoints, taken in turn."""
    settings = {"dataset": "cifar10", "width": _WIDTH.value}
    config, network = training.resolve(training.Config(**settings))
    model = training.compile_model(config, network, EPOCH)
    saver = checkpoints.Checkpoint(folder, config=config.to_json())
    saver.set_model(model)
    clock = Clock(saver)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (128, 32, 32, 3)).astype("uint8")
    labels = rng.integers(0, 10, 128)

    def batches():
        while True:
            yield images, labels

    steps = _STEPS.value * (_REPEATS.value + 1)
    model.fit(batches(), steps_per_epoch=steps, callbacks=[clock], verbose=0)
    return clock.steps, clock.saves


def start(folder, checkout=REPOSITORY):
    """Seconds from the command to the first checkpoint, that of the first step."""
    command = [sys.executable, "-m", "apps.train", f"--run_dir={folder}"]
    command += [f"--dataset={_DATASET.value}", f"--width={_WIDTH.value}"]
    command += ["--network=preact_resnet18", "--batch_size=128"]
    command += ["--save_every=1", "--verbose=0"]
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command,
            stdout=said,
            stderr=said,
            cwd=checkout,
            env=os.environ | {"PYTHONPATH": str(checkout)},
        )
        try:
            while not (folder / training.CHECKPOINTS / "0000-000001").exists():
                if process.poll() is not None:
                    said.seek(0)
                    raise RuntimeError(said.read().decode()[-500:])
                time.sleep(0.01)
            return time.perf_counter() - begun
        finally:
            process.kill()
            process.wait()


def measure():
    """The report: seconds, shares and bars."""
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        starts, before = [], []
        for number in range(_STARTS.value):
            if _BEFORE.value:
                checkout = pathlib.Path(_BEFORE.value).resolve()
                before.append(start(place / f"before{number}", checkout))
            starts.append(start(place / f"run{number}"))
        steps, saves = checkpoint(place / "checkpoints")
    shares = [save / (EPOCH * step) for save, step in zip(saves, steps, strict=True)]
    more = {}
    if before:
        ratios = [ours / theirs for ours, theirs in zip(starts, before, strict=True)]
        more["before"] = _commit(_BEFORE.value)
        more["start_before"] = timing.summary(before)
        more["start_over_before"] = timing.summary(ratios)
    return timing.header("benchmarks.survival", SETTINGS) | {
        "seconds": {
            "step": timing.summary(steps),
            "checkpoint": timing.summary(saves),
            "start": timing.summary(starts),
        },
        "checkpoint_over_epoch": timing.summary(shares),
        "bars": BARS,
        **more,
    }


def _commit(checkout):
    command = ["git", "-C", checkout, "rev-parse", "--short", "HEAD"]
    return subprocess.check_output(command, text=True).strip()


def table(report):
    """The report as text."""
    lines = [report["command"], f"{report['hardware']}"]
    lines.append(f"load {report['load_average']:.1f}")
    for name, values in report["seconds"].items():
        lines.append(f"{name}, s: {timing.spread(values, 3)}, n={values['n']}")
    share = timing.spread(report["checkpoint_over_epoch"], 4)
    lines.append(f"checkpoint over epoch: {share}, bar <= {BARS['checkpoint']}")
    lines.append(f"start: bar <= {BARS['start']} s")
    if "start_over_before" in report:
        ratio, bar = (
            timing.spread(report["start_over_before"]),
            BARS["start_over_before"],
        )
        lines.append(f"start over {report['before']}'s: {ratio}, bar <= {bar}")
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(timing.main(measure, table, _OUTPUT))
