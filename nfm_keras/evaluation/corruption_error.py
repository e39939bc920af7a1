"""Figures of merit for common corruptions: mCE, relative mCE and mean accuracy.

All of them start from errors by corruption and severity, a dict such as
`{("gaussian_noise", 1): 0.31, ...}`, where an error is the share of images that are
misclassified. What is printed as "mCE" is often something else, so each figure has its
own name here:

* `mce`: errors divided by AlexNet's, corruption by corruption. For ImageNet-C alone.
* `relative_mce`: the same with the clean error taken off both.
* `unnormalised_mce` in `summarise`: the plain mean error.
* `accuracy_standard`, `accuracy_all`, `accuracy_paper` in `summarise`: mean accuracy
  over the 15 corruptions of the benchmark, over all 19, and over the 6 that the paper
  on Noisy Feature Mixup plots. What is reported for CIFAR-10-C and CIFAR-100-C.

Reference: D. Hendrycks, T. Dietterich, *Benchmarking neural network robustness to
common corruptions and perturbations*, ICLR 2019, section 4.
"""

import itertools
import math

from nfm_keras.corruptions import NAMES, PAPER, SEVERITIES, STANDARD
from nfm_keras.evaluation.alexnet import ALEXNET, ALEXNET_CLEAN_ERROR


def corruption_error(errors, normalisers="hendrycks"):
    """Corruption error CE of each of the 15 corruptions: error relative to AlexNet's.

        CE_c = 100 * sum_s E(s, c) / sum_s A(s, c)

    with E the errors of the classifier and A those of AlexNet.

    Args:
        errors: dict of `(kind, severity)` to the share of images misclassified, in
            [0,1]; for the 15 corruptions at the severities 1 to 5. More may be in it.
        normalisers: str. Whose errors of AlexNet: `"hendrycks"` or `"robustbench"`.

    Returns:
        dict of kind to CE, in percent of AlexNet's error.

    Raises:
        ValueError: unknown corruption, severity or normalisers, an error outside
            [0,1], or missing errors, which are named.

    Example:

    >>> errors = {(kind, s): 0.3 for kind in STANDARD for s in SEVERITIES}
    >>> round(corruption_error(errors)["fog"], 2)
    36.62

    Reference: Hendrycks and Dietterich (2019), section 4.
    """
    _check_errors(errors)
    if normalisers not in ALEXNET:
        raise ValueError(
            f"`normalisers` must be one of {', '.join(ALEXNET)}. "
            f"Received: {normalisers!r}"
        )
    _check_complete(errors, STANDARD)
    alexnet = ALEXNET[normalisers]
    return {
        # A ratio of sums: the mean of the five ratios would weigh mild severities more.
        kind: 100.0 * _mean_error(errors, kind) / alexnet[kind]
        for kind in STANDARD
    }


def mce(errors, normalisers="hendrycks"):
    """Mean corruption error: the mean of `corruption_error` over the 15 corruptions.

    Args:
        errors, normalisers: as for `corruption_error`.

    Returns:
        float, in percent: 100 is as bad as AlexNet, 0 makes no error at all.

    Raises:
        ValueError: as `corruption_error`.

    Example:

    >>> errors = {(kind, s): 0.3 for kind in STANDARD for s in SEVERITIES}
    >>> round(mce(errors), 2), round(mce(errors, "robustbench"), 2)
    (38.8, 38.82)

    Reference: Hendrycks and Dietterich (2019), section 4.
    """
    values = corruption_error(errors, normalisers).values()
    return math.fsum(values) / len(values)


def relative_mce(errors, clean_error):
    """Relative mCE: how much a corruption adds to the clean error, as against AlexNet.

        100 * mean_c sum_s (E(s, c) - E(clean)) / sum_s (A(s, c) - A(clean))

    with E the errors of the classifier and A those of AlexNet.

    Args:
        errors: as for `corruption_error`.
        clean_error: float. Share of uncorrupted images misclassified, in [0,1].

    Returns:
        float, in percent: 100 loses as much as AlexNet does, 0 loses nothing.

    Raises:
        ValueError: as `corruption_error`, or `clean_error` outside [0,1].

    Example:

    >>> errors = {(kind, s): 0.3 for kind in STANDARD for s in SEVERITIES}
    >>> round(relative_mce(errors, clean_error=0.2), 2)
    32.56

    Reference: Hendrycks and Dietterich (2019), section 4.
    """
    _check_errors(errors)
    _check_share("`clean_error`", clean_error)
    _check_complete(errors, STANDARD)
    ratios = [
        (_mean_error(errors, kind) - clean_error)
        / (ALEXNET["hendrycks"][kind] - ALEXNET_CLEAN_ERROR)
        for kind in STANDARD
    ]
    return 100.0 * math.fsum(ratios) / len(ratios)


