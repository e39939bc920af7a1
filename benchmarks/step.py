"""How long a training step takes: every scheme over erm, in one run.

    python -m benchmarks.step --output=benchmarks/step.json

PreActResNet-18 on one batch of 128 CIFAR-sized images, through the function that
`fit` calls. All schemes start from the same weights and take their steps in turn, in an
order drawn anew each time; the ratios are taken within a round, so that what else the
machine does hits both sides. In a round each scheme takes `--steps` steps at each of
the network's four sites: which one a step mixes at is a pure function of its number, so
we pick the numbers, and no round is cheap by luck of the draw.

What to expect, in graph mode on a CPU (a bar is for the median):

* nfm over erm at most 1.12 at width 0.25 (a stem of 16 channels), 1.04 at width 1;
* mixup and cutmix over erm at most 1.03 at width 0.25, puzzlemix 2.6, noisymix 3.3;
* the peak memory of a process that trains with nfm at most 1.10 of one with erm;
* beside noisymix, itself without its noise and without AugMix (three views of the
  same image): what each of the two costs;
* `plain norm`, which is erm with `keras.layers.BatchNormalization`, at least 1.4 over
  erm at width 0.25. The weights of one load into the other, and the loss after a step
  is the same: `same` in the output, the largest difference.

`--network=keras_cv/resnet18_v2 --image_size=64 --widths=1 --schemes=nfm` does the same
for a backbone (bar: 1.06), without `plain norm`.

Wall-clock time is what a user waits for; on a busy machine only the ratio of processor
time is steady. Memory is measured in processes of their own. Takes about 20 minutes on
2 idle cores, most of it for width 1; `--widths=0.25 --modes=graph` takes four.
"""

import contextlib
import json
import pathlib
import random
import resource
import subprocess
import sys
import typing
import unittest.mock

import keras
import numpy as np
from absl import app, flags

from benchmarks import timing
from nfm_keras import records, training
from nfm_keras.mixing import schemes
from nfm_keras.mixing.techniques import noisymix
from nfm_keras.networks import blocks

PLAIN = "plain norm"
WITHOUT_NOISE, WITHOUT_AUGMIX = "noisymix without noise", "noisymix without AugMix"
BARS = {
    ("nfm", 0.25): "<= 1.12",
    ("nfm", 1.0): "<= 1.04",
    ("mixup", 0.25): "<= 1.03",
    ("cutmix", 0.25): "<= 1.03",
    ("puzzlemix", 0.25): "<= 2.6",
    ("noisymix", 0.25): "<= 3.3",
    (PLAIN, 0.25): ">= 1.4",
}
BACKBONE_BARS = {("nfm", 1.0): "<= 1.06"}
MEMORY_BAR = "<= 1.10"
TOLERANCE = {"float32": 1e-4, "mixed_bfloat16": 1e-2}

