"""The numbers of README and docs/results.md, from the records of results/.

    python docs/_site/derived_numbers.py            puts them in, and names the lines
    python docs/_site/derived_numbers.py --check    only names them; exits with 1 if any

Numbers of two kinds: in a table whose rows link a record, each column that HEADS knows;
in sentences, those of SENTENCES, the words as they stand on the page with `{}` for each
number. A number keeps the decimals that it is written with, and its plus sign.
"""

import re
import sys
from collections.abc import Iterator

from measured_numbers import (
    RESULTS,
    ROOT,
    SCHEMES,
    accuracy,
    calibration_error,
    certified,
    standard,
)
from sentences import SENTENCES, Sentence

from nfm_keras.reports import paper

PAGES = "README.md", "docs/results.md"

HEADS = {
    "clean": "clean",
    "white noise": "white_noise",
    "salt and pepper": "salt_and_pepper",
    "salt, pepper": "salt_and_pepper",
    "PGD": "pgd",
    "PGD l2": "pgd_l2",
    "15 corruptions": "corruptions",
    "minutes": "minutes",
}
"""Heads of columns, without a severity. A severity alone is of the head before it."""

NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
RECORD = re.compile(r"\[[^\]]*\]\(([^)\s]*record\.json)\)")

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
    "expected calibration error, clean": calibration_error,
    "certified at l2 0.06, sigma 0.06, n = 100": lambda s: certified(s, 0.06, 0.06),
    "certified at l2 0.06, sigma 0.12, n = 100": lambda s: certified(s, 0.12, 0.06),
}
"""Rows of the table of the suite `standard`: label to a function of the scheme."""


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
    names = columns(head)
    for place, line in enumerate(lines):
        first = cells(line)[0]
        link = RECORD.search(first)
        if link:
            path = (ROOT / page).parent / link[1]
            run = path.resolve().relative_to(RESULTS).parent.as_posix()
            row = [accuracy(run, name) if name else None for name in names]
            lines[place] = filled(line, row)
        elif first.endswith(", paper*"):
            scheme = first.strip("*").partition(",")[0]
            numbers = paper.tables()["table1"]["rows"][scheme]["accuracy"]
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
