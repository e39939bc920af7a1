"""What a classifier ends in: logits, or sigmoids of them."""

from typing import NamedTuple

import keras
import numpy as np

from nfm_keras.backend import keras_private
from nfm_keras.backend.heads import head
from nfm_keras.backend.inner import set_weights


class Head(NamedTuple):
    """A classifier as one that ends in logits.

    Attributes:
        model: Keras model from images to logits.
        sigmoid: Whether each logit is of a probability of its own. One logit alone is
            that of the second of two classes.
    """

    model: keras.Model
    sigmoid: bool

    @property
    def classes(self):
        """How many classes there are."""
        return max(2, self.model.output_shape[-1])


def head_of(classifier, images):
    """Returns a classifier without the sigmoid that it ends in, if it does.

    Args:
        classifier: Functional or Sequential model of one input and one output.
        images: Some that it takes, on which both are compared.

    Returns:
        `Head`; a model with a sigmoid is copied, weights and all.

    Raises:
        ValueError: If it ends in a sigmoid in another way than in its last layer, or
            gives no logits `(batch, classes)`.
        RuntimeError: If the logits' sigmoids are not what the classifier gives.
    """
    if len(classifier.output_shape) != 2:
        raise ValueError(
            "A classifier gives logits of shape (batch, classes). "
            f"Received: {classifier.output_shape}"
        )
    last, _ = keras_private.source(classifier.outputs[0])
    single = classifier.output_shape[-1] == 1
    if head(classifier) != "sigmoid":
        return Head(classifier, single)
    copy = keras.models.clone_model(classifier)
    set_weights(copy, classifier.get_weights())
    last, inputs = keras_private.source(copy.outputs[0])
    if isinstance(last, keras.layers.Dense):
        logits = _without_activation(last)(inputs[0])
    elif head(last) == "sigmoid" and not keras_private.graph_of(last):
        logits = inputs[0]
    else:
        raise ValueError(
            "A sigmoid must be the activation of a last Dense layer, or that layer "
            f"itself, to be exported. Received: {last.name!r}"
        )
    (image,) = copy.inputs  # a list would ask for lists
    model = keras.Model(image, logits, name=classifier.name)
    sigmoids = np.asarray(keras.ops.sigmoid(model(images, training=False)))
    difference = np.abs(sigmoids - np.asarray(classifier(images, training=False)))
    if not difference.max() <= 0.01:
        raise RuntimeError(
            "The classifier without its sigmoid must give that one's logits. "
            f"Received: probabilities that differ by {difference.max():.3g}"
        )
    return Head(model, True)


def _without_activation(dense):
    settings = dense.get_config() | {"activation": "linear"}
    plain = type(dense).from_config(settings)
    plain.build(dense.input.shape)
    plain.set_weights(dense.get_weights())
    return plain
