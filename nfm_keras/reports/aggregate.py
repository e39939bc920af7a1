"""Aggregate: the runs of one setting over their seeds, made from records alone.

Runs that differ only in their seed are one aggregate. Aggregates are of one protocol:
`reference` and `pixel` scores answer different questions and never stand side by side.
Scores no protocol touches (`none`: clean accuracy, attacks) go with either.
"""

import dataclasses
import json
import pathlib
from typing import Protocol

from nfm_keras.corruptions.constants import STANDARD
from nfm_keras.mixing.schemes import SCHEMES
from nfm_keras.records.ids import NO_PROTOCOL
from nfm_keras.records.naming import labelled, naming, varying
from nfm_keras.reports.cells import (
    CORRUPTION_MEAN,
    Cell,
    by_perturbation,
    cells,
    corruption_mean,
    corruption_scores,
    of_protocol,
    over_seeds,
)

# What a scheme's name implies: told only where two runs of one scheme differ in it.
_OF_SCHEME = {
    *("alpha", "beta", "sigma_add", "sigma_mult", "sites", "noise", "sparsity"),
    "site_weights",
    *("label_smoothing", "grids", "clean_lam", "jsd_weight", "attack_probability"),
    *("attack_epsilon", "attack_norm", "attack_steps"),
}
# What a table says anyway, and what does not change a run's result.
_UNTOLD = {"scheme", "seed", "eval_every", "steps_per_execution", "jit_compile"}


class Rows(Protocol):
    """What a report reads of an `nfm_keras.experiments.experiment.Experiment`."""

    title: str
    settings: dict
    rows: dict[str, dict]
    seeds: tuple[int, ...]
    protocol: str
    split: str
    paper: str | None


@dataclasses.dataclass(frozen=True)
class Aggregate:
    """Runs of one scheme and one setting, over their seeds.

    Args:
        scheme: str.
        settings: dict. What tells this one from the others, besides the scheme.
        protocol: str.
        records: tuple of `nfm_keras.records.run.Record`. None yet: a row of an
            experiment that is missing.
        cells: dict from column name to `nfm_keras.reports.cells.Cell`.
        name: str. Name of its row in an experiment.
        title: str. What the experiment calls it; by default its scheme.
        table: str. Key of the paper's table that the experiment repeats.
        paths: tuple of `pathlib.Path`, the files of `records`, where they are known.

    Example:

    >>> Aggregate("nfm", {"alpha": 0.2}, "pixel", records=(), cells={}).label
    'nfm (alpha=0.2)'
    """

    scheme: str
    settings: dict
    protocol: str
    records: tuple
    cells: dict[str, Cell]
    name: str | None = None
    title: str | None = None
    table: str | None = None
    paths: tuple[pathlib.Path, ...] = ()

    @property
    def label(self) -> str:
        """What it is called in tables and figures."""
        return labelled(self.title or self.scheme, self.settings)

    @property
    def seeds(self) -> int:
        """How many seeds it has."""
        return len(self.records)


def protocols(records):
    """Returns the sorted protocols of all scores, `("none",)` if none matters.

    Args:
        records: iterable of `nfm_keras.records.run.Record`.

    Example:

    >>> protocols([])
    ('none',)
    """
    names = {score.protocol for record in records for score in record.scores}
    return tuple(sorted(names - {NO_PROTOCOL})) or (NO_PROTOCOL,)


def over_settings(records, protocol):
    """Averages accuracies over seeds, one aggregate a setting.

    Args:
        records: iterable of `nfm_keras.records.run.Record`.
        protocol: str. `"none"` leaves out every score that depends on one.

    Returns:
        List of `Aggregate`, in the order of `nfm_keras.mixing.schemes.SCHEMES`; other
        schemes follow in alphabetical order.

    Raises:
        ValueError: If there is no record, no score was measured under the protocol, or
            two runs share settings and seed.

    Example:

    >>> aggregates = over_settings(records.find("runs"), "pixel")  # doctest: +SKIP
    """
    records = list(records)
    if not records:
        raise ValueError("A table or figure needs a record. Received: none")
    if protocol not in (*protocols(records), NO_PROTOCOL):
        raise ValueError(
            f"Scores were measured under {protocols(records)}. Received: {protocol!r}"
        )
    name = _naming(records, protocol)
    aggregates = [
        Aggregate(
            scheme=group[0].scheme,
            settings=settings,
            protocol=protocol,
            records=group,
            cells=_cells(group, protocol, name),
        )
        for group, settings in _groups(records)
    ]
    return sorted(aggregates, key=_rank)


