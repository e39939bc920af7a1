"""Pictures: every corruption, adversarial examples, and what activates a unit."""

import pathlib

import numpy as np

from nfm_keras import attacks, corruptions, figures
from nfm_keras.attacks.attack import prepared
from nfm_keras.checks import check_count
from nfm_keras.evaluation.adversaries import activating
from nfm_keras.evaluation.inputs import cut_to
from nfm_keras.records.ids import format_severity

_SHOWN = 8


def samples(images, folder, *, seed=0, frost_dir=None):
    """Draws the first image under every corruption at its five severities.

    Args:
        images: `(n, height, width, 1 or 3)`, uint8.
        folder: where samples.png goes.
        seed: int, as in the evaluation.
        frost_dir: folder of frost textures.

    Returns:
        The `matplotlib.figure.Figure` written.
    """
    image = np.asarray(images[:1])
    sheet = {
        kind: [
            corruptions.Corruption(kind, s, frost_dir=frost_dir)(image, seed=seed)[0]
            for s in corruptions.SEVERITIES
        ]
        for kind in corruptions.NAMES
    }
    path = pathlib.Path(folder, "samples.png")
    drawn = "synthetic" in corruptions.frost_source(frost_dir)[0]
    frost = "synthetic: drawn, without photographs" if drawn else "from photographs"
    caption = f"One image under each corruption. The frost is {frost}."
    return figures.sample_sheet(sheet, path, original=image[0], caption=caption)


def adversaries(
    classifier, split, path, *, epsilon=8 / 255, seed=0, name="", from_logits=None
):
    """Draws images, what PGD made of them, and the difference magnified.

    Args:
        classifier: Keras model or callable from [0,1] images to logits.
        split: `nfm_keras.data.Split`; its first eight images are shown.
        path: PNG, PDF or SVG file to write.
        epsilon: float. Radius of the l-inf ball, in [0,1] pixels.
        seed: int.
        name: str. Name of the classifier, for the caption.
        from_logits: bool, as in `nfm_keras.evaluate`.

    Returns:
        The `matplotlib.figure.Figure` written.
    """
    images, labels = split.images[:_SHOWN], split.labels[:_SHOWN]
    attack = attacks.PGD(epsilon, steps=20)
    classifier = cut_to(classifier, split.spec, from_logits)
    given = prepared(classifier, images, labels, from_logits=from_logits)
    classifier = given[0]
    # What the attack has to say of its gradients, the evaluation has said.
    attacked, _ = attack.attacked(given, seed, _SHOWN)
    broken = f"{int(attacked.success.sum())} of these {len(images)} images are broken"
    caption = f"PGD, l∞ ε = {format_severity(epsilon)}, 20 steps: {broken}."
    return figures.adversarial_examples(
        images,
        attacked.images,
        path,
        labels=labels,
        predictions=classifier.logits_of(images).argmax(1),
        adversarial_predictions=classifier.logits_of(attacked.images).argmax(1),
        classes=list(split.spec.classes),
        caption=f"{name} under {caption}" if name else caption,
    )


def activations(
    classifiers,
    path,
    *,
    kind="features",
    units=None,
    count=8,
    image_size=None,
    seed=0,
    classes=None,
    **settings,
):
    """Draws images that activate the same units of classifiers most, a row each.

    Args:
        classifiers: dict from name to Keras model or, for logits, any callable.
        path: PNG, PDF or SVG file to write.
        kind: `"features"` or `"logits"`.
        units: list of int; None for `count` drawn at random of those that all have,
            and that have a gradient at the start in all.
        count: int.
        image_size: int, the side of images of classifiers that take any.
        seed: int, of the first image, grey with noise of deviation 0.1, and the units.
        classes: names of the classes, over columns of logits.
        **settings: `steps`, `step_size`, `epsilon` of `activating_images`.

    Returns:
        dict from name to `evaluation.adversaries.Activating`.

    Raises:
        ValueError: For classifiers of different images, or what `activating_images`
            refuses.
    """
    shape = _shape(classifiers, image_size)
    generator = np.random.default_rng(seed)
    noise = generator.normal(0.5, 0.1, shape).clip(0, 1)
    start = noise.astype("float32")
    # Functions to the units, their logits: compiled once for all that follows.
    models = {name: activating.units_of(one, kind) for name, one in classifiers.items()}
    if units is None:
        check_count("count", count)
        sizes = [int(one.forward(start[None]).shape[-1]) for one in models.values()]
        order = generator.permutation(min(sizes)).tolist()
        units = sorted(_with_a_gradient(models.values(), start, order, count))
    named = kind == "logits" and classes
    if not units or (named and max(units) >= len(classes)):
        known = f", of 0 to {len(classes) - 1}" if named else ""
        raise ValueError(
            f"`units` must be one number or more{known}. Received: {units}"
        )
    found = {
        name: activating.activating_images(one, start, units, kind="logits", **settings)
        for name, one in models.items()
    }
    heads = [classes[unit] if named else f"unit {unit}" for unit in units]
    figures.activations(
        {name: one.images for name, one in found.items()},
        path,
        start=start,
        heads=heads,
        values={name: one.after.tolist() for name, one in found.items()},
        title="Images that activate " + ("classes" if named else "units") + " most",
        caption=f"Gradient ascent on {kind} from one start; numbers are their values.",
    )
    return found


def _with_a_gradient(models, start, order, count):
    """The first units of an order that can be activated in all models."""
    units = []
    for first in range(0, len(order), count):
        some = order[first : first + count]
        for one in models:
            if not some:
                break
            known = activating.with_a_gradient(one, start, some)
            some = [unit for unit in some if unit in known]
        units += some
        if len(units) >= count:
            break
    return units[:count] or order[:count]  # whose error says what is wrong with them


def _shape(classifiers, image_size):
    """The shape of an image that all classifiers take."""
    shapes = set()
    for one in classifiers.values():
        shape = tuple(getattr(one, "input_shape", None) or (None,) * 4)[1:]
        if len(shape) != 3:
            raise ValueError(
                "The classifiers must take one input, images of (height, width, "
                f"channels). Received: {one.input_shape}"
            )
        sides = [image_size if side is None else side for side in shape[:2]]
        shapes.add((*sides, shape[2] or 3))
    if len(shapes) != 1 or None in next(iter(shapes)):
        raise ValueError(
            "The classifiers must take images of one known size; --image_size names "
            f"that of a model that takes any. Received: {sorted(map(str, shapes))}"
        )
    shape = shapes.pop()
    if shape[-1] not in (1, 3):
        raise ValueError(
            f"A picture can be drawn of 1 or 3 channels. Received: images of {shape}"
        )
    return shape
