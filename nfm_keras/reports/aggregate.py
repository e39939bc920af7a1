"""Runs to rows: means and deviations over seeds, made from records alone.

Runs that differ only in their seed are one row. Rows are of one protocol: `reference`
and `pixel` scores answer different questions and never stand side by side. Scores no
protocol touches (`none`: clean accuracy, attacks) go with either.
"""

import dataclasses
import json
import pathlib
import statistics

from nfm_keras import corruptions
from nfm_keras.records.ids import KINDS

CORRUPTION_MEAN = "common_corruptions"
"""Column of the mean over the 15 corruptions at all severities."""

SCHEMES = (
    *("erm", "noise", "noise_reference", "label_smoothing", "mixup", "cutmix"),
    *("puzzlemix", "manifold_mixup", "noisy_mixup", "nfm", "nfm_star"),
    *("adversarial", "noisymix"),
)
"""The order of rows, the paper's. Other schemes follow in alphabetical order."""

# What a scheme's name implies: told only where two runs of one scheme differ in it.
_OF_SCHEME = {
    *("alpha", "beta", "sigma_add", "sigma_mult", "sites", "noise", "sparsity"),
    *("label_smoothing", "grids", "clean_lam", "jsd_weight", "attack_probability"),
    *("attack_epsilon", "attack_norm", "attack_steps"),
}
# What a row says anyway, and what does not change a run's result.
_UNTOLD = {"scheme", "seed", "eval_every", "steps_per_execution", "jit_compile"}


@dataclasses.dataclass(frozen=True)
class Cell:
    """Accuracy of one row under one perturbation, in percent.

    `deviation` is the sample standard deviation over seeds, None for one seed. `low`
    and `high` are one deviation from the mean or, for one seed, the ends of the Wilson
    95 % interval; None where there is none. `family` is the perturbation without its
    severity.
    """

    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    severity: float
    seeds: int
    family: str


