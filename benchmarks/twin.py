"""How long a training step takes, over one of the same network in PyTorch.

    python -m benchmarks.twin --output=benchmarks/records/twin.json

PreActResNet-18 with `erm` through the function that `fit` calls, on TensorFlow in a
graph; and its twin of tests/twins.py, which has the same weights, as one would train it
in PyTorch: eager, SGD with momentum, cross-entropy. Of PyTorch's two memory formats the
faster is what ours is compared with. Both on one batch of 128 CIFAR-sized images, uint8
before the step. Processes of the three run in turn, each with both cores to itself, and
a ratio is of one round. oneDNN is on, as the commands of this package have it.

What to expect: at most 0.75 of PyTorch's wall-clock time at width 0.25, 1.0 at width 1.
"""

import json
import pathlib
import statistics
import sys

import numpy as np
from absl import app, flags

from benchmarks import timing

_WIDTHS = flags.DEFINE_list("widths", ["0.25", "1.0"], "Widths of the network.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Processes of each contender.")
_STEPS = flags.DEFINE_integer("steps", 6, "Steps of each process.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
_ONE = flags.DEFINE_string("one", None, "A contender and a width, in this process.")
BARS = {"0.25": 0.75, "1.0": 1.0}
BATCH = 128


def ours(width, images, labels):
    """A function that takes a step of our model."""
    import keras
    import tensorflow as tf

    import nfm_keras as nfm
    from nfm_keras import networks
    from nfm_keras.mixing import schemes

    network = networks.build("preact_resnet18", (32, 32, 3), 10, width)
    mixing = schemes.mixing("erm", nfm.find_sites(network))
    rescaling = keras.layers.Rescaling(1 / 255)
    model = nfm.NFMModel(network, mixing, preprocess=rescaling)
    model.compile(
        keras.optimizers.SGD(0.01, 0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    batches = iter(tf.data.Dataset.from_tensors((images, labels)).repeat())
    model.make_train_function()
    return lambda: float(model.train_function(batches)["loss"])


def theirs(width, images, labels, memory_format):
    """A function that takes a step of the twin."""
    import torch

    sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests"))
    import twins

    size = round(64 * width)
    stages = [(size * 2**i, 2) for i in range(4)]
    twin = twins.PreActResNet(3, 10, stages).to(memory_format=memory_format).train()
    optimizer = torch.optim.SGD(twin.parameters(), 0.01, 0.9)
    images = torch.from_numpy(images).movedim(-1, 1)
    labels = torch.from_numpy(labels)

    def step():
        batch = (images.float() / 255).contiguous(memory_format=memory_format)
        loss = torch.nn.functional.cross_entropy(twin(batch), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss)

    return step


def one(contender, width):
    """Clock -> median seconds of a step in this process."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, 32, 32, 3), dtype=np.uint8)
    batch = width, images, rng.integers(0, 10, BATCH)
    if contender == "ours":
        step = ours(*batch)
    else:
        import torch

        step = theirs(*batch, getattr(torch, contender))
    step(), step()
    times = [timing.seconds(step) for _ in range(_STEPS.value)]
    return {clock: statistics.median(t[clock] for t in times) for clock in times[0]}


def in_a_process(contender, width):
    """`one` in a process of its own."""
    given = f"--one={contender},{width}", _STEPS.serialize()
    return timing.child("benchmarks.twin", *given, TF_ENABLE_ONEDNN_OPTS="1")


def measure_width(width):
    """Seconds of the three, and ours over the faster format of the twin."""
    names = "ours", "contiguous_format", "channels_last"
    rounds = {name: [] for name in names}
    for _ in range(_ROUNDS.value):
        for name in names:
            rounds[name].append(in_a_process(name, width))
    times = {name: timing.summaries(found) for name, found in rounds.items()}
    faster = min(names[1:], key=lambda name: times[name]["wall"]["median"])
    return {
        "width": width,
        "step": times,
        "faster": faster,
        "ratio": timing.ratios(rounds["ours"], rounds[faster]),
        "bar": BARS.get(width),
    }


def measure():
    """The report: a case for each width."""
    import torch

    head = timing.header("benchmarks.twin", ("widths", "rounds", "steps"))
    head["versions"] |= {"torch": torch.__version__}
    return head | {"cases": [measure_width(width) for width in _WIDTHS.value]}


def table(report):
    """The report as text."""
    lines = [f"{report['command']}\n{report['hardware']}"]
    for case in report["cases"]:
        ratios = (f"{c} {timing.spread(case['ratio'][c])}" for c in timing.CLOCKS)
        told = f"width {case['width']}, over PyTorch's {case['faster']}: "
        lines.append(f"{told}{', '.join(ratios)}; bar {case['bar']}")
    return "\n".join(lines)


def main(argv):
    """Measures all, or one contender in this process."""
    if _ONE.value:
        contender, width = _ONE.value.split(",")
        print(json.dumps(one(contender, float(width))))
    else:
        timing.main(measure, table, _OUTPUT)(argv)


if __name__ == "__main__":
    app.run(main)
