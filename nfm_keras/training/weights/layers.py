"""Which layers of a network learn, and how fast: for weights that are there already."""

from collections.abc import Iterator, Sequence

import keras

from nfm_keras.backend import keras_private
from nfm_keras.checks import did_you_mean
from nfm_keras.mixing.layer import NoisyFeatureMixup
from nfm_keras.mixing.sites import site_layers


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
    known = {path: layer for path, layer, own in _in_order(network) if own}
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
    stands between the last two sites `decay**2`, and so on to the input. Of a layer
    that holds sites, all variables count as before these.

    Args:
        network: Functional model with sites.
        decay: Factor from stage to stage, in (0, 1].

    Returns:
        Dict from `id` of a variable to float.

    Reference:
        Layer-wise rates, [Clark et al., 2020](https://arxiv.org/abs/2003.10555), here
        with a network's stages in the place of its layers.
    """
    stages, passed = [], 0
    for path, layer, own in _in_order(network):
        if own:
            stages.append((own, passed))
        if isinstance(layer, NoisyFeatureMixup):
            passed += 1
        elif not path.endswith("/"):  # those in a graph have been counted there
            passed += len(site_layers(layer))
    return {
        id(variable): decay ** (passed + 1 - before)
        for own, before in stages[:-1]
        for variable in own
    }


def _in_order(model, prefix="") -> Iterator[tuple[str, keras.Layer, list]]:
    """Paths, layers and their own variables, in graphs within too, input to output.

    A nested model comes after its layers, with the variables that none of these has.
    """
    for layer in model.layers:
        path = prefix + layer.name
        if keras_private.graph_of(layer) is None:
            yield path, layer, layer.weights
        else:
            inner = set()
            for one in _in_order(layer, f"{path}/"):
                inner |= {id(variable) for variable in one[2]}
                yield one
            rest = [v for v in layer.weights if id(v) not in inner]
            yield f"{path}/", layer, rest
