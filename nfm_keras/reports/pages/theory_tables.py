"""The tables of the theory's page, from its record."""

import numpy as np
import scipy.stats

from nfm_keras.table import Table
from nfm_keras.theory.study.classifier import NOISY, TERMS


def label(term):
    """Returns the name of a term as the paper has it.

    Example:

    >>> label("r2_add")
    'R2 add'
    """
    return term.replace("r", "R").replace("_add", " add").replace("_mult", " mult")


def groups(record):
    """Returns dict from group to its classifiers, in the order of the record."""
    found: dict = {}
    for one in record["classifiers"]:
        found.setdefault(one["group"], []).append(one)
    return found


def terms(record):
    """Returns the table of regularisers by site, times the moments of the noise."""
    rows = []
    for site in record["sites"]:
        for name, runs in groups(record).items():
            at = [run["sites"][site] for run in runs]
            cells = [name, site, len(runs), f"{np.mean([s['loss'] for s in at]):.3g}"]
            for term in TERMS:
                values = [s["terms"][term][0] for s in at]
                error = at[0]["terms"][term][1]
                cells.append(_spread(values, ".2e", error))
            rows.append(cells)
    header = ["classifier", "site", "runs", "loss", *map(label, TERMS)]
    return Table(header, rows, "llr" + "r" * (len(TERMS) + 1))


def margins(record):
    """Returns the table of margins: medians over images, then means over runs."""
    rows = []
    for name, runs in groups(record).items():
        found = [run["margins"] for run in runs]
        cells = [name, _spread([one["right"] for one in found], ".1f")]
        for key in ("scores", "linearised"):
            cells.append(_spread([np.median(one[key]) for one in found], ".3g"))
        bounds = [one["bound"] for one in found]
        known = [np.median(b) for b in bounds if b is not None]
        cells.append(_spread(known, ".3g") if known else "not known")
        nearest = [np.median(one["fab"]) for one in found if "fab" in one]
        cells.append(_spread(nearest, ".3g") if nearest else "not recorded")
        rows.append(cells)
    header = ["classifier", "right (%)", "score", "linearised margin", "bound"]
    return Table([*header, "nearest that FAB finds"], rows, "lrrrrr")


def hypotheses(record):
    """Returns the table of Theorem 2: which hypotheses fail, and by how much."""
    rows = []
    for site in record["sites"]:
        for name, runs in groups(record).items():
            found = runs[0]["theorem_2"][site]
            failing = [h for h in found["hypotheses"] if not h["holds"]]
            text = "; ".join(
                f"{h['name']} ({h['value']:.2g}, at most {h['limit']:.2g})"
                for h in failing
            )
            cells = [name, site, "yes" if found["applies"] else "no", text or "none"]
            for key in ("epsilon_mix", "linearised_margin"):
                cells.append(f"{found[key]:.3g}")
            rows.append(cells)
    header = ["classifier", "site", "applies", "hypotheses that do not hold"]
    return Table([*header, "epsilon_mix", "linearised margin"], rows, "llllrr")


def stability(record):
    """Returns the table of Theorem 5 at each site."""
    keys = "distance", "size", "epsilon_k", "gap", "certified_distance"
    rows = []
    for site in record["sites"]:
        for name, runs in groups(record).items():
            found = [run["sites"][site]["stability"] for run in runs]
            cells = [_spread([one[key] for one in found], ".3g") for key in keys]
            rows.append([name, site, *cells])
    header = ["classifier", "site", "moved by", "largest feature", "epsilon_k"]
    header += ["gap of two classes", "certified distance"]
    return Table(header, rows, "llrrrrr")


