"""Tables and figures made from records, never from a model.

Every table and figure is of one protocol: `reference` and `pixel` scores answer
different questions and are never put side by side. Scores no protocol touches
(`none`, such as clean accuracy) go with either.

Runs that differ only in their seed are one row, or one line. Matplotlib is imported
when the first figure is drawn.
"""

import csv
import dataclasses
import io
import itertools
import json
import math
import pathlib
import statistics
import textwrap

SCHEMES = ("erm", "noise", "mixup", "noisy_mixup", "manifold_mixup", "nfm")
"""The order of rows and lines. Other schemes follow in alphabetical order."""

FAMILIES = {
    "clean": "",
    "white_noise": "white noise, standard deviation σ ({unit})",
    "salt_and_pepper": "salt and pepper, share of pixels γ",
    "fgsm": "FGSM, l∞ ε ([0, 1] pixels)",
    "fgsm_l2": "FGSM, l2 ε ([0, 1] pixels)",
    "pgd": "PGD, l∞ ε ([0, 1] pixels)",
    "pgd_l2": "PGD, l2 ε ([0, 1] pixels)",
}
"""The order of perturbation families, and their axis labels."""

HEADLINES = (
    *("white_noise@0.1", "white_noise@0.2", "white_noise@0.3"),
    *("salt_and_pepper@0.02", "salt_and_pepper@0.04", "salt_and_pepper@0.1"),
)
"""The columns of the published tables. A Markdown table keeps to them where a family
was measured at more severities than a page is wide; CSV and curves have them all."""

_WIDE = 4

_UNITS = {
    "reference": "after normalisation",
    "pixel": "[0, 1] pixels",
    "none": "[0, 1] pixels",
}

# What a scheme's name implies. Between schemes these differ by design and are not
# printed; two runs of one scheme that differ in them are two rows.
_OF_SCHEME = {"alpha", "beta", "sigma_add", "sigma_mult", "sites", "noise"}

# What says where a run went, not what it is.
_NOT_A_MEASURE = {"batch_size"}  # perturbations are keyed by the image's index
_NOT_A_SETTING = {
    "seed", "scheme", "name", "output", "data_dir", "resume", "verbose", "command"
}  # fmt: skip

# Okabe and Ito's colours, told apart by colour-blind readers; markers for print.
_STYLES = (
    ("#000000", "o"), ("#56B4E9", "s"), ("#E69F00", "^"), ("#CC79A7", "D"),
    ("#009E73", "v"), ("#D55E00", "P"), ("#0072B2", "X"), ("#999999", "*"),
)  # fmt: skip
_DASHES = ("-", "--", ":", "-.")


