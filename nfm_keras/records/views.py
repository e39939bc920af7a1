"""Views of an evaluation: a short table to read, all scores, rows for pandas."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

from nfm_keras.records import ids
from nfm_keras.records.naming import naming
from nfm_keras.records.score import Score
from nfm_keras.table import Table

MANY = 3
"""Severities of a kind that are shown one by one; more share a row."""

_NUMBERS = ("value", "low", "high", "n", "correct", "seconds")


def short(scores: Sequence[Score]) -> Table:
    """Returns scores as a table that fits a screen.

    Kinds with many severities share a row, which says from where to where they go;
    what is doubtful has a word.

    Args:
        scores: `Score`s.

    Example:

    >>> empty = dict(n=2, correct=1, seed=0, seconds=0.1, settings={})
    >>> score = Score("clean", 0.0, "none", 50.0, 9.5, 90.5, **empty)
    >>> print(short([score]).rows)
    (('clean', '50.0', '9.5 to 90.5', 2, None),)
    """
    named = naming(scores, protocols=False)
    families: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        group = named(score)[0], score.protocol
        families.setdefault(group, []).append(score)
    rows = []
    for (family, protocol), members in families.items():
        name = "" if protocol == ids.NO_PROTOCOL else f" ({protocol})"
        if len(members) <= MANY:
            rows += [_row(score, named(score)[1] + name) for score in members]
        else:
            rows.append(_joint(members, family, name))
    return Table(["score", "%", "95 % interval", "n", "doubtful"], rows, "lrrrl")


def _row(score, name):
    doubts = [f"{what} {count}" for what, count in score.warnings.items()]
    ends = f"{score.low:.1f} to {score.high:.1f}"
    return [name, f"{score.value:.1f}", ends, score.n, ", ".join(doubts) or None]


def _joint(scores, family, protocol):
    """One row of a curve: its ends."""
    kind, _, settings = family.partition(" ")
    named = f" {settings}" * bool(settings) + protocol
    ordered = sorted(scores, key=lambda score: score.severity)
    first, last = (ids.format_severity(s.severity) for s in (ordered[0], ordered[-1]))
    values = f"{ordered[0].value:.1f} ... {ordered[-1].value:.1f}"
    doubtful = sum(bool(score.warnings) for score in scores)
    told = f"{doubtful} of {len(scores)}" if doubtful else None
    counts = sorted({score.n for score in scores})
    n = counts[0] if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return [f"{kind}@{first} ... {last}{named}", values, None, n, told]


def every(scores: Iterable[Score]) -> Table:
    """Returns the table of all scores, a row each, rounded for reading.

    Args:
        scores: `Score`s.
    """
    scores = list(scores)
    named = naming(scores, protocols=False)
    rows = [
        [
            *(named(score)[1], score.protocol, f"{score.value:.2f}"),
            *(f"{score.low:.2f}", f"{score.high:.2f}", score.n),
            ", ".join(f"{k} {count}" for k, count in score.warnings.items()) or None,
        ]
        for score in scores
    ]
    head = ["score", "protocol", "%", "low", "high", "n", "doubtful"]
    return Table(head, rows, "llrrrrl")


def flat(scores: Iterable[Score]) -> list[dict[str, Any]]:
    """Returns scores as dicts of plain values, for whatever makes tables of such.

    Args:
        scores: `Score`s.
    """
    rows = []
    for score in scores:
        row: dict[str, Any] = {"perturbation": score.perturbation}
        row |= {"kind": ids.kind(score.perturbation), "severity": score.severity}
        row["protocol"] = score.protocol
        row |= {name: getattr(score, name) for name in _NUMBERS}
        row |= {"seed": score.seed, "settings": json.dumps(score.settings)}
        row["doubtful"] = sum(score.warnings.values())
        rows.append(row | score.calibration)
    return rows


def as_dict(evaluation: Any) -> dict[str, Any]:
    """Returns an evaluation as a dict of JSON values, its scores by their ids.

    Args:
        evaluation: `Evaluation`. Of an id that was measured twice, in two protocols or
            with two settings, the later score has a number behind the id.
    """
    content = dataclasses.asdict(evaluation)
    scores: dict[str, dict] = {}
    for score in content.pop("scores"):
        name, count = score["perturbation"], 1
        while name in scores:
            count += 1
            name = f"{score['perturbation']} ({count})"
        scores[name] = score
    return content | {"scores": scores}


def aligned(table: Table) -> str:
    """Returns a table as lines of text with columns of one width.

    Example:

    >>> print(aligned(Table(["a", "b"], [["long", 1], ["x", 10]], "lr")))
    a      b
    long   1
    x     10
    """
    lines = [[str("" if c is None else c) for c in row] for row in table.rows]
    lines.insert(0, list(table.header))
    widths = [max(map(len, column)) for column in zip(*lines)]
    rows = (zip(line, widths, table.align) for line in lines)
    placed = (
        "  ".join(c.rjust(w) if side == "r" else c.ljust(w) for c, w, side in row)
        for row in rows
    )
    return "\n".join(map(str.rstrip, placed))
