"""The outputs of a classifier that are scored: one of several, or a cut of one."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.backend.inner import classifier_of
from nfm_keras.backend.keras_private import graph_of
from nfm_keras.checks import unknown
from nfm_keras.data.specs import DatasetSpec


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
    classifier = classifier_of(classifier)
    graph = graph_of(classifier)
    if graph is None:
        return Picked(classifier, output)
    tensor = _chosen(_named(graph), output)
    images = graph.inputs[0] if len(graph.inputs) == 1 else graph.inputs
    return keras.Model(images, tensor, name=classifier.name)


def cut_to(
    classifier: Any, spec: DatasetSpec | None, from_logits: bool | None = None
) -> Any:
    """Returns a classifier that answers in the classes of a set.

    The 200 classes of ImageNet-A and -R are a cut of the 1,000 logits of a classifier
    of ImageNet: it is made before anything is compared with a label, so that attacks,
    too, see these classes alone.

    Args:
        classifier: Keras model or any callable, from images to logits.
        spec: `DatasetSpec` of the set; `None` for one without.
        from_logits: bool, as in `PlainClassifier`.

    Returns:
        A `PlainClassifier` where a cut is made; the classifier as it is where it has an
        output for each class already, or where the set asks for no cut.

    Raises:
        ValueError: If the classifier has another number of outputs than the set has
            classes, or than a classifier that is cut.

    Example:

    >>> from nfm_keras.data.specs import Cut
    >>> spec = DatasetSpec("two", (1, 1, 3), ("a", "b"), (), (), cut=Cut((2, 0), 3))
    >>> two = cut_to(lambda images: images[:, 0, 0], spec)
    >>> print(keras.ops.convert_to_numpy(two(np.array([[[[0.1, 0.2, 0.3]]]]))))
    [[0.3 0.1]]
    """
    cut = getattr(spec, "cut", None)
    if spec is None or cut is None or getattr(classifier, "places", None) is not None:
        return classifier
    count = _outputs(classifier, spec, from_logits)
    if count == cut.total:
        return PlainClassifier(classifier, from_logits, places=cut.places)
    if count != spec.num_classes:
        raise ValueError(
            f"The classifier must have {cut.total:,} outputs, of which those of the "
            f"{spec.num_classes} classes of {spec.name} are taken, or "
            f"{spec.num_classes}. Received: {count}"
        )
    return classifier


def check_width(logits: np.ndarray, num_classes: int | None) -> None:
    """Refuses a classifier that has another number of classes than the set.

    Args:
        logits: `(batch, classes)` array.
        num_classes: int, of the set; `None` where it does not say.

    Raises:
        ValueError: If they differ: it was trained on other classes, and what it scores
            would be chance.
    """
    if num_classes is not None and logits.shape[-1] != num_classes:
        raise ValueError(
            f"The classifier must have an output for each of the {num_classes} classes "
            "of the set: give one that was trained on them, or a function that takes "
            f"theirs from among others. Received: {logits.shape[-1]} outputs"
        )


def _outputs(classifier, spec, from_logits):
    """How many logits a classifier gives."""
    shape = getattr(classifier, "output_shape", None)
    if isinstance(shape, tuple) and shape and isinstance(shape[-1], int):
        return shape[-1]
    image = np.zeros((1, *spec.shape), "float32")
    return PlainClassifier(classifier, from_logits).forward(image).shape[-1]


class Picked:
    """A callable that gives one output of another; all else of it shows through.

    Args:
        classifier: Keras model or any callable.
        output: str or int.
    """

    def __init__(self, classifier, output):
        self.classifier, self.output = classifier, output

    @property
    def training(self):
        """Whether it is a module in training mode; layers are told at every call."""
        known = isinstance(self.classifier, keras.Layer)
        return not known and getattr(self.classifier, "training", False)

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