@dataclasses.dataclass(frozen=True)
class Cell:
    """Accuracy of one group of runs under one perturbation, in percent.

    Args:
        mean: float. Mean over seeds.
        deviation: float or None. Sample standard deviation over seeds (n - 1 in the
            denominator); None for one seed.
        low: float. `mean - deviation`; for one seed the Wilson interval's lower end.
        high: float. The same on the other side.
        severity: float.
        seeds: int.
        family: str. The id before the `@`, with the settings that tell it apart.

    Example:

    >>> Cell(95.0, None, 94.5, 95.4, severity=0.0, seeds=1, family="clean").mean
    95.0
    """

    mean: float
    deviation: float | None
    low: float
    high: float
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
        dataset: str.
        network: str.
        config: dict. Resolved flags of the first run.
        hardware: str.
        images: tuple of int. Numbers of images the scores are of.
        seeds: int. Runs in this row.
        hours: float. Mean training time of a run.
        cells: dict from perturbation id to `Cell`, in column order.

    Example:

    >>> row = Row("nfm", {"alpha": 0.2}, "pixel", "cifar10", "toy", {}, "CPU",
    ...           (100,), 5, 0.1, {})
    >>> row.label
    'nfm (alpha=0.2)'
    """

    scheme: str
    settings: dict
    protocol: str
    dataset: str
    network: str
    config: dict
    hardware: str
    images: tuple[int, ...]
    seeds: int
    hours: float
    cells: dict[str, Cell]

    @property
    def label(self):
        """The scheme, and in brackets what tells the row from its neighbours."""
        return _label(self.scheme, self.settings)


def protocols(records):
    """List the protocols that some score was measured under.

    Args:
        records: iterable of `nfm_keras.records.Record`.

    Returns:
        Sorted tuple of str, `("none",)` if no score depends on a protocol.

    Example:

    >>> protocols([])
    ('none',)
    """
    found = {score.protocol for record in records for score in record.scores}
    return tuple(sorted(found - {"none"})) or ("none",)


def table(records, columns=None, *, protocol=None):
    """Average accuracies over seeds.

    Args:
        records: iterable of `nfm_keras.records.Record`.
        columns: perturbation ids in the order wanted; every id found if None. An id
            measured with several settings is as many columns, named
            `"pgd@8/255 (steps=20)"`.
        protocol: str. Needed only if the scores are of more than one protocol.

    Returns:
        List of `Row`, in the order of `SCHEMES`.

    Raises:
        ValueError: if there is no record, or no score for a column; if scores of two protocols are found and
            none is chosen; if two runs share settings and seed.

    Example:

    >>> rows = table(records.find("runs"))  # doctest: +SKIP
    >>> print(to_markdown(rows))  # doctest: +SKIP
    """
    records = _checked(records)
    protocol = _choose(records, protocol)
    found = _columns(records, protocol)
    unknown = [name for name in columns or () if name not in found]
    if unknown:
        raise ValueError(
            f"`columns` must be among the scores of protocol {protocol}: "
            f"{list(found)}. Received: {unknown}"
        )
    chosen = {name: found[name] for name in (found if columns is None else columns)}
    return [
        _row(group, settings, protocol, chosen) for group, settings in _groups(records)
    ]


def families(rows):
    """List the perturbation families that rows have an accuracy for.

    Args:
        rows: list of `Row`, from `table`.

    Returns:
        List of str without `"clean"`: the panels of `curves`. An attack that was run
        with several settings is as many families.

    Example:

    >>> families([])
    []
    """
    cells = itertools.chain(*(row.cells.values() for row in rows))
    names = dict.fromkeys(cell.family for cell in cells)
    return [name for name in names if name != "clean"]


def to_markdown(rows, columns=None, *, paper=False):
    """Write rows as a Markdown table with its caption.

    A cell reads `mean ± deviation` in percent, or the plain accuracy for one seed.

    Args:
        rows: list of `Row`, from `table`.
        columns: ids to show; all but for a family of more than four severities, of
            which `HEADLINES`, if None.
        paper: bool. Put the published number below each row it can be compared
            with: CIFAR-10 or CIFAR-100, protocol `reference`, the same alpha and
            noise levels. A line of the caption says where the number is from.

    Returns:
        str ending in a newline.

    Example:

    >>> to_markdown([])
    'No runs.\\n'
    """
    if not rows:
        return "No runs.\n"
    ids = _headlines(rows) if columns is None else list(columns)
    lines = ["| " + " | ".join(["scheme", "seeds", "hours", *ids]) + " |"]
    lines += ["|---|" + "---:|" * (len(ids) + 2)]
    for row in rows:
        cells = [_text(row.cells.get(name)) for name in ids]
        lines.append(_line(row.label, row.seeds, f"{row.hours:.2f}", *cells))
        published = _published(row)["accuracy"] if paper else {}
        if published:
            cells = [_number(published.get(name)) for name in ids]
            lines.append(_line(f"*{row.scheme}, paper*", 5, "", *cells))
    notes = [f"Test accuracy in percent. {_caption(rows)}."]
    if paper:
        notes.append(_paper_note(rows))
    return "\n\n".join([*notes, "\n".join(lines)]) + "\n"


def to_csv(rows):
    """Write rows as CSV, one line a row, numbers in full precision.

    Args:
        rows: list of `Row`, from `table`.

    Returns:
        str. A perturbation has four columns: `<id>` (mean), `<id> deviation`,
        `<id> low` and `<id> high`, in percent. What is not known is empty.

    Example:

    >>> to_csv([])
    'scheme,settings,dataset,network,protocol,seeds,hours\\n'
    """
    ids = list(dict.fromkeys(itertools.chain(*(row.cells for row in rows))))
    fields = ["scheme", "settings", "dataset", "network", "protocol", "seeds", "hours"]
    parts = ("mean", "deviation", "low", "high")
    heads = [f"{name} {part}".removesuffix(" mean") for name in ids for part in parts]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(fields + heads)
    for row in rows:
        values = [getattr(row, field) for field in fields]
        values[1] = json.dumps(row.settings) if row.settings else ""
        cells = [row.cells.get(name) for name in ids]
        values += [getattr(cell, part, None) for cell in cells for part in parts]
        writer.writerow(values)
    return stream.getvalue()


def curves(records, path, *, protocol=None, title=None):
    """Draw accuracy over severity, one panel a perturbation family.

    One line a scheme, starting from the clean accuracy at severity 0. The shade is
    one standard deviation over seeds to either side or, for one seed, the Wilson
    95 % interval.

    Args:
        records: iterable of `nfm_keras.records.Record`.
        path: PNG, PDF or SVG file to write; its folder is created.
        protocol: str. Needed only if the scores are of more than one protocol.
        title: str.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: as `table` does, and if there is nothing to draw.

    Example:

    >>> curves(records.find("runs"), "curves.png")  # doctest: +SKIP
    """
    rows = table(records, protocol=protocol)
    panels = families(rows)
    if not panels:
        raise ValueError(
            "Robustness curves need scores under some perturbation. "
            f"Received: none in {[row.label for row in rows]}"
        )
    figure, axes = _figure(len(panels))
    for axis, family in zip(axes, panels, strict=True):
        for row, style in zip(rows, _styles(rows), strict=True):
            _curve(axis, row, family, style)
        axis.set_xlabel(_axis_label(family, rows[0].protocol))
        axis.set_ylabel("test accuracy (%)")
    return _finish(figure, axes, path, title, _caption(rows) + f"; {_shade(rows)}")


def histories(records, path, *, title=None):
    """Draw training loss and validation or test accuracy over epochs.

    One line a scheme, the mean over seeds; the shade is one standard deviation to
    either side. Accuracy on mixed training batches means little and is left out.

    Args:
        records: iterable of `nfm_keras.records.Record`.
        path: PNG, PDF or SVG file to write; its folder is created.
        title: str.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: if no record has a history.

    Example:

    >>> histories(records.find("runs"), "history.png")  # doctest: +SKIP
    """
    records = _checked(records)
    if not any(record.history for record in records):
        raise ValueError(
            "Training curves need a history. "
            f"Received: none in {[record.name for record in records]}"
        )
    rows = [_row(group, settings, "none", {}) for group, settings in _groups(records)]
    accuracy = _accuracy_key(records)
    figure, axes = _figure(2)
    for (group, _), row, style in zip(
        _groups(records), rows, _styles(rows), strict=True
    ):
        _history(axes[0], group, "loss", 1, row.label, style)
        _history(axes[1], group, accuracy, 100, row.label, style)
    axes[0].set_ylabel("training loss (nats)")
    axes[1].set_ylabel(f"{'test' if 'test' in accuracy else 'validation'} accuracy (%)")
    for axis in axes:
        axis.set_xlabel("epoch")
    return _finish(figure, axes, path, title, _caption(rows, measured=False))


# --- runs to groups ---


def _checked(records):
    records = list(records)
    if not records:
        raise ValueError("A table or figure needs a record. Received: none")
    return records


def _choose(records, protocol):
    found = protocols(records)
    if protocol is None and len(found) > 1:
        raise ValueError(
            "Protocols are never mixed: choose one with `protocol`. "
            f"Received: scores of {found}"
        )
    if protocol is not None and protocol not in (*found, "none"):
        raise ValueError(
            f"`protocol` must be one that scores were measured under, of {found}. "
            f"Received: {protocol!r}"
        )
    return protocol or found[0]


def _groups(records):
    """Splits records into (records that differ only by seed, what tells them apart)."""
    telling, groups = _telling(records), {}
    for record in records:
        keys, known = telling[record.scheme], _settings(record)
        settings = {key: known.get(key) for key in keys}
        identity = (record.scheme, json.dumps(settings))
        groups.setdefault(identity, (settings, []))[1].append(record)
    for _, group in groups.values():
        _refuse_twins(group)
    ordered = sorted(groups.items(), key=lambda item: _rank(item[0][0], item[1][0]))
    return [(group, settings) for _, (settings, group) in ordered]


def _telling(records):
    """Names of the settings that tell rows apart, for each scheme."""
    within = {}
    for record in records:
        within.setdefault(record.scheme, []).append(_settings(record))
    every = list(itertools.chain(*within.values()))
    keys = sorted(set().union(*every) - _NOT_A_SETTING)
    common = {
        key
        for key in keys
        if key.split(".")[-1] not in _OF_SCHEME and _differs(key, every)
    }
    return {
        scheme: [key for key in keys if key in common or _differs(key, some)]
        for scheme, some in within.items()
    }


def _differs(key, settings):
    return len({json.dumps(each.get(key), sort_keys=True) for each in settings}) > 1


def _settings(record):
    return {
        "dataset": record.dataset,
        "network": record.network,
    } | _flat(record.config)


def _flat(config):
    """Names nested settings `outer.inner`."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": item for name, item in _flat(value).items()}
        else:
            flat[key] = value
    return flat