_WIDTHS = flags.DEFINE_list("widths", ["0.25", "1.0"], "Widths of the network.")
_XLA_WIDTHS = flags.DEFINE_list("xla_widths", ["0.25"], "Those to time under XLA.")
_REPEATS = flags.DEFINE_list("repeats", ["12", "5"], "Rounds, for each width.")
_STEPS = flags.DEFINE_integer("steps", 1, "Steps at each site in a round.")
_SCHEMES = flags.DEFINE_list("schemes", list(schemes.SCHEMES), "Schemes; erm is added.")
_MODES = flags.DEFINE_list("modes", ["graph", "xla"], "graph, xla")
_PRECISION = flags.DEFINE_list("precision", ["float32"], "float32, mixed_bfloat16")
_NETWORK = flags.DEFINE_string("network", "preact_resnet18", "Name of the network.")
_SIDE = flags.DEFINE_integer("image_size", 32, "Side of the images.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images in a batch.")
_MEMORY_REPEATS = flags.DEFINE_integer("memory_repeats", 3, "Processes for each side.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
# How this script calls itself to measure the memory of one scheme.
_MEMORY_OF = flags.DEFINE_string("memory_of", None, "Print this scheme's and end.")

SETTINGS = (
    *("widths", "xla_widths", "repeats", "steps", "schemes", "modes", "precision"),
    *("batch_size", "memory_repeats", "network", "image_size"),
)
SITES = 4


class Case(typing.NamedTuple):
    """What all contenders of one table have in common."""

    width: float
    mode: str
    precision: str
    repeats: int


class Contender:
    """A compiled model that takes single steps on one batch, as `fit` would."""

    def __init__(self, name, case, batch):
        import tensorflow as tf

        self.model = build(name, case)
        self.batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
        self.numbers = step_numbers(self.model)
        self.model.make_train_function()
        self.name = name

    def step(self):
        """Takes one step and waits for its loss."""
        return float(self.model.train_function(self.batches)["loss"])

    def timed_step(self, turn):
        """Clock readings of the step whose draw is at site `turn % SITES`."""
        self.model.step.assign(self.numbers[turn])
        return timing.seconds(self.step)

    def warm_up(self):
        """Readings of the first call, which compiles; then takes one step more."""
        with contextlib.ExitStack() as changes:
            if self.name == WITHOUT_AUGMIX:
                alone = unittest.mock.patch.object(noisymix, "augmix", same_images)
                changes.enter_context(alone)
            first = self.timed_step(0)
        self.timed_step(1)
        return first


def same_images(images, key):
    """In the place of AugMix."""
    return images


def is_backbone():
    """Whether the network is another package's, with norms of its own."""
    return "/" in _NETWORK.value


def a_set():
    """The settings of a run that say what its images are."""
    if _SIDE.value == 32:
        return {"dataset": "cifar10"}
    classes = [str(label) for label in range(10)]
    return {"dataset": "imagenette", "image_size": _SIDE.value, "classes": classes}


def build(name, case):
    """The compiled model of a scheme, or of erm with Keras' batch norm."""
    silent = {"sigma_add": 0.0, "sigma_mult": 0.0} if name == WITHOUT_NOISE else {}
    config = training.Config(
        scheme="erm" if name == PLAIN else name.split(" without ")[0],
        **silent,
        network=_NETWORK.value,
        width=case.width,
        precision=case.precision,
        batch_size=_BATCH_SIZE.value,
        schedule="constant",
        learning_rate=0.01,  # 0.1, on one batch for ever, ends in NaN or in denormals
        jit_compile=case.mode == "xla",
        **a_set(),
    )
    keras.utils.set_random_seed(0)
    norm = plain_norm if name == PLAIN else blocks.BatchNormalization
    with unittest.mock.patch.object(blocks, "BatchNormalization", norm):
        config, network = training.resolve(config)
    return training.compile_model(config, network, steps=1)


def plain_norm(**kwargs):
    """Keras' own layer with our defaults."""
    return keras.layers.BatchNormalization(
        **{"momentum": 0.9, "epsilon": 1e-5, **kwargs}
    )


def step_numbers(model):
    """Numbers of steps that visit the model's sites, or its grids, in turn."""
    count = SITES * _STEPS.value
    grids = getattr(model.technique, "grids", ())
    sites = len(model.mixing.sites)
    places = len(grids) or sites
    numbers, step = {place: [] for place in range(places)}, 0
    while min(len(found) for found in numbers.values()) < count // places:
        draw = model.mixing.draw(model.seed, step, _BATCH_SIZE.value, sites)
        place = model.technique.grid_index(draw) if grids else draw.site
        numbers[int(place)].append(step)
        step += 1
    return [numbers[turn % places][turn // places] for turn in range(count)]


def a_batch():
    """uint8 images and labels."""
    rng = np.random.default_rng(0)
    size = _BATCH_SIZE.value
    shape = size, _SIDE.value, _SIDE.value, 3
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    return images, rng.integers(0, 10, size)


def same_results(case, batch):
    """Largest difference of two steps' loss and of the weights, Keras' norm to ours."""
    ours, plain = (Contender(name, case, batch) for name in ("erm", PLAIN))
    plain.model.model.set_weights(ours.model.model.get_weights())
    losses = [losses_of_two_steps(contender) for contender in (ours, plain)]
    weights = (c.model.model.get_weights() for c in (ours, plain))
    loss = max(abs(a - b) for a, b in zip(*losses, strict=True))
    return {
        "loss": loss,
        "weights": max(float(abs(a - b).max()) for a, b in zip(*weights, strict=True)),
        "tolerance": TOLERANCE[case.precision],
        "same": loss <= TOLERANCE[case.precision],
    }


def losses_of_two_steps(contender):
    """The loss before a step, and after it: Keras reports a running mean."""
    first, mean = contender.step(), contender.step()
    return first, 2 * mean - first


def measure(case):
    """The report of a case: first calls, steps, ratios over erm, memory."""
    batch = a_batch()
    names = [n for n in _SCHEMES.value if case.mode == "graph" or not on_host(n)]
    names += [WITHOUT_NOISE, WITHOUT_AUGMIX] if "noisymix" in names else []
    names = list(dict.fromkeys(["erm", *([] if is_backbone() else [PLAIN]), *names]))
    contenders = {name: Contender(name, case, batch) for name in names}
    weights = contenders["erm"].model.model.get_weights()
    for contender in contenders.values():
        contender.model.model.set_weights(weights)
    first = {name: contenders[name].warm_up() for name in names}
    times = play(contenders, case.repeats)
    return {
        **case._asdict(),
        "first_call": first,
        "contenders": {name: score(times[name], times["erm"]) for name in names},
        "sites": {
            name: site_ratios(times[name], times["erm"])
            for name in names
            if len(contenders[name].model.mixing.sites) > 1
        },
        "same": {} if is_backbone() else same_results(case, batch),
        "memory": memory(case),
    }


def on_host(name):
    """Whether a scheme leaves the graph, which XLA cannot."""
    technique = schemes.technique(name)
    return technique is not None and technique.on_host


def play(contenders, repeats):
    """Name -> rounds -> readings of each turn; all take a turn before the next."""
    rng = random.Random(0)
    times = {name: [] for name in contenders}
    for _ in range(repeats):
        for rounds in times.values():
            rounds.append([])
        for turn in range(SITES * _STEPS.value):
            for name in rng.sample(list(contenders), len(contenders)):
                times[name][-1].append(contenders[name].timed_step(turn))
    return times


def score(rounds, erm):
    """Seconds of a step, and the ratio over erm, a round at a time."""
    whole, base = ([timing.total(turns) for turns in x] for x in (rounds, erm))
    steps = [{clock: t / len(rounds[0]) for clock, t in x.items()} for x in whole]
    return {"step": timing.summaries(steps), "over_erm": timing.ratios(whole, base)}


def site_ratios(rounds, erm):
    """Site -> ratio over erm of the steps that mix there."""
    base = [timing.total(turns) for turns in erm]
    sites = {}
    for site in range(SITES):
        here = [timing.total(turns[site::SITES]) for turns in rounds]
        scaled = [{clock: SITES * t for clock, t in x.items()} for x in here]
        sites[f"site_{site}"] = timing.ratios(scaled, base)
    return sites


def memory(case):
    """Peak memory of nfm over erm, each in a process of its own."""
    peaks = {name: [] for name in ("erm", "nfm")}
    for _ in range(_MEMORY_REPEATS.value):
        for name, found in peaks.items():
            found.append(peak_of_process(name, case))
    if not peaks["erm"]:
        return {}
    pairs = list(zip(peaks["nfm"], peaks["erm"], strict=True))
    return {
        "peak_mib": {name: timing.summary(found) for name, found in peaks.items()},
        "over_erm": timing.summary([nfm / erm for nfm, erm in pairs]),
    }


def peak_of_process(name, case):
    """MiB at the peak of a process that only trains `name`."""
    command = [sys.executable, "-m", "benchmarks.step", f"--memory_of={name}"]
    command += [f"--widths={case.width}", f"--xla_widths={case.width}", "--repeats=1"]
    command += [f"--modes={case.mode}", f"--precision={case.precision}"]
    command += [f"--batch_size={_BATCH_SIZE.value}", f"--steps={_STEPS.value}"]
    command += [f"--network={_NETWORK.value}", f"--image_size={_SIDE.value}"]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"error: the process that measures memory failed.\n{run.stderr}")
    return json.loads(run.stdout.splitlines()[-1])


def print_peak(name, case):
    """Trains for two rounds and prints this process' peak memory in MiB."""
    contender = Contender(name, case, a_batch())
    for turn in 2 * list(range(SITES)):
        contender.timed_step(turn)
    print(peak_mib())


def peak_mib():
    """Peak resident memory of this process in MiB."""
    try:
        # Not ru_maxrss: a child inherits its parent's on Linux.
        status = pathlib.Path("/proc/self/status").read_text().splitlines()
    except OSError:
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    peak = next(line for line in status if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 2**10


def table(report):
    """The lines of a case's report."""
    yield "\nwidth {width}, {mode}, {precision}, n={repeats} rounds".format(**report)
    yield f"{'':<24}{'ms a step':<24}{'over erm, wall':<22}{'processor':<22}first call"
    for name, scores in report["contenders"].items():
        yield row(name, scores, report)
    for name, sites in report["sites"].items():
        for site, over in sites.items():
            yield line(f"{name} {site[-1]}", "", over)
    if report["same"]:
        yield "plain norm: loss within {loss:.1e}, weights {weights:.1e}".format(
            **report["same"]
        )
    if report["memory"]:
        peaks = report["memory"]["peak_mib"]
        over = timing.spread(report["memory"]["over_erm"], 3)
        both = (f"{name} {timing.spread(peaks[name], 0)}" for name in peaks)
        yield f"peak MiB: {', '.join(both)}, ratio {over}, bar {MEMORY_BAR}"


def row(name, scores, report):
    """A contender's line, with its bar."""
    wall = scores["step"]["wall"]
    milliseconds = {key: 1000 * wall[key] for key in ("median", "low", "high")}
    step = timing.spread(milliseconds, 0)
    first = f"{report['first_call'][name]['wall']:.1f} s"
    bars = BACKBONE_BARS if is_backbone() else BARS
    bar = bars.get((name, report["width"])) if report["mode"] == "graph" else None
    return line(name, step, scores["over_erm"], first + (f"  bar {bar}" if bar else ""))


def line(name, step, over, rest=""):
    """One row of the table."""
    wall, processor = (timing.spread(over[clock], 3) for clock in timing.CLOCKS)
    return f"{name:<24}{step:<24}{wall:<22}{processor:<22}{rest}".rstrip()


def cases():
    """The cases that the flags ask for."""
    repeats = [int(n) for n in _REPEATS.value]
    repeats += repeats[-1:] * (len(_WIDTHS.value) - len(repeats))
    return [
        Case(float(width), mode, precision, n)
        for mode in _MODES.value
        for width, n in zip(_WIDTHS.value, repeats, strict=False)
        for precision in _PRECISION.value
        if mode == "graph" or width in _XLA_WIDTHS.value
    ]


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"Unknown arguments. Received: {argv[1:]}")
    if _MEMORY_OF.value:
        return print_peak(_MEMORY_OF.value, cases()[0])
    report = timing.header("benchmarks.step", SETTINGS) | {"cases": []}
    print(f"{report['command']}\n{report['hardware']}")
    for case in cases():
        report["cases"].append(measure(case))
        print("\n".join(table(report["cases"][-1])), flush=True)
        if _OUTPUT.value:
            records.write_json(_OUTPUT.value, report)
    if not all(case["same"].get("same", True) for case in report["cases"]):
        sys.exit("error: Keras' batch norm gives another loss than ours.")


if __name__ == "__main__":
    app.run(main)
