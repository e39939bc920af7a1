"""The numbers of README and docs/results.md, from the records of results/.

    python docs/_site/derived_numbers.py            puts them in, and names the lines
    python docs/_site/derived_numbers.py --check    only names them; exits with 1 if any

Numbers of two kinds: in a table whose rows link a record, each column that HEADS knows;
in sentences, those of SENTENCES, the words as they stand on the page with `{}` for each
number. A number keeps the decimals that it is written with, and its plus sign.
"""

import functools
import json
import pathlib
import re
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from nfm_keras import records
from nfm_keras.corruptions.constants import NAMES, PAPER, STANDARD
from nfm_keras.evaluation.statistics import mean_interval
from nfm_keras.records import ids
from nfm_keras.reports import paper
from nfm_keras.reports.cells import corruption_mean

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / "results"
PAGES = "README.md", "docs/results.md"
SCHEMES = "erm", "mixup", "manifold_mixup", "nfm"

HEADS = {
    "clean": "clean",
    "white noise": "white_noise",
    "salt and pepper": "salt_and_pepper",
    "salt, pepper": "salt_and_pepper",
    "PGD": "pgd",
    "15 corruptions": "corruptions",
    "minutes": "minutes",
}
"""Heads of columns, without a severity. A severity alone is of the head before it."""

NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
RECORD = re.compile(r"\[[^\]]*\]\(([^)\s]*record\.json)\)")


class Sentence(NamedTuple):
    """Words of a page with `{}` for each number, and what gives the numbers."""

    page: str
    words: str
    values: Callable[[], tuple[float, ...]]


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


STANDARD_ROWS = {
    "mean over 15 common corruptions x 5": standard("corruptions"),
    "mean over the paper's 6 corruptions": standard("the paper's corruptions"),
    "contrast": standard("contrast"),
    "fog": standard("fog"),
    "defocus blur": standard("defocus_blur"),
    "PGD, 20 steps, l-inf 2/255": standard("pgd@2/255"),
    "AutoAttack, l-inf 2/255": standard("autoattack@2/255"),
    "AutoAttack, l-inf 8/255": standard("autoattack@8/255"),
    "AutoAttack, l2 0.5": standard("autoattack_l2@0.5"),
    "expected calibration error, clean": lambda s: (
        100 * judged(s)["clean"].calibration["ece"]
    ),
    "certified at l2 0.06, sigma 0.06, n = 100": lambda s: certified(s, 0.06, 0.06),
    "certified at l2 0.06, sigma 0.12, n = 100": lambda s: certified(s, 0.12, 0.06),
}
"""Rows of the table of the suite `standard`: label to a function of the scheme."""


def printed(row: str, name: str) -> float:
    return paper.tables()["table1"]["rows"][row]["accuracy"][name]


def lead(folder: str, one: str, other: str, name: str) -> float:
    """Returns by how many points one run is ahead of another."""
    return accuracy(folder.format(one), name) - accuracy(folder.format(other), name)


CIFAR, TABLE1, TABLE4, TABLE5, DIGITS = (
    *("cifar10/{}", "table1/{}/seed_0", "table4/{}/seed_0", "table5/{}/seed_0"),
    "digits/{}",
)
STANDARD_FILE = "cifar10/{}/evaluation.json"
QUIET = "erm", "mixup", "manifold_mixup_0.2", "manifold_mixup_1", "manifold_mixup_2"
"""Rows of Table 5 without noise."""
NOISY = "noise", "noisy_mixup", "nfm_0.2", "nfm_1", "nfm_2", "nfm_high_noise"
"""Those with 0.4 / 0.2 or more."""


def gain(name: str) -> float:
    """By how much NFM is ahead of plain training in the suite `standard`."""
    return lead(STANDARD_FILE, "nfm", "erm", name)


def over(rows: tuple[str, ...], folder: str, name: str) -> tuple[float, float]:
    """Returns the lowest and the highest accuracy of some rows."""
    found = [accuracy(folder.format(row), name) for row in rows]
    return min(found), max(found)


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
    return tuple(number for gain in gains for number in mean_interval(gain))


def cifar(scheme: str, *names: str) -> tuple[float, ...]:
    return tuple(accuracy(CIFAR.format(scheme), name) for name in names)


SHIPPED = ("clean", "pgd@1/255", "pgd@2/255", "pgd@8/255", "pgd_l2@0.25", "fgsm@8/255")

