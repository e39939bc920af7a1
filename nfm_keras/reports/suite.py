"""Evaluations as a report: one Markdown page, CSV files and figures.

Everything is made from `nfm_keras.records.evaluation.Evaluation`s alone, never from a model.
"""

import csv
import dataclasses
import io
import json
import pathlib
import types
import urllib.parse

import numpy as np

from nfm_keras import corruptions
from nfm_keras.evaluation import corruption_error, masking
from nfm_keras.evaluation.comparison import Comparison, compare
from nfm_keras.evaluation.statistics import wilson_interval
from nfm_keras.figures import robustness as suite_plots
from nfm_keras.records import evaluation as results
from nfm_keras.records.ids import ATTACKS
from nfm_keras.reports.columns import headlines

MEANS = {
    "15 common corruptions": corruptions.STANDARD,
    "19 corruptions": corruptions.NAMES,
    "the paper's 6": corruptions.PAPER,
}
"""Means over corruptions and their five severities."""


def write(evaluations, folder, *, title=None):
    """Write report.md, scores.csv, comparison.csv and the figures.

    Args:
        evaluations: list of `nfm_keras.records.evaluation.Evaluation` on the same images. The
            first is what the others are compared with.
        folder: where to write.
        title: str.

    Returns:
        `pathlib.Path` of report.md.

    Raises:
        ValueError: nothing to report, two of the same name, or of different images.
    """
    names = [each.model for each in evaluations]
    if not names or len(set(names)) < len(names) or not all(map(len, evaluations)):
        raise ValueError(
            "A report needs at least one evaluation with scores, each of another name. "
            f"Received: {[(each.model, len(each)) for each in evaluations]}"
        )
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    compared = compare(evaluations, _groups(evaluations))
    (folder / "scores.csv").write_text(scores_csv(evaluations), encoding="utf-8")
    if compared:
        (folder / "comparison.csv").write_text(_csv(compared), encoding="utf-8")
    figures = draw(evaluations, folder)
    path = folder / "report.md"
    text = to_markdown(evaluations, compared, title=title, figures=figures)
    path.write_text(text, encoding="utf-8")
    return path


def to_markdown(evaluations, compared=(), *, title=None, figures=()):
    """The report as Markdown.

    Args:
        evaluations: as in `write`.
        compared: list of `nfm_keras.evaluation.comparison.Comparison`.
        title: str.
        figures: dict from file name to what it shows.
    """
    parts = [f"# {title or 'How robust?'}", _facts(evaluations), _summary(evaluations)]
    if _all_kinds(evaluations):
        parts += ["## By corruption", _by_corruption(evaluations)]
    if compared:
        parts += ["## Compared image by image", _compared(compared)]
    checked = [each for each in evaluations if each.checks]
    if checked:
        parts.append("## Is the gradient masked?")
    for each in checked:
        checks = [types.SimpleNamespace(**check) for check in each.checks]
        heading = f"**{each.model}**: {masking.verdict(checks)}"
        parts += [heading, masking.to_markdown(checks).strip()]
    pictures = dict(figures).items()
    parts += [f"![{what}]({urllib.parse.quote(name)})" for name, what in pictures]
    return "\n\n".join(parts) + "\n"


def scores_csv(evaluations):
    """Every score, one line each, numbers in full precision."""
    lines = []
    for each in evaluations:
        for result in each.results:
            score = dataclasses.asdict(result.score)
            score["settings"] = json.dumps(score["settings"])
            lines.append({"model": each.model} | score | result.calibration)
    names = list(dict.fromkeys(name for line in lines for name in line))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()


def draw(evaluations, folder):
    """Draw every figure that the evaluations have numbers for.

    Returns:
        dict from file name to what it shows.
    """
    folder, caption, found = pathlib.Path(folder), _caption(evaluations), {}

    def figure(name, what, function, values, note=caption):
        if values:
            function(values, folder / name, caption=note)
            found[name] = what

    curves = _curves(evaluations)
    figure("curves.png", "Accuracy over severity", suite_plots.accuracy_curves, curves)
    by_kind = {each.model: _by_kind(each) for each in evaluations if _by_kind(each)}
    bars, heat_map = suite_plots.corruption_bars, suite_plots.heat_map
    figure("corruptions.png", "Accuracy under common corruptions", bars, by_kind)
    for model, values in by_kind.items():
        name = f"heat_map_{model.replace('/', '_')}.png"
        figure(name, f"{model} under each corruption", heat_map, values)
    diagrams = {each.model: _diagram(each) for each in evaluations if each.reliability}
    reliability = suite_plots.reliability_diagram
    figure("reliability.png", "Reliability on clean images", reliability, diagrams)
    for sigma in sorted({c["sigma"] for e in evaluations for c in e.certifications}):
        radii, note = _radii(evaluations, sigma)
        name, what = f"certified_{sigma:g}.png", f"Certified accuracy, sigma {sigma:g}"
        figure(name, what, suite_plots.certified_curves, radii, note)
    return found