def certified(record):
    """Returns the table of randomised smoothing at the input."""
    rows = []
    for name, runs in groups(record).items():
        found = [run["certified"] for run in runs]
        cells = [_spread([one["radius"] for one in found], ".3f")]
        for radius in found[0]["accuracy"]:
            values = [one["accuracy"][radius] for one in found]
            cells.append(_spread(values, ".1f"))
        rows.append([name, *cells])
    first = record["classifiers"][0]["certified"]
    header = ["classifier", "mean radius"]
    header += [f"certified at {radius} (%)" for radius in first["accuracy"]]
    return Table(header, rows, "lr" + "r" * len(first["accuracy"]))


def smoothed(record):
    """Returns the table of randomised smoothing behind each site.

    Args:
        record: Of before there was one: None is returned.
    """
    rows = []
    for site in record["sites"]:
        for name, runs in groups(record).items():
            found = [run["sites"][site].get("smoothed") for run in runs]
            if None in found:
                return None
            forms = {
                "accuracy": ".1f",
                "radius": ".3g",
                "moved": ".3g",
                "beyond": ".1f",
            }
            cells = [_spread([o[key] for o in found], forms[key]) for key in forms]
            rows.append([name, site, f"{found[0]['sigma']:.3g}", *cells])
    header = ["classifier", "site", "noise", "right (%)", "mean radius"]
    header += ["moved by the attack", "right beyond that (%)"]
    return Table(header, rows, "llrrrrr")


def calibration(record):
    """Returns the table of calibration before and after one temperature."""
    rows = []
    for condition in ("clean", NOISY):
        for name, runs in groups(record).items():
            found = [run["calibration"][condition] for run in runs]
            made = [run["calibration"]["fitted"] for run in runs]
            row = [name, condition, f"{sum(made)} of {len(made)}"]
            row.append(_spread([one["temperature"] for one in found], ".2f"))
            row.append(_spread([one["accuracy"] for one in found], ".1f"))
            for key, form, factor in (
                ("confidence", ".1f", 1),
                ("ece", ".1f", 100),
                ("nll", ".3f", 1),
            ):
                for when in ("before", "after"):
                    values = [factor * one[f"{key}_{when}"] for one in found]
                    row.append(_spread(values, form))
            rows.append(row)
    header = ["classifier", "images", "fitted", "temperature", "accuracy (%)"]
    for text in ("confidence (%)", "calibration error (%)", "loss (nats)"):
        header += [f"{text} before", "after"]
    return Table(header, rows, "llrrrrrrrrr")


def predictions(record):
    """Returns rank correlations of each measurement with each robustness score.

    Args:
        record: Of four classifiers at least, with scores; else None is returned.
    """
    classifiers = record["classifiers"]
    common = set.intersection(*(set(one["scores"]) for one in classifiers))
    names = [name for name in record["compared"] if name in common]
    if len(classifiers) < 4 or not names:
        return None
    outcomes = {n: [one["scores"][n] for one in classifiers] for n in names}
    outcomes["certified radius"] = [one["certified"]["radius"] for one in classifiers]
    measured = {
        f"{label(term)} at {site}": [
            abs(one["sites"][site]["terms"][term][0]) for one in classifiers
        ]
        for site in record["sites"]
        for term in TERMS
    }
    measured["linearised margin"] = [
        np.median(one["margins"]["linearised"]) for one in classifiers
    ]
    measured["score"] = [np.median(one["margins"]["scores"]) for one in classifiers]
    rows = []
    for name, values in measured.items():
        rows.append([name, *(_correlation(values, o) for o in outcomes.values())])
    return Table(["size of", *outcomes], rows, "l" + "r" * len(outcomes))


def _correlation(values, others):
    if len(set(values)) == 1 or len(set(others)) == 1:
        return "not defined"  # where one does not vary
    return f"{scipy.stats.spearmanr(values, others).statistic:+.2f}"


def _spread(values, form, error=0.0):
    """Mean, and deviation over runs; of one run the error given, where there is one."""
    values = np.asarray(values, "float64")
    text = format(values.mean(), form)
    spread = values.std(ddof=1) if len(values) > 1 else error
    digits = form if "e" not in form else ".0e"
    return f"{text} ± {format(spread, digits)}" if spread else text
