"""What training on two replicas costs, on one machine: over one device, in one run.

    python -m benchmarks.replicas --output=benchmarks/replicas.json
    KERAS_BACKEND=jax python -m benchmarks.replicas

The cores of this machine are one device, or are taken for two: the same images a second
would come out if nothing were spent on replicas. PreActResNet-18 with nfm on batches of
128 CIFAR-sized images, both sides through `engine.fit`, as a run does, and timed from
the first step on; two replicas with `mirrored` on TensorFlow, with `data_parallel` on
JAX. Both sides take their epochs of `--steps` steps in turn, in an order drawn anew
each time, and the ratio is taken within a round.

The bar: two replicas make at least 0.9 of the images a second of one device. On real
devices there is more to gain, and more to lose in the network between them; this is
what the strategy itself costs. Takes about four minutes on 2 idle cores.
"""

import os
import random

import keras
import numpy as np
from absl import app, flags

from benchmarks import timing

BAR, REPLICAS = 0.9, 2
NAMES = {"tensorflow": "mirrored", "jax": "data_parallel"}
IMAGES = (32, 32, 3)

_WIDTH = flags.DEFINE_float("width", 0.25, "Width of the network.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images in a global batch.")
_STEPS = flags.DEFINE_integer("steps", 10, "Steps in a round.")
_REPEATS = flags.DEFINE_integer("repeats", 10, "Rounds.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

SETTINGS = ("width", "batch_size", "steps", "repeats")


def split_processor():
    """Makes two logical devices of the processor, before anything is computed."""
    if keras.backend.backend() == "jax":
        flag = f"--xla_force_host_platform_device_count={REPLICAS}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}"
        return
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * REPLICAS
    tf.config.set_logical_device_configuration(cpu, logical)


class Contender:
    """A compiled model that trains on its engine."""

    def __init__(self, name):
        from nfm_keras import data, training
        from nfm_keras.training import distribution

        config = training.Config(
            dataset="cifar10",
            width=_WIDTH.value,
            batch_size=_BATCH_SIZE.value,
            schedule="constant",
            learning_rate=0.01,
        )
        keras.utils.set_random_seed(0)
        self.engine = distribution.start(name)
        with self.engine.scope():
            config, network = training.resolve(config)
            self.model = training.compile_model(config, network, _STEPS.value)
        self.batches = data.batches(
            some_images(),
            _BATCH_SIZE.value,
            drop_last=True,
            part=self.engine.part(_BATCH_SIZE.value),
        )

    def timed_round(self):
        """Clock readings of the steps, without what `fit` does before them."""
        stopwatch = Stopwatch()
        self.engine.fit(
            self.model,
            self.batches,
            steps_per_epoch=_STEPS.value,
            shuffle=False,
            callbacks=[stopwatch],
            verbose=0,
        )
        return stopwatch.spent


class Stopwatch(keras.callbacks.Callback):
    """Reads the clocks at both ends of an epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.begun = {name: clock() for name, clock in timing.CLOCKS.items()}

    def on_epoch_end(self, epoch, logs=None):
        # `logs` are numbers by now: the last step is over.
        clocks = timing.CLOCKS.items()
        self.spent = {name: clock() - self.begun[name] for name, clock in clocks}


def some_images():
    """Random images, enough for a round."""
    from nfm_keras import data

    rng, known = np.random.default_rng(0), data.spec("cifar10")
    count = _BATCH_SIZE.value * _STEPS.value
    images = rng.integers(0, 256, (count, *IMAGES), dtype=np.uint8)
    return data.Split(images, rng.integers(0, known.num_classes, count), known)


def play(contenders):
    """Name -> readings of each round, after one that compiles and is left out."""
    rng, times = random.Random(0), {name: [] for name in contenders}
    for contender in contenders.values():
        contender.timed_round()
    for _ in range(_REPEATS.value):
        for name in rng.sample(list(contenders), len(contenders)):
            times[name].append(contenders[name].timed_round())
    return times


def measure():
    """The report: images a second of both, and two replicas over one device."""
    split_processor()
    name = NAMES[keras.backend.backend()]
    times = play({"one device": Contender(None), name: Contender(name)})
    images = _BATCH_SIZE.value * _STEPS.value
    rates = {
        side: [{clock: images / t[clock] for clock in t} for t in readings]
        for side, readings in times.items()
    }
    return timing.header("benchmarks.replicas", SETTINGS) | {
        "images_a_second": {side: timing.summaries(x) for side, x in rates.items()},
        "over_one_device": timing.ratios(rates[name], rates["one device"]),
        "bar": BAR,
    }


def table(report):
    """The report as text."""
    lines = [report["command"]]
    lines += [f"{report['hardware']}, load {report['load_average']:.1f}"]
    lines += [f"{'':<16}{'images a second':<24}a CPU-second"]
    for side, rates in report["images_a_second"].items():
        wall, processor = (timing.spread(rates[c], 0) for c in timing.CLOCKS)
        lines.append(f"{side:<16}{wall:<24}{processor}")
    over = report["over_one_device"]
    wall, processor = (timing.spread(over[clock], 3) for clock in timing.CLOCKS)
    lines.append(f"{'ratio':<16}{wall:<24}{processor}  bar >= {report['bar']}")
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(timing.main(measure, table, _OUTPUT))
