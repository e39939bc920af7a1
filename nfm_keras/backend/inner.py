"""The network inside of a model that only trains it."""

from typing import Any


class Trainer:
    """Mark of a model that trains another: `NFMModel`, which the backend cannot import.

    Such a class has `model`, the network with its sites, and `classifier`, the same
    network without them.
    """

    model: Any
    classifier: Any


def network_of(model: Any) -> Any:
    """Returns the network that an `NFMModel` trains; anything else as it is.

    Args:
        model: Anything; what is no `NFMModel` is returned as it is, also where it has a
            part called `model`.
    """
    return model.model if isinstance(model, Trainer) else model


def classifier_of(model: Any) -> Any:
    """Returns the classifier of an `NFMModel`, without what `fit` does before it.

    Args:
        model: Anything; what is no `NFMModel` is returned as it is, also where it has a
            part called `classifier`.
    """
    return model.classifier if isinstance(model, Trainer) else model
