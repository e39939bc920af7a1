"""Normalised errors under the corruptions of ImageNet-C."""

from nfm_keras.corruptions.constants import SEVERITIES, STANDARD
from nfm_keras.evaluation import corruption_error
from nfm_keras.records import ids
from nfm_keras.reports.suite_figures import by_kind


def imagenet_errors(evaluation):
    clean, errors = evaluation.score("clean"), {}
    for kind, values in by_kind(evaluation).items():
        pairs = enumerate(values, start=1)
        errors |= {(kind, s): 1 - v / 100 for s, v in pairs if v is not None}
    complete = all((k, s) in errors for k in STANDARD for s in SEVERITIES)
    # AlexNet's errors are on the 1,000 classes of ImageNet.
    if not (len(evaluation.probe[0]) == 1000 and clean and complete):
        return {}
    values = corruption_error.summarise(errors, 1 - clean.value / 100, True)
    told = {name: _harder(evaluation) for name in values if "mce" in name}
    return {name + told.get(name, ""): value for name, value in values.items()}


def _harder(evaluation):
    """Says so where images were not stored as the files of ImageNet-C were."""
    settings = [s.settings for s in evaluation if ids.kind(s.perturbation) in STANDARD]
    made = [s for s in settings if s.get("source") == "generated"]
    # The step is there since version 2.
    if all(s.get("jpeg", s.get("version", 1) > 1) for s in made):
        return ""
    return " (of images without the JPEG step: harder than the published files)"
