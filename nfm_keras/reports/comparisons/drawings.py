"""Figures that only a comparison has."""

from nfm_keras import figures
from nfm_keras.corruptions.constants import NAMES
from nfm_keras.figures.styles import model_styles
from nfm_keras.reports import captions
from nfm_keras.reports.comparisons import classes, tables

TRADE_OFF = "clean_and_worst.png"
RELATIVE = "corruptions_relative.png"
CONFUSIONS = "confusions.png"


def draw(evaluations, compared, worst, folder):
    """Draws clean against worst, differences under corruptions, and confusions.

    Args:
        evaluations: list of `nfm_keras.records.Evaluation`.
        compared: list of `nfm_keras.evaluation.comparison.Comparison`.
        worst: What `worst.worst_case` returned, or None.
        folder: Path to write to.

    Returns:
        Dict from file name to what it shows.
    """
    looks, shown = model_styles(e.model for e in evaluations), {}
    points = _points(evaluations, worst) if worst else {}
    if points:
        counts = sorted({e.score("clean").n for e in evaluations})
        attacked = sorted({len(m.right) for m in worst.found.values()})
        caption = (
            f"{captions.joined(f'{n:,}' for n in counts)} images as they are, "
            f"{captions.joined(f'{n:,}' for n in attacked)} of them in the worst case. "
            "Whiskers are 95 % intervals over images."
        )
        options = {"worst": worst.what, "caption": caption, "styles": looks}
        figures.clean_against_worst(points, folder / TRADE_OFF, **options)
        shown[TRADE_OFF] = f"Accuracy on images as they are, and under {worst.what}"
    rows = _rows(compared)
    if rows:
        first = compared[0].first
        caption = (
            "Mean of five severities. Whiskers are 95 % intervals of the paired "
            "difference, not adjusted for their number."
        )
        options = {"first": first, "caption": caption, "styles": looks}
        figures.differences(rows, folder / RELATIVE, **options)
        shown[RELATIVE] = f"Accuracy under corruptions, relative to {first}"
    return shown | _confusions(evaluations, folder)


def _points(evaluations, worst):
    scores = {e.model: e.score("clean") for e in evaluations}
    if not all(scores.values()):
        return {}
    return {
        model: ((score.value, score.low, score.high), worst.found[model][:3])
        for model, score in scores.items()
    }


def _rows(compared):
    """Corruption -> model -> `(difference, low, high)`, means at the end."""
    rows = {}
    kinds = {f"{kind} (mean)": kind.replace("_", " ") for kind in NAMES}
    for one in compared:
        label = kinds.get(one.label, one.label)
        if tables.is_corruption(one.label):
            ends = one.difference, one.low, one.high
            rows.setdefault(label, {})[one.second] = ends
    return rows


def _confusions(evaluations, folder):
    found = {e.model: classes.confusion(e) for e in evaluations if e.answers}
    sizes = {len(counts) for counts in found.values()}
    if len(sizes) != 1 or max(sizes) > classes.MOST:
        return {}
    known = next(e for e in evaluations if e.answers)
    caption = (
        "What images of each class are taken for, as they are, in percent of the "
        "class. Colour: confusions alone."
    )
    options = {"classes": classes.names(known, *sizes), "caption": caption}
    figures.confusions(found, folder / CONFUSIONS, **options)
    return {CONFUSIONS: "Confusion matrix of each model on images as they are"}
