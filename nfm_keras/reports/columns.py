"""Columns: what the scores of a table are called, their order, and which fit a page."""

from nfm_keras.checks import unknown
from nfm_keras.corruptions.constants import NAMES
from nfm_keras.records import ids
from nfm_keras.records.ids import KINDS
from nfm_keras.reports import paper

HEADLINES = (
    *("white_noise@0.1", "white_noise@0.2", "white_noise@0.3"),
    *("salt_and_pepper@0.02", "salt_and_pepper@0.04", "salt_and_pepper@0.1"),
)
"""The severities of the published tables, shown where there are more than fit."""

MISSING = "—"
"""What a cell without a number reads."""

_FIT = 10


def columns(aggregates):
    """Returns the names of the columns of aggregates, by kind, settings and severity.

    Args:
        aggregates: list of `nfm_keras.reports.aggregate.Aggregate`.

    Returns:
        List of str such as `"white_noise@0.1"`. An attack that was run with several
        settings has them in its name: `"pgd@8/255 (steps=20)"`.
    """
    cells = {name: cell for a in aggregates for name, cell in a.cells.items()}
    return sorted(
        cells, key=lambda name: order(cells[name].family, cells[name].severity)
    )


def order(family, severity):
    """Returns the place of a perturbation in tables and figures, as a sorting key.

    Args:
        family: str, a kind of perturbation, perhaps followed by its settings.
        severity: float.

    Example:

    >>> sorted(["fog", "pgd", "clean"], key=lambda kind: order(kind, 0.1))
    ['clean', 'pgd', 'fog']
    """
    kind = family.partition(" ")[0]
    place = KINDS.index(kind) if kind in KINDS else len(KINDS)
    return place, family, severity


def headlines(names, chosen=HEADLINES):
    """Returns the columns that fit a page: few severities of the noises.

    Args:
        names: list of ids of perturbations, such as `"white_noise@0.1"`. Single
            corruptions are left out.
        chosen: ids of the severities to keep.

    Example:

    >>> headlines(["clean", "fog@3", "white_noise@0.1", "white_noise@0.12"])
    ['clean', 'white_noise@0.1']
    """
    names = [name for name in names if ids.kind(name) not in NAMES]
    noises = {ids.kind(name) for name in chosen}
    noises &= {ids.kind(name) for name in names if name in chosen}
    return [n for n in names if n in chosen or ids.kind(n) not in noises]


def shown(aggregates, names=None):
    """Returns the columns of a table: those asked for, or what fits a page.

    Args:
        aggregates: list of `nfm_keras.reports.aggregate.Aggregate`.
        names: list of str. None for all or, where they are more than ten, those of the
            paper's table that an experiment repeats, else `headlines` of them.

    Raises:
        ValueError: If a column is not there.
    """
    measured, printed = columns(aggregates), paper.columns(aggregates[0].table)
    if names is not None:
        known = list(dict.fromkeys([*measured, *printed]))
        for name in names:
            if name not in known:
                raise unknown("column", name, known)
        return names
    if printed:
        severities = {*printed} - {"clean"} or HEADLINES
        more = list(dict.fromkeys([*printed, *headlines(measured, severities)]))
        return more if len(more) <= _FIT else printed
    return measured if len(measured) <= _FIT else headlines(measured)
