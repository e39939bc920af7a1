"""The network inside of a model that only trains it."""

from typing import Any

import keras

from nfm_keras.backend import keras_compiled, keras_private


class Trainer:
    """Mark of a model that trains another: `NFMModel`, which the backend cannot import.

    Such a class has `model`, the network with its sites, and `classifier`, the same
    network without them; `preprocess` comes before either.
    """

    model: Any
    classifier: Any
    preprocess: Any


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


def cloned(model: Any, inputs: Any, clone: Any, call: Any) -> Any:
    """Returns `keras.models.clone_model` of a model, frozen where the model is.

    Args:
        model: Functional model.
        inputs: Structure of `keras.KerasTensor`, as the model's `input`.
        clone: `clone_function`.
        call: `call_function`.
    """
    made = keras.models.clone_model(
        model, input_tensors=inputs, clone_function=clone, call_function=call
    )
    return keras_compiled.keep_trainable(made, model)


def image_shape(model: Any) -> tuple:
    """Returns the shape of what a model of one input takes, without the batch.

    Args:
        model: Keras model.

    Returns:
        Tuple; empty where there are several inputs, or none is known.
    """
    graph = keras_private.graph_of(model)
    if graph is None or len(graph.inputs) != 1:
        return ()
    return tuple(graph.inputs[0].shape[1:])


def set_weights(network: Any, arrays: Any) -> None:
    """Gives a network its weights, and its layers what they made of older ones.

    Args:
        network: Model with a graph.
        arrays: As its `get_weights` gives them.
    """
    network.set_weights(arrays)
    finalize(network)


def finalize(network: Any) -> None:
    """Has layers look at their weights again.

    `keras.layers.Normalization` computes with a mean and a variance that it took from
    its weights when it was adapted or loaded, and not when these are set.
    """
    for layer in keras_private.nested_layers(network):
        if hasattr(layer, "finalize_state") and layer.weights:
            layer.finalize_state()
