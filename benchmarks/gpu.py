"""What training does on a GPU: compiled steps of all schemes, and whether it waits.

    python -m benchmarks.gpu --output=gpu.json
    KERAS_BACKEND=jax python -m benchmarks.gpu --output=gpu_jax.json
    python -m benchmarks.gpu --rehearse

On the first accelerator that Keras' backend sees, PreActResNet-18 on images of
CIFAR-10's size in batches of 128:

* the step of every scheme, compiled by XLA, in float32, mixed_bfloat16 and
  mixed_float16: seconds to compile, milliseconds a step, whether its loss is a number,
  and its peak memory, which JAX only gives for the whole process so far;
* every scheme over erm, in rounds that take turns: nfm costs at most 1.03 of it;
* images a second of nfm's step alone, on one batch again and again; of the input
  alone, augmented on the host; and of both together. Does the GPU wait for its images?
  That is the share of both together that the step alone would not take.

A scheme that leaves the graph (puzzlemix) is not compiled on TensorFlow, and left out
there. Without an accelerator it says what it would do, and ends with status 0;
`--rehearse` runs all of it on the CPU with a small network and few steps, to see
that it runs. Takes about ten minutes on one GPU, most of them compiling.
"""

import math
import time

import keras
import numpy as np
from absl import app, flags

from benchmarks import timing
from nfm_keras import data, training
from nfm_keras.mixing import schemes
from nfm_keras.records.environment import environment

BAR = 1.03
PRECISIONS = "float32", "mixed_bfloat16", "mixed_float16"
SPEC = data.spec("cifar10")