def _facts(evaluations):
    lines = [_caption(evaluations)]
    for each in evaluations:
        share = each.model_seconds / each.seconds if each.seconds else 0
        line = f"* **{each.model}**: {each.seconds / 60:.1f} min, {share:.0%} of it in "
        line += "compiled passes of the classifier"
        if each.stochastic:
            line += "; it stays random, so that a score is of one draw"
        lines.append(f"{line}; `{each.command}`" if each.command else line)
    return "\n".join([lines[0], "", *lines[1:]])


def _caption(evaluations):
    scores = [score for each in evaluations for score in each]
    protocols = sorted({score.protocol for score in scores} - {"none"})
    attacked = {s.n for s in scores if _kind(s) in ATTACKS}
    others = {s.n for s in scores if _kind(s) not in ATTACKS}
    sources = {s.settings["source"] for s in scores if _kind(s) in corruptions.NAMES}
    parts = [
        " and ".join(dict.fromkeys(each.dataset for each in evaluations)),
        *([f"{_each(others)} images"] if others else []),
        *([f"{_each(attacked)} attacked"] if attacked else []),
        *([f"noise protocol {_each(protocols)}"] if protocols else []),
        *([f"corruptions {_each(sources)}"] if sources else []),
        *(["frost synthetic"] if _is_frost_synthetic(scores) else []),
        " and ".join(dict.fromkeys(map(_machine, evaluations))),
    ]
    return ", ".join(parts)


def _is_frost_synthetic(scores):
    return any(score.settings.get("frost") == "synthetic" for score in scores)


def _machine(evaluation):
    accelerators = evaluation.hardware.get("accelerators") or ()
    return ", ".join(accelerators) or str(evaluation.hardware.get("cpu", "unknown"))


def _each(values):
    return " and ".join(map(str, sorted(values)))


def _summary(evaluations):
    """Rows of figures, a column a model; accuracy with its 95 % interval."""
    rows = [
        (name, [_accuracy(each.result(name)) for each in evaluations])
        for name in _headlines(evaluations)
    ]
    for label, kinds in MEANS.items():
        means = [_mean(each, kinds) for each in evaluations]
        rows.append((f"mean over {label}", means))
    figures = [_imagenet_figures(each) for each in evaluations]
    for name in dict.fromkeys(name for each in figures for name in each):
        rows.append((name, [_number(each.get(name)) for each in figures]))
    clean = [each.result("clean") for each in evaluations]
    for name in ("nll", "brier", "ece", "rms"):
        values = [result and result.calibration.get(name) for result in clean]
        rows.append((_CALIBRATION[name], [_number(v, 4) for v in values]))
    rows += _certified_rows(evaluations)
    rows = [(label, cells) for label, cells in rows if any(cells)]
    head = ["accuracy in percent, unless said", *(e.model for e in evaluations)]
    return _table(head, [[label, *cells] for label, cells in rows])


_SEVERITIES = corruptions.SEVERITIES
_CALIBRATION = {
    "nll": "clean: negative log-likelihood (nats)",
    "brier": "clean: Brier score",
    "ece": "clean: expected calibration error, 15 bins",
    "rms": "clean: RMS calibration error, bins of 100",
}


def _headlines(evaluations):
    ids = dict.fromkeys(score.perturbation for each in evaluations for score in each)
    return headlines(list(ids))


def _accuracy(result):
    if result is None:
        return ""
    score = result.score
    return f"{score.value:.1f} [{score.low:.1f}, {score.high:.1f}]"


def _mean(evaluation, kinds):
    found = [evaluation.result(f"{k}@{s}") for k in kinds for s in _SEVERITIES]
    if None in found:
        return ""
    mean, low, high = results.mean_accuracy(found)
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def _number(value, digits=1):
    return "" if value is None else f"{value:.{digits}f}"


def _imagenet_figures(evaluation):
    clean, errors = evaluation.result("clean"), {}
    for kind, values in _by_kind(evaluation).items():
        pairs = enumerate(values, start=1)
        errors |= {(kind, s): 1 - v / 100 for s, v in pairs if v is not None}
    complete = all((k, s) in errors for k in corruptions.STANDARD for s in _SEVERITIES)
    # AlexNet's errors are on the 1,000 classes of ImageNet.
    if not (len(evaluation.probe[0]) == 1000 and clean and complete):
        return {}
    return corruption_error.summarise(errors, 1 - clean.score.value / 100, True)


