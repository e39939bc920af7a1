"""How lines of aggregates look, and how far their shades reach."""

import statistics

from nfm_keras.figures.styles import scheme_styles


def styles(aggregates):
    """Returns colour, marker and dashes of each label, the same in every figure.

    By scheme, its variants told apart by their dashes.

    Args:
        aggregates: list of `nfm_keras.reports.aggregate.Aggregate`.
    """
    schemes = [a.scheme for a in aggregates]
    looks = scheme_styles(schemes)
    return {a.label: look for a, look in zip(aggregates, looks, strict=True)}


def spread(values):
    """Returns `(mean, low, high)`, one standard deviation to either side."""
    mean = statistics.fmean(values)
    deviation = statistics.stdev(values) if len(values) > 1 else 0
    return mean, mean - deviation, mean + deviation


def shade(aggregates):
    """Returns what the shades are, in a sentence."""
    kinds = {cell.deviation is None for a in aggregates for cell in a.cells.values()}
    words = {
        False: "one standard deviation over trainings",
        True: "the 95 % interval over images of a single training",
    }
    told = ", or ".join(words[kind] for kind in sorted(kinds))
    return f"Shades and whiskers are {told}."