SENTENCES = [
    Sentence(
        "docs/results.md",
        "({}, {}, {}, {} and {} % of 10,000); FGSM at 8/255, not measured before, "
        "leaves {} %",
        lambda: tuple(
            accuracy("cifar10/shipped/evaluation.json", name) for name in SHIPPED
        ),
    ),
    Sentence(
        "docs/results.md",
        "NFM costs {} points of clean accuracy, where the paper gains {}. It gives "
        "back {} points at white noise 0.2, {} at salt and pepper 0.1, {} over the 15 "
        "corruptions and {} under PGD of radius 1/255.",
        lambda: (
            -lead(CIFAR, "nfm", "erm", "clean"),
            printed("nfm", "clean") - printed("erm", "clean"),
            lead(CIFAR, "nfm", "erm", "white_noise@0.2"),
            lead(CIFAR, "nfm", "erm", "salt_and_pepper@0.1"),
            gain("corruptions"),
            lead(CIFAR, "nfm", "erm", "pgd@1/255"),
        ),
    ),
    Sentence(
        "docs/results.md",
        "contrast ({} points against `erm`), defocus blur ({}), saturate ({}), "
        "brightness ({}), fog ({})",
        lambda: (
            *(gain("contrast"), gain("defocus_blur"), gain("saturate")),
            *(gain("brightness"), gain("fog")),
        ),
    ),
    Sentence(
        "docs/results.md",
        "the calibration error grows from {} to {} percent and more",
        lambda: (
            calibration_error("erm"),
            min(calibration_error(scheme) for scheme in SCHEMES[1:]),
        ),
    ),
    Sentence(
        "docs/results.md",
        "{} points more at white noise 0.2 and {} under PGD, for {} of clean accuracy",
        lambda: (
            lead(TABLE1, "nfm", "manifold_mixup", "white_noise@0.2"),
            lead(TABLE1, "nfm", "manifold_mixup", "pgd@1/255"),
            -lead(TABLE1, "nfm", "manifold_mixup", "clean"),
        ),
    ),
    Sentence(
        "docs/results.md",
        "Adversarial training loses at most {} points in any column, from {} below the "
        "baseline on clean images",
        adversarial,
    ),
    Sentence(
        "docs/results.md",
        "ahead of every mixing row, by {} to {} points clean and at white noise 0.3",
        behind_in_table4,
    ),
    Sentence(
        "docs/results.md",
        "Clean accuracy is {} to {} % in all twelve rows. At white noise 0.3 rows "
        "without noise keep {} to {} %, those with 0.4 / 0.2 or more {} to {} %, and "
        "noise without any mixing is as good as NFM with the highest levels "
        "({} and {};",
        lambda: (
            *over((*QUIET, *NOISY, "nfm_low_noise"), TABLE5, "clean"),
            *over(QUIET, TABLE5, "white_noise@0.3"),
            *over(NOISY, TABLE5, "white_noise@0.3"),
            accuracy(TABLE5.format("noise"), "white_noise@0.3"),
            accuracy(TABLE5.format("nfm_high_noise"), "white_noise@0.3"),
        ),
    ),
    Sentence(
        "docs/results.md",
        "NFM {} points [{}, {}], white noise {} [{}, {}], manifold mixup {} [{}, {}]",
        lambda: toy("nfm", "noise", "manifold_mixup"),
    ),
    Sentence(
        "docs/results.md",
        "under PGD of radius 0.1 they keep {} and {} %",
        lambda: tuple(accuracy(DIGITS.format(s), "pgd@0.1") for s in ("nfm", "erm")),
    ),
    Sentence(
        "README.md",
        "NFM keeps [{} %](results/cifar10/nfm/record.json), plain training "
        "[{} %](results/cifar10/erm/record.json)",
        lambda: cifar("nfm", "white_noise@0.2") + cifar("erm", "white_noise@0.2"),
    ),
    Sentence(
        "README.md",
        "It costs clean accuracy there: {} % for {} %",
        lambda: cifar("nfm", "clean") + cifar("erm", "clean"),
    ),
    Sentence(
        "README.md",
        "[gains {} points](results/cifar10/table.md)",
        lambda: (printed("nfm", "clean") - printed("erm", "clean"),),
    ),
    Sentence(
        "README.md",
        "Over 15 common corruptions it gains {} points, but loses {} under contrast "
        "and {} under defocus blur",
        lambda: (gain("corruptions"), -gain("contrast"), -gain("defocus_blur")),
    ),
    Sentence(
        "README.md",
        "at 2/255 {} % of NFM's and {} % of plain training's",
        lambda: tuple(standard("autoattack@2/255")(s) for s in ("nfm", "erm")),
    ),
    Sentence(
        "README.md",
        "noise on the input alone does as well as NFM: {} and {} % at 0.2",
        lambda: tuple(
            accuracy(TABLE1.format(s), "white_noise@0.2") for s in ("noise", "nfm")
        ),
    ),
    Sentence(
        "README.md",
        "NFM [{} points, {} to {}](results/toy/table.md)",
        lambda: toy("nfm"),
    ),
]


