"""The report of evaluations side by side: one Markdown page, CSV files and figures.

Everything is made from `nfm_keras.records.Evaluation`s alone, never from a model.
"""

import dataclasses
import json
import pathlib
import types
import urllib.parse

import numpy as np

from nfm_keras import records
from nfm_keras.attacks.doubts import DOUBTS
from nfm_keras.corruptions.constants import NAMES, SEVERITIES
from nfm_keras.evaluation import masking
from nfm_keras.evaluation.comparison import compare
from nfm_keras.evaluation.statistics import wilson_interval
from nfm_keras.records import ids
from nfm_keras.reports import captions, suite_figures
from nfm_keras.reports.boards.corruption_errors import imagenet_errors
from nfm_keras.reports.cells import MEANS, corruption_mean
from nfm_keras.reports.columns import MISSING, headlines, order
from nfm_keras.reports.suite_figures import by_kind, certification
from nfm_keras.table import Table

_CALIBRATION = {
    "nll": "clean: negative log-likelihood (nats)",
    "brier": "clean: Brier score",
    "ece": "clean: expected calibration error, 15 bins",
    "rms": "clean: RMS calibration error, bins of 100",
}


def write(evaluations, folder, *, title=None):
    """Writes report.md, scores.csv, comparison.csv and the figures.

    Args:
        evaluations: list of `nfm_keras.records.Evaluation` on the same images. The
            first is what the others are compared with.
        folder: where to write.
        title: str.

    Returns:
        `pathlib.Path` of report.md.

    Raises:
        ValueError: If there is nothing to report, or there are two of the same name or
            of different images.
    """
    names = [evaluation.model for evaluation in evaluations]
    if not names or len(set(names)) < len(names) or not all(map(len, evaluations)):
        raise ValueError(
            "A report needs at least one evaluation with scores, each of another name. "
            f"Received: {[(e.model, len(e)) for e in evaluations]}"
        )
    folder = pathlib.Path(folder)
    compared = compare(evaluations, _groups(evaluations))
    records.write_text(folder / "scores.csv", scores(evaluations).to_csv())
    if compared:
        table = Table.from_dicts(map(dataclasses.asdict, compared))
        records.write_text(folder / "comparison.csv", table.to_csv())
    figures = suite_figures.draw(evaluations, folder)
    path = folder / "report.md"
    text = to_markdown(evaluations, compared, title=title, figures=figures)
    records.write_text(path, text)
    return path


def to_markdown(evaluations, compared=(), *, title=None, figures=()):
    """Returns the report as Markdown.

    Args:
        evaluations: As in `write`.
        compared: list of `nfm_keras.evaluation.comparison.Comparison`.
        title: str.
        figures: dict from file name to what it shows.
    """
    parts = [f"# {title or 'How robust?'}", _facts(evaluations)]
    parts.append(_summary(evaluations).to_markdown().strip())
    parts += _doubts(evaluations)
    if _all_kinds(evaluations):
        table = _by_corruption(evaluations)
        parts += ["## By corruption", table.to_markdown().strip()]
    if compared:
        table = _compared(compared).to_markdown().strip()
        parts += ["## Compared image by image", _how_compared(compared), table]
    checked = [evaluation for evaluation in evaluations if evaluation.checks]
    if checked:
        parts.append("## Is the gradient masked?")
    for evaluation in checked:
        checks = [types.SimpleNamespace(**check) for check in evaluation.checks]
        parts.append(f"**{evaluation.model}**: {masking.verdict(checks)}")
        parts.append(masking.to_markdown(checks).strip())
    pictures = dict(figures).items()
    parts += [f"![{what}]({urllib.parse.quote(name)})" for name, what in pictures]
    return "\n\n".join(parts) + "\n"


def _doubts(evaluations):
    lines = [
        f"* **{evaluation.model}**, `{score.perturbation}`: {count} of {score.n} "
        f"images {DOUBTS.get(doubt, doubt)}"
        for evaluation in evaluations
        for score in evaluation
        for doubt, count in score.warnings.items()
    ]
    head = (
        "## Doubtful\n\nThe attack was hindered: robustness may be lower than it seems."
    )
    return [head, "\n".join(lines)] if lines else []


def scores(evaluations):
    """Returns the table of every score, a row each, numbers in full precision.

    Args:
        evaluations: As in `write`.
    """
    rows = []
    for evaluation in evaluations:
        for score in evaluation:
            row = {"model": evaluation.model} | dataclasses.asdict(score)
            for name in ("hits", "calibration", "stages"):
                del row[name]
            row["settings"] = json.dumps(score.settings)
            row["warnings"] = json.dumps(score.warnings) if score.warnings else ""
            rows.append(row | score.calibration)
    return Table.from_dicts(rows)


