"""The report of evaluations side by side: one page, CSV files and figures.

The page is written as Markdown and as HTML, which say the same. Everything is made from
`nfm_keras.records.Evaluation`s alone, never from a model.
"""

import dataclasses
import json
import pathlib
import types

from nfm_keras import records
from nfm_keras.attacks.doubts import DOUBTS
from nfm_keras.evaluation import masking
from nfm_keras.evaluation.comparison import compare
from nfm_keras.records.files import file_name
from nfm_keras.reports import captions, suite_figures
from nfm_keras.reports.comparisons import classes, drawings, tables
from nfm_keras.reports.comparisons.blocks import (
    Code,
    Heading,
    Items,
    Paragraph,
    Picture,
    to_html,
)
from nfm_keras.reports.comparisons.blocks import to_markdown as markdown
from nfm_keras.reports.comparisons.verdict import verdict
from nfm_keras.reports.comparisons.worst import worst_case
from nfm_keras.table import Table

PAGE = "comparison.html"
"""Name of the page as HTML; a run's own page is report.html."""


def write(evaluations, folder, *, title=None):
    """Writes report.md, comparison.html, scores.csv, comparison.csv and the figures.

    Pictures of samples and of adversaries that stand in the folder already, as
    `nfm_keras.reports.pictures` draws them, are shown too.

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
    evaluations = [evaluation.merged() for evaluation in evaluations]
    name = tables.name_of(evaluations)
    compared = compare(evaluations, tables.groups(evaluations), name)
    records.write_text(folder / "scores.csv", scores(evaluations).to_csv())
    if compared:
        table = Table.from_dicts(map(dataclasses.asdict, compared))
        records.write_text(folder / "comparison.csv", table.to_csv())
    worst = worst_case(evaluations)
    figures = drawings.draw(evaluations, compared, worst, folder)
    figures |= suite_figures.draw(evaluations, folder)
    figures |= _pictures(evaluations, folder)
    title, blocks = _titled(title), _blocks(evaluations, compared, figures, worst)
    records.write_text(folder / PAGE, to_html(title, blocks, folder))
    records.write_text(folder / "report.md", markdown(title, blocks))
    return folder / "report.md"


def to_markdown(evaluations, compared=(), *, title=None, figures=()):
    """Returns the report as Markdown.

    Args:
        evaluations: As in `write`.
        compared: list of `nfm_keras.evaluation.comparison.Comparison`.
        title: str.
        figures: dict from file name to what it shows.
    """
    worst = worst_case(evaluations)
    blocks = _blocks(evaluations, compared, dict(figures), worst)
    return markdown(_titled(title), blocks)


def _titled(title):
    return title or "How robust?"


def _blocks(evaluations, compared, figures, worst):
    """The page, in its order."""

    def shown(*starts):
        return [Picture(n, what) for n, what in figures.items() if n.startswith(starts)]

    told, limits = verdict(evaluations, worst)
    return [
        Paragraph(told, "verdict"),
        *shown(drawings.TRADE_OFF),
        *([Items(tuple(limits))] if limits else []),
        Paragraph(captions.of_evaluations(evaluations), "note"),
        *_remarks(evaluations),
        Heading("Accuracy"),
        *shown("curves"),
        tables.summary(evaluations),
        *_corruptions(evaluations, compared, shown),
        *_compared(compared, tables.unpaired(evaluations)),
        *_classes(evaluations, worst, shown),
        *_section("Calibration and certificates", shown("reliability", "certified")),
        *_section("Samples and adversaries", _seen(shown)),
        *_doubts(evaluations),
        *_masking(evaluations),
        *_origin(evaluations),
    ]


def _section(title, blocks):
    return [Heading(title), *blocks] if blocks else []


def _corruptions(evaluations, compared, shown):
    if not tables.all_kinds(evaluations):
        return []
    blocks = [*shown(drawings.RELATIVE), tables.by_corruption(evaluations)]
    relative = [one for one in compared if tables.is_corruption(one.label)]
    if relative:
        text = f"The same in points more than {compared[0].first}, paired:"
        blocks += [Paragraph(text), tables.compared_table(relative)]
    others = shown("corruptions.png", "heat_map")
    return [Heading("By corruption"), *blocks, *others]


def _compared(compared, unpaired):
    rest = [one for one in compared if not tables.is_corruption(one.label)]
    blocks = [Items(tuple(unpaired))] if unpaired else []
    if rest:
        how = Paragraph(tables.how_compared(compared))
        blocks = [how, tables.compared_table(rest), *blocks]
    return _section("Compared image by image", blocks)


def _classes(evaluations, worst, shown):
    blocks, missing = [], classes.missing(evaluations)
    if missing:
        blocks.append(Paragraph(missing, "note"))
    known = [e for e in evaluations if e.answers]
    if known:
        rights = {e.model: e.answers[0] == e.answers[1] for e in known}
        count = max(map(classes.number, known))
        many = "" if count <= classes.MOST else f", the worst of {count} classes"
        text = f"Accuracy by class on images as they are{many}:"
        blocks += [Paragraph(text), classes.accuracy(evaluations, rights)]
        if worst:
            rights = {model: one.right for model, one in worst.found.items()}
            text = f"Accuracy by class under {worst.what}{many}:"
            blocks += [Paragraph(text), classes.accuracy(evaluations, rights)]
        blocks += shown(drawings.CONFUSIONS)
        blocks += [classes.pairs(evaluations)] if many else []
    return _section("By class", blocks)


def _seen(shown):
    blocks = shown("samples", "adversaries")
    if blocks:
        return blocks
    text = "Not drawn: `nfm-evaluate` draws them, which has images and models at hand."
    return [Paragraph(text, "note")]


def adversaries_file(model):
    """Returns the name of the file that a model's adversaries are drawn to."""
    return f"adversaries_{file_name(model)}.png"


