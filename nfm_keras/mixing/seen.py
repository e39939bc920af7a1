"""What a network sees: the images of a training step, mixed, and the steps' draws."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from nfm_keras.backend.gradients import compiled
from nfm_keras.mixing.interpolation import interpolate, partners
from nfm_keras.mixing.layer import NoisyFeatureMixup
from nfm_keras.mixing.scope import mixing_scope
from nfm_keras.mixing.sites import find_sites
from nfm_keras.mixing.techniques.base import Batch


class MixedImages(NamedTuple):
    """A batch as a training step sees it.

    Attributes:
        images: float32 `(batch, ...)` in the classifier's units, [0, 1] for those of
            this project. Noise takes them out of [0, 1].
        labels: float32 `(batch, classes)`, mixed.
        site: Name of the site that mixes; `"input (CutMix)"` where a technique did
            instead, `None` where the batch is left as it is.
        lam: float32 weight of the own label, a scalar or `(batch,)`.
    """

    images: Any
    labels: Any
    site: str | None
    lam: Any


def mixed_images(model, images, labels, step, at_input=False) -> MixedImages:
    """Returns a batch as the network is trained on it at a step.

    Every draw is a pure function of the model's seed and the step, so that this is
    what `fit` did, or will do, with this batch at that step. Where the site drawn is
    at the input, the images are mixed and noisy, in pixels: what lies between the
    images and the site, such as the network's own normalisation, is inverted. Where
    it is deeper, the images are not mixed. Of several views the first is shown.

    A technique that asks the network (PuzzleMix, Adversarial) gets the weights that
    the model has now. The model's state stays as it is.

    Args:
        model: `NFMModel`, compiled where its technique needs the loss.
        images: `(batch, ...)` as `fit` gets them, such as uint8 in front of a
            `preprocess`.
        labels: Integers `(batch,)`, or floats `(batch, classes)`.
        step: Integer, counted from 0 (`model.step`).
        at_input: Mix at the input whatever site is drawn: what the same weights,
            partners and noise do to the images themselves.

    Returns:
        `MixedImages` of NumPy arrays.

    Raises:
        ValueError: For `at_input` of a model that mixes but has no site at its input.

    Example:

    >>> from nfm_keras import Mixing, NFMModel, data, networks
    >>> network = networks.mlp((8, 8, 1), 10, depth=1)
    >>> model = NFMModel(network, Mixing(sites=("site_0",)))
    >>> images, labels, _ = data.load("digits").train
    >>> batch = mixed_images(model, images[:4] / 255, labels[:4], step=7)
    >>> batch.site, batch.images.shape, batch.labels.shape
    ('site_0', (4, 8, 8, 1), (4, 10))
    """
    count = len(images)
    images = ops.convert_to_tensor(images)
    if model.preprocess is not None:
        images = model.preprocess(images)
    labels = ops.convert_to_tensor(labels)
    batch = _prepared(model, images, labels, step)
    images, site = _at_site(model, batch, at_input)
    return MixedImages(
        ops.convert_to_numpy(ops.cast(images, "float32"))[:count],
        ops.convert_to_numpy(_soft_labels(model, labels, batch.draw)),
        site,
        ops.convert_to_numpy(batch.draw.lam),
    )


def step_draws(model, batch_size):
    """Returns a function that draws sites and lam of many steps at once.

    Args:
        model: `NFMModel`.
        batch_size: Samples in a step, which matters where each has its own lam
            (`Mixing(per_sample=True)`).

    Returns:
        Function of integer steps `(n,)` and, if the model is `scheduled`, its levels
        `(3,)` or `(n, 3)`, by default those that it has now. It returns NumPy arrays:
        site numbers `(n,)`, -1 for none, and lam `(n,)` or `(n, batch_size)`. It is
        compiled once.

    Example:

    >>> from nfm_keras import NFMModel, networks
    >>> model = NFMModel(networks.mlp((2,), 2, depth=2))
    >>> sites, lam = step_draws(model, 128)(np.arange(391))
    >>> sites.shape, lam.shape, sorted(set(sites.tolist()))
    ((391,), (391,), [0, 1])
    """
    size = batch_size if model.mixing.per_sample else 1

    def one(arguments):
        step, *levels = arguments
        draw = model.draw_at(step, size, *levels)
        return draw.site, draw.lam

    run = compiled(lambda *arguments: ops.map(one, arguments))

    def draws(steps, levels=None):
        arguments = [np.asarray(steps, "int32")]
        if model.levels is not None:
            levels = model.levels if levels is None else levels
            levels = np.asarray(ops.convert_to_numpy(levels), "float32")
            arguments.append(np.broadcast_to(levels, (len(arguments[0]), 3)))
        return tuple(map(ops.convert_to_numpy, run(*arguments)))

    return draws


def site_names(model) -> list[str]:
    """Returns the names of the sites that a model mixes at, by number.

    Args:
        model: `NFMModel`.
    """
    wanted = model.mixing.sites
    names = find_sites(model)
    return names if wanted is None else [name for name in names if name in wanted]


def _prepared(model, images, labels, step):
    """The `Batch` of the step, whose `site_draw` the sites follow."""
    draw = model.draw_at(step, ops.shape(images)[0])
    if model.technique is not None:
        return model.technique.prepare(model, images, labels, draw)
    return Batch(images, draw, None if model.mixing.is_identity else draw)


def _at_site(model, batch, at_input):
    """The images, and the name of the site or the technique that is at work."""
    number = int(batch.draw.site)
    if number < 0 or (batch.site_draw is None and model.technique is None):
        return batch.images, None
    if batch.site_draw is None:
        return batch.images, f"input ({type(model.technique).__name__})"
    name, layer = site_names(model)[number], model.site_layers[number]
    stem = _stem(model, layer) or (at_input and _any_stem(model))
    if not stem:
        return batch.images, name
    layer, features, offset, scale = stem
    draw = batch.site_draw._replace(site=0)
    with mixing_scope(model.mixing, draw, (layer,)):
        mixed = features(batch.images, training=False)
    return (ops.cast(mixed, "float32") - offset) / scale, name


def _stem(model, layer):
    """`(layer, features, offset, scale)` of a site at the input, `None` of another.

    It is at the input if its features are the images but for a scale and an offset of
    each of their numbers.
    """
    if not any(layer is known for known in model.model.layers):
        return None  # of a nested model
    features = keras.Model(model.model.input, layer.output)
    probe = np.random.default_rng(0).random(model.model.input_shape[1:], "float32")
    probes = np.stack([np.zeros_like(probe), np.ones_like(probe), probe])
    answers = ops.cast(features(probes, training=False), "float32")
    answers = ops.convert_to_numpy(answers)
    if answers.shape != probes.shape:
        return None
    offset, scale = answers[0], answers[1] - answers[0]
    # Half precision, where the network normalises in it, has two digits.
    linear = np.allclose(offset + scale * probe, answers[2], atol=0.02)
    if not linear or not scale.all():
        return None
    return layer, features, offset, scale


def _any_stem(model):
    """`_stem` of the first site at the input, or an error."""
    layers = (x for x in model.model.layers if isinstance(x, NoisyFeatureMixup))
    stem = next(filter(None, (_stem(model, layer) for layer in layers)), None)
    if stem is None:
        raise ValueError(
            "`at_input` needs a site at the input, before the first layer that does "
            f"more than to scale. Received: a model with the sites {find_sites(model)}"
        )
    return stem


def _soft_labels(model, labels, draw):
    """Labels as shares of the classes, mixed."""
    classes = model.model.output_shape[-1]
    if len(labels.shape) < 2 or labels.shape[-1] != classes:
        labels = ops.one_hot(ops.reshape(labels, (-1,)), classes)
    labels = ops.cast(labels, "float32")
    if not model.mixing.mixes:
        return labels
    return interpolate(labels, partners(labels, draw.partner), draw.lam)
