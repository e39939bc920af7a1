"""JAX's devices and processes, and programs that stay on them: for JAX alone."""

import keras
import numpy as np


def counts():
    """Returns how many devices and processes take part, and which process this is.

    Returns:
        `(devices, processes, index)`: three int, the devices those of all processes.
    """
    import jax

    return jax.device_count(), jax.process_count(), jax.process_index()


def any_process(flag) -> bool:
    """Returns whether a flag is set in any process, once all have asked."""
    from jax.experimental import multihost_utils

    return bool(multihost_utils.process_allgather(np.asarray(flag)).any())


def to_device(arrays):
    """Returns a structure of NumPy arrays as arrays on the device."""
    import jax

    return jax.device_put(arrays)


def program(function, *arguments):
    """Compiles a function of tensors into one program on the device.

    Args:
        function: Function that JAX can trace. The memory of its first argument becomes
            that of its results.
        *arguments: What it is called with, for their shapes.

    Returns:
        Function of such arguments.

    Example:

    >>> add = program(lambda x, y: x + y, np.int32(1), np.int32(2))  # doctest: +SKIP
    >>> int(add(np.int32(3), np.int32(4)))  # doctest: +SKIP
    7
    """
    import jax

    return jax.jit(function, donate_argnums=0).lower(*arguments).compile()


def keep_programs(folder):
    """Keeps compiled programs in a folder, for this process and those after it.

    Args:
        folder: Path; made when the first program is written.

    Raises:
        RuntimeError: On another backend than JAX.
    """
    if keras.backend.backend() != "jax":
        raise RuntimeError(
            "Programs are kept on the JAX backend: set KERAS_BACKEND=jax. "
            f"Received: {keras.backend.backend()!r}"
        )
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder))


def integers(key, shape, stop):
    """Draws uniform int32 numbers from 0 to `stop`, which is left out.

    Args:
        key: Of `nfm_keras.backend.random`.
        shape: Shape of the result.
        stop: int.
    """
    import jax

    return jax.random.randint(key, shape, 0, stop)
