"""NumPy inside a training step, on every backend."""

import keras
import numpy as np
from keras import ops


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
    """`call_host` for TensorFlow's tensors, on whatever backend Keras runs."""
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util

    if control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()):
        raise ValueError(
            "This runs in NumPy on the host, which XLA on TensorFlow cannot call: "
            "compile without XLA, or do it in the input pipeline. "
            "Received: jit_compile=True"
        )

    def run(*arrays):
        return _arrays(function, outputs, arrays)

    found = tf.numpy_function(run, tensors, [tf.as_dtype(d) for _, d in outputs])
    # Run eagerly, it hands out a lone output without its list.
    found = [found] if tf.is_tensor(found) else found
    batch = tensors[0].shape[0]
    for tensor, (shape, _) in zip(found, outputs, strict=True):
        tensor.set_shape([batch if size is None else size for size in shape])
    return tuple(found)


def _jax(function, outputs, tensors):
    import jax

    batch = tensors[0].shape[0]
    kinds = tuple(
        jax.ShapeDtypeStruct(tuple(batch if n is None else n for n in shape), dtype)
        for shape, dtype in outputs
    )

    def run(*arrays):
        return tuple(_arrays(function, outputs, arrays))

    return jax.pure_callback(run, kinds, *tensors)


def _torch(function, outputs, tensors):
    arrays = [ops.convert_to_numpy(tensor) for tensor in tensors]
    found = _arrays(function, outputs, arrays)
    kinds = (dtype for _, dtype in outputs)
    return tuple(map(ops.convert_to_tensor, found, kinds))


def _arrays(function, outputs, arrays):
    found = function(*map(np.asarray, arrays))
    return [np.asarray(a, dtype) for a, (_, dtype) in zip(found, outputs, strict=True)]


_CALL = {"tensorflow": call_from_tensorflow, "jax": _jax, "torch": _torch}
