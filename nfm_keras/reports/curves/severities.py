"""Accuracy over the severity of a perturbation, a line an aggregate."""

from nfm_keras import figures
from nfm_keras.corruptions.constants import NAMES
from nfm_keras.records.naming import naming
from nfm_keras.reports import captions
from nfm_keras.reports.cells import CORRUPTION_MEAN, of_protocol, panel
from nfm_keras.reports.columns import order
from nfm_keras.reports.curves.looks import shade, styles


def draw(aggregates, path, *, title=None):
    """Draws accuracy over severity, one panel a family of perturbations.

    One line an aggregate, starting from the clean accuracy at severity 0; all of a
    panel are of the same images (`nfm_keras.reports.same_images`). The shade is one
    standard deviation over seeds to either side or, for one seed, the Wilson 95 %
    interval.

    Args:
        aggregates: list of `nfm_keras.reports.aggregate.Aggregate`.
        path: PNG, PDF or SVG file to write; its folder is created.
        title: str.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: If there is nothing to draw.

    Example:

    >>> draw(over_settings(runs, "pixel"), "curves.png")  # doctest: +SKIP
    """
    names = families(a.cells for a in aggregates)
    if not names:
        raise ValueError(
            "Robustness curves need scores under some perturbation. "
            f"Received: none in {[a.label for a in aggregates]}"
        )
    rows = {
        a.label: [of_protocol(run.scores, a.protocol) for run in a.records]
        for a in aggregates
    }
    name = naming(score for runs in rows.values() for run in runs for score in run)
    sets = {a.label: run.dataset for a in aggregates for run in a.records}
    panels = {family: panel(rows, family, name, sets) for family in names}
    return figures.accuracy_curves(
        {family: found.lines for family, found in panels.items()},
        path,
        title=title,
        caption=f"{captions.of_aggregates(aggregates)} {shade(aggregates)}",
        styles=styles(aggregates),
        protocol=aggregates[0].protocol,
        counts={family: found.n for family, found in panels.items()},
    )


def families(rows):
    """Returns the families of perturbations that have a curve.

    Args:
        rows: iterable of dicts of `nfm_keras.reports.cells.Cell`.

    Returns:
        List of str in the order of the columns, without `"clean"`. The corruptions have
        figures of their own. An attack that was run with several settings is as many
        families.
    """
    names = {cell.family for cells in rows for cell in cells.values()}
    figured = {"clean", CORRUPTION_MEAN, *NAMES}
    # Of a corruption in two versions, each has its version in its name.
    names = {name for name in names if name.partition(" ")[0] not in figured}
    return sorted(names, key=lambda family: order(family, 0.0))
