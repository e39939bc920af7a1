"""NumPy inside a training step, on every backend."""

import keras
import numpy as np
from keras import ops

from nfm_keras.backend import keras_private


def call_host(function, outputs, *tensors):
    """Calls a NumPy function eagerly or from inside a compiled step.

    Args:
        function: Pure function of arrays that returns a tuple of arrays.
        outputs: `[(shape, dtype), ...]` of what it returns; `None` in a shape stands
            for the batch and takes the size of the first tensor's.
        *tensors: Its arguments.

    Returns:
        Tuple of tensors.

    Raises:
        ValueError: Under XLA on TensorFlow, which has no way to the host.

    Example:

    >>> kinds = [((None,), "float32")]
    >>> (double,) = call_host(lambda x: (2 * x,), kinds, ops.ones((3,)))
    >>> print(ops.convert_to_numpy(double))
    [2. 2. 2.]
    """
    return _CALL[keras.backend.backend()](function, outputs, tensors)


def call_from_tensorflow(function, outputs, tensors):
    """Calls a NumPy function on TensorFlow's tensors, whatever backend Keras runs on.

    Args:
        function: As in `call_host`.
        outputs: As there.
        tensors: Tuple of tensors of TensorFlow.

    Returns:
        Tuple of tensors.

    Raises:
        ValueError: Under XLA.
    """
    import tensorflow as tf

    if keras_private.under_xla():
        raise ValueError(
            "This runs in NumPy on the host, which XLA on TensorFlow cannot call: "
            "compile without XLA, or do it in the input pipeline. "
            "Received: jit_compile=True"
        )

    def run(*arrays):
        return _arrays(function, outputs, arrays)

    results = tf.numpy_function(run, tensors, [tf.as_dtype(d) for _, d in outputs])
    # Run eagerly, it hands out a lone output without its list.
    results = [results] if tf.is_tensor(results) else results
    batch = tensors[0].shape[0]
    for tensor, (shape, _) in zip(results, outputs, strict=True):
        tensor.set_shape([batch if size is None else size for size in shape])
    return tuple(results)


def _jax(function, outputs, tensors):
    import jax

    batch = tensors[0].shape[0]
    kinds = tuple(
        jax.ShapeDtypeStruct(tuple(batch if n is None else n for n in shape), dtype)
        for shape, dtype in outputs
    )

    def run(*arrays):
        return tuple(_arrays(function, outputs, arrays))

    # No gradient goes through the host, as on the other backends.
    return jax.pure_callback(run, kinds, *map(jax.lax.stop_gradient, tensors))


def _torch(function, outputs, tensors):
    arrays = [ops.convert_to_numpy(tensor) for tensor in tensors]
    results = _arrays(function, outputs, arrays)
    kinds = (dtype for _, dtype in outputs)
    return tuple(map(ops.convert_to_tensor, results, kinds))


def _arrays(function, outputs, arrays):
    """What the function returns, as arrays of the types that were announced."""
    results = function(*map(np.asarray, arrays))
    pairs = zip(results, outputs, strict=True)
    return [np.asarray(array, dtype) for array, (_, dtype) in pairs]


_CALL = {"tensorflow": call_from_tensorflow, "jax": _jax, "torch": _torch}
