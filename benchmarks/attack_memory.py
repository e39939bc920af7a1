"""Memory of an attack beyond its images and adversaries, for few images and for many.

    python -m benchmarks.attack_memory --output=benchmarks/records/attack_memory.json

Each attack runs in processes of its own, once on `--few` images and once on `--many`,
on a small network. Measured is the peak of the resident memory while the attack runs,
over what it was after an attack on one batch, when all was compiled. Taken away are the
bytes of the images as float32 and of the adversaries, which grow with the number as
they must. The bar: what is left grows by at most `--bar` MiB from few to many.
"""

import json
import resource

import keras
import numpy as np
from absl import app, flags
from keras import layers

from benchmarks import timing
from nfm_keras import attacks
from nfm_keras.backend.classifier import PlainClassifier

_FEW = flags.DEFINE_integer("few", 1000, "Images of the small run.")
_MANY = flags.DEFINE_integer("many", 10000, "Images of the large run.")
_SIDE = flags.DEFINE_integer("side", 32, "Side of an image, with 3 channels.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 250, "Images at a time.")
_ATTACKS = flags.DEFINE_list("attacks", ["fgsm", "pgd", "apgd_ce"], "What to run.")
_BAR = flags.DEFINE_float("bar", 32.0, "MiB that it may grow by.")
_CHILD = flags.DEFINE_list("child", [], "Attack and number of images: for itself.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

SETTINGS = ("few", "many", "side", "batch_size", "attacks")
MIB = 2**20
_MAKERS = {
    "fgsm": lambda: attacks.FGSM(0.5 / 255),
    "pgd": lambda: attacks.PGD(0.5 / 255, steps=2),
    "apgd_ce": lambda: attacks.APGD(0.5 / 255, steps=2),
}


def extra(name, n):
    """MiB at the peak beyond before, without the arrays that the result needs."""
    shape = (_SIDE.value, _SIDE.value, 3)
    network = keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(8, 5, strides=4, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )
    plain, attack = PlainClassifier(network), _MAKERS[name]()
    images = np.random.default_rng(0).integers(0, 256, (n, *shape), "uint8")
    labels = np.concatenate(
        [
            plain.logits_of(images[i : i + _BATCH_SIZE.value]).argmax(1)
            for i in range(0, n, _BATCH_SIZE.value)
        ]
    )
    for size in (_BATCH_SIZE.value, _BATCH_SIZE.value - 1):  # compiled for any size
        attack(plain, images[:size], labels[:size], batch_size=_BATCH_SIZE.value)
    before = _peak()
    attack(plain, images, labels, batch_size=_BATCH_SIZE.value)
    arrays = 2 * images.size * 4
    return (_peak() - before - arrays) / MIB


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measured(name, n):
    """`extra` in a process of its own, whose peak nothing else has raised."""
    given = f"--child={name},{n}", _SIDE.serialize(), _BATCH_SIZE.serialize()
    return timing.child("benchmarks.attack_memory", *given)


def measure():
    """The report: MiB beyond the arrays of each attack, and what they grow by."""
    if _CHILD.value:
        name, n = _CHILD.value
        return {"extra": extra(name, int(n))}
    counts = {"few": _FEW.value, "many": _MANY.value}
    found = {
        name: {which: measured(name, n) for which, n in counts.items()}
        for name in _ATTACKS.value
    }
    return {
        **timing.header("benchmarks.attack_memory", SETTINGS),
        "mib_beyond_the_arrays": found,
        "grows_by_mib": {name: m["many"] - m["few"] for name, m in found.items()},
        "bars": {"grows_by_mib": f"<= {_BAR.value:g}"},
    }


def table(report):
    """The report as lines of text; of a child, its number."""
    if "extra" in report:
        return json.dumps(report["extra"])
    lines = [f"{report['settings']}"]
    for name, found in report["mib_beyond_the_arrays"].items():
        grows = report["grows_by_mib"][name]
        told = ", ".join(f"{which} {mib:.1f} MiB" for which, mib in found.items())
        lines.append(f"{name:<8} {told}, grows by {grows:.1f}")
    return "\n".join([*lines, f"bar {report['bars']['grows_by_mib']} MiB"])


if __name__ == "__main__":
    app.run(timing.main(measure, table, _OUTPUT))
