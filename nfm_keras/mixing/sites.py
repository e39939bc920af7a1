"""Where a network may be mixed: find the sites, put them in, take them out."""

from collections.abc import Sequence

import keras
from keras import tree

from nfm_keras.backend import keras_compiled, keras_private
from nfm_keras.backend.inner import cloned, network_of
from nfm_keras.checks import did_you_mean, unique_names
from nfm_keras.mixing.layer import NoisyFeatureMixup
from nfm_keras.mixing.places import check_all_pass


def find_sites(model: keras.Model) -> list[str]:
    """Returns the names of a model's sites, in graph order.

    Args:
        model: Model, layer or `NFMModel`. A site inside a nested model, a layer of
            your own or a wrapper such as `TimeDistributed` is named by its path,
            `"nested/site"`. A layer must hold it as Keras sees it: as an attribute,
            or in a list or dict that is one.

    Returns:
        List of str.

    Raises:
        ValueError: If a site, or a layer that holds one, is called more than once in
            a graph, or if two sites have the same path.

    Example:

    >>> from nfm_keras import networks
    >>> find_sites(networks.mlp((2,), 2))
    ['site_0', 'site_1', 'site_2', 'site_3']
    """
    return list(_sites(model))


def site_layers(
    model: keras.Model, names: Sequence[str] | None = None
) -> list[NoisyFeatureMixup]:
    """Returns the `NoisyFeatureMixup` layers of a model, in graph order.

    Args:
        model: As in `find_sites`.
        names: Which of them; `None` for all.

    Raises:
        ValueError: If a name is not that of a site.
    """
    sites = _sites(model)
    if names is None:
        return list(sites.values())
    for name in names:
        if name not in sites:
            raise _unknown("site", name, list(sites))
    return [layer for name, layer in sites.items() if name in names]


def insert_sites(
    model: keras.Model, after: Sequence[str], allow_bypass: bool = False
) -> keras.Model:
    """Splices `NoisyFeatureMixup` layers into a model, after layers named.

    The model returned shares every layer, and so every weight, with `model`,
    which stays as it is. The site after layer `a` is called `"site_a"`.

    A site mixes what passes it and nothing else, so it has to stand where all of the
    data pass: behind the sum of a residual block, not on its branch; and in a network
    with skip connections before they leave, or the partner's part of the label has no
    features. Another place is refused, and a good one near by named.

    Args:
        model: Functional or Sequential model.
        after: Names of layers; `"input"` is the model's input (all of them where
            there are several), `"backbone/conv2"` layer `conv2` of the nested
            model `backbone`.
        allow_bypass: Take places that some path goes around, too.

    Returns:
        A functional model.

    Raises:
        ValueError: For a name that no layer has (the near ones are listed), one
            given twice, or a layer that is called more than once, whose
            features one draw cannot tell apart; for a place that some path goes
            around, from an input that it depends on to an output.

    Example:

    >>> backbone = keras.applications.MobileNet(weights=None)
    >>> model = insert_sites(backbone, after=["input", "conv_pw_3_relu"])
    >>> find_sites(model)
    ['site_input', 'site_conv_pw_3_relu']
    """
    model, names = _functional(model), unique_names(after)
    spliced = _splice(model, names, prefix="", allow_bypass=allow_bypass)
    if not allow_bypass:
        check_all_pass(model, names)
    return spliced


def remove_sites(model: keras.Model) -> keras.Model:
    """Returns the plain model: same layers and weights, without the sites.

    A site that a layer of your own or a wrapper holds stays where it is, and silent:
    outside of training it returns what it is given.

    Args:
        model: Functional or Sequential model, or an `NFMModel`.

    Raises:
        ValueError: For a model without a graph.
    """
    model = _functional(network_of(model))

    def clone(layer):
        return remove_sites(layer) if graph_sites(layer) else layer

    def call(layer, *args, **kwargs):
        if isinstance(layer, NoisyFeatureMixup):
            return args[0]
        return layer(*args, **kwargs)

    inputs = tree.map_structure(keras_private.input_like, model.input)
    return cloned(model, inputs, clone, call)


def plain(model: keras.Model) -> keras.Model:
    """Returns a model without sites, itself where its graph has none.

    Where a site takes several tensors, weights come in another order with it than in
    the file of a classifier, which has none. The variables are the same.

    Args:
        model: Model, or an `NFMModel`.
    """
    network = network_of(model)
    return remove_sites(network) if graph_sites(network) else network


def graph_sites(model) -> list[NoisyFeatureMixup]:
    """Returns the sites that `remove_sites` takes out: those that stand in a graph.

    Args:
        model: Model or layer.
    """
    graph = keras_private.graph_of(model)
    sites: list[NoisyFeatureMixup] = []
    for layer in graph.layers if graph is not None else ():
        is_site = isinstance(layer, NoisyFeatureMixup)
        sites += [layer] if is_site else graph_sites(layer)
    return sites


