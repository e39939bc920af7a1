"""The network that is meant: inside of a model that trains it, or none of Keras'."""

from typing import Any

import keras

from nfm_keras.backend import keras_compiled, keras_private

_LIBRARIES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}

_MISFITS = AttributeError, TypeError, RuntimeError
"""What libraries raise when they are given the tensors of another one."""


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


def check_inference(classifier):
    """Refuses a module in training mode, such as PyTorch's are when they are made.

    Its dropout would make every score too low, and its batch norm would learn from the
    images that it is judged by. Layers of Keras are told at every call.

    Args:
        classifier: Anything.

    Raises:
        ValueError: For what has a true `training`, and an `eval` that ends it.
    """
    if isinstance(classifier, keras.Layer):
        return
    trains = getattr(classifier, "training", False) is True
    if trains and callable(getattr(classifier, "eval", None)):
        raise ValueError(
            "A classifier is judged in inference mode: call its .eval() first, and "
            "afterwards .train() of those parts alone that are to stay random. "
            f"Received: {type(classifier).__name__} in training mode"
        )


def call_foreign(classifier, images):
    """Returns what a function of tensors gives.

    Args:
        classifier: Callable that is no layer of Keras.
        images: Tensor.

    Raises:
        ValueError: Where it cannot compute with such tensors, saying what they are.
    """
    try:
        return classifier(images)
    except _MISFITS as error:
        if type(error).__name__ == "OutOfMemoryError":
            raise
        backend = keras.backend.backend()
        told = str(error).strip().split("\n")[0]
        raise ValueError(
            f"The classifier must compute with float32 tensors of {_LIBRARIES[backend]}"
            ", the backend of Keras: set KERAS_BACKEND to the library that it is "
            "written in, make its weights float32, and call what is written in NumPy "
            "by nfm_keras.backend.host.call_host. "
            f"Received: {type(error).__name__}: {told}"
        ) from error