def _facts(evaluations):
    lines = [captions.of_evaluations(evaluations), ""]
    for e in evaluations:
        share = e.model_seconds / e.seconds if e.seconds else 0
        line = f"* **{e.model}**: {e.seconds / 60:.1f} min, {share:.0%} of it in "
        line += "compiled passes of the classifier"
        if e.stochastic:
            line += "; it stays random, so that a score is of one draw"
        lines.append(f"{line}; `{e.command}`" if e.command else line)
    return "\n".join(lines)


def _summary(evaluations):
    """Rows of figures, a column a model; accuracy with its 95 % interval."""
    rows = [
        (name, [_accuracy(e.score(name)) for e in evaluations])
        for name in _headlines(evaluations)
    ]
    for label, kinds in MEANS.items():
        rows.append((f"mean over {label}", [_mean(e, kinds) for e in evaluations]))
    errors = [imagenet_errors(e) for e in evaluations]
    for name in dict.fromkeys(name for values in errors for name in values):
        rows.append((name, [_number(values.get(name)) for values in errors]))
    clean = [e.score("clean") for e in evaluations]
    for name, label in _CALIBRATION.items():
        values = [score.calibration.get(name) if score else None for score in clean]
        rows.append((label, [_number(value, 4) for value in values]))
    rows += _certified_rows(evaluations)
    return _by_model("accuracy in percent, unless said", evaluations, rows)


def _by_model(head, evaluations, rows):
    """The table of `(label, a text or None for each model)`, without empty rows."""
    rows = [
        [label, *(cell or MISSING for cell in cells)]
        for label, cells in rows
        if any(cells)
    ]
    return Table([head, *(e.model for e in evaluations)], rows, "lr")


def _headlines(evaluations):
    names = {score.perturbation for e in evaluations for score in e}
    return headlines(sorted(names, key=lambda name: _order(*ids.split(name))))


def _order(kind, severity):
    return order(kind, severity or 0.0)


def _accuracy(score):
    if score is None:
        return None
    return f"{_interval(score.value, score.low, score.high)} n={score.n}"


def _mean(evaluation, kinds):
    by_id = {score.perturbation: score for score in evaluation}
    mean = corruption_mean(by_id, kinds)
    sizes = [score.n for score in evaluation if ids.kind(score.perturbation) in kinds]
    return mean and f"{_interval(*mean)} n={min(sizes)}"


def _interval(value, low, high):
    return f"{value:.1f}" if low is None else f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _number(value, digits=1):
    return None if value is None else f"{value:.{digits}f}"


def _certified_rows(evaluations):
    rows = []
    for sigma in suite_figures.sigmas(evaluations):
        made = [certification(e, sigma) for e in evaluations]
        images = captions.joined(sorted({c["images"] for c in made if c}))
        for radius in (0.0, sigma / 2, sigma, 2 * sigma):
            label = f"certified at l2 radius {radius:g}, sigma {sigma:g}, n={images}"
            rows.append((label, [_certified(c, radius) for c in made]))
    return rows


def _certified(made, radius):
    if made is None:
        return None
    radii = np.asarray(made["radii"])
    held = int(np.sum((radii >= radius) & made["correct"]))
    return _interval(100 * held / len(radii), *wilson_interval(held, len(radii)))


def _by_corruption(evaluations):
    rows = [
        (kind.replace("_", " "), [_mean(e, [kind]) for e in evaluations])
        for kind in _all_kinds(evaluations)
    ]
    return _by_model("mean over 5 severities", evaluations, rows)


def _all_kinds(evaluations):
    kinds = {kind for e in evaluations for kind in by_kind(e)}
    return [kind for kind in NAMES if kind in kinds]


def _groups(evaluations):
    """What is compared: the summary's rows, each corruption, and their means."""
    groups = {name: [name] for name in _headlines(evaluations)}
    for kind in _all_kinds(evaluations):
        groups[f"{kind} (mean)"] = [f"{kind}@{s}" for s in SEVERITIES]
    for label, kinds in MEANS.items():
        names = [f"{kind}@{s}" for kind in kinds for s in SEVERITIES]
        groups[f"mean over {label}"] = names
    return groups


def _how_compared(compared):
    return (
        f"Points by which a model differs from {compared[0].first} on the same images, "
        "with the 95 % interval; in brackets where Holm's adjustment over all "
        f"{len(compared)} comparisons leaves p at 0.05 or above. McNemar's exact test; "
        "for means, the t test over images."
    )


def _compared(compared):
    labels = dict.fromkeys(c.label for c in compared)
    others = dict.fromkeys(c.second for c in compared)
    cells = {(c.label, c.second): _difference(c) for c in compared}
    rows = [[name, *(cells.get((name, o), MISSING) for o in others)] for name in labels]
    return Table(["", *others], rows, "lr")


def _difference(comparison):
    text = f"{comparison.difference:+.1f} "
    text += f"[{comparison.low:+.1f}, {comparison.high:+.1f}]"
    return text if comparison.adjusted < 0.05 else f"({text})"
