"""Accuracy against a setting of training: epochs, level of noise, width."""

import math

from nfm_keras import figures
from nfm_keras.checks import unknown
from nfm_keras.figures.styles import scheme_styles
from nfm_keras.records.naming import labelled
from nfm_keras.reports import captions
from nfm_keras.reports.columns import shown
from nfm_keras.reports.curves.looks import shade


def draw(aggregates, fields, path, *, columns=None, title=None):
    """Draws accuracy against a setting, one panel a column, one line a scheme.

    Runs that differ in anything else are lines of their own. Shades are as in
    `severities.draw`.

    Args:
        aggregates: list of `nfm_keras.reports.aggregate.Aggregate`.
        fields: list of str. The first is the field of `nfm_keras.training.Config` on
            the horizontal axis; the others are fields that go with it from run to run,
            which the caption says, such as `sigma_mult` with `sigma_add`. With `epochs`
            go `rate_drops` that come at the same share of them, to an epoch.
        path: PNG, PDF or SVG file to write; its folder is created.
        columns: list of str, such as `["clean", "pgd@1/255"]`; None for those that a
            table would have.
        title: str.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: For a column or a field that is not there, a field that is no
            number, or two runs at one place of a line.

    Example:

    >>> settings = over_settings(runs, "pixel")  # doctest: +SKIP
    >>> draw(settings, ["epochs"], "epochs.png")  # doctest: +SKIP
    """
    _check_fields(aggregates, fields)
    fields = [*fields, *_in_proportion(aggregates, fields)]
    field = fields[0]
    panels = {name: {} for name in shown(aggregates, columns)}
    if not panels:
        raise ValueError(
            "The runs must have scores, which nfm-evaluate makes. Received: none"
        )
    schemes = {}
    for aggregate in sorted(aggregates, key=lambda a: _number(a, field)):
        place = _number(aggregate, field)
        rest = {k: v for k, v in aggregate.settings.items() if k not in fields}
        line = labelled(aggregate.scheme, rest)
        schemes.setdefault(line, aggregate.scheme)
        for name, lines in panels.items():
            points = lines.setdefault(line, [])
            if points and points[-1][0] == place:
                raise ValueError(
                    f"A line must have one accuracy at each {field}; what its runs "
                    f"differ in there makes lines, unless it is named to go along. "
                    f"Received: two at {field}={place:g} of {line!r}, going along: "
                    f"{fields[1:]}"
                )
            points.append((place, *_point(aggregate.cells.get(name))))
    looks = dict(zip(schemes, scheme_styles([*schemes.values()]), strict=True))
    parts = [captions.of_aggregates(aggregates), shade(aggregates)]
    caption = " ".join([*parts, *_also(aggregates, fields)])
    return figures.against_setting(
        panels, field, path, looks, title=title, caption=caption
    )


def _in_proportion(aggregates, fields):
    """Drops of the learning rate, where they come at the same share of the epochs."""
    if fields[0] != "epochs" or "rate_drops" in fields:
        return []
    configs = [aggregate.records[0].config for aggregate in aggregates]
    if not all(config.get("rate_drops") for config in configs):
        return []
    shares = [[d / c["epochs"] for d in c["rate_drops"]] for c in configs]
    if len({len(share) for share in shares}) > 1:
        return []
    most = max(max(places) - min(places) for places in zip(*shares))
    return ["rate_drops"] if most < 1 / min(c["epochs"] for c in configs) else []


def _check_fields(aggregates, fields):
    known = {name for a in aggregates for name in a.records[0].config}
    for field in fields:
        if field not in known:
            raise unknown("field of the runs' configs", field, sorted(known))
    for aggregate in aggregates:
        values = {str(run.config.get(fields[0])) for run in aggregate.records}
        if len(values) > 1:
            raise ValueError(
                f"Runs that differ in {fields[0]} alone are one row, over which is "
                "averaged: it is no horizontal axis. Received: "
                f"{fields[0]} of {', '.join(sorted(values))} in {aggregate.label!r}"
            )


def _number(aggregate, field):
    """The value of a field that is to be a number."""
    value = aggregate.records[0].config.get(field)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(
            f"A horizontal axis needs a number in every run. Received: {field}="
            f"{value!r} in {aggregate.label!r}"
        )
    return value


def _point(cell):
    if cell is None:
        return math.nan, math.nan, math.nan
    ends = (cell.low, cell.high)
    return cell.mean, *((cell.mean, cell.mean) if None in ends else ends)


def _also(aggregates, fields):
    """What goes with the setting, in sentences."""
    field, *others = fields
    places = sorted({_number(aggregate, field) for aggregate in aggregates})
    parts = []
    for other in others:
        told = [_told(aggregates, field, place, other) for place in places]
        if len(set(told)) > 1:
            pairs = [f"{text} at {at:g}" for text, at in zip(told, places, strict=True)]
            parts.append(f"With {field} goes {other}: {', '.join(pairs)}.")
    return parts


def _told(aggregates, field, place, other):
    configs = [aggregate.records[0].config for aggregate in aggregates]
    # A record that is older than a field does not have it.
    return captions.joined(c.get(other) for c in configs if c[field] == place)
