"""The page of `nfm-theory`: what the theory measures of classifiers, side by side.

`measure` writes everything into one record, theory.json; `write` makes the page and its
figures of that record alone.
"""

import functools
import pathlib
import re

import numpy as np

from nfm_keras import data, records
from nfm_keras.evaluation.classifiers import common_dataset, refuse_twins
from nfm_keras.figures import theory as figures
from nfm_keras.mixing import Mixing
from nfm_keras.records import ids
from nfm_keras.records.environment import environment
from nfm_keras.reports.cells import measured_alike
from nfm_keras.reports.comparisons import blocks
from nfm_keras.reports.pages import theory_tables as tables
from nfm_keras.theory.study.classifier import DRAWS, MOST, NOISY, Images
from nfm_keras.theory.study.classifier import measure as measure_one

FILE, FORMAT = "theory.json", 1

_REGULARISERS = (
    "Terms of an expansion that holds at small noise. The noise that NFM trains with "
    "is not small, so their sum is not the loss; each term says what is penalised, "
    "where and how strongly. R3 is by steps of the noise's own size."
)
_MARGINS = (
    "The linearised margin is (f_c - f_j) over the norm of its gradient, l2, in units "
    "of [0,1] pixels: what a linear network would have, and no bound. The bound is "
    "certain, and only known for dense networks; FAB's distance is a bound from above."
)
_THEOREM_2 = (
    "Theorem 2 is about two classes: here the two most frequent ones, for the first "
    "run of each scheme. Where a hypothesis does not hold, epsilon_mix is a number "
    "without a statement."
)
_THEOREM_5 = (
    "Theorem 5 in the form that holds: how far an attack of radius {epsilon:.3f} moves "
    "features in the median, and epsilon_k, by how much that may change the "
    "probabilities of the noisy network; 1 says nothing. The certified distance is in "
    "units of the features; the gap is of {draws} draws of noise, and so an estimate."
)
_CERTIFIED = (
    "Randomised smoothing at the input, with noise of {sigma} on [0,1] pixels and "
    "{copies} copies of each of {images} images; radii are l2."
)
_SMOOTHED = (
    "Randomised smoothing of what follows a site: the additive noise of the mixing on "
    "its features, {copies} copies of each of {images} images; radii are l2, in units "
    "of the features. The last two columns are of an attack of radius {epsilon:.3f}: "
    "by how much it moves them in the median, and the share of images whose radius is "
    "larger than what the attack did to them. That is no certificate: another attack "
    "may move them further."
)
_CALIBRATION = (
    "One temperature, fitted on {fitted} and scored on {scored} "
    "others; bins of fewer than 10 are not drawn. The calibration error is less what "
    "chance alone would give. "
    + NOISY
    + " has the temperature of the clean images. Where every held-out "
    "image is right, none is fitted, and it is 1."
)
_PREDICTIONS = (
    "Spearman's rank correlation over {n} classifiers between the size of a term and "
    "a score. Classifiers of one scheme are not independent: with n this small, below "
    "0.6 is nothing."
)


def measure(
    loaded,
    sites,
    *,
    dataset=None,
    data_dir=None,
    limit=64,
    scored=500,
    probes=2,
    seed=0,
    epsilon=8 / 255,
    certified=100,
    command="",
):
    """Returns the record of some classifiers.

    Args:
        loaded: List of `nfm_keras.evaluation.classifiers.Loaded`.
        sites: Names of sites, as `nfm_keras.theory.Split` takes them.
        dataset: Name of the images; None for that of the first run.
        data_dir: As in `nfm_keras.data.load`.
        limit: int, of training images.
        scored: int, of test images for calibration; a run's validation images are
            what its temperature is fitted on, else every other test image.
        probes: int, of `nfm_keras.theory.regularizers`.
        seed: int.
        epsilon: float, as in `nfm_keras.theory.study.classifier.measure`.
        certified: int, of these images for randomised smoothing.
        command: str. What to type to repeat it.

    Returns:
        Dict of JSON values.

    Raises:
        ValueError: As `regularizers`.
    """
    name = dataset or common_dataset(loaded)
    schemes = {one.record.scheme for one in loaded if one.record}
    refuse_twins([*schemes, *(one.name for one in loaded if not one.record)])
    settings = {"probes": probes, "seed": seed, "epsilon": epsilon}
    settings |= {"mixing": Mixing(), "certified": certified}
    load = functools.cache(functools.partial(data.load, name, data_dir))
    given = sites, name, load, (limit, scored), settings
    seen: dict = {_group(one): one for one in reversed(loaded)}  # the first of each
    found = [_measured(one, one is seen[_group(one)], *given) for one in loaded]
    scores = measured_alike([one.record.scores if one.record else () for one in loaded])
    found = [one | {"scores": of} for one, of in zip(found, scores, strict=True)]
    versions, hardware = environment()
    return {
        "format": FORMAT,
        "command": command,
        "dataset": name,
        "images": min(len(one["margins"]["scores"]) for one in found),
        "sites": list(sites),
        "mixing": str(settings["mixing"]),
        "epsilon": epsilon,
        "compared": _compared(found),
        "versions": versions,
        "hardware": hardware,
        "classifiers": found,
    }


def _group(one):
    return one.record.scheme if one.record else one.name