def derived(page: str, text: str) -> str:
    """Returns a page with every number put in that is known here.

    Args:
        page: Its path from the top of the repository; links start from there.
        text: What it says.

    Raises:
        ValueError: If a sentence is not on its page, or is there twice.
        KeyError: If a record lacks what a number is made of.
    """
    lines = text.split("\n")
    for start, end in tables(lines):
        lines[start:end] = table(page, lines[start:end])
    text = "\n".join(lines)
    for sentence in SENTENCES:
        if sentence.page == page:
            text = said(sentence, text)
    return text


def said(sentence: Sentence, text: str) -> str:
    """Returns a text with the numbers of one sentence put in."""
    parts = [
        r"\s+".join(map(re.escape, part.split(" ")))
        for part in sentence.words.split("{}")
    ]
    found = [*re.finditer(f"({NUMBER.pattern})".join(parts), text)]
    if len(found) != 1:
        raise ValueError(
            f"{sentence.page} must have this sentence once. Received: {len(found)} "
            f"times {sentence.words!r}"
        )
    numbers = sentence.values()
    for place in range(len(numbers), 0, -1):
        start, end = found[0].span(place)
        text = text[:start] + written(numbers[place - 1], text[start:end]) + text[end:]
    return text


def tables(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Yields where the tables of a page begin and end."""
    start = None
    for place, line in enumerate([*lines, ""]):
        if line.startswith("|") and start is None:
            start = place
        elif not line.startswith("|") and start is not None:
            yield start, place
            start = None


def table(page: str, lines: list[str]) -> list[str]:
    """Returns the lines of a table with the numbers of its records put in."""
    head = cells(lines[0])
    if head[0] == "" and tuple(name.replace(" ", "_") for name in head[1:]) == SCHEMES:
        return [
            line if place < 2 else filled(line, by_scheme(cells(line)[0]))
            for place, line in enumerate(lines)
        ]
    names, last = columns(head), None
    for place, line in enumerate(lines):
        first = cells(line)[0]
        link = RECORD.search(first)
        if link:
            path = (ROOT / page).parent / link[1]
            last = path.resolve().relative_to(RESULTS).parent.as_posix()
            row = [accuracy(last, name) if name else None for name in names]
            lines[place] = filled(line, row)
        elif first.endswith(", paper*") and last:
            numbers = paper.tables()["table1"]["rows"][last.split("/")[1]]["accuracy"]
            lines[place] = filled(line, [numbers.get(name) for name in names])
    return lines


def by_scheme(label: str) -> list[float | None]:
    value = STANDARD_ROWS[label]
    return [None, *(value(scheme) for scheme in SCHEMES)]


def columns(head: list[str]) -> list[str | None]:
    """Returns what each column of a table holds; None for what is not known here."""
    names: list[str | None] = []
    kind = None
    for text in head:
        words, _, severity = text.rpartition(" ")
        if re.fullmatch(r"[\d./]+", severity):
            kind = HEADS.get(words) if words else kind
            names.append(f"{kind}@{severity}" if kind else None)
        else:
            kind = None
            names.append(HEADS.get(text))
    return names


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def filled(line: str, numbers: list[float | None]) -> str:
    """Returns a line of a table with some of its numbers replaced."""
    pairs = zip(cells(line), numbers, strict=True)
    return f"| {' | '.join(t if n is None else written(n, t) for t, n in pairs)} |"


def written(number: float, like: str) -> str:
    """Returns a number with the decimals and the plus sign of another.

    >>> written(2.14159, "+3.0"), written(-0.01, "0.0"), written(14.0, "3")
    ('+2.1', '0.0', '14')
    """
    decimals = len(like.partition(".")[2])
    text = f"{number:+.{decimals}f}" if like[0] == "+" else f"{number:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text


def main(check: bool) -> int:
    changed = 0
    for page in PAGES:
        path = ROOT / page
        text = path.read_text(encoding="utf-8")
        new = derived(page, text)
        pairs = zip(text.split("\n"), new.split("\n"), strict=True)
        for number, (before, after) in enumerate(pairs, start=1):
            if before != after:
                changed += 1
                print(f"{page}:{number}: {before}\n  now: {after}")
        if not check and new != text:
            path.write_text(new, encoding="utf-8")
    print(f"{changed} line(s) {'would change' if check else 'changed'}")
    return int(check and changed > 0)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