def mean_accuracy(errors, kinds):
    """Mean accuracy over corruptions and their five severities, in percent.

    Args:
        errors: as for `corruption_error`, for at least `kinds`.
        kinds: names of corruptions, such as `STANDARD` (15), `NAMES` (19) or `PAPER`
            (6) of `nfm_keras.corruptions`.

    Returns:
        float.

    Raises:
        ValueError: as `corruption_error`, or no `kinds`.

    Example:

    >>> errors = {("fog", 1): 0.0, ("fog", 2): 0.1, ("fog", 3): 0.2}
    >>> round(mean_accuracy(errors | {("fog", 4): 0.3, ("fog", 5): 0.4}, ["fog"]), 6)
    80.0
    """
    _check_errors(errors)
    _check_kinds(kinds)
    _check_complete(errors, kinds)
    mean = math.fsum(_mean_error(errors, kind) for kind in kinds) / len(kinds)
    return 100.0 * (1.0 - mean)


def summarise(errors, clean_error, imagenet):
    """Every figure that the errors allow, by name.

    Args:
        errors: as for `corruption_error`.
        clean_error: float. Share of uncorrupted images misclassified, in [0,1].
        imagenet: bool. Whether the errors are of ImageNet-C. AlexNet's are, so that
            dividing those of CIFAR-10-C by them would mean nothing.

    Returns:
        dict of floats, in percent: `clean_accuracy`; `accuracy_standard`,
        `accuracy_all` and `accuracy_paper`, each where its corruptions are all there;
        and for ImageNet `mce_hendrycks`, `mce_robustbench`, `relative_mce` and
        `unnormalised_mce`.

    Raises:
        ValueError: as `corruption_error`; errors may be missing only for CIFAR, and
            not so many that no mean is left.

    Example:

    >>> errors = {(kind, s): 0.25 for kind in PAPER for s in SEVERITIES}
    >>> summarise(errors, clean_error=0.125, imagenet=False)
    {'clean_accuracy': 87.5, 'accuracy_paper': 75.0}
    """
    _check_share("`clean_error`", clean_error)
    figures = {"clean_accuracy": 100.0 * (1.0 - clean_error)}
    figures |= _accuracies(errors)
    if imagenet:
        figures["mce_hendrycks"] = mce(errors)
        figures["mce_robustbench"] = mce(errors, "robustbench")
        figures["relative_mce"] = relative_mce(errors, clean_error)
        figures["unnormalised_mce"] = 100.0 - figures["accuracy_standard"]
    return figures


def _accuracies(errors):
    """The mean accuracies for which every error is there; at least one."""
    _check_errors(errors)
    groups = {
        "accuracy_standard": STANDARD,
        "accuracy_all": NAMES,
        "accuracy_paper": PAPER,
    }
    whole = {
        name: kinds for name, kinds in groups.items() if not _missing(errors, kinds)
    }
    if not whole:
        _check_complete(errors, STANDARD)
    return {name: mean_accuracy(errors, kinds) for name, kinds in whole.items()}


def _mean_error(errors, kind):
    return math.fsum(errors[kind, severity] for severity in SEVERITIES) / 5


def _missing(errors, kinds):
    """Ids of the errors that a mean over these corruptions lacks."""
    pairs = itertools.product(kinds, SEVERITIES)
    return [
        f"{kind}@{severity}"
        for kind, severity in pairs
        if (kind, severity) not in errors
    ]


def _check_complete(errors, kinds):
    missing = _missing(errors, kinds)
    if missing:
        raise ValueError(
            f"The mean over {len(kinds)} corruptions needs all of them, at the "
            f"severities 1 to 5. Received: {len(kinds) * 5 - len(missing)} of "
            f"{len(kinds) * 5} errors, without {', '.join(missing)}"
        )


def _check_errors(errors):
    for key, error in errors.items():
        if not isinstance(key, tuple) or len(key) != 2:
            raise ValueError(
                "The keys of `errors` must be pairs (kind, severity), such as "
                f"('fog', 3). Received: {key!r}"
            )
        kind, severity = key
        _check_kinds([kind])
        if severity not in SEVERITIES:
            raise ValueError(
                f"The severity of {kind} must be 1, 2, 3, 4 or 5. "
                f"Received: {severity!r}"
            )
        _check_share(f"The error of {kind}@{severity}", error)


def _check_kinds(kinds):
    unknown = [kind for kind in kinds if kind not in NAMES]
    if unknown or not len(kinds):
        raise ValueError(
            f"Corruptions must be some of {', '.join(NAMES)}. "
            f"Received: {unknown or list(kinds)}"
        )


def _check_share(name, value):
    if not 0 <= value <= 1:  # `not`, so that NaN is caught as well
        raise ValueError(
            f"{name} must be a share of images, in [0,1]. Received: {value!r}"
        )