_SCHEMES = flags.DEFINE_list("schemes", list(schemes.SCHEMES), "Schemes; erm is added.")
_PRECISIONS = flags.DEFINE_list("precisions", list(PRECISIONS), "Precisions.")
_WIDTH = flags.DEFINE_float("width", 1.0, "Width of the network.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images in a batch.")
_STEPS = flags.DEFINE_integer("steps", 50, "Steps in a round.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds.", lower_bound=1)
_REHEARSE = flags.DEFINE_bool("rehearse", False, "Run small, on whatever there is.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

SETTINGS = ("schemes", "precisions", "width", "batch_size", "steps", "rounds")


class Clock(keras.callbacks.Callback):
    """Seconds of each epoch; its end reads the loss, and so waits for the device."""

    def on_train_begin(self, logs=None):
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.loss = float(logs["loss"])
        self.seconds.append(time.perf_counter() - self.begun)


class Contender:
    """A scheme in a precision, that trains on one batch again and again."""

    def __init__(self, scheme, precision, batch):
        config = training.Config(
            scheme=scheme,
            dataset="cifar10",
            network="small_resnet" if _REHEARSE.value else "preact_resnet18",
            width=_WIDTH.value,
            precision=precision,
            batch_size=_BATCH_SIZE.value,
            schedule="constant",
            learning_rate=0.01,
            jit_compile=True if keras.backend.backend() != "torch" else None,
        )
        keras.utils.set_random_seed(0)
        config, network = training.resolve(config)
        self.model = training.compile_model(config, network, steps=1)
        self.images = Repeated(batch, steps())
        self.clock = Clock()

    def seconds(self, images=None, rounds=1):
        """Seconds of each of some rounds."""
        self.model.fit(
            self.images if images is None else images,
            epochs=rounds,
            steps_per_epoch=steps(),
            callbacks=[self.clock],
            verbose=0,
        )
        return self.clock.seconds


class Repeated(keras.utils.PyDataset):
    """One batch, so many times."""

    def __init__(self, batch, count):
        super().__init__()
        self.batch, self.count = batch, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.batch


def steps():
    return 2 if _REHEARSE.value else _STEPS.value


def compiled_schemes():
    """Names of the schemes whose step XLA compiles here, erm first."""
    names = dict.fromkeys(["erm", *_SCHEMES.value])
    if keras.backend.backend() != "tensorflow":
        return list(names)
    techniques = {name: schemes.technique(name) for name in names}
    return [n for n, used in techniques.items() if used is None or not used.on_host]


def a_split(count):
    """Random images of CIFAR-10's size."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *SPEC.shape), dtype=np.uint8)
    return data.Split(images, rng.integers(0, SPEC.num_classes, count), SPEC)


def measure_precision(precision):
    """Scheme -> what its step costs, in one precision."""
    split = a_split(_BATCH_SIZE.value)
    batch = split.images, split.labels
    contenders, rows = {}, {}
    for name in compiled_schemes():
        reset_peak()
        contender = contenders[name] = Contender(name, precision, batch)
        (first,) = contender.seconds()
        rows[name] = {
            "first_round": first,
            "finite": math.isfinite(contender.clock.loss),
            "peak_mib": peak_mib(),
        }
    times = {name: [] for name in contenders}
    for _ in range(1 if _REHEARSE.value else _ROUNDS.value):
        for name, contender in contenders.items():
            times[name] += contender.seconds()
    for name, row in rows.items():
        milliseconds = [1000 * t / steps() for t in times[name]]
        over = [a / b for a, b in zip(times[name], times["erm"], strict=True)]
        row["milliseconds"] = timing.summary(milliseconds)
        row["over_erm"] = timing.summary(over)
    return rows, contenders.get("nfm")


def measure_input(contender):
    """Images a second of the step alone, of the input alone, of both."""
    count, rounds = steps() * _BATCH_SIZE.value, 1 if _REHEARSE.value else 3
    split = a_split(max(2 * count, 1024))
    stream = iter(data.batches(split, _BATCH_SIZE.value))
    next(stream)
    alone = []
    for _ in range(rounds):
        begun = time.perf_counter()
        for _ in range(steps()):
            next(stream)
        alone.append(time.perf_counter() - begun)
    step = contender.seconds(rounds=rounds)
    both = contender.seconds(data.batches(split, _BATCH_SIZE.value), rounds)
    rates = {
        name: timing.summary([count / t for t in times])
        for name, times in (("step", step), ("input", alone), ("both", both))
    }
    waits = 1 - rates["both"]["median"] / rates["step"]["median"]
    return {"images_a_second": rates, "waits": max(0.0, waits)}


def reset_peak():
    """Forgets the peak of the device's memory so far, where that can be done."""
    if keras.backend.backend() == "tensorflow" and accelerators():
        import tensorflow as tf

        tf.config.experimental.reset_memory_stats("GPU:0")


def peak_mib():
    """Peak of the device's memory in MiB; None where nobody says."""
    if not accelerators():
        return None
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    if keras.backend.backend() == "jax":
        import jax

        statistics = jax.devices()[0].memory_stats() or {}
        peak = statistics.get("peak_bytes_in_use")
        return peak and peak / 2**20
    import torch

    return torch.cuda.max_memory_allocated() / 2**20


def accelerators():
    return environment()[1]["accelerators"]


def measure():
    """The report."""
    report = timing.header("benchmarks.gpu", SETTINGS)
    report["rehearsed"] = _REHEARSE.value
    report["precisions"] = {}
    for precision in _PRECISIONS.value:
        rows, nfm = measure_precision(precision)
        report["precisions"][precision] = rows
        if nfm is not None:
            report.setdefault("input", {})[precision] = measure_input(nfm)
        keras.backend.clear_session()
    return report


def table(report):
    """The text of the report."""
    lines = [f"on {', '.join(report['hardware']['accelerators']) or 'the CPU'}"]
    for precision, rows in report["precisions"].items():
        lines.append(f"\n{precision:<16}ms a step{'':<19}over erm{'':<14}first, MiB")
        for name, row in rows.items():
            told = "" if row["finite"] else "  its loss is no number"
            peak = "" if row["peak_mib"] is None else f", {row['peak_mib']:.0f}"
            lines.append(
                f"{name:<16}{timing.spread(row['milliseconds']):<28}"
                f"{timing.spread(row['over_erm'], 3):<22}{row['first_round']:.0f} s"
                f"{peak}{f'  bar {BAR}' if name == 'nfm' else ''}{told}"
            )
        found = report.get("input", {}).get(precision)
        if found:
            for name, rate in found["images_a_second"].items():
                lines.append(f"  {name}: {timing.spread(rate, 0)} images a second")
            lines.append(f"  the device waits {100 * found['waits']:.0f} % of the time")
    return "\n".join(lines)


def main(argv):
    if not (accelerators() or _REHEARSE.value):
        names, precisions = map(", ".join, (compiled_schemes(), _PRECISIONS.value))
        print(
            f"No accelerator here: {keras.backend.backend()} sees CPUs alone. With one "
            f"it compiles and times the steps of {names} in {precisions}, then the "
            "input beside the step. --rehearse runs it small."
        )
        return
    timing.main(measure, table, _OUTPUT)(argv)


if __name__ == "__main__":
    app.run(main)