def _refuse_twins(group):
    seeds = {}
    for record in group:
        seed = record.config.get("seed")
        if seed is not None and seed in seeds:
            raise ValueError(
                "A seed must count once, but two runs share every setting and the "
                f"seed; leave one out. Received: {seeds[seed]!r} and {record.name!r}, "
                f"seed {seed}"
            )
        seeds[seed] = record.name


def _rank(scheme, settings):
    numbers = (int, float)
    values = [
        (0, x, "") if isinstance(x, numbers) else (1, 0, str(x))
        for x in settings.values()
    ]
    return *_place(scheme, SCHEMES), values


def _label(scheme, settings):
    inner = ", ".join(f"{key}={value}" for key, value in settings.items())
    return f"{scheme} ({inner})" if inner else scheme


# --- groups to rows ---


def _columns(records, protocol):
    """Column name to (id, settings, family), ordered by family, then severity."""
    scores = [score for _, score in _scores(records, protocol)]
    telling = _telling_settings(scores)
    found, places = {}, {}
    for score in scores:
        kind = score.perturbation.partition("@")[0]
        told = {key: score.settings.get(key) for key in telling[kind]}
        name = _label(score.perturbation, told)
        # The step size follows from ε and the steps: no panel of its own.
        told = {key: value for key, value in told.items() if key != "step_size"}
        found[name] = (score.perturbation, _measure(score), _label(kind, told))
        places[name] = (*_place(kind, list(FAMILIES)), found[name][2], score.severity)
    return {name: found[name] for name in sorted(found, key=places.get)}


