"""Images that activate a unit of a classifier most: what it has learned to look for."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from nfm_keras.attacks.balls import into_ball
from nfm_keras.backend.ascent import checked, picked, steepest
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.backend.gradients import value_and_grad
from nfm_keras.backend.inner import classifier_of
from nfm_keras.backend.keras_private import graph_of, source
from nfm_keras.checks import check_count, check_number, unknown

KINDS = "features", "logits"
"""What is activated: the input of the last layer, or its output."""


class Activating(NamedTuple):
    """Images found, and how far each went.

    Attributes:
        images: float32 `(n, height, width, channels)` in [0, 1].
        before, after: float32 `(n,)`, the activation at the start and at the image.
    """

    images: np.ndarray
    before: np.ndarray
    after: np.ndarray


def activating_images(
    classifier: Any,
    start: np.ndarray,
    units: Sequence[int],
    *,
    kind: str = "features",
    steps: int = 200,
    step_size: float = 16 / 255,
    epsilon: float = 2000 / 255,
) -> Activating:
    """Maximises activations by projected gradient ascent, an image for each unit.

    Every step goes `step_size` along the gradient's direction, back into the l2 ball
    around the start, and into [0, 1].

    Args:
        classifier: Keras model or, for logits, any callable, from images in [0, 1].
        start: float32 `(height, width, channels)` in [0, 1], where all begin.
        units: Which units, by number.
        kind: `"features"`, what the last dense layer takes, or `"logits"`.
        steps: How many.
        step_size, epsilon: Length of a step and radius of the ball, l2, in units of
            [0, 1]; the defaults are 16 and 2,000 of [0, 255].

    Returns:
        An `Activating`.

    Raises:
        ValueError: For a unit there is not, a setting out of range, features of what is
            no graph of layers that ends in a dense one, or a unit whose gradient is 0
            at the start.

    Example:

    >>> def three(images):
    ...     return ops.mean(images, axis=(1, 2))
    >>> grey = np.full((4, 4, 3), 0.5, "float32")
    >>> found = activating_images(three, grey, [2], kind="logits", epsilon=0.4)
    >>> print(found.before.round(2), found.after.round(2))
    [0.5] [0.6]

    Reference:
        [Engstrom et al., 2019](https://arxiv.org/abs/1906.00945), section 4; settings
        of Lim et al., appendix F.7.
    """
    check_count("steps", steps)
    check_number("step_size", step_size, above=0)
    check_number("epsilon", epsilon, above=0)
    model = units_of(classifier, kind)
    points = np.repeat(np.asarray(start, "float32")[None], len(units), axis=0)
    count = int(model.forward(points[:1]).shape[-1])
    for unit in units:
        if not 0 <= unit < count:
            raise ValueError(
                f"`units` must be numbers from 0 to {count - 1}. Received: {unit}"
            )
    first, climb = ops.convert_to_tensor(points), model.compiled(_climb)
    chosen = np.asarray(units, "int32")
    for step in range(steps):
        points, values, alive = climb(points, first, chosen, step_size, epsilon)
        if step == 0:
            before, alive = map(ops.convert_to_numpy, (values, alive))
            _check_alive(alive, units)
    after = ops.convert_to_numpy(model.compiled(_values)(points, chosen))
    return Activating(ops.convert_to_numpy(points), before, after)


def with_a_gradient(
    model: PlainClassifier, start: np.ndarray, units: Sequence[int]
) -> list[int]:
    """Returns those units that have a way up from an image: a finite gradient, not 0.

    Args:
        model: What `units_of` returned.
        start, units: As in `activating_images`.
    """
    points = np.repeat(np.asarray(start, "float32")[None], len(units), axis=0)
    climb = model.compiled(_climb)
    _, _, health = climb(points, points, np.asarray(units, "int32"), 0.0, 1.0)
    healthy = ops.convert_to_numpy(health) == 1
    return [unit for unit, fine in zip(units, healthy, strict=True) if fine]


def units_of(classifier: Any, kind: str) -> PlainClassifier:
    """Returns a compiled function from images to the units of a kind.

    Args:
        classifier, kind: As in `activating_images`.
    """
    if kind not in KINDS:
        raise unknown("kind", kind, KINDS)
    if kind == "logits":
        return PlainClassifier(classifier)
    graph = graph_of(classifier_of(classifier))
    layer, inputs = source(graph.outputs[0]) if graph is not None else (None, [])
    while inputs and not isinstance(layer, keras.layers.Dense):
        weights = layer.weights if isinstance(layer, keras.Layer) else []
        if len(inputs) > 1 or weights:
            break
        layer, inputs = source(inputs[0])
    if not isinstance(layer, keras.layers.Dense) or len(inputs[0].shape) != 2:
        raise ValueError(
            "Features are the vector that the last dense layer of a graph of layers "
            "takes; a classifier without one has logits alone (--of=logits, "
            "kind='logits'). "
            f"Received: {type(classifier).__name__}"
        )
    return PlainClassifier(keras.Model(graph.inputs, inputs[0]), from_logits=True)


def _values(classifier, points, units):
    return picked(classifier(points), units)


def _climb(classifier, points, first, units, step_size, epsilon):
    """One step up, the activations before it, and which had a gradient."""

    def activation(points):
        values = _values(classifier, points, units)
        return values, values

    _, values, gradient = value_and_grad(activation)(points)
    gradient, health = checked(gradient)
    points = points + step_size * steepest(gradient, "l2")
    return into_ball(points, first, epsilon, "l2"), values, health


def _check_alive(health, units):
    dead = [unit for unit, found in zip(units, health, strict=True) if found != 1]
    if dead:
        raise ValueError(
            "Every unit must have a finite gradient at the start, to go along. "
            f"Received: none at unit(s) {dead}; take others, or another seed"
        )
