"""The page of `nfm-theory`: regularisers by site and margins, side by side."""

import pathlib

import numpy as np

from nfm_keras import data
from nfm_keras.figures.base import finish, panel_grid
from nfm_keras.figures.styles import model_styles
from nfm_keras.mixing import Mixing
from nfm_keras.records.files import whole
from nfm_keras.reports import html
from nfm_keras.table import Table
from nfm_keras.theory import margins, regularizers

_WARNING = (
    "Terms of an expansion that holds at small noise. The noise that NFM trains with "
    "is not small, so their sum is not the loss; each term says what is penalised, "
    "where and how strongly. R3 is by steps of the noise's own size."
)
_MARGIN = (
    "The linearised margin is (f_c - f_j) over the norm of its gradient, l2, in units "
    "of [0,1] pixels: what a linear network would have, and no bound. The bound is "
    "certain, and only known for dense networks."
)
_TERMS = ("r1", "r2", "r2_add", "r2_mult", "r3", "r3_add", "r3_mult")


def write(
    loaded, sites, output, *, dataset=None, data_dir=None, limit=64, probes=2, seed=0
):
    """Writes theory.md, theory.html and their figures.

    Args:
        loaded: List of `nfm_keras.evaluation.classifiers.Loaded`.
        sites: Names of sites, as `nfm_keras.theory.Split` takes them.
        output: Folder to write to.
        dataset: Name of the images; None for that of the first run.
        data_dir: As in `nfm_keras.data.load`.
        limit: int, of training images.
        probes: int, of `nfm_keras.theory.regularizers`.
        seed: int.

    Returns:
        Path of theory.md.

    Raises:
        ValueError: As `regularizers`.
    """
    name = dataset or next(one.record.config["dataset"] for one in loaded if one.record)
    split = data.load(name, data_dir, limit=limit, **_reading(name, loaded)).train
    images = np.asarray(split.images[:limit]).astype("float32") / 255
    labels = np.asarray(split.labels[:limit])
    mixing = Mixing()
    options = {"method": "finite", "probes": probes, "seed": seed}
    found = [
        (
            one.name,
            regularizers(one.classifier, site, images, labels, mixing, **options),
        )
        for one in loaded
        for site in sites
    ]
    distances = [(one.name, margins(one.classifier, images, labels)) for one in loaded]
    drawings = _regularizer_figure(found, output), _margin_figure(distances, output)
    tables = _regularizer_table(found), _margin_table(distances)
    title = f"Theory: {len(images)} training images of {name}"
    law = f"With {mixing} of every classifier, whatever it was trained with."
    page = pathlib.Path(output, "theory.md")
    lines = [f"# {title}", _WARNING, law, "![Regularisers](regularizers.png)"]
    lines += [tables[0].to_markdown(), "![Margins](margins.png)", _MARGIN]
    with whole(page) as hidden:
        text = "\n\n".join([*lines, tables[1].to_markdown()]) + "\n"
        pathlib.Path(hidden).write_text(text, encoding="utf-8")
    document, body = html.start(title)
    html.add(body, "h1", title)
    for note, drawing, table in zip(
        (f"{_WARNING} {law}", _MARGIN), drawings, tables, strict=True
    ):
        html.figure(body, drawing, "Values in the table below")
        html.note(body, note)
        html.table(body, table)
    with whole(page.with_suffix(".html")) as hidden:
        pathlib.Path(hidden).write_text(html.text(document), encoding="utf-8")
    return page


def _reading(name, loaded):
    """How photographs are read: as the first run did."""
    config = next((one.record.config for one in loaded if one.record), {})
    names = "image_size", "eval_crop", "antialias"
    known = {key: config.get(key) for key in names if data.is_photographs(name)}
    return {key: value for key, value in known.items() if value is not None}


def _regularizer_table(found):
    """Terms as they count, times the powers of the noise."""
    rows = []
    for name, terms in found:
        cells = [name, terms.site, f"{terms.loss:.3g}"]
        for value, error in _weighted(terms):
            cells.append(f"{value:.2e}" + (f" ± {error:.0e}" if error else ""))
        rows.append(cells)
    header = ["classifier", "site", "loss", *map(_label, _TERMS)]
    return Table(header, rows, "llr" + "r" * len(_TERMS))


def _weighted(terms):
    for name in _TERMS:
        factor = getattr(terms.powers, name.partition("_")[2] or "m1")
        value, error = getattr(terms, name)
        scale = factor if "_" in name else 1.0
        yield scale * value, scale * error


def _label(term):
    return term.replace("r", "R").replace("_add", " add").replace("_mult", " mult")


def _margin_table(distances):
    rows = []
    for name, found in distances:
        bound = "not known" if found.bound is None else f"{np.median(found.bound):.3g}"
        right = f"{100 * np.mean(found.scores > 0):.1f} %"
        medians = (np.median(found.scores), np.median(found.linearised))
        rows.append([name, right, *(f"{value:.3g}" for value in medians), bound])
    header = ["classifier", "right", "score", "linearised margin", "bound"]
    return Table(header, rows, "lrrrr")


def _regularizer_figure(found, output):
    figure, (axis,) = panel_grid(1, across=1, width=7.0)
    places, width = np.arange(len(_TERMS)), 0.8 / len(found)
    looks = model_styles(dict.fromkeys(name for name, _ in found))
    sites = list(dict.fromkeys(terms.site for _, terms in found))
    for number, (name, terms) in enumerate(found):
        look = {"color": looks[name]["color"]}
        look["alpha"] = 1 - 0.7 * sites.index(terms.site) / len(sites)
        values, errors = zip(*_weighted(terms), strict=True)
        x = places + (number - (len(found) - 1) / 2) * width
        label = f"{name}, {terms.site}"
        axis.bar(x, values, width, yerr=errors, label=label, **look)
    axis.set_xticks(places, [_label(term) for term in _TERMS])
    axis.set_yscale("symlog", linthresh=1e-4)
    axis.set_ylabel("nats")
    path = pathlib.Path(output, "regularizers.png")
    return finish(figure, path, "Regularisers by site", None, grid="y")


def _margin_figure(distances, output):
    figure, (axis,) = panel_grid(1, across=1, width=7.0)
    shown = [np.minimum(found.linearised, 1e6) for _, found in distances]
    edges = np.linspace(0, max(float(values.max()) for values in shown) or 1, 25)
    looks = model_styles(name for name, _ in distances)
    for (name, _), values in zip(distances, shown, strict=True):
        color = looks[name]["color"]
        axis.hist(values, edges, histtype="step", label=name, color=color)
    axis.set_xlabel("linearised margin, l2, [0,1] pixels")
    axis.set_ylabel("images")
    path = pathlib.Path(output, "margins.png")
    return finish(figure, path, "Margins", None)
