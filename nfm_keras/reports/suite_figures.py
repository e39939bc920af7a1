"""Figures of evaluations side by side."""

import pathlib
import types

import numpy as np

from nfm_keras import figures
from nfm_keras.corruptions.constants import EXTRA, NAMES, SEVERITIES, STANDARD
from nfm_keras.figures.styles import model_styles
from nfm_keras.records import ids
from nfm_keras.records.files import file_name
from nfm_keras.records.ids import NO_PROTOCOL
from nfm_keras.records.naming import naming
from nfm_keras.reports import captions
from nfm_keras.reports.cells import by_perturbation, cells, corruption_mean, panel
from nfm_keras.reports.curves import severities

_SHADE = "Shades and whiskers are 95 % intervals over images."


def draw(evaluations, folder):
    """Draws every figure that the evaluations have numbers for.

    Args:
        evaluations: list of `nfm_keras.records.Evaluation`.
        folder: where to write.

    Returns:
        Dict from file name to what it shows.
    """
    folder, looks = pathlib.Path(folder), model_styles(e.model for e in evaluations)
    shown = _curves(evaluations, folder, looks)
    shown |= _corruptions(evaluations, folder, looks)
    diagrams = {e.model: _diagram(e) for e in evaluations if e.reliability}
    if diagrams:
        path = folder / "reliability.png"
        caption = captions.of_evaluations(evaluations, ["clean"])
        caption += " Shades are 95 % intervals over the images of a bin."
        figures.reliability_diagram(diagrams, path, caption=caption, styles=looks)
        shown[path.name] = "Reliability on clean images"
    for sigma in sigmas(evaluations):
        path = folder / f"certified_{sigma:g}.png"
        radii, note = _radii(evaluations, sigma)
        caption = f"{note} {captions.of_evaluations(evaluations, [])}"
        figures.certified_curves(radii, path, caption=caption, styles=looks)
        shown[path.name] = f"Certified accuracy, sigma {sigma:g}"
    return shown


def by_kind(evaluation):
    """Returns the accuracies under each corruption that was measured.

    Args:
        evaluation: `nfm_keras.records.Evaluation`.

    Returns:
        Dict from the corruption to a list of five accuracies in percent, for the
        severities 1 to 5, None where there is none.
    """
    accuracies = {key: s.value for key, s in by_perturbation(evaluation).items()}
    rows = {k: [accuracies.get(f"{k}@{s}") for s in SEVERITIES] for k in NAMES}
    return {kind: row for kind, row in rows.items() if row != [None] * len(row)}


def sigmas(evaluations):
    """Returns the noise levels of randomised smoothing that were measured, sorted."""
    return sorted({c["sigma"] for e in evaluations for c in e.certifications})


def certification(evaluation, sigma):
    """Returns what randomised smoothing certified at a noise level, or None.

    Args:
        evaluation: `nfm_keras.records.Evaluation`.
        sigma: float.
    """
    levels = {c["sigma"]: c for c in reversed(evaluation.certifications)}
    return levels.get(sigma)


def _curves(evaluations, folder, looks):
    """Draws what was measured at several severities, each panel on the same images."""
    name = naming(score for evaluation in evaluations for score in evaluation)
    models = {e.model: cells([e.scores], name) for e in evaluations}
    names = [
        family
        for family in severities.families(models.values())
        if max(_count(row, family) for row in models.values()) > 1
    ]
    if not names:
        return {}
    noises = {family.partition(" ")[0] for family in names} & set(ids.NOISES)
    caption = captions.of_evaluations(evaluations, noises, images=False)
    rows = {e.model: [e.scores] for e in evaluations}
    panels = {family: panel(rows, family, name) for family in names}
    path = folder / "curves.png"
    figures.accuracy_curves(
        {family: found.lines for family, found in panels.items()},
        path,
        caption=f"{caption} {_SHADE}",
        styles=looks,
        protocol=_protocol(evaluations),
        counts={family: found.n for family, found in panels.items()},
    )
    return {path.name: "Accuracy over severity"}


def _count(row, family):
    return sum(cell.family == family for cell in row.values())


def _protocol(evaluations):
    protocols = {score.protocol for e in evaluations for score in e} - {NO_PROTOCOL}
    return protocols.pop() if len(protocols) == 1 else None


def _corruptions(evaluations, folder, looks):
    models = {e.model: values for e in evaluations if (values := by_kind(e))}
    if not models:
        return {}
    path = folder / "corruptions.png"
    caption = captions.of_evaluations(evaluations, NAMES)
    ends = {e.model: mean_ends(e) for e in evaluations}
    figures.corruption_bars(
        *(models, path),
        extra=EXTRA,
        caption=f"{caption} {_SHADE}",
        styles=looks,
        ends=ends,
    )
    shown = {path.name: "Accuracy under common corruptions"}
    for model, values in models.items():
        path = folder / f"heat_map_{file_name(model)}.png"
        figures.heat_map(values, path, extra=EXTRA, caption=f"{model}. {caption}")
        shown[path.name] = f"{model} under each corruption"
    return shown


def mean_ends(scores):
    """Returns the ends of the intervals of means: by corruption, and by severity.

    Args:
        scores: iterable of `nfm_keras.records.Score`, of one classifier.
    """
    by_id = by_perturbation(scores)
    means = {kind: corruption_mean(by_id, [kind]) for kind in NAMES}
    there = [kind for kind in STANDARD if means[kind]]
    means |= {
        severity: corruption_mean(by_id, there, [severity]) for severity in SEVERITIES
    }
    known = {key: mean[1:] for key, mean in means.items() if mean}
    return {key: ends for key, ends in known.items() if None not in ends}


def _certified_on(made):
    """Copies, images and the chance of an error, of each model where they differ."""
    told = {
        model: f"{c['n']:,} noisy copies of each of {c['images']} images; a radius is "
        f"too large with a chance of {c['alpha']:g} at most"
        for model, c in made.items()
    }
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    return "; ".join(f"{model}: {text}" for model, text in told.items())


def _diagram(evaluation):
    arrays = {name: np.asarray(v) for name, v in evaluation.reliability.items()}
    return types.SimpleNamespace(**arrays)


def _radii(evaluations, sigma):
    """Radii and hits of each model, and how they were found in words."""
    made = {e.model: c for e in evaluations if (c := certification(e, sigma))}
    top = max(max(c["radii"], default=0) for c in made.values())
    note = (
        f"Randomised smoothing with noise of σ {sigma:g}, {_certified_on(made)}. The "
        f"largest found is {top:.3f}. Shades are 95 % intervals over images."
    )
    radii = {
        model: (np.asarray(c["radii"]), np.asarray(c["correct"], bool))
        for model, c in made.items()
    }
    return radii, note
