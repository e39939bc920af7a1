"""The private names of Keras and of TensorFlow that the package uses.

Neither library promises to keep them. Every one is behind a function here, and has a
test that says what breaks where it is gone. No other module but `keras_compiled`, which
has those of losses and metrics, names `keras.src` or what begins with an underscore.
"""

import collections
import contextlib
import functools

import keras


def mask_of(tensor):
    """Returns the mask that a layer put on a tensor, such as that of padded tokens.

    Args:
        tensor: Tensor.

    Returns:
        bool tensor, or None where there is no mask.
    """
    from keras.src.backend import get_keras_mask

    return get_keras_mask(tensor)


def set_mask(tensor, mask):
    """Puts a mask on a tensor, for the losses and metrics that it comes to.

    Args:
        tensor: Tensor `(batch, time, ...)`.
        mask: bool tensor `(batch, time)`.
    """
    from keras.src.backend import set_keras_mask

    set_keras_mask(tensor, mask)


@contextlib.contextmanager
def names_from_start():
    """Names layers within a `with` block as in a process that has made none.

    Layers without a name of their own are called `"activation_2"` by how many of their
    kind a process has made. To be used for what ends up in a model inside of another
    one: within one model no two layers may share a name.
    """
    from keras.src.backend.common import global_state

    key = "object_name_uids"
    held = global_state.get_global_attribute(key)
    global_state.set_global_attribute(key, collections.defaultdict(int))
    try:
        yield
    finally:
        global_state.set_global_attribute(key, held)


def set_jit_compile(model, value):
    """Sets `jit_compile` of a model whose class has a property of that name itself.

    Args:
        model: `keras.Model`.
        value: bool.
    """
    keras.Model.jit_compile.fset(model, value)


def build_state(model, batch):
    """Makes the variables of metrics and optimiser, as Keras does in the first step.

    Args:
        model: Compiled `keras.Model`.
        batch: `(inputs, labels)`, arrays or `keras.KerasTensor`.
    """
    model._symbolic_build(data_batch=batch)


def build_before_training(model, make):
    """Makes a model's training function, and variables before that is traced.

    TensorFlow traces a step once more if it made variables the first time, and Keras
    leaves those of metrics and optimiser to it.

    Args:
        model: Compiled `keras.Model`.
        make: Keras' `make_train_function`, which may find that there is one.
    """
    before = model.train_function
    make()
    function = model.train_function
    if function is before or keras.backend.backend() != "tensorflow":
        return
    built = False

    @functools.wraps(function)
    def build_and_run(iterator):
        nonlocal built
        # A generator, as of `train_on_batch`, does not tell what it gives.
        if not built and hasattr(iterator, "element_spec"):
            # Tensors of unknown rank, losses that need values: the step says what is
            # wrong, or makes its variables itself.
            with contextlib.suppress(Exception):
                build_state(model, iterator.element_spec)
        built = True
        return function(iterator)

    model.train_function = build_and_run


def has_graph(model):
    """Returns whether a model is a graph of layers, and not code in a `call`.

    Args:
        model: Anything.
    """
    return hasattr(model, "_nodes_by_depth")


def number_of_calls(model, layer):
    """Returns how often the graph of a model passes a layer.

    Args:
        model: `keras.Model`; a Sequential one has a graph inside.
        layer: `keras.Layer`.

    Returns:
        int; 0 of a model without a graph. Calls with a mask are not counted.
    """
    graph = getattr(model, "_functional", None) or model
    by_depth = getattr(graph, "_nodes_by_depth", {})
    nodes = (node for depth in by_depth.values() for node in depth)
    return sum(n.operation is layer and n.outputs[0].dtype != "bool" for n in nodes)


def source(tensor):
    """Returns the layer that a symbolic tensor comes from, and what went into it.

    `layer.input` would not do: a layer that is in several models has several.

    Args:
        tensor: `keras.KerasTensor` of a functional model.

    Returns:
        `(layer, inputs)`: `keras.Layer` or `keras.Operation`, and the list of its
        `keras.KerasTensor`.
    """
    layer, node, _ = tensor._keras_history
    return layer, layer._inbound_nodes[node].input_tensors


