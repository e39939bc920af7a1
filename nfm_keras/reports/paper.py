"""The numbers that the paper prints, and which of ours they can stand beside."""

import dataclasses
import functools
import pathlib

from nfm_keras.checks import unknown
from nfm_keras.records.files import read_json

FILE = pathlib.Path(__file__).with_name("paper_tables.json")
"""The paper's tables, copied by hand."""


@dataclasses.dataclass(frozen=True)
class Published:
    """What the paper prints for one row of a table.

    Args:
        table: str. Title of the table.
        accuracy: dict from column name to percent.
        seeds: int. How many it averages over.
        note: str. What is to be known of the table.
    """

    table: str
    accuracy: dict[str, float]
    seeds: int
    note: str = ""


@functools.cache
def tables():
    """Returns the paper's tables as JSON values, by key such as `"table1"`.

    Example:

    >>> tables()["table1"]["rows"]["nfm"]["accuracy"]["clean"]
    95.4
    """
    return {key: table for key, table in read_json(FILE).items() if key != "about"}


def columns(key):
    """Returns the names of the columns of one of the paper's tables.

    Args:
        key: str, None for no table.

    Returns:
        List of str, empty for a table that is not there.

    Example:

    >>> columns("table1")[:2]
    ['clean', 'white_noise@0.1']
    """
    rows = tables().get(key, {"rows": {}})["rows"].values()
    return list(dict.fromkeys(name for row in rows for name in row["accuracy"]))


def published(aggregate):
    """Returns what the paper prints for an aggregate, if anything.

    A row of an experiment has the number of the same row of the experiment's table. Any
    other has that of the first row, in any table, with its scheme. The data set, the
    network and the settings that the paper names must be the same in both cases; the
    caption says how width and epochs differ. Only the `reference` protocol, and scores
    no protocol touches, can be compared.

    Args:
        aggregate: `nfm_keras.reports.aggregate.Aggregate`.

    Returns:
        `Published`, or None.

    Raises:
        ValueError: If an experiment names a table there is not.

    Example:

    >>> from nfm_keras.reports.aggregate import Aggregate
    >>> nfm = Aggregate("nfm", {}, "reference", (), {}, name="nfm", table="table1")
    >>> published(nfm).accuracy["white_noise@0.3"]
    83.0
    """
    if aggregate.table is not None and aggregate.table not in tables():
        raise unknown("table of the paper", aggregate.table, tables())
    if aggregate.protocol == "pixel":
        return None
    if bool(aggregate.name) != bool(aggregate.table):
        return None
    for key, table in tables().items():
        for name, row in table["rows"].items():
            if row["accuracy"] and _same(aggregate, key, table, name, row):
                note = table.get("note", "")
                return Published(table["title"], row["accuracy"], table["seeds"], note)
    return None


def _same(aggregate, key, table, name, row):
    if aggregate.name:
        # The experiment says which scheme stands for the paper's row: the published
        # noise baseline is not the scheme of that name.
        if (aggregate.table, aggregate.name) != (key, name):
            return False
    elif aggregate.scheme != row["scheme"]:
        return False
    place = table["dataset"], table["network"]
    settings = row["settings"].items()
    return all(
        (run.dataset, run.network) == place
        and all(run.config.get(key) == value for key, value in settings)
        for run in aggregate.records[:1]
    )