def of_experiment(experiment, runs):
    """Averages accuracies over seeds, one aggregate for each row of an experiment.

    Args:
        experiment: `nfm_keras.experiments.experiment.Experiment`.
        runs: dict from row name to `{path: record}`, empty for a row that is missing.

    Returns:
        List of `Aggregate` in the order of the rows. What differs between runs and is
        not the rows' own, such as the epochs, is in the labels.

    Raises:
        ValueError: If there is no record at all, or runs of a row differ in more than
            their seed, or do not even differ in that.

    Example:

    >>> aggregates = of_experiment(table, {"erm": {path: record}})  # doctest: +SKIP
    """
    records = [record for row in runs.values() for record in row.values()]
    if not records:
        raise ValueError(
            "A table or figure needs a record. Received: none in the rows "
            f"{list(experiment.rows)}"
        )
    name = _naming(records, experiment.protocol)
    stated = set().union(*experiment.rows.values())
    told = sorted(varying(map(_config, records)) - _OF_SCHEME - stated)
    aggregates = []
    for row, own in experiment.rows.items():
        group = tuple(runs.get(row, {}).values())
        _refuse_mixture(row, group)
        aggregate = Aggregate(
            scheme=own.get("scheme", experiment.settings.get("scheme")),
            settings={key: _config(group[0]).get(key) for key in told if group},
            protocol=experiment.protocol,
            records=group,
            cells=_cells(group, experiment.protocol, name),
            name=row,
            title=own["label"],
            table=experiment.paper,
            paths=tuple(runs.get(row, {})),
        )
        aggregates.append(aggregate)
    return aggregates


def scores_by_id(record, protocol):
    """Returns the scores of one run under one protocol.

    Args:
        record: `nfm_keras.records.run.Record`.
        protocol: str. Scores no protocol touches are there too.

    Returns:
        Dict from the id of a perturbation, such as `"fog@3"`, to `Score`, as
        `nfm_keras.reports.cells.by_perturbation` chooses.
    """
    return by_perturbation(of_protocol(record.scores, protocol))


def _groups(records):
    """Splits records into (records that differ only by seed, what tells them apart)."""
    configs, groups = {}, {}
    for record in records:
        configs.setdefault(record.scheme, []).append(_config(record))
    common = varying(map(_config, records)) - _OF_SCHEME
    told = {s: sorted(common | varying(same)) for s, same in configs.items()}
    for record in records:
        settings = {key: _config(record).get(key) for key in told[record.scheme]}
        key = record.scheme, json.dumps(settings)
        group, _ = groups.setdefault(key, ([], settings))
        _refuse_twin(record, group)
        group.append(record)
    return [(tuple(group), settings) for group, settings in groups.values()]


def _config(record):
    known = {"dataset": record.dataset, "network": record.network} | record.config
    if record.extended and known.get("schedule") != "constant":  # its rates were others
        known["extended"] = list(record.extended)
    return {key: value for key, value in known.items() if key not in _UNTOLD}


def _refuse_twin(record, group):
    seed = record.config.get("seed")
    for other in group:
        if other.config.get("seed") == seed:
            raise ValueError(
                "A seed must count once, but two runs share every setting and the "
                f"seed; leave one out. Received: {other.name!r} and {record.name!r}, "
                f"seed {seed}"
            )


def _refuse_mixture(row, group):
    """Refuses runs of one row that differ in anything but their seeds."""
    differ = varying(map(_config, group)) if group else ()
    if differ:
        values = [{key: _config(run).get(key) for key in differ} for run in group]
        raise ValueError(
            f"The runs of row {row!r} must differ in nothing but their seed. "
            f"Received: {values}"
        )
    for index, record in enumerate(group):
        _refuse_twin(record, group[:index])


def _naming(records, protocol):
    # Of the other protocols too, each noise would have its protocol in its name.
    return naming(
        score for record in records for score in of_protocol(record.scores, protocol)
    )


def _cells(group, protocol, name):
    runs = [of_protocol(record.scores, protocol) for record in group]
    scored = [scores_by_id(record, protocol) for record in group]
    means = [corruption_mean(scores, STANDARD) for scores in scored]
    means = [mean for mean in means if mean]
    if not means:
        return cells(runs, name)
    sizes = [s.n for one in scored for s in corruption_scores(one, STANDARD)]
    ends, values = means[0][1:], [mean[0] for mean in means]
    cell = over_seeds(values, ends=ends, n=min(sizes))
    return cells(runs, name) | {CORRUPTION_MEAN: cell}


def _rank(aggregate):
    order = (*SCHEMES, aggregate.scheme)
    values = [(value is not None, value) for value in aggregate.settings.values()]
    return order.index(aggregate.scheme), aggregate.scheme, values
