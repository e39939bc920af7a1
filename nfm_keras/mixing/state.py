"""The values that the variables of a model have in a training step.

On JAX they are arguments of the step: `train_step` takes a `state`, lists of the values
of the trainable variables, of the others, of the optimiser's and of the metrics', while
a variable holds what it held when the step was traced. On TensorFlow and PyTorch there
is no state, and a variable holds its value.
"""

import contextlib

import keras
from keras import ops


def add_state(model, name, shape, dtype="float32", initializer="ones"):
    """Adds a variable that a step reads or counts and nothing trains.

    Args:
        model: The model that owns it and saves it.
        name: Its name.
        shape: Its shape.
        dtype: `"float32"` or `"int"`.
        initializer: What it starts from.

    Returns:
        `keras.Variable`, of which replicas keep the first one's value.
    """
    return model.add_weight(
        shape=shape,
        dtype=dtype,
        initializer=initializer,
        trainable=False,
        name=name,
        aggregation="only_first_replica",
    )


def variables_of(model):
    """Returns a model's variables in the order of JAX's state.

    Args:
        model: Compiled and built `keras.Model`.

    Returns:
        Tuple of four lists of variables.
    """
    return (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )


def position(model, variable):
    """Returns which of the variables that are not trained a variable is.

    Args:
        model: `keras.Model`.
        variable: One of its `non_trainable_variables`.

    Returns:
        int.
    """
    return [id(v) for v in model.non_trainable_variables].index(id(variable))


def values_of(model, state):
    """Returns the context in which a model's variables have the values of the step.

    What becomes of them inside is forgotten on JAX, but for `state_after`.

    Args:
        model: `keras.Model`.
        state: `[state]` on JAX, else an empty list.
    """
    if not state:
        return contextlib.nullcontext()
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    trained, others = state[0][:2]
    return keras.StatelessScope(list(zip(variables, [*trained, *others])))


def state_after(model, state, values, layer):
    """Returns the state with what a layer's variables became, such as its seeds.

    Args:
        model: `keras.Model`.
        state: As in `values_of`.
        values: What `values_of` gave, in which the layer was called.
        layer: `keras.Layer` of the model; another function, or None, has none.

    Returns:
        `[state]` on JAX, else an empty list.
    """
    if not state or not isinstance(layer, keras.Layer):
        return state
    ((trained, others, *rest),) = state
    others = list(others)
    for variable in layer.non_trainable_variables:
        others[position(model, variable)] = values.get_current_value(variable)
    return [(trained, others, *rest)]


def count_step(model, state):
    """Returns the number of the step, and counts it.

    Args:
        model: `NFMModel`.
        state: As in `values_of`.

    Returns:
        `(step, state)`: scalar integer tensor, and the state with the next step's.
    """
    if not state:
        step = ops.convert_to_tensor(model.step.value) + 0
        model.step.assign(step + 1)
        return step, state
    ((trained, others, *rest),) = state
    others, place = list(others), position(model, model.step)
    step, others[place] = others[place], others[place] + 1
    return step, [(trained, others, *rest)]