def _pictures(evaluations, folder):
    """What `nfm_keras.reports.pictures` drew of these models, by file name."""
    known = {"samples.png": "One image under each corruption"}
    for one in evaluations:
        known[adversaries_file(one.model)] = (
            f"Images, what an attack made of them, and the difference: {one.model}"
        )
    return {name: what for name, what in known.items() if (folder / name).exists()}


def _doubts(evaluations):
    lines = [
        f"**{evaluation.model}**, `{score.perturbation}`: {count} of {score.n} "
        f"images {DOUBTS.get(doubt, doubt)}"
        for evaluation in evaluations
        for score in evaluation
        for doubt, count in score.warnings.items()
    ]
    text = "The attack was hindered: robustness may be lower than it seems."
    return _section("Doubtful", [Paragraph(text), Items(tuple(lines))] if lines else [])


def _masking(evaluations):
    blocks = []
    for evaluation in evaluations:
        checks = [types.SimpleNamespace(**check) for check in evaluation.checks]
        if checks:
            text = f"**{evaluation.model}**: {masking.verdict(checks)}"
            blocks += [Paragraph(text), masking.to_table(checks)]
    return _section("Is the gradient masked?", blocks)


def _remarks(evaluations):
    """What holds for all scores of a model."""
    lines = [
        f"**{e.model}** stays random, so that a score is of one draw."
        for e in evaluations
        if e.stochastic
    ]
    lines += [
        f"**{e.model}** is scored by {e.cut}, those of the classes of {e.dataset}."
        for e in evaluations
        if e.cut
    ]
    lines += [
        f"**{e.model}** has {old} scores from before a score said which code measured "
        "it; those under attacks may be too high."
        for e in evaluations
        if (old := sum(score.revision == 0 for score in e))
    ]
    return [Items(tuple(lines))] if lines else []


def _origin(evaluations):
    """What it took, and the commands, each once."""
    lines = []
    for e in evaluations:
        share = e.model_seconds / e.seconds if e.seconds else 0
        lines.append(
            f"**{e.model}**: {e.seconds / 60:.1f} min, {share:.0%} of it in compiled "
            "passes of the classifier"
        )
    commands = dict.fromkeys(e.command for e in evaluations if e.command)
    code = [Code("\n".join(commands))] if commands else []
    return [Heading("To repeat it"), Items(tuple(lines)), *code]


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