def _certified_rows(evaluations):
    levels = sorted({c["sigma"] for each in evaluations for c in each.certifications})
    rows = []
    for sigma in levels:
        found = [_certification(each, sigma) for each in evaluations]
        for radius in (0.0, sigma / 2, sigma, 2 * sigma):
            cells = [_certified(each, radius) for each in found]
            images = _each({each["images"] for each in found if each})
            label = f"certified at l2 radius {radius:g}, sigma {sigma:g}, n={images}"
            rows.append((label, cells))
    return rows


def _certification(evaluation, sigma):
    return next((c for c in evaluation.certifications if c["sigma"] == sigma), None)


def _certified(certification, radius):
    if certification is None:
        return ""
    radii = np.asarray(certification["radii"])
    held = int(np.sum((radii >= radius) & certification["correct"]))
    low, high = wilson_interval(held, len(radii))
    return f"{100 * held / len(radii):.1f} [{low:.1f}, {high:.1f}]"


def _by_corruption(evaluations):
    kinds = _all_kinds(evaluations)
    rows = []
    for kind in kinds:
        cells = [_mean(each, [kind]) for each in evaluations]
        rows.append([kind.replace("_", " "), *cells])
    head = ["mean over 5 severities", *(each.model for each in evaluations)]
    return _table(head, rows)


def _all_kinds(evaluations):
    found = {kind for each in evaluations for kind in _by_kind(each)}
    return [kind for kind in corruptions.NAMES if kind in found]


def _by_kind(evaluation):
    """kind -> five accuracies, None where one was not measured."""
    found = {}
    for kind in corruptions.NAMES:
        cells = [evaluation.result(f"{kind}@{s}") for s in _SEVERITIES]
        if any(cells):
            found[kind] = [cell and cell.score.value for cell in cells]
    return found


def _groups(evaluations):
    """What is compared: the summary's rows, each corruption, and their means."""
    groups = {name: [name] for name in _headlines(evaluations)}
    for kind in _all_kinds(evaluations):
        groups[f"{kind} (mean)"] = [f"{kind}@{s}" for s in _SEVERITIES]
    for label, kinds in MEANS.items():
        ids = [f"{kind}@{s}" for kind in kinds for s in _SEVERITIES]
        groups[f"mean over {label}"] = ids
    return groups


def _compared(compared):
    note = (
        f"Points by which a model differs from {compared[0].first} on the same images, "
        "with the 95 % interval; in brackets where Holm's adjustment over all "
        f"{len(compared)} comparisons leaves p at 0.05 or above. McNemar's exact test; "
        "for means, the z test over images."
    )
    labels = dict.fromkeys(each.label for each in compared)
    others = dict.fromkeys(each.second for each in compared)
    cells = {(each.label, each.second): _difference(each) for each in compared}
    rows = [[name, *(cells.get((name, o), "") for o in others)] for name in labels]
    return f"{note}\n\n{_table(['', *others], rows)}"


def _difference(each):
    text = f"{each.difference:+.1f} [{each.low:+.1f}, {each.high:+.1f}]"
    return text if each.adjusted < 0.05 else f"({text})"


def _table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _csv(compared):
    stream = io.StringIO()
    names = [field.name for field in dataclasses.fields(Comparison)]
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(dataclasses.asdict, compared))
    return stream.getvalue()


def _curves(evaluations):
    """panel -> model -> points, for what was measured at several severities."""
    found = {}
    for each in evaluations:
        for score in each:
            if _kind(score) != "clean" and _kind(score) not in corruptions.NAMES:
                point = (score.severity, score.value, score.low, score.high)
                panel = found.setdefault(_kind(score), {})
                panel.setdefault(each.model, []).append(point)
    several = lambda lines: any(len(points) > 1 for points in lines.values())  # noqa: E731
    found = {kind: lines for kind, lines in found.items() if several(lines)}
    for each in evaluations:
        clean = each.result("clean")
        for lines in found.values():
            points = lines.get(each.model, [])
            if clean and points and not any(point[0] == 0 for point in points):
                points.append(
                    (0.0, clean.score.value, clean.score.low, clean.score.high)
                )
    return found


def _diagram(evaluation):
    arrays = {name: np.asarray(v) for name, v in evaluation.reliability.items()}
    return types.SimpleNamespace(**arrays)


def _radii(evaluations, sigma):
    found = {each.model: _certification(each, sigma) for each in evaluations}
    found = {model: each for model, each in found.items() if each}
    any_one = next(iter(found.values()))
    top = max(max(each["radii"], default=0) for each in found.values())
    note = (
        f"randomised smoothing, sigma {sigma:g}, {any_one['n']} noisy copies of "
        f"{any_one['images']} images, alpha {any_one['alpha']:g}; largest radius found "
        f"{top:.3f}; {_caption(evaluations)}"
    )
    pairs = {
        model: (np.asarray(each["radii"]), np.asarray(each["correct"], bool))
        for model, each in found.items()
    }
    return pairs, note


def _kind(score):
    return score.perturbation.partition("@")[0]
