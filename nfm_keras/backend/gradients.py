"""Gradients with respect to inputs, and compilation, on each backend.

TensorFlow, JAX or PyTorch is imported on use, and only the one that Keras runs on.
"""

import contextlib
import functools

import keras
import numpy as np
from keras import ops

from nfm_keras.backend.wrong_gradients import moments_of_two_derivatives


def value_and_grad(fn):
    """Returns a function of a batch with its gradients, sample by sample.

    Only the gradient with respect to the input is computed, never that of the weights.

    Args:
        fn: `fn(inputs, *args) -> (values, aux)` with `values` of shape `(batch,)`, the
            i-th depending on the i-th input alone, and `aux` any tensor.

    Returns:
        `fn(inputs, *args) -> (values, aux, gradients)`; `gradients` has the shape of
        `inputs` and holds the gradient of each value at its own input. To be called
        inside `compiled`. They are 0 where nothing depends on the inputs: whoever
        follows them asks `nfm_keras.backend.ascent.checked`.

    Raises:
        ValueError: On another backend of Keras.

    Example:

    >>> square = value_and_grad(lambda x: (ops.sum(x * x, axis=1), x))
    >>> values, aux, gradients = compiled(square)([[1.0, 2.0]])
    >>> print(ops.convert_to_numpy(gradients))
    [[2. 4.]]
    """
    return functools.partial(_of_backend(_VALUE_AND_GRAD), fn)


def hessian_product(fn):
    """Returns a function that multiplies vectors by Hessians, sample by sample.

    Args:
        fn: `fn(inputs, *args) -> values` with `values` of shape `(batch,)`, the i-th
            depending on the i-th input alone.

    Returns:
        `fn(inputs, vectors, *args) -> products`, all of the shape of `inputs`: the
        Hessian of each value at its own input, times the vector. To be called inside
        `compiled`. It is 0 where `fn` is piecewise linear.

    Example:

    >>> cubes = hessian_product(lambda x: ops.sum(x * x * x, axis=1))
    >>> print(ops.convert_to_numpy(compiled(cubes)([[1.0, 2.0]], [[1.0, 1.0]])))
    [[ 6. 12.]]
    """
    return functools.partial(_of_backend(_HESSIAN_PRODUCT), fn)


def compiled(fn, variables=()):
    """Compiles a function of tensors on the backend in use.

    TensorFlow: `tf.function`. JAX: `jax.jit`. PyTorch: the function itself, run without
    recording the graph of the weights. A change in the number of samples may compile
    once more, so callers keep to few batch sizes.

    Args:
        fn: Function of tensors that returns tensors.
        variables: The Keras variables that `fn` reads. JAX bakes in as constants those
            that are not named here, and would not see them change afterwards.

    Returns:
        The function; it takes tensors, arrays or numbers.

    Example:

    >>> double = compiled(lambda x: 2.0 * x)
    >>> print(ops.convert_to_numpy(double([1.0, 2.0])))
    [2. 4.]
    """
    run = _COMPILED[keras.backend.backend()](fn, list(variables))
    # Tensors: tf.function would compile anew for every number, and jax.jit hash it.
    return lambda *args: run(*map(_tensor, args))


def _tensor(value):
    # Keras (3.15.1) on JAX makes floats of integers where floatx is bfloat16.
    kind = getattr(value, "dtype", None)
    whole = isinstance(kind, np.dtype) and kind in ("bool", "int32")
    return ops.convert_to_tensor(value, str(kind) if whole else None)


def takes_any_size():
    """Returns whether a batch of a size not met before costs nothing but its images.

    JAX compiles for each, and on a GPU TensorFlow lets cuDNN try its algorithms anew.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return not tf.config.list_physical_devices("GPU")
    return backend == "torch"


@contextlib.contextmanager
def at_once():
    """Returns the context in which functions of constants run, amid a compilation."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.init_scope():
            yield
    elif backend == "jax":
        import jax

        with jax.ensure_compile_time_eval():
            yield
    else:
        import torch

        with torch.no_grad():
            yield


