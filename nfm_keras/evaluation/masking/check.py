"""Check: one row of the gradient-masking report, and what the rows say together."""

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

from nfm_keras.table import Table


@dataclasses.dataclass(frozen=True)
class Check:
    """One row of the report.

    Args:
        name: str. One word or two, for records.
        question: str. What was asked of the classifier; the good answer is yes.
        passed: bool, or None where it could not be asked, which `detail` explains.
        value: float, or None. What was measured, in the unit that `expected` has.
        expected: str. What an honest classifier shows.
        detail: str. More of what was seen.
    """

    name: str
    question: str
    passed: bool | None
    value: float | None
    expected: str
    detail: str


class Finding(NamedTuple):
    """What a check saw; `obstacle` says why those that need it cannot be run."""

    passed: bool | None
    value: float | None
    detail: str
    obstacle: str = ""


def verdict(checks: Iterable[Check]) -> str:
    """Returns the report in one line.

    Args:
        checks: The `Check`s of a report.

    Returns:
        `"no sign of gradient masking"`, or `"signs of gradient masking: "` and the
        names of the checks that failed, or `"not judged"` where none could be run.

    Example:

    >>> verdict([Check("finite", "Are all logits finite?", False, 3.0, "0", "")])
    'signs of gradient masking: finite'
    """
    failed = [check.name for check in checks if check.passed is False]
    if failed:
        return f"signs of gradient masking: {', '.join(failed)}"
    judged = any(check.passed for check in checks)
    return "no sign of gradient masking" if judged else "not judged"


def to_markdown(checks: Iterable[Check]) -> str:
    """Returns the report as a Markdown table.

    Args:
        checks: The `Check`s of a report.

    Example:

    >>> check = Check("finite", "Are all logits finite?", True, 0.0, "0", "100 images")
    >>> print(to_markdown([check]), end="")
    | check | question | passed | value | expected | detail |
    |---|---|---|---|---|---|
    | finite | Are all logits finite? | yes | 0 | 0 | 100 images |
    """
    return to_table(checks).to_markdown()


def to_table(checks: Iterable[Check]) -> Table:
    """Returns the report as a `nfm_keras.table.Table`, a row a check.

    Args:
        checks: The `Check`s of a report.
    """
    rows = []
    for check in checks:
        passed = {True: "yes", False: "no", None: "not run"}[check.passed]
        value = "" if check.value is None else f"{check.value:.4g}"
        cells = check.name, check.question, passed, value, check.expected, check.detail
        rows.append(cells)
    header = "check", "question", "passed", "value", "expected", "detail"
    return Table(header, rows)
