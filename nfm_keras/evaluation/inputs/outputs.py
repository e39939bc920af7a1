"""One output of a classifier that has several."""

from collections.abc import Mapping
from typing import Any

import keras

from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.backend.keras_private import graph_of
from nfm_keras.checks import unknown


def pick(classifier: Any, output: str | int | None) -> Any:
    """Returns a classifier that gives one output of another.

    Args:
        classifier: Keras model or any callable that gives a dict, a list or tuple, or
            an object with attributes.
        output: str, the key, the name of the output's layer or the attribute; int, the
            place in a list or tuple; None for the classifier as it is.

    Returns:
        Keras model where the classifier is a graph of layers; else a callable.

    Raises:
        ValueError: If a graph has no such output; for any other, once it is called.

    Example:

    >>> image = keras.Input((4,))
    >>> heads = {"coarse": keras.layers.Dense(2)(image)}
    >>> heads["fine"] = keras.layers.Dense(10)(image)
    >>> pick(keras.Model(image, heads), "fine").output_shape
    (None, 10)
    """
    if output is None:
        return classifier
    if isinstance(classifier, PlainClassifier):
        classifier = classifier.classifier
    graph = graph_of(classifier)
    if graph is None:
        return Picked(classifier, output)
    tensor = _chosen(_named(graph), output)
    images = graph.inputs[0] if len(graph.inputs) == 1 else graph.inputs
    return keras.Model(images, tensor, name=classifier.name)


class Picked:
    """A callable that gives one output of another; all else of it shows through.

    Args:
        classifier: Keras model or any callable.
        output: str or int.
    """

    def __init__(self, classifier, output):
        self.classifier, self.output = classifier, output

    def __call__(self, images):
        known = isinstance(self.classifier, keras.Layer)
        options = {"training": False} if known else {}
        given = self.classifier(images, **options)
        if isinstance(given, (Mapping, list)) or type(given) is tuple:
            return _chosen(given, self.output)
        return getattr(given, str(self.output))

    def __getattr__(self, name):
        if name == "classifier":  # not there yet, while it is copied
            raise AttributeError(name)
        return getattr(self.classifier, name)


def _named(graph):
    """The outputs of a graph by name; by place where they have none of their own."""
    if isinstance(graph.output, Mapping):
        return graph.output
    names = getattr(graph, "output_names", None) or []
    return dict(enumerate(graph.outputs)) | dict(zip(names, graph.outputs))


def _chosen(outputs, output):
    if not isinstance(outputs, Mapping):
        outputs = dict(enumerate(outputs))
    if output not in outputs:
        raise unknown("output", str(output), list(map(str, outputs)))
    return outputs[output]