def _telling_settings(scores):
    """For each kind, the settings that differ between measures of one id."""
    measured, telling = {}, {}
    for score in scores:
        measured.setdefault(score.perturbation, []).append(score.settings)
    for name, settings in measured.items():
        keys = sorted(set().union(*settings) - _NOT_A_MEASURE)
        telling.setdefault(name.partition("@")[0], {}).update(
            {key: None for key in keys if _differs(key, settings)}
        )
    return telling


def _measure(score):
    return {k: v for k, v in score.settings.items() if k not in _NOT_A_MEASURE}


def _place(name, order):
    return (order.index(name) if name in order else len(order)), name


def _axis_label(family, protocol):
    kind, _, settings = family.partition(" ")
    label = FAMILIES.get(kind, f"{kind}, severity").format(unit=_UNITS[protocol])
    return f"{label} {settings}".strip()


def _headlines(rows):
    ids = {}
    for name, cell in itertools.chain(*(row.cells.items() for row in rows)):
        ids.setdefault(cell.family, {})[name] = None
    chosen = []
    for names in ids.values():
        kept = [name for name in names if name in HEADLINES]
        chosen += kept if len(names) > _WIDE and kept else names
    return chosen


def _scores(records, protocol):
    for record in records:
        for score in record.scores:
            if score.protocol in (protocol, "none"):
                yield record, score