def _of_backend(table):
    """The entry of the backend in use, or an error."""
    backend = keras.backend.backend()
    if backend not in table:
        raise ValueError(
            f"Gradients need one of the Keras backends {sorted(table)}. "
            f"Received: {backend!r}"
        )
    return table[backend]


def _tensorflow_value_and_grad(fn, inputs, *args):
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        values, aux = fn(inputs, *args)
    zero = tf.UnconnectedGradients.ZERO  # not None, where nothing depends on them
    return values, aux, tape.gradient(values, inputs, unconnected_gradients=zero)


def _jax_value_and_grad(fn, inputs, *args):
    import jax

    def total(inputs):
        values, aux = fn(inputs, *args)
        return ops.sum(values), (values, aux)

    gradients, (values, aux) = jax.grad(total, has_aux=True)(inputs)
    return values, aux, gradients


def _torch_value_and_grad(fn, inputs, *args):
    import torch

    with torch.enable_grad():
        inputs = inputs.detach().requires_grad_(True)
        values, aux = fn(inputs, *args)
        # Zeros, not an error, where nothing depends on the inputs.
        total = values.sum() + 0 * inputs.sum()
        (gradients,) = torch.autograd.grad(total, inputs)
    return values.detach(), aux.detach(), gradients


def _tensorflow_hessian_product(fn, inputs, vectors, *args):
    def slopes(inputs, *args):
        _, _, gradients = _tensorflow_value_and_grad(
            lambda x, *args: (fn(x, *args), x), inputs, *args
        )
        return ops.sum(gradients * vectors), inputs

    with moments_of_two_derivatives():
        return _tensorflow_value_and_grad(slopes, inputs, *args)[2]


def _jax_hessian_product(fn, inputs, vectors, *args):
    import jax

    gradient = jax.grad(lambda inputs: ops.sum(fn(inputs, *args)))
    return jax.jvp(gradient, (inputs,), (vectors,))[1]


def _torch_hessian_product(fn, inputs, vectors, *args):
    import torch

    with torch.enable_grad():
        inputs = inputs.detach().requires_grad_(True)
        nothing = 0 * inputs.sum()  # zeros, not an error, where nothing depends
        total = fn(inputs, *args).sum() + nothing
        (gradients,) = torch.autograd.grad(total, inputs, create_graph=True)
        slopes = (gradients * vectors).sum() + nothing
        return torch.autograd.grad(slopes, inputs)[0]


def _tensorflow_compiled(fn, variables):
    import tensorflow as tf

    # No jit_compile: on a CPU, XLA runs convolutions many times slower. The second
    # batch size met is compiled for any.
    return tf.function(fn, reduce_retracing=True)


def _jax_compiled(fn, variables):
    import jax

    @jax.jit
    def run(values, *args):
        mapping = zip(variables, values, strict=True)
        with keras.StatelessScope(state_mapping=mapping) as scope:
            result = fn(*args)
        return result, [scope.get_current_value(seed) for seed in seeds]

    # The only integers that inference changes: what a layer that stays random draws
    # its noise from. Left where they are, every call would meet the same noise.
    seeds = [variable for variable in variables if "int" in variable.dtype]

    def call(*args):
        result, states = run([variable.value for variable in variables], *args)
        for seed, state in zip(seeds, states, strict=True):
            seed.assign(state)
        return result

    return call


def _torch_compiled(fn, variables):
    import torch

    return torch.no_grad()(fn)


_VALUE_AND_GRAD = {
    "tensorflow": _tensorflow_value_and_grad,
    "jax": _jax_value_and_grad,
    "torch": _torch_value_and_grad,
}


_HESSIAN_PRODUCT = {
    "tensorflow": _tensorflow_hessian_product,
    "jax": _jax_hessian_product,
    "torch": _torch_hessian_product,
}


_COMPILED = {
    "tensorflow": _tensorflow_compiled,
    "jax": _jax_compiled,
    "torch": _torch_compiled,
}