def _sites(model, prefix=""):
    """name -> layer, wherever the layer is held."""
    model = network_of(model)
    sites = {}
    layers = model.layers if _is_graph(model) else keras_private.child_layers(model)
    for layer in layers:
        if isinstance(layer, NoisyFeatureMixup):
            inner = {prefix + layer.name: layer}
        else:
            inner = _sites(layer, f"{prefix}{layer.name}/")
        if inner:
            _check_called_once(model, layer, prefix + layer.name)
            _check_new(sites, inner)
        sites.update(inner)
    return sites


def _check_new(sites, others):
    for name, layer in others.items():
        if name in sites:
            raise ValueError(
                "Every site needs a path of its own: give the layers that hold them "
                f"different names. Received: {name!r} twice"
            )
        twin = next((own for own, known in sites.items() if known is layer), None)
        if twin is not None:
            raise ValueError(
                f"A site needs a place of its own. Received: one layer as {twin!r} and "
                f"as {name!r}"
            )


def _splice(model, names, prefix, allow_bypass):
    """The model with sites after the layers named, and `prefix` before their names."""
    here, below = _by_depth(names)
    known = {layer.name: layer for layer in model.layers}
    _check_names(model, known, here, below, prefix)
    masked = keras_private.takes_masks_of_inputs(keras_private.graph_of(model))
    spliced = {}  # id of a tensor -> what its consumers get instead

    def clone(layer):
        if layer.name not in below:
            return layer
        inner = _functional(layer)
        path = f"{prefix}{layer.name}/"
        return _splice(inner, below[layer.name], path, allow_bypass)

    def call(layer, *args, **kwargs):
        args, kwargs = tree.map_structure(
            lambda x: spliced.get(id(x), x), (args, kwargs)
        )
        if id(layer) in masked:  # Keras sets masks anew
            kwargs = keras_private.without_masks(kwargs)
        outputs = layer(*args, **kwargs)
        if layer.name in here:
            outputs = _site(layer.name, allow_bypass)(outputs)
        return outputs

    inputs = tree.map_structure(keras_private.input_like, model.input)
    keep = []  # ids stay unique only while their tensors live
    for name, sources in _input_sites(model, inputs, here).items():
        mixed = _site(name, allow_bypass)(sources)
        keep.append(sources)
        for old, new in zip(tree.flatten(sources), tree.flatten(mixed)):
            spliced[id(old)] = new
    return cloned(model, inputs, clone, call)


def _by_depth(names):
    """The names without a path, and a dict from models to those within them."""
    below = {}
    for name in names:
        head, _, rest = name.partition("/")
        if rest:
            below.setdefault(head, []).append(rest)
    return {name for name in names if "/" not in name}, below


def _site(place, allow_bypass):
    return NoisyFeatureMixup(name=f"site_{place}", allow_bypass=allow_bypass)


def _input_sites(model, inputs, here):
    """Names of input sites -> the tensors that one site takes together."""
    flat = tree.flatten(inputs)
    sites = {x.name: x for x in flat if x.name in here and x.name != "input"}
    if "input" in here:
        sites["input"] = flat[0] if len(flat) == 1 else flat
    return sites


def _check_names(model, known, here, below, prefix):
    for name in sorted(here | set(below)):
        if name == "input":
            continue
        if name not in known:
            names = ["input"] * (not prefix) + list(known)
            raise _unknown("layer", prefix + name, names)
        if name in below and not _is_graph(known[name]):
            raise ValueError(
                f"'{prefix}{name}' must be a nested functional model to have "
                f"layers of its own. Received: a {type(known[name]).__name__}"
            )
        _check_called_once(model, known[name], prefix + name)


def _check_called_once(model, layer, name):
    calls = keras_private.number_of_calls(model, layer)
    if calls > 1:
        raise ValueError(
            f"A site needs a place that the graph passes once. Received: '{name}', "
            f"which is called {calls} times"
        )


def _functional(model):
    """The model as a graph, that of a Sequential one, or an error."""
    if isinstance(model, keras.Sequential) and model.built:
        (inputs,) = model.inputs  # a list would ask for lists later on
        graph = keras.Model(inputs, model.outputs, name=model.name)
        return keras_compiled.keep_trainable(graph, model)
    if not _is_graph(model) or not keras_private.has_graph(model):
        raise ValueError(
            "Sites need a functional model, or a Sequential one that is built "
            "(give it a keras.Input). For any other, put `NoisyFeatureMixup` "
            f"layers into its call(). Received: {type(model).__name__}"
        )
    return model


def _is_graph(layer):
    return isinstance(layer, keras.Model) and bool(getattr(layer, "layers", None))


def _unknown(kind, name, known):
    """The error for a name that is not in a model: it may have hundreds of others."""
    some = ", ".join(map(repr, known[:10])) or "none"
    return ValueError(
        f"No {kind} of that name in the model.{did_you_mean(name, known)} The first of "
        f"{len(known)}: {some}. Received: {name!r}"
    )