def _row(group, settings, protocol, columns):
    images = {score.n for _, score in _scores(group, protocol)}
    cells = {name: _cell(group, protocol, *columns[name]) for name in columns}
    first = group[0]
    return Row(
        scheme=first.scheme,
        settings=settings,
        protocol=protocol,
        dataset=first.dataset,
        network=first.network,
        config=first.config,
        hardware=", ".join(sorted({_machine(record) for record in group})),
        images=tuple(sorted(images)),
        seeds=len(group),
        hours=statistics.fmean(record.seconds for record in group) / 3600,
        cells={name: cell for name, cell in cells.items() if cell},
    )


def _cell(group, protocol, perturbation, settings, family):
    # A run scored with several perturbation seeds is still one run: average it first.
    runs = [
        [
            score
            for _, score in _scores([record], protocol)
            if score.perturbation == perturbation and _measure(score) == settings
        ]
        for record in group
    ]
    runs = [run for run in runs if run]
    if not runs:
        return None
    values = [statistics.fmean(score.value for score in run) for run in runs]
    mean, deviation = _spread(values)
    if deviation is None:
        low = statistics.fmean(score.low for score in runs[0])
        high = statistics.fmean(score.high for score in runs[0])
    else:
        low, high = mean - deviation, mean + deviation
    return Cell(mean, deviation, low, high, runs[0][0].severity, len(runs), family)


def _spread(values):
    if not all(map(math.isfinite, values)):  # a diverged run: leave a gap
        return math.nan, None
    mean = statistics.fmean(values)
    return mean, statistics.stdev(values) if len(values) > 1 else None


def _machine(record):
    accelerators = record.hardware.get("accelerators") or ()
    return ", ".join(accelerators) or str(record.hardware.get("cpu", "unknown"))


# --- words ---


def _line(*cells):
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _number(value):
    return "" if value is None else f"{value:.1f}"


def _text(cell):
    if cell is None:
        return ""
    if cell.deviation is None:
        return _number(cell.mean)
    return f"{cell.mean:.1f} ± {cell.deviation:.1f}"


def _caption(rows, measured=True):
    """What all rows share, and the range of what they do not."""
    parts = [
        _join(row.dataset for row in rows),
        _join(row.network for row in rows),
        _counted([row.config["epochs"] for row in rows if "epochs" in row.config])
        + " epochs",
    ]
    if measured:
        images = sorted(set(itertools.chain(*(row.images for row in rows))))
        parts += [f"protocol {rows[0].protocol}", f"{_counted(images)} images"]
    parts.append(f"{_counted([row.seeds for row in rows])} seed(s)")
    return ", ".join(parts) + "; " + _join(row.hardware for row in rows)


def _join(names):
    return " and ".join(dict.fromkeys(names))


def _counted(values):
    if not values:
        return "unknown"
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def _shade(rows):
    cells = [cell for row in rows for cell in row.cells.values()]
    kinds = {cell.deviation is None for cell in cells}
    words = {False: "one standard deviation over seeds", True: "Wilson 95 % (one seed)"}
    return "shade: " + " or ".join(words[kind] for kind in sorted(kinds))


def _published(row):
    """The paper's row for `row`, empty unless settings and protocol are the same."""
    nothing = {"accuracy": {}}
    tables = _paper_tables()
    if row.protocol != "reference" or row.dataset not in tables:
        return nothing
    config = {key.split(".")[-1]: x for key, x in _flat(row.config).items()}
    for entry in tables[row.dataset]["rows"]:
        settings = entry["settings"].items()
        same = all(config.get(key) in (None, value) for key, value in settings)
        if entry["scheme"] == row.scheme and same:
            return entry
    return nothing


def _paper_tables():
    path = pathlib.Path(__file__).with_name("paper_tables.json")
    return json.loads(path.read_text(encoding="utf-8"))


