"""What the records of results/ say: the numbers behind README and docs/results.md."""

import functools
import json
import pathlib
from collections.abc import Callable, Sequence

from nfm_keras import records
from nfm_keras.corruptions.constants import NAMES, PAPER, STANDARD
from nfm_keras.evaluation.statistics import mean_interval
from nfm_keras.records import ids
from nfm_keras.reports import paper
from nfm_keras.reports.cells import corruption_mean

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / "results"
SCHEMES = "erm", "mixup", "manifold_mixup", "nfm"
"""The four of CIFAR-10."""

CIFAR, TABLE1, TABLE4, TABLE5, DIGITS = (
    *("cifar10/{}", "table1/{}/seed_0", "table4/{}/seed_0", "table5/{}/seed_0"),
    "digits/{}",
)
LEVELS = "noise_levels/nfm_{}/seed_0"
FIGURE11 = "adversarial_training/{}/seed_0"
STANDARD_FILE = "cifar10/{}/evaluation.json"
QUIET = "erm", "mixup", "manifold_mixup_0.2", "manifold_mixup_1", "manifold_mixup_2"
"""Rows of Table 5 without noise."""
NOISY = "noise", "noisy_mixup", "nfm_0.2", "nfm_1", "nfm_2", "nfm_high_noise"
"""Those with 0.4 / 0.2 or more."""


@functools.cache
def measured(folder: str) -> dict[str, float]:
    """Returns what the run in a folder of results/ was scored with, in percent.

    Args:
        folder: Such as `"table1/nfm/seed_0"`; or a file, such as
            `"cifar10/nfm/evaluation.json"`.
    """
    path = RESULTS / folder
    if path.suffix:
        return values(records.load_evaluation(path).scores)
    record = records.load(path / records.FILE)
    # PGD of 7 steps stands in the tables; a suite that measured 20 may be there, too.
    scores = sorted(record.scores, key=lambda score: score.settings.get("steps") == 7)
    return values(scores) | {"minutes": record.seconds / 60}


def values(scores) -> dict[str, float]:
    """Returns accuracies by perturbation, the last one measured, and their means."""
    found = {
        score.perturbation: score
        for score in scores
        if score.protocol in ("reference", ids.NO_PROTOCOL)
    }
    numbers = {name: score.value for name, score in found.items()}
    for name, kinds in (("corruptions", STANDARD), ("the paper's corruptions", PAPER)):
        mean = corruption_mean(found, kinds)
        numbers |= {name: mean[0]} if mean else {}
    for kind in NAMES:
        mean = corruption_mean(found, [kind])
        numbers |= {kind: mean[0]} if mean else {}
    return numbers


def accuracy(folder: str, name: str) -> float:
    """Returns one accuracy of a run, `name` as in `pgd@1/255`."""
    kind, at, severity = name.partition("@")
    key = ids.join(*ids.split(name)) if at else kind
    if key not in measured(folder):
        raise KeyError(f"results/{folder} has no {name}")
    return measured(folder)[key]


@functools.cache
def judged(scheme: str) -> records.Evaluation:
    """Returns what the suite `standard` measured of one of the four of CIFAR-10."""
    return records.load_evaluation(RESULTS / "cifar10" / scheme / "evaluation.json")


def calibration_error(scheme: str) -> float:
    """Returns the expected calibration error on clean images, in percent."""
    return 100 * judged(scheme)["clean"].calibration["ece"]


def certified(scheme: str, sigma: float, radius: float) -> float:
    """Returns the certified accuracy at a radius, in percent."""
    (found,) = [c for c in judged(scheme).certifications if c["sigma"] == sigma]
    pairs = zip(found["correct"], found["radii"], strict=True)
    return 100 * sum(right and r >= radius for right, r in pairs) / found["images"]


def standard(name: str) -> Callable[[str], float]:
    def value(scheme):
        return accuracy(f"cifar10/{scheme}/evaluation.json", name)

    return value


def printed(row: str, name: str) -> float:
    return paper.tables()["table1"]["rows"][row]["accuracy"][name]


def lead(folder: str, one: str, other: str, name: str) -> float:
    """Returns by how many points one run is ahead of another."""
    return accuracy(folder.format(one), name) - accuracy(folder.format(other), name)


def apart(scheme: str, *names: str) -> tuple[float, ...]:
    """Returns by how much the first training on CIFAR-10 is ahead of that again."""
    trainings = f"{{}}/{scheme}", "cifar10", "cifar10_float32"
    return tuple(lead(*trainings, name) for name in names)


def gain(name: str) -> float:
    """By how much NFM is ahead of plain training in the suite `standard`."""
    return lead(STANDARD_FILE, "nfm", "erm", name)


def over(rows: tuple[str, ...], folder: str, name: str) -> tuple[float, float]:
    """Returns the lowest and the highest accuracy of some rows."""
    found = [accuracy(folder.format(row), name) for row in rows]
    return min(found), max(found)


def prices(table: str, rows: Sequence[str]) -> list[float]:
    """Returns the minutes of rows over those of `nfm` in the same table."""
    minutes = [accuracy(table.format(row), "minutes") for row in ("nfm", *rows)]
    return [each / minutes[0] for each in minutes[1:]]


def adversarial() -> tuple[float, float]:
    """What adversarial training of Table 1 loses at most, and on clean images."""
    names = "white_noise@0.2", "salt_and_pepper@0.1", "pgd@1/255", "corruptions"
    row = TABLE1.format("adversarial")
    clean = accuracy(row, "clean")
    lost = clean - min(accuracy(row, name) for name in names)
    return lost, -lead(TABLE1, "adversarial", "erm", "clean")


def behind_in_table4() -> tuple[float, float]:
    rows = "mixup_0.1", "noisy_mixup_0.1", "manifold_mixup_0.1", "nfm_0.1"
    names = "clean", "white_noise@0.3"
    found = [lead(TABLE4, "erm", row, name) for row in rows for name in names]
    return min(found), max(found)


def toy(*names: str) -> tuple[float, ...]:
    """Returns by how much regularisers of the toy are ahead of none, with intervals."""
    runs = json.loads((RESULTS / "toy" / "toy.json").read_text("utf-8"))["runs"]
    by_name = {name: {} for name in ("none", *names)}
    for run in runs:
        by_name.get(run["regulariser"], {})[run["seed"]] = run["accuracy"]
    none = by_name["none"]
    gains = [[by_name[n][seed] - none[seed] for seed in none] for n in names]
    return tuple(number for gain in gains for number in mean_interval(gain, -100, 100))


def cifar(scheme: str, *names: str) -> tuple[float, ...]:
    return tuple(accuracy(CIFAR.format(scheme), name) for name in names)