@dataclasses.dataclass(frozen=True)
class Row:
    """Runs of one scheme and one setting, over their seeds.

    Args:
        scheme: str.
        settings: dict. What tells this row from the others, besides the scheme.
        protocol: str.
        records: tuple of `nfm_keras.records.run.Record`. None yet: a row that is missing.
        cells: dict from column name to `Cell`.
        name: str. Its name in an experiment.
        title: str. What the experiment calls it; by default its scheme.
        table: str. Key of the paper's table that the experiment repeats.
        paths: tuple of `pathlib.Path`, the files of `records`, where they are known.

    Example:

    >>> Row("nfm", {"alpha": 0.2}, "pixel", records=(), cells={}).label
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
    def label(self):
        return _label(self.title or self.scheme, self.settings)

    @property
    def seeds(self):
        return len(self.records)


def protocols(records):
    """Sorted tuple of the protocols of the scores, `("none",)` if none matters.

    Example:

    >>> protocols([])
    ('none',)
    """
    found = {score.protocol for record in records for score in record.scores}
    return tuple(sorted(found - {"none"})) or ("none",)


def summarise(records, protocol):
    """Average accuracies over seeds.

    Args:
        records: iterable of `nfm_keras.records.run.Record`.
        protocol: str. `"none"` leaves out every score that depends on one.

    Returns:
        List of `Row`, in the order of `SCHEMES`.

    Raises:
        ValueError: no record; a protocol no score was measured under; two runs that
            share settings and seed.

    Example:

    >>> rows = summarise(records.find("runs"), "pixel")  # doctest: +SKIP
    """
    records = list(records)
    if not records:
        raise ValueError("A table or figure needs a record. Received: none")
    if protocol not in (*protocols(records), "none"):
        raise ValueError(
            f"Scores were measured under {protocols(records)}. Received: {protocol!r}"
        )
    names = _names(records)
    rows = [
        Row(group[0].scheme, settings, protocol, group, _cells(group, protocol, names))
        for group, settings in _groups(records)
    ]
    return sorted(rows, key=_rank)


def arrange(experiment, found):
    """Average accuracies over seeds, in the rows of an experiment.

    Args:
        experiment: `nfm_keras.experiments.experiment.Experiment`.
        found: dict from row name to `{path: record}`, empty for a row that is missing.

    Returns:
        List of `Row`, one for each row of the experiment, in its order. What differs
        between runs and is not the rows' own, such as the epochs, is in the labels.

    Raises:
        ValueError: no record at all; two runs of a row that differ in more than their
            seed, or do not even differ in that.

    Example:

    >>> rows = arrange(experiment, {"erm": {path: record}})  # doctest: +SKIP
    """
    records = [record for runs in found.values() for record in runs.values()]
    if not records:
        raise ValueError(
            "A table or figure needs a record. Received: none in the rows "
            f"{list(experiment.rows)}"
        )
    names = _names(records)
    stated = set().union(*experiment.rows.values())
    told = sorted(_differing(map(_config, records)) - _OF_SCHEME - stated)
    rows = []
    for name, own in experiment.rows.items():
        runs = found.get(name, {})
        group = tuple(runs.values())
        _refuse_mixture(name, group)
        row = Row(
            scheme=own.get("scheme", experiment.settings.get("scheme")),
            settings={key: _config(group[0]).get(key) for key in told if group},
            protocol=experiment.protocol,
            records=group,
            cells=_cells(group, experiment.protocol, names),
            name=name,
            title=own["label"],
            table=experiment.paper,
            paths=tuple(runs),
        )
        rows.append(row)
    return rows


def columns(rows):
    """Names of the columns of rows, by kind, settings and severity.

    Args:
        rows: list of `Row`.

    Returns:
        List of str such as `"white_noise@0.1"`. An attack that was run with several
        settings has them in its name: `"pgd@8/255 (steps=20)"`.
    """
    cells = {name: cell for row in rows for name, cell in row.cells.items()}

    def order(name):
        kind = name.partition("@")[0]
        return *_place(kind, KINDS), cells[name].family, cells[name].severity

    return sorted(cells, key=order)


def accuracies(record, protocol):
    """Accuracies of one run under one protocol.

    Args:
        record: `nfm_keras.records.run.Record`.
        protocol: str. Scores no protocol touches are there too.

    Returns:
        Dict from the id of a perturbation, such as `"fog@3"`, to percent; of a score
        measured twice, the later one.
    """
    return {score.perturbation: score.value for score in _scores(record, protocol)}


def caption(rows, *, measured=True):
    """What all rows share, and the values of what they do not, in one line.

    Args:
        rows: list of `Row`. Where some have nothing to show, those that do are counted.
        measured: bool. Say the protocol and how many images the scores are of.
    """
    there = [row for row in rows if (row.cells if measured else row.records)]
    runs = [record for row in rows for record in row.records]
    configs = [run.config for run in runs]
    limits = {config.get("limit") for config in configs} - {None}
    parts = [
        _each(run.dataset for run in runs),
        _each(run.network for run in runs),
        f"width {_each(config.get('width', 'unknown') for config in configs)}",
        *([f"first {_each(limits)} training images"] if limits else []),
        f"{_each(config.get('epochs', 'unknown') for config in configs)} epochs",
    ]
    if measured:
        images = {s.n for run in runs for s in _scores(run, rows[0].protocol)}
        parts += [f"protocol {rows[0].protocol}"]
        parts += [f"{_each(sorted(images)) or 'no'} test images"]
    parts.append(f"{_each(sorted({row.seeds for row in rows} - {0}))} seed(s)")
    if len(there) < len(rows):
        parts.append(f"{len(there)} of {len(rows)} rows")
    return ", ".join(parts) + "; " + _each(map(_machine, runs))


def _each(values):
    return " and ".join(dict.fromkeys(map(str, values)))


def _machine(record):
    accelerators = record.hardware.get("accelerators") or ()
    return ", ".join(accelerators) or str(record.hardware.get("cpu", "unknown"))


def _groups(records):
    """Splits records into (records that differ only by seed, what tells them apart)."""
    configs, groups = {}, {}
    for record in records:
        configs.setdefault(record.scheme, []).append(_config(record))
    common = _differing(map(_config, records)) - _OF_SCHEME
    told = {s: sorted(common | _differing(each)) for s, each in configs.items()}
    for record in records:
        settings = {key: _config(record).get(key) for key in told[record.scheme]}
        name = record.scheme, json.dumps(settings)
        group, _ = groups.setdefault(name, ([], settings))
        _refuse_twin(record, group)
        group.append(record)
    return [(tuple(group), settings) for group, settings in groups.values()]


def _config(record):
    known = {"dataset": record.dataset, "network": record.network} | record.config
    return {key: value for key, value in known.items() if key not in _UNTOLD}


def _differing(settings):
    """The keys that do not have the same value everywhere."""
    settings = list(settings)
    return {
        key
        for key in set().union(*settings)
        if len({json.dumps(each.get(key)) for each in settings}) > 1
    }


def _refuse_twin(record, group):
    seed = record.config.get("seed")
    for other in group:
        if other.config.get("seed") == seed:
            raise ValueError(
                "A seed must count once, but two runs share every setting and the "
                f"seed; leave one out. Received: {other.name!r} and {record.name!r}, "
                f"seed {seed}"
            )


def _refuse_mixture(name, group):
    """Runs of one row of an experiment differ in their seeds, and in nothing else."""
    differ = _differing(map(_config, group)) if group else ()
    if differ:
        values = [{key: _config(run).get(key) for key in differ} for run in group]
        raise ValueError(
            f"The runs of row {name!r} must differ in nothing but their seed. "
            f"Received: {values}"
        )
    for index, record in enumerate(group):
        _refuse_twin(record, group[:index])


def _names(records):
    """A function from a score to its (family, column)."""
    kinds = {}
    for score in (score for record in records for score in record.scores):
        kinds.setdefault(_kind(score), []).append(_measure(score))
    told = {kind: sorted(_differing(each)) for kind, each in kinds.items()}

    def names(score):
        kind, settings = _kind(score), _measure(score)
        settings = {key: settings.get(key) for key in told[kind]}
        return _label(kind, settings), _label(score.perturbation, settings)

    return names


def _kind(score):
    return score.perturbation.partition("@")[0]


def _measure(score):
    """An attack's settings, its step size as the reach of all steps, in epsilons.

    The step size itself grows with epsilon: each severity would be its own curve.
    """
    settings = dict(score.settings)
    if "step_size" in settings and score.severity:
        reach = settings.pop("step_size") * settings.get("steps", 1) / score.severity
        settings["reach"] = round(reach, 4)
    return settings


def _label(name, settings):
    inner = ", ".join(f"{key}={value}" for key, value in settings.items())
    return f"{name} ({inner})" if inner else name


def _scores(record, protocol):
    return [score for score in record.scores if score.protocol in (protocol, "none")]


def _cells(group, protocol, names):
    found = {}
    for record in group:
        # A run counts once: of a score measured twice, the later one.
        scores = {names(score): score for score in _scores(record, protocol)}
        for name, score in scores.items():
            found.setdefault(name, []).append(score)
    cells = {name: _cell(family, each) for (family, name), each in found.items()}
    return cells | _corruption_mean(group, protocol)


def _corruption_mean(group, protocol):
    """The cell of the mean over the 15 corruptions, for runs that have all 75 rows.

    One run's has no interval: its rows share their images.
    """
    names = [f"{k}@{s}" for k in corruptions.STANDARD for s in corruptions.SEVERITIES]
    scored = [accuracies(run, protocol) for run in group]
    means = [
        statistics.fmean(run[name] for name in names)
        for run in scored
        if all(name in run for name in names)
    ]
    if not means:
        return {}
    mean = statistics.fmean(means)
    if len(means) == 1:
        cell = Cell(mean, None, None, None, 0.0, 1, CORRUPTION_MEAN)
    else:
        deviation = statistics.stdev(means)
        ends = mean - deviation, mean + deviation
        cell = Cell(mean, deviation, *ends, 0.0, len(means), CORRUPTION_MEAN)
    return {CORRUPTION_MEAN: cell}


def _cell(family, scores):
    first, mean = scores[0], statistics.fmean(score.value for score in scores)
    if len(scores) == 1:
        return Cell(mean, None, first.low, first.high, first.severity, 1, family)
    deviation = statistics.stdev(score.value for score in scores)
    ends = mean - deviation, mean + deviation
    return Cell(mean, deviation, *ends, first.severity, len(scores), family)


def _place(name, order):
    return (order.index(name) if name in order else len(order)), name


def _rank(row):
    values = [(value is not None, value) for value in row.settings.values()]
    return *_place(row.scheme, SCHEMES), values
