"""What the network saw in a run: mixed images and draws, on the page of the run."""

import keras

from nfm_keras.figures import training as figures
from nfm_keras.mixing.seen import site_names
from nfm_keras.reports import html
from nfm_keras.training import inputs

_SHOWN = 4  # images of each batch


def add_inputs(body, config, model, *, folder, epochs, backend, splits):
    """Adds the first batches of a run as they were mixed, and what was drawn.

    Args:
        body: Element of the page.
        config, model: Those of the run, from `nfm_keras.training.inputs.rebuild`.
        folder: The run's, which may have its weights.
        epochs: int. How many are over, 0 for those of the config.
        backend: str. The Keras backend of the run, None where it is not known.
        splits: `data.Splits` of its images, None where they are not at hand.
    """
    epochs = epochs or config.epochs
    if splits is None:
        html.note(body, f"Not shown: the images of {config.dataset} are not at hand.")
        return
    weights = folder / "classifier.keras"
    if model.technique is not None and weights.exists():
        inputs.load_weights(model, weights)
    sheet = html.add(body, "div", **{"class": "batches"})
    for seen in inputs.seen_batches(config, model, splits.train, epochs):
        _add_batch(sheet, seen, splits.train.spec.classes)
    if model.technique is not None:
        name = type(model.technique).__name__
        source = "the trained" if weights.exists() else "an untrained"
        html.note(body, f"What {name} asks of the network is answered by {source} one.")
    _note_backend(body, backend)
    if not model.mixing.is_identity:
        _add_draws(body, config, model, splits.train, epochs)


def _note_backend(body, there):
    """Says so where the draws are not those of the run: each backend has its own."""
    here = keras.backend.backend()
    if there not in (None, here):
        html.note(
            body,
            f"Drawn with {here}. The run was on {there}, whose draws have the same law "
            "and are others.",
        )


def _add_batch(sheet, seen, classes):
    text = f"Epoch {seen.epoch}, first batch: {figures.description(seen.mixed)}"
    if seen.is_deeper:
        text += "; shown as if mixed at the input"
    row = html.add(sheet, "div", **{"class": "batch"})
    html.note(row, f"{text}.")
    labels = seen.mixed.labels[:_SHOWN]
    for image, label in zip(figures.pixels(seen.mixed.images), labels):
        figure = html.add(row, "figure")
        words = figures.soft_label(label, classes)
        html.image(figure, html.encoded(image), words)
        html.add(figure, "figcaption", words.replace(", ", "\n"))


def _add_draws(body, config, model, split, epochs):
    steps = inputs.steps_per_epoch(config, split)
    sites, lam, laws = inputs.run_draws(config, model, steps, epochs)
    figure = figures.draws(sites, lam, site_names(model), laws)
    if figure is None:
        return
    html.add(body, "h2", "Where and how much was mixed")
    html.figure(body, figure, "Histograms of the sites and of lambda")
    html.note(
        body,
        f"The draws of {len(sites):,} of {steps * epochs:,} steps, spread evenly over "
        f"{epochs} epochs.",
    )