def _measured(one, is_first, sites, name, load, limits, settings):
    config = one.record.config if one.record else {}
    held = config.get("validation", 0)
    reading = _reading(name, config)
    if held:  # else others would be held out
        reading["limit"] = config.get("limit")
    splits = load(validation=held, **reading)
    if data.is_photographs(name):  # the beginning of a folder is of one class
        some = np.random.default_rng(0).permutation(len(splits.train.labels))
        some = np.sort(some[: limits[0]])
        splits = splits._replace(train=splits.train.subset(some))
    train, others, of = _images(splits, *limits)
    std = splits.test.spec.std
    settings = settings | {"std": std, "two_classes": is_first}
    found = measure_one(one.classifier, sites, train, *others, **settings)
    found["calibration"]["of"] = of
    about = {"name": one.name, "group": _group(one), "seed": config.get("seed")}
    return about | found


def write(record, output):
    """Writes theory.json, theory.md, theory.html and their figures.

    Args:
        record: What `measure` returned.
        output: Folder to write to.

    Returns:
        Path of theory.md.
    """
    folder = pathlib.Path(output)
    records.write_json(folder / FILE, record)
    title = f"Theory: {record['images']} training images of {record['dataset']}"
    law = f"With {record['mixing']} of every classifier, whatever it was trained with."
    page: list = []
    for heading, note, table, has_figure in _parts(record, folder):
        note = f"{note} {law}" if heading == "Regularisers" else note
        page += [blocks.Heading(heading), blocks.Paragraph(note, "note")]
        page += [blocks.Picture(_file(heading), heading)] if has_figure else []
        page.append(table)
    if record["command"]:
        made = f"Made by `{record['command']}`."
        page.append(blocks.Paragraph(made, "note"))
    return blocks.write(folder / "theory.md", title, page)


def _parts(record, folder):
    """Draws the figures; yields heading, note, table and whether there is a figure."""
    first, groups = record["classifiers"][0], tables.groups(record)
    values = {
        site: {
            name: [[run["sites"][site]["terms"][t] for t in tables.TERMS] for run in of]
            for name, of in groups.items()
        }
        for site in record["sites"]
    }
    path = folder / _file("Regularisers")
    figures.regularizers(values, list(map(tables.label, tables.TERMS)), path)
    yield "Regularisers", _REGULARISERS, tables.terms(record), True
    pooled = {
        name: np.concatenate([run["margins"]["linearised"] for run in runs])
        for name, runs in groups.items()
    }
    figures.margins(pooled, folder / _file("Margins"), MOST)
    yield "Margins", _MARGINS, tables.margins(record), True
    figures.reliability(_pairs(groups), folder / _file("Calibration"))
    note = _CALIBRATION.format(**_calibrated(record["classifiers"]))
    yield "Calibration", note, tables.calibration(record), True
    yield "Theorem 2", _THEOREM_2, tables.hypotheses(record), False
    note = _THEOREM_5.format(epsilon=record["epsilon"], draws=DRAWS)
    yield "Theorem 5", note, tables.stability(record), False
    note = _CERTIFIED.format(**first["certified"])
    yield "Certified radius", note, tables.certified(record), False
    table = tables.smoothed(record)
    if table is not None:
        at = first["sites"][record["sites"][0]]["smoothed"]
        note = _SMOOTHED.format(epsilon=record["epsilon"], **at)
        yield "Certified radius at the sites", note, table, False
    table = tables.predictions(record)
    if table is not None:
        note = _PREDICTIONS.format(n=len(record["classifiers"]))
        yield "What predicts robustness", note, table, False


def _calibrated(classifiers):
    """Which images the temperatures were fitted on, and how many were scored."""
    found = [one["calibration"] for one in classifiers]
    fitted = dict.fromkeys(f"{one['held_out']} images ({one['of']})" for one in found)
    scored = dict.fromkeys(str(one["scored"]) for one in found)
    return {"fitted": " or ".join(fitted), "scored": " or ".join(scored)}


def _pairs(groups):
    """Bins before and after the temperature; those of several runs together."""
    return {
        condition: {
            name: tuple(
                _pooled([run["calibration"][condition][when] for run in runs])
                for when in ("before", "after")
            )
            for name, runs in groups.items()
        }
        for condition in ("clean", NOISY)
    }


def _pooled(bins):
    counts = np.array([one["counts"] for one in bins])
    total = np.maximum(counts.sum(axis=0), 1)
    means = {
        key: np.sum(counts * [one[key] for one in bins], axis=0) / total
        for key in ("confidence", "accuracy")
    }
    return {"counts": counts.sum(axis=0)} | means


def _file(heading):
    return re.sub(r"\W+", "_", heading.lower()) + ".png"


def _images(splits, limit, scored):
    """`(train, (scored, held out), of)`, images in [0, 1]."""
    test = _in_unit(splits.test, 2 * scored)
    if splits.validation is not None:
        held, of = _in_unit(splits.validation), "the run's validation images"
    else:
        held = Images(*(part[1::2] for part in test))
        of = "every other test image; no validation images"
    # The same ones for all, whether others were held out or not.
    test = Images(*(part[::2] for part in test))
    return _in_unit(splits.train, limit), (test, held), of


def _in_unit(split, limit=None):
    images = np.asarray(split.images[:limit]).astype("float32") / np.float32(255)
    return Images(images, np.asarray(split.labels[:limit]))


def _compared(found):
    """The hardest score of each kind that all classifiers have."""
    common = set.intersection(*(set(one["scores"]) for one in found))
    hardest: dict = {}
    for name in sorted(common):
        kind, severity = ids.split(name)
        if (severity or 0) >= (ids.split(hardest.get(kind, name))[1] or 0):
            hardest[kind] = name
    return list(hardest.values())


def _reading(name, config):
    """How photographs are read: as the run did."""
    names = "image_size", "eval_crop", "antialias"
    known = {key: config.get(key) for key in names if data.is_photographs(name)}
    return {key: value for key, value in known.items() if value is not None}
