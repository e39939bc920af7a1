"""How long a step takes on a CPU without oneDNN, over one with it.

    python -m benchmarks.onednn --output=benchmarks/records/onednn.json

TensorFlow reads `TF_ENABLE_ONEDNN_OPTS` when it is imported, and on x86 CPUs without
neural-network instructions (AVX512-VNNI, AVX512-BF16, AMX) it leaves oneDNN off. The
commands of this package set it to 1 where it is not set. Here processes with 0 and with
1 run in turn; each trains PreActResNet-18 with `erm` on one batch of 128 CIFAR-sized
images in float32, in a graph, and predicts that batch. A ratio is of two neighbouring
processes. On a CPU that has the instructions both settings are compared all the same.
"""

import json
import statistics

import keras
import numpy as np
from absl import app, flags

from benchmarks import timing
from nfm_keras import networks

_WIDTH = flags.DEFINE_float("width", 0.25, "Width of the network.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Processes of each setting.")
_STEPS = flags.DEFINE_integer("steps", 8, "Steps and predictions of each process.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
_STEP = flags.DEFINE_bool("one_process", False, "Measures in this process alone.")
BATCH = 128
SETTINGS = {"without": "0", "with": "1"}


def readings():
    """What -> clock -> median seconds of this process."""
    keras.utils.set_random_seed(0)
    network = networks.build("preact_resnet18", (32, 32, 3), 10, _WIDTH.value)
    network.compile(
        keras.optimizers.SGD(0.01, 0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    rng = np.random.default_rng(0)
    images = rng.random((BATCH, 32, 32, 3), dtype=np.float32)
    labels = rng.integers(0, 10, BATCH)
    calls = {
        "step": lambda: network.train_on_batch(images, labels),
        "prediction": lambda: network.predict_on_batch(images),
    }
    return {name: _median(call) for name, call in calls.items()}


def _median(call):
    call(), call()
    times = [timing.seconds(call) for _ in range(_STEPS.value)]
    return {clock: statistics.median(t[clock] for t in times) for clock in times[0]}


def in_a_process(setting):
    """`readings` of a process of its own with a value of TF_ENABLE_ONEDNN_OPTS."""
    given = "--one_process", _WIDTH.serialize(), _STEPS.serialize()
    return timing.child("benchmarks.onednn", *given, TF_ENABLE_ONEDNN_OPTS=setting)


def measure():
    """The report."""
    rounds = {name: [] for name in SETTINGS}
    for _ in range(_ROUNDS.value):
        for name, setting in SETTINGS.items():
            rounds[name].append(in_a_process(setting))
    cases = {}
    for what in ("step", "prediction"):
        times = {name: [each[what] for each in rounds[name]] for name in SETTINGS}
        cases[what] = {name: timing.summaries(times[name]) for name in SETTINGS}
        cases[what]["ratio"] = timing.ratios(times["without"], times["with"])
    names = ("width", "rounds", "steps")
    return timing.header("benchmarks.onednn", names) | {"cases": cases}


def table(report):
    """The report as text."""
    lines = [f"{report['command']}\n{report['hardware']}"]
    for what, case in report["cases"].items():
        ratios = (f"{c} {timing.spread(case['ratio'][c])}" for c in timing.CLOCKS)
        lines.append(f"{what}, without oneDNN over with it: {', '.join(ratios)}")
    return "\n".join(lines)


def main(argv):
    """Measures both settings, or this process alone."""
    if _STEP.value:
        print(json.dumps(readings()))
    else:
        timing.main(measure, table, _OUTPUT)(argv)


if __name__ == "__main__":
    app.run(main)
