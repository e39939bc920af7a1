"""Figures of evaluations side by side."""

import pathlib
import types

import numpy as np

from nfm_keras import figures
from nfm_keras.corruptions.constants import EXTRA, NAMES, SEVERITIES
from nfm_keras.records.ids import NO_PROTOCOL
from nfm_keras.reports import captions, curves
from nfm_keras.reports.cells import cells, naming


def draw(evaluations, folder):
    """Draws every figure that the evaluations have numbers for.

    Args:
        evaluations: list of `nfm_keras.records.Evaluation`.
        folder: where to write.

    Returns:
        Dict from file name to what it shows.
    """
    folder, caption = pathlib.Path(folder), captions.of_evaluations(evaluations)
    shown = {}
    panels = _curves(evaluations)
    if panels:
        path = folder / "curves.png"
        protocol = _protocol(evaluations)
        figures.accuracy_curves(panels, path, caption=caption, protocol=protocol)
        shown[path.name] = "Accuracy over severity"
    shown |= _corruptions(evaluations, folder, caption)
    diagrams = {e.model: _diagram(e) for e in evaluations if e.reliability}
    if diagrams:
        path = folder / "reliability.png"
        figures.reliability_diagram(diagrams, path, caption=caption)
        shown[path.name] = "Reliability on clean images"
    for sigma in sigmas(evaluations):
        path = folder / f"certified_{sigma:g}.png"
        radii, note = _radii(evaluations, sigma)
        figures.certified_curves(radii, path, caption=f"{note}; {caption}")
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
    accuracies = {score.perturbation: score.value for score in evaluation}
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


def _curves(evaluations):
    """Family -> model -> points, of what was measured at several severities."""
    name = naming(score for evaluation in evaluations for score in evaluation)
    models = {e.model: cells([e.scores], name) for e in evaluations}
    panels = {}
    for family in curves.families(models.values()):
        sizes = [_count(row, family) for row in models.values()]
        if max(sizes) > 1:
            panels[family] = {m: curves.points(r, family) for m, r in models.items()}
    return panels


def _count(row, family):
    return sum(cell.family == family for cell in row.values())


def _protocol(evaluations):
    protocols = {score.protocol for e in evaluations for score in e} - {NO_PROTOCOL}
    return protocols.pop() if len(protocols) == 1 else None


def _corruptions(evaluations, folder, caption):
    models = {e.model: values for e in evaluations if (values := by_kind(e))}
    if not models:
        return {}
    path = folder / "corruptions.png"
    figures.corruption_bars(models, path, extra=EXTRA, caption=caption)
    shown = {path.name: "Accuracy under common corruptions"}
    for model, values in models.items():
        path = folder / f"heat_map_{model.replace('/', '_')}.png"
        figures.heat_map(values, path, extra=EXTRA, caption=caption)
        shown[path.name] = f"{model} under each corruption"
    return shown


def _diagram(evaluation):
    arrays = {name: np.asarray(v) for name, v in evaluation.reliability.items()}
    return types.SimpleNamespace(**arrays)


def _radii(evaluations, sigma):
    """Radii and hits of each model, and how they were found in words."""
    made = {e.model: c for e in evaluations if (c := certification(e, sigma))}
    any_one = next(iter(made.values()))
    top = max(max(c["radii"], default=0) for c in made.values())
    note = (
        f"randomised smoothing, sigma {sigma:g}, {any_one['n']} noisy copies of "
        f"{any_one['images']} images, alpha {any_one['alpha']:g}; largest radius found "
        f"{top:.3f}"
    )
    radii = {
        model: (np.asarray(c["radii"]), np.asarray(c["correct"], bool))
        for model, c in made.items()
    }
    return radii, note
