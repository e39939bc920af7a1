"""Which layers of a network learn, and how fast: for weights that are there already."""

from collections.abc import Iterator, Sequence

import keras

from nfm_keras.backend import keras_private
from nfm_keras.checks import did_you_mean
from nfm_keras.mixing.layer import NoisyFeatureMixup


def freeze(network: keras.Model, prefixes: Sequence[str]) -> None:
    """Keeps layers as they are: neither their weights nor their statistics move.

    Args:
        network: Functional model.
        prefixes: Beginnings of paths of layers, such as `"backbone/"` or
            `"backbone/conv2"`.

    Raises:
        ValueError: For a prefix that no layer with weights has, or if nothing is left
            to learn.

    Example:

    >>> from nfm_keras.networks import mlp
    >>> network = mlp((8, 8, 1), 10)
    >>> freeze(network, ["dense"])
    >>> [variable.path for variable in network.trainable_variables]
    ['logits/kernel', 'logits/bias']
    """
    known = {path: layer for path, layer in _in_order(network) if layer.weights}
    for prefix in prefixes:
        frozen = [layer for path, layer in known.items() if path.startswith(prefix)]
        if not frozen:
            raise ValueError(
                "`freeze` must name the beginning of a layer with weights."
                f"{did_you_mean(prefix, known)} The first of {len(known)}: "
                f"{', '.join(list(known)[:10])}. Received: {prefix!r}"
            )
        for layer in frozen:
            layer.trainable = False
    if not network.trainable_variables:
        raise ValueError(
            "`freeze` must leave a layer to train, such as the last one. "
            f"Received: {tuple(prefixes)}, which are all"
        )


def rate_factors(network: keras.Model, decay: float) -> dict[int, float]:
    """Returns what the learning rate of each variable is multiplied by.

    The last layer has 1, what stands between the last site and it `decay`, what
    stands between the last two sites `decay**2`, and so on to the input.

    Args:
        network: Functional model with sites.
        decay: Factor from stage to stage, in (0, 1].

    Returns:
        Dict from `id` of a variable to float.

    Reference:
        Layer-wise rates, [Clark et al., 2020](https://arxiv.org/abs/2003.10555), here
        with a network's stages in the place of its layers.
    """
    stages, stage = [], 0
    for _, layer in _in_order(network):
        stage += isinstance(layer, NoisyFeatureMixup)
        if layer.trainable_variables:
            stages.append((layer, stage))
    factors = {
        id(variable): decay ** (stage + 1 - passed)
        for layer, passed in stages[:-1]
        for variable in layer.trainable_variables
    }
    return factors


def _in_order(model, prefix="") -> Iterator[tuple[str, keras.Layer]]:
    """Paths and layers of a graph and of those nested in it, from input to output."""
    for layer in model.layers:
        if keras_private.graph_of(layer) is None:
            yield prefix + layer.name, layer
        else:
            yield from _in_order(layer, f"{prefix}{layer.name}/")
