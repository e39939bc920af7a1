"""The history of a run as a table: history.csv."""

import csv
import math

from nfm_keras.records.files import write_text
from nfm_keras.table import Table

FILE = "history.csv"
"""Name of the table inside the run's folder."""

_FIRST = ("seconds", "learning_rate")


def watched(config: dict) -> str:
    """Returns what a run is measured on while it trains: `"validation"` or `"test"`.

    Args:
        config: Dict, the run's config: what holds no images out watches those of the
            test, unless its set brings others (`Record.measured_on`). Keras' names
            begin with `val_` either way.

    Example:

    >>> watched({"validation": 0}), watched({"validation": 500})
    ('test', 'validation')
    """
    return "validation" if config.get("validation") else "test"


def write_history(path, history, measured_on="validation"):
    """Writes a history as CSV, a row an epoch, whole or not at all.

    Columns are `epoch` (from 1), then `seconds` and `learning_rate` where the history
    has them, what was measured in training, and what in validation (`val_...`). An
    epoch that was not validated has empty cells there; a loss that was not a number is
    `nan`. Numbers are written with all their digits.

    Args:
        path: File to write.
        history: Dict of str to list of float, one number an epoch. The whole history:
            the file is written anew, so that a run that was resumed has each epoch
            once.
        measured_on: `"validation"` or `"test"`, as `watched` says. What was measured
            on the test's images is called `test_...`, not `val_...`.

    Raises:
        ValueError: If the lists differ in length.
        OSError: If it cannot be written; the older file is untouched.

    Example:

    >>> write_history("history.csv", {"loss": [2.1, 1.7]})
    """
    lengths = {name: len(values) for name, values in history.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"A history must have one number an epoch everywhere. Received: {lengths}"
        )
    columns = sorted(history, key=_place)
    shown = [_SHOWN[measured_on](name) for name in columns]
    rows = []
    for epoch in range(max(lengths.values(), default=0)):
        row = {name: float(history[name][epoch]) for name in columns}
        rows.append([epoch + 1, *_cells(row)])
    write_text(path, Table(["epoch", *shown], rows).to_csv())


def read_history(path):
    """Reads what `write_history` wrote.

    Returns:
        Dict of str to list of float without `epoch`, by Keras' names, `val_...`; an
        empty cell is NaN.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such table.

    Example:

    >>> write_history("history.csv", {"loss": [2.1, 1.7]})
    >>> read_history("history.csv")
    {'loss': [2.1, 1.7]}
    """
    with open(path, newline="", encoding="utf-8") as file:
        names, *rows = [*csv.reader(file)] or [[]]
    epochs = [row[:1] for row in rows]
    if names[:1] != ["epoch"] or epochs != [[str(i + 1)] for i in range(len(rows))]:
        raise ValueError(
            f"{path} must be a table of the epochs 1, 2, 3 ... "
            f"Received: columns {names}, epochs {epochs[:5]}"
        )
    try:
        cells = [[float(cell or "nan") for cell in row[1:]] for row in rows]
        columns = [[row[i] for row in cells] for i in range(len(names) - 1)]
    except (ValueError, IndexError) as error:
        raise ValueError(
            f"{path} must hold a number, or nothing, in each cell. Received: {error}"
        ) from None
    return dict(zip(map(_keras_name, names[1:]), columns))


def names(logs: dict, measured_on: str) -> dict:
    """Returns logs by the names that are shown, `test_...` for the test's.

    Args:
        logs: Dict by Keras' names.
        measured_on: `"validation"` or `"test"`.

    Example:

    >>> names({"val_loss": 1.9}, "test"), names({"val_loss": 1.9}, "validation")
    ({'test_loss': 1.9}, {'val_loss': 1.9})
    """
    rename = _SHOWN[measured_on]
    return {rename(name): value for name, value in logs.items()}


def _test_name(name):
    return f"test_{name.removeprefix('val_')}" if name.startswith("val_") else name


def _keras_name(name):
    return f"val_{name.removeprefix('test_')}" if name.startswith("test_") else name


_SHOWN = {"validation": _keras_name, "test": _test_name}


def _place(name):
    order = _FIRST.index(name) if name in _FIRST else len(_FIRST)
    return name.startswith("val_"), order, name


def _cells(row):
    watched = [value for name, value in row.items() if name.startswith("val_")]
    skipped = all(map(math.isnan, watched))
    return [
        "" if skipped and name.startswith("val_") else repr(value)
        for name, value in row.items()
    ]
