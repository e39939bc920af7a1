"""What was measured of a run, on its page: robustness, confusions, wrong images."""

import numpy as np

from nfm_keras import figures
from nfm_keras.corruptions.constants import EXTRA
from nfm_keras.figures.styles import scheme_styles
from nfm_keras.records.ids import NO_PROTOCOL
from nfm_keras.records.naming import naming
from nfm_keras.reports import html
from nfm_keras.reports.cells import cells, of_protocol, panel
from nfm_keras.reports.columns import headlines
from nfm_keras.reports.comparisons import classes
from nfm_keras.reports.curves import severities
from nfm_keras.reports.suite_figures import by_kind, mean_ends
from nfm_keras.table import Table

_SHOWN = 16  # wrong images


def add_scores(body, run):
    """Adds curves, the table of all scores and what each class is taken for.

    Args:
        body: Element of the page.
        run: `nfm_keras.reports.page.Run`.
    """
    if run.record is None:
        return
    html.add(body, "h2", "Robustness")
    if not run.record.scores:
        command = f"nfm-evaluate --run_dir={run.folder}"
        html.note(body, f"Not measured yet. This measures it: {command}")
        return
    _add_curves(body, run)
    scores = run.record.scores
    shown = set(headlines([score.perturbation for score in scores]))
    first = [score for score in scores if score.perturbation in shown]
    rest = [score for score in scores if score.perturbation not in shown]
    html.table(body, _table(first or rest))
    if first and rest:
        more = html.add(body, "details")
        html.add(more, "summary", f"The other {len(rest)} scores")
        html.table(more, _table(rest))


def add_classes(body, run, config, splits):
    """Adds the confusion matrix, accuracy by class and images that are wrong.

    Args:
        body: Element of the page.
        run: `nfm_keras.reports.page.Run`.
        config: Its `Config`, or None where it cannot be read.
        splits: `data.Splits` of its images, None where they are not at hand.
    """
    evaluation = run.evaluation
    if evaluation is None:
        return
    html.add(body, "h2", "Which classes are wrong")
    if evaluation.answers is None:
        html.note(
            body,
            "Not recorded: this evaluation is of an earlier version, or without clean "
            "images. The same nfm-evaluate records it.",
        )
        return
    counts, (labels, predicted) = classes.confusion(evaluation), evaluation.answers
    known = classes.names(evaluation, len(counts))
    if len(known) <= classes.MOST:
        figure = figures.confusions({evaluation.model: counts}, None, classes=known)
        html.figure(body, figure, "Confusion matrix")
        html.note(
            body,
            "In percent of each true class, of images as they are. Colour: errors.",
        )
    else:
        html.table(body, classes.pairs([evaluation]))
    right = {evaluation.model: labels == predicted}
    html.table(body, classes.accuracy([evaluation], right))
    _add_wrong(body, evaluation, config, known, splits)


def _table(scores):
    head = "perturbation", "protocol", "accuracy (%)", "95 % interval", "images"
    rows = [
        (
            score.perturbation,
            score.protocol,
            f"{score.value:.2f}",
            f"{score.low:.2f} to {score.high:.2f}",
            score.n,
            _settings_text(score.settings),
        )
        for score in scores
    ]
    return Table([*head, "settings"], rows, "llrrrl")


def _add_curves(body, run):
    protocols = {score.protocol for score in run.record.scores} - {NO_PROTOCOL}
    for protocol in sorted(protocols) or [NO_PROTOCOL]:
        figure = _curves(run, protocol)
        html.figure(body, figure, "Accuracy over severity")
    kinds = by_kind(run.record.scores)
    if kinds:
        (look,) = scheme_styles([run.record.scheme])
        styles = {run.record.name: look}
        figure = figures.corruption_bars(
            {run.record.name: kinds},
            None,
            extra=EXTRA,
            caption="Shades and whiskers are 95 % intervals over images.",
            styles=styles,
            ends={run.record.name: mean_ends(run.record.scores)},
        )
        html.figure(body, figure, "Accuracy under common corruptions")


def _curves(run, protocol):
    """The curves of one protocol, or None where nothing has two severities."""
    scores = of_protocol(run.record.scores, protocol)
    name, label = naming(scores), run.record.name
    measured = cells([scores], name)
    families = [
        family
        for family in severities.families([measured])
        if sum(cell.family == family for cell in measured.values()) > 1
    ]
    if not families:
        return None
    panels = {family: panel({label: [scores]}, family, name) for family in families}
    (look,) = scheme_styles([run.record.scheme])
    return figures.accuracy_curves(
        {family: found.lines for family, found in panels.items()},
        None,
        caption="Shades and whiskers are 95 % intervals over images.",
        styles={label: look},
        protocol=None if protocol == NO_PROTOCOL else protocol,
        counts={family: found.n for family, found in panels.items()},
    )


def _add_wrong(body, evaluation, config, known, splits):
    """The first images that are wrong, with their true and predicted classes."""
    labels, predicted = evaluation.answers
    wrong = np.flatnonzero(labels != predicted)
    html.add(body, "h2", "Wrong images")
    if not len(wrong):
        html.note(body, f"None: all {len(labels):,} images are right.")
        return
    images = _images(config, labels, wrong[:_SHOWN], splits)
    if isinstance(images, str):
        html.note(body, f"Not shown: {images}")
        return
    html.note(
        body,
        f"The first {len(images)} of the {len(wrong):,} that are wrong among "
        f"{len(labels):,}, as they are.",
    )
    sheet = html.add(body, "div", **{"class": "examples"})
    for index, image in zip(wrong, images):
        figure = html.add(sheet, "figure")
        true, taken = known[labels[index]], known[predicted[index]]
        html.image(figure, html.encoded(image), f"{true}, taken for {taken}")
        html.add(figure, "figcaption", f"true: {true}\npredicted: {taken}")


def _images(config, labels, places, splits):
    """Test images uint8 by their places, or why there are none."""
    if config is None:
        return "the config of the run cannot be read."
    if splits is None:
        return f"the images of {config.dataset} are not at hand."
    test = splits.test
    if not np.array_equal(np.asarray(test.labels)[: len(labels)], labels):
        return "the evaluation is of other images than the test images of the run."
    return [np.asarray(test.images[i : i + 1])[0] for i in map(int, places)]


def _settings_text(settings):
    words = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in settings.items()}
    return ", ".join(f"{name} {value}" for name, value in words.items())
