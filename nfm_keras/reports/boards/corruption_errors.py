"""mCE and relative mCE of an evaluation, where its corruptions are all there."""

from nfm_keras.corruptions.constants import SEVERITIES, STANDARD
from nfm_keras.evaluation import corruption_error
from nfm_keras.records import ids
from nfm_keras.reports.cells import by_perturbation
from nfm_keras.reports.suite_figures import by_kind


def imagenet_errors(evaluation):
    """Returns the errors that are divided by AlexNet's, and their plain mean.

    Args:
        evaluation: `nfm_keras.records.Evaluation`.

    Returns:
        Dict of what `corruption_error.summarise` calls `mce_hendrycks`,
        `mce_robustbench`, `relative_mce` and `unnormalised_mce`, in percent; the names
        say so where images were not stored as the files of ImageNet-C were. Empty
        without clean images and 15 corruptions at 5 severities, or for a classifier of
        other than 1,000 classes: AlexNet's errors are on those of ImageNet.
    """
    errors = _errors(evaluation)
    if not errors or _classes(evaluation) != 1000:
        return {}
    values = corruption_error.summarise(errors, _clean_error(evaluation), imagenet=True)
    told = _harder(evaluation)
    return {name + told: value for name, value in values.items() if "mce" in name}


def lines(evaluation):
    """Returns what is to be printed of them, one text each.

    Args:
        evaluation: `nfm_keras.records.Evaluation`.

    Returns:
        List of str, empty where a corruption is missing.
    """
    errors = _errors(evaluation)
    if not errors:
        return []
    named = imagenet_errors(evaluation)
    if named:
        return [f"{name:<28} {value:7.2f} %" for name, value in named.items()]
    mean = 100 - corruption_error.mean_accuracy(errors, STANDARD)
    return [
        f"{'mean corruption error':<28} {mean:7.2f} %  (no mCE: AlexNet's errors, by "
        f"which it is divided, are on 1,000 classes, not {_classes(evaluation)})"
    ]


def _classes(evaluation):
    """The number of classes, in words where the evaluation does not record it."""
    return len(evaluation.probe[0]) if evaluation.probe else "an unknown number"


def _errors(evaluation):
    """The share of errors by corruption and severity; empty unless all are there."""
    errors = {}
    for kind, values in by_kind(evaluation).items():
        pairs = enumerate(values, start=1)
        errors |= {(kind, s): 1 - v / 100 for s, v in pairs if v is not None}
    whole = all((kind, s) in errors for kind in STANDARD for s in SEVERITIES)
    return errors if whole and evaluation.score("clean") else {}


def _clean_error(evaluation):
    """The share of errors on the images that were corrupted, where these are fewer."""
    clean, corrupted = evaluation.score("clean"), _corrupted(evaluation)
    n = min(score.n for score in corrupted)
    known = clean.hits and all(score.in_order for score in corrupted)
    if not known or n >= clean.n:
        return 1 - clean.value / 100
    return 1 - float(clean.right[:n].mean())


def _corrupted(evaluation):
    scores = by_perturbation(evaluation).values()
    return [s for s in scores if ids.kind(s.perturbation) in STANDARD]


def _harder(evaluation):
    """Says so where images were not stored as the files of ImageNet-C were."""
    settings = [score.settings for score in _corrupted(evaluation)]
    made = [s for s in settings if s.get("source") == "generated"]
    # The step is there since version 2.
    if all(s.get("jpeg", s.get("version", 1) > 1) for s in made):
        return ""
    return " (of images without the JPEG step: harder than the published files)"
