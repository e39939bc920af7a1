"""How often the gradient-masking report is wrong, on networks known to be one or other.

    python -m benchmarks.masking --output=benchmarks/records/masking.json

Trains the networks of `healthy_networks` and `masked_networks` on the digits and on
5,000 images of Fashion-MNIST, and asks `masking_report` about each, on as many test
images as `--images` says, at the radii that are attacked. A false alarm is a healthy
network with a check that fails; a miss is a masked one without. The truth is measured
as well: by how much accuracy is lower at a radius than PGD with 50 steps says. For
that, what breaks a masked network's honest stand-in is tried on it, and so is what
Square finds. Intervals are exact (Clopper and Pearson), 95 %. The thresholds of the
report were set on networks of `--seed=100`; the record is of another seed.
"""

import time

import numpy as np
import scipy.stats
from absl import app, flags

from benchmarks import healthy_networks, masked_networks, timing
from nfm_keras import attacks
from nfm_keras.attacks.attack import prepared
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.evaluation import masking
from nfm_keras.evaluation.masking.examined import Examined, margins

_SEED = flags.DEFINE_integer("seed", 0, "Seed of trainings and attacks.")
_IMAGES = flags.DEFINE_list("images", ["100", "32"], "Test images, report by report.")
_KINDS = flags.DEFINE_list("kinds", ["healthy", "masked"], "healthy, masked")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of TensorFlow Datasets.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
SETTINGS = ("seed", "images", "kinds")
QUERIES = 300
MAKERS = {"healthy": healthy_networks.healthy, "masked": masked_networks.masked}
WRONG = {"healthy": "false alarms", "masked": "misses"}


def measure():
    """Kind -> what the reports say of each network; and the rates."""
    found = {}
    for kind in _KINDS.value:
        networks = MAKERS[kind](_SEED.value, _DATA_DIR.value)
        found[kind] = [row(network) for network in networks]
    rates = {
        n: {WRONG[kind]: rate(kind, rows, n) for kind, rows in found.items()}
        for n in _IMAGES.value
    }
    return timing.header("benchmarks.masking", SETTINGS) | found | {"rates": rates}


def row(network):
    """What the reports say of one network, and what is true."""
    _, (images, labels) = healthy_networks.splits(network.dataset, _DATA_DIR.value)
    classifier = PlainClassifier(network.classifier)
    radii = healthy_networks.RADII[network.dataset]
    said = {}
    for n in _IMAGES.value:
        started = time.perf_counter()
        some = images[: int(n)], labels[: int(n)]
        checks = masking.masking_report(
            classifier, *some, epsilon=radii, seed=_SEED.value
        )
        said[n] = {
            "failed": [check.name for check in checks if check.passed is False],
            "seconds": round(time.perf_counter() - started, 1),
            "checks": {c.name: [c.passed, c.value, c.detail] for c in checks},
        }
    most = max(map(int, _IMAGES.value))
    told = {"network": network.name, "dataset": network.dataset, "said": said}
    some = images[:most], labels[:most]
    told["too_robust"] = too_robust(network, classifier, *some, radii)
    failed = {n: text["failed"] for n, text in said.items()}
    print(network.name, told["too_robust"], failed, flush=True)
    return told


def too_robust(network, classifier, images, labels, radii):
    """Radius -> points by which PGD with 50 steps leaves too many images right."""
    if network.name in masked_networks.REFUSED:
        return "attacks refuse it"
    subject = Examined(classifier, images, labels, radii, _SEED.value, 250)
    points = {}
    for epsilon in radii:
        said = subject.walked(epsilon, 50) > 0
        left = said.copy()
        if network.twin is not None:
            twin = Examined(
                PlainClassifier(network.twin), images, labels, radii, _SEED.value, 250
            )
            attack = attacks.PGD(epsilon, steps=50, early_stop=False)
            given = prepared(twin.classifier, images, labels)
            tried, _ = attack.attacked(given, _SEED.value, 250)
            left &= margins(subject.forward(tried.images), labels) > 0
        where = np.flatnonzero(left)
        if len(where):
            left[where] &= subject.searched(epsilon, where, QUERIES) > 0
        points[f"{epsilon:.4g}"] = round(
            100.0 * float(np.mean(said) - np.mean(left)), 1
        )
    return points


def rate(kind, rows, n):
    """Wrong reports, of how many, and the ends of the 95 % interval in percent."""
    wrong = sum(bool(r["said"][n]["failed"]) == (kind == "healthy") for r in rows)
    test = scipy.stats.binomtest(wrong, len(rows))
    interval = test.proportion_ci(method="exact")
    low, high = (round(100 * end, 1) for end in (interval.low, interval.high))
    return {"wrong": wrong, "n": len(rows), "low": low, "high": high}


def table(report):
    """The rates as text."""
    return "\n".join(
        f"{n} images, {name}: {r['wrong']} of {r['n']} [{r['low']}, {r['high']}] %"
        for n, rates in report["rates"].items()
        for name, r in rates.items()
    )


if __name__ == "__main__":
    app.run(timing.main(measure, table, _OUTPUT))