def _paper_note(rows):
    if not any(_published(row)["accuracy"] for row in rows):
        return (
            "The paper has no numbers to compare with: they are of CIFAR-10 and "
            "CIFAR-100 under protocol reference, at the paper's settings."
        )
    tables = _paper_tables()
    used = dict.fromkeys(row.dataset for row in rows if _published(row)["accuracy"])
    titles = _join(tables[dataset]["title"] for dataset in used)
    return f"Rows marked *paper*: *Noisy Feature Mixup*, {titles}."


# --- drawing ---


def _figure(panels):
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    columns = min(panels, 3)
    lines = math.ceil(panels / columns)
    figure = Figure(figsize=(4 * columns, 3.4 * lines + 0.9), dpi=150)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for spare in axes[panels:]:
        spare.remove()
    return figure, axes[:panels]


def _styles(rows):
    """Colour and marker by scheme, the same in every figure; dashes by variant."""
    others = sorted({row.scheme for row in rows} - set(SCHEMES))
    order, seen = [*SCHEMES, *others], {}
    for row in rows:
        variant = seen[row.scheme] = seen.get(row.scheme, -1) + 1
        color, marker = _STYLES[order.index(row.scheme) % len(_STYLES)]
        dashes = _DASHES[variant % len(_DASHES)]
        yield {"color": color, "marker": marker, "linestyle": dashes}


def _curve(axis, row, family, style):
    # Clean accuracy is every curve's first point, unless it has one at 0 itself.
    cells = {
        cell.severity: cell
        for kind in ("clean", family)
        for cell in row.cells.values()
        if cell.family == kind
    }
    cells = [cells[severity] for severity in sorted(cells)]
    if not cells:
        return
    x = [cell.severity for cell in cells]
    means = [cell.mean for cell in cells]
    axis.plot(x, means, label=row.label, markersize=4, linewidth=1.4, **style)
    low, high = [c.low for c in cells], [c.high for c in cells]
    axis.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)


def _accuracy_key(records):
    """The history's validation accuracy if there is one, else its test accuracy."""
    keys = dict.fromkeys(itertools.chain(*(record.history for record in records)))
    for prefix in ("val_", "test_"):
        for key in keys:
            if key.startswith(prefix) and "acc" in key:
                return key
    return "val_accuracy"


def _history(axis, group, key, scale, label, style):
    series = [record.history.get(key, []) for record in group]
    # Runs may have stopped at different epochs: average those that got so far.
    epochs = [
        [x for x in step if x is not None] for step in itertools.zip_longest(*series)
    ]
    if not epochs:
        return
    x = range(1, len(epochs) + 1)
    spreads = [_spread([scale * value for value in epoch]) for epoch in epochs]
    means = [mean for mean, _ in spreads]
    # Markers a few epochs apart, or they would hide the line.
    every = max(1, len(epochs) // 10)
    axis.plot(x, means, label=label, markersize=4, markevery=every, **style)
    low = [mean - (deviation or 0) for mean, deviation in spreads]
    high = [mean + (deviation or 0) for mean, deviation in spreads]
    axis.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)


def _finish(figure, axes, path, title, caption):
    width = figure.get_size_inches()[0]
    caption = textwrap.fill(caption, int(width * 13))
    labels = {}
    for axis in axes:
        axis.grid(True, alpha=0.3)
        axis.locator_params(axis="x", nbins=6)
        axis.spines[["top", "right"]].set_visible(False)
        handles, names = axis.get_legend_handles_labels()
        labels |= dict(zip(names, handles, strict=True))
    names = [textwrap.fill(name, int(width * 9)) for name in labels]
    longest = max(map(len, names), default=0)
    figure.legend(
        labels.values(),
        names,
        loc="outside lower center",
        ncols=max(1, min(len(names), int(width * 11 / (longest + 7)))),
        fontsize=9,
        frameon=False,
    )
    head = f"{title}\n{caption}" if title else caption
    figure.suptitle(head, fontsize=9)
    figure.set_layout_engine("constrained")
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return figure
