"""What Table 1 at full scale takes on an accelerator, before it is begun.

    KERAS_BACKEND=jax python -m benchmarks.full_table1 --data=carried/cifar10 \\
        --programs=results/full_table1/.cache --output=full_table1.json

Compiles the epoch of erm and of nfm as `apps.full_table1` does (PreActResNet-18,
batches of 128; with its folder as `--programs` neither compiles them again), and takes
epochs of the two in turns:

* images a second, augmentation on the device included: at least 30,000 on an H100;
* nfm over erm, epoch by epoch: at most 1.03;
* the share of the device's peak in bfloat16, three times the network's multiplications
  and additions forwards taken for a step, where the peak is known;
* the same network in PyTorch (tests/twins.py): bfloat16 by autocast, channels last,
  `torch.compile`, SGD with momentum, one batch that stays on the device, not augmented.
  erm's images a second over its: at least 1.0. It runs first, in a process of its own.

About two minutes on one GPU, most of it compiling. On a CPU it takes hours at full
size: `--limit=512 --width=0.125 --batch_size=64` rehearses it.
"""

import json
import math
import pathlib
import statistics
import sys
import time

import numpy as np
from absl import app, flags

from benchmarks import timing

_DATA = flags.DEFINE_string("data", None, "Folder that apps.full_table1 --pack wrote.")
_PROGRAMS = flags.DEFINE_string("programs", None, "Folder of compiled programs.")
_WIDTH = flags.DEFINE_float("width", 1.0, "Width of the network.")
_LIMIT = flags.DEFINE_integer("limit", None, "Train on so many images; default all.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images in a step.")
_PRECISION = flags.DEFINE_string("precision", "mixed_bfloat16", "Of the training.")
_EPOCHS = flags.DEFINE_integer("epochs", 3, "Epochs of each row.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 100, "Steps of PyTorch in a round.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
_TWIN = flags.DEFINE_bool("twin", False, "Only PyTorch, in this process.")

SETTINGS = ("width", "limit", "batch_size", "precision", "epochs", "steps")
BARS = {"nfm_over_erm": "<= 1.03", "images_a_second": ">= 30,000 on an H100"}
BARS |= {"over_pytorch": ">= 1.0"}
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Operations a second in dense bfloat16, of NVIDIA's data sheets; PCIe cards less."""


def twin():
    """Images a second of the same network in PyTorch, a figure a round."""
    import torch

    sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests"))
    import twins

    device = "cuda" if torch.cuda.is_available() else "cpu"
    size, count = round(64 * _WIDTH.value), _BATCH_SIZE.value
    stages = [(size * 2**i, 2) for i in range(4)]
    network = twins.PreActResNet(3, 10, stages).to(device).train()
    network = network.to(memory_format=torch.channels_last)
    compiled = torch.compile(network)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, 0.9, weight_decay=1e-4)
    images = torch.randint(0, 256, (count, 3, 32, 32), device=device).to(torch.uint8)
    labels = torch.randint(0, 10, (count,), device=device)
    low = _PRECISION.value == "mixed_bfloat16"

    def step():
        batch = (images.float() / 255).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16, enabled=low):
            loss = torch.nn.functional.cross_entropy(compiled(batch).float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def rate():
        begun = time.perf_counter()
        for _ in range(_STEPS.value):
            loss = step()
        float(loss)  # waits for the device
        return _STEPS.value * count / (time.perf_counter() - begun)

    begun = time.perf_counter()
    float(step()), float(step())
    return {
        "device": device,
        "torch": torch.__version__,
        "first_two_steps": time.perf_counter() - begun,
        "images_a_second": [rate() for _ in range(_EPOCHS.value)],
    }


def prepared(row, splits):
    """A function of an epoch's number that trains it, and the network."""
    import keras

    from nfm_keras import data, experiments, training
    from nfm_keras.experiments.resident import compile_epoch

    scale = {name: flags.FLAGS[name].value for name in ("width", "limit", "batch_size")}
    scale["precision"] = _PRECISION.value
    table = experiments.load("table1")
    (run,) = experiments.full_scale.plan(table, "unused", [row], [0], **scale)
    keras.utils.set_random_seed(0)
    config, network = training.resolve(run.config)
    steps = data.steps_per_epoch(splits.train, config.batch_size)
    model = training.compile_model(config, network, steps)
    return compile_epoch(model, splits.train, config), network


def operations(network):
    """Multiplications and additions of one image, forwards, by kernels."""
    total = 0
    for layer in network.layers:
        if hasattr(layer, "kernel"):
            places = layer.output.shape[1:-1]
            total += 2 * math.prod(layer.kernel.shape) * math.prod(places)
    return total


def rows_in_turns(splits):
    """Row -> seconds to compile and of each epoch; and the network."""
    programs, found = {}, {}
    for row in ("erm", "nfm"):
        begun = time.perf_counter()
        programs[row], network = prepared(row, splits)
        programs[row](0)
        found[row] = {"until_first_epoch": time.perf_counter() - begun, "epochs": []}
    for epoch in range(1, _EPOCHS.value + 1):
        for row, run in programs.items():
            begun = time.perf_counter()
            logs = run(epoch)
            found[row]["epochs"].append(time.perf_counter() - begun)
            if not math.isfinite(logs["loss"]):
                raise ValueError(f"The loss of {row} must be finite. Received: {logs}")
    return found, network


def device_kind():
    """What JAX calls the device."""
    import jax

    return jax.devices()[0].device_kind


def measure():
    """The report."""
    given = [flags.FLAGS[name] for name in SETTINGS]
    given = [flag.serialize() for flag in given if flag.value is not None]
    # First: JAX takes most of the device's memory.
    other = timing.child("benchmarks.full_table1", "--twin", *given)
    from nfm_keras import experiments
    from nfm_keras.backend.jax_devices import keep_programs
    from nfm_keras.experiments.resident import limited

    if _PROGRAMS.value:
        keep_programs(_PROGRAMS.value)
    splits = limited(experiments.packing.unpack(_DATA.value), _LIMIT.value)
    report = timing.header("benchmarks.full_table1", SETTINGS)
    found, network = rows_in_turns(splits)
    count, peak = len(splits.train.images), None
    kind = device_kind()
    peak = next((value for name, value in PEAKS.items() if name in kind), None)
    rates = {
        row: timing.summary([count / t for t in times["epochs"]])
        for row, times in found.items()
    }
    usual = statistics.median(other["images_a_second"])
    needed = 3 * operations(network) * rates["erm"]["median"]
    return report | {
        "device": kind,
        "seconds": found,
        "images_a_second": rates,
        "nfm_over_erm": timing.summary(
            list(np.divide(found["nfm"]["epochs"], found["erm"]["epochs"]))
        ),
        "operations_an_image": operations(network),
        "share_of_peak": peak and needed / peak,
        "pytorch": other,
        "over_pytorch": rates["erm"]["median"] / usual,
        "bars": BARS,
    }


def table(report):
    """The report as text."""
    rates, other = report["images_a_second"], report["pytorch"]
    ratio = timing.spread(report["nfm_over_erm"], 3)
    share = report["share_of_peak"]
    told = "not known here" if share is None else f"{100 * share:.0f} %"
    usual = statistics.median(other["images_a_second"])
    return "\n".join(
        [
            f"on {report['device']}",
            *(
                f"{row}: {timing.spread(rate, 0)} images a second, "
                f"{report['seconds'][row]['until_first_epoch']:.0f} s until the first "
                "epoch was done"
                for row, rate in rates.items()
            ),
            f"  bar {BARS['images_a_second']}",
            f"nfm over erm {ratio}, bar {BARS['nfm_over_erm']}",
            f"share of the device's peak: {told}",
            f"PyTorch {other['torch']} on {other['device']}: {usual:,.0f} images a "
            f"second; ours over its {report['over_pytorch']:.2f}, bar "
            f"{BARS['over_pytorch']}",
        ]
    )


def main(argv):
    if _TWIN.value:
        print(json.dumps(twin()))
    elif not _DATA.value:
        raise app.UsageError("Give the folder of images, --data.")
    else:
        timing.main(measure, table, _OUTPUT)(argv)


if __name__ == "__main__":
    app.run(main)