def input_like(tensor, dtype=None):
    """Returns an input as one of a graph is, `optional`, `sparse` and all.

    Args:
        tensor: `keras.KerasTensor`.
        dtype: str; `None` for that of the tensor.
    """
    kinds = {k: getattr(source(tensor)[0], k, False) for k in ("sparse", "optional")}
    kinds |= {"batch_shape": tensor.shape, "dtype": dtype or tensor.dtype}
    return keras.Input(name=tensor.name, **kinds)


def graph_of(layer):
    """Returns the graph that a layer is, such as that in a Sequential model.

    Args:
        layer: Anything.

    Returns:
        `keras.Model` with `inputs` and `outputs`; None of what is code in a `call`.
    """
    graph = getattr(layer, "_functional", None) or layer
    return graph if has_graph(graph) else None


def graph_calls(model):
    """Returns the calls in a graph, each after those whose outputs it takes.

    Args:
        model: What `graph_of` returned.

    Returns:
        List of `(operation, inputs, outputs)`: `keras.Operation`, and lists of
        `keras.KerasTensor`, without masks. An input of the model has no inputs.
    """
    by_depth = model._nodes_by_depth
    return [
        (node.operation, _without_masks(node), list(node.outputs))
        for depth in sorted(by_depth, reverse=True)
        for node in by_depth[depth]
    ]


def takes_masks_of_inputs(model):
    """Returns the layers whose masks Keras took from their inputs, in a graph.

    Args:
        model: What `graph_of` returned.

    Returns:
        Set of the layers' ids.
    """
    found = set()
    for node in (node for nodes in model._nodes_by_depth.values() for node in nodes):
        masks, given = _masks(node), _without_masks(node)
        own = [mask_of(tensor) for tensor in given]
        if masks and all(any(_same(m, each) for each in own) for m in masks):
            found.add(id(node.operation))
    return found


def called_with(layer, tensor):
    """Returns what a layer made of a symbolic tensor; None where it was not called.

    Args:
        layer: `keras.Layer`.
        tensor: `keras.KerasTensor`, or one made by the same operation.
    """
    for node in layer._inbound_nodes:
        if len(node.input_tensors) == 1 and _same(node.input_tensors[0], tensor):
            return node.outputs[0]
    return None


def child_layers(layer):
    """Returns the layers that a layer holds, but not those that they hold in turn.

    Args:
        layer: `keras.Layer`.

    Returns:
        List of `keras.Layer`, in the order in which they were assigned.
    """
    return list(layer._flatten_layers(include_self=False, recursive=False))


def nested_layers(model):
    """Returns a model's layers, those within others too, and the model itself first.

    Args:
        model: `keras.Model`.

    Returns:
        List of `keras.Layer`.
    """
    return list(model._flatten_layers())


def under_xla():
    """Returns whether TensorFlow is tracing for XLA, which cannot call the host."""
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util

    graph = tf.compat.v1.get_default_graph()
    return control_flow_util.GraphOrParentsInXlaContext(graph)


def without_masks(kwargs):
    """Returns the arguments of a call in a graph but for the masks.

    Args:
        kwargs: Dict from names to values. `use_causal_mask=True` is no mask.
    """
    return {
        name: value
        for name, value in kwargs.items()
        if not (name == "mask" or name.endswith("_mask"))
        or not any(isinstance(x, keras.KerasTensor) for x in keras.tree.flatten(value))
    }


def tensorflow_uses_onednn():
    """Returns whether TensorFlow's kernels for CPUs are those of oneDNN."""
    from tensorflow.python.util import _pywrap_util_port

    return bool(_pywrap_util_port.IsMklEnabled())


def _masks(node):
    """The masks that a call in a graph is given, which no one else may have."""
    kwargs = node.arguments.kwargs
    names = kwargs.keys() - without_masks(kwargs).keys()
    masks = keras.tree.flatten([kwargs[name] for name in names])
    return [mask for mask in masks if isinstance(mask, keras.KerasTensor)]


def _without_masks(node):
    masks = {id(mask) for mask in _masks(node)}
    return [tensor for tensor in node.input_tensors if id(tensor) not in masks]


def _same(mask, other):
    """Whether two masks are one, or made by one operation from one tensor."""
    histories = [getattr(x, "_keras_history", None) for x in (mask, other)]
    if mask is other or None in histories:
        return mask is other
    (kind, inputs), (its, others) = source(mask), source(other)
    return type(kind) is type(its) and [*map(id, inputs)] == [*map(id, others)]
