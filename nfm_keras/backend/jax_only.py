"""What only JAX has: a program of many steps on the device, and its processes."""

import keras
import numpy as np


def program(function, *examples):
    """Compiles a function whose first argument is its state, which it may overwrite.

    Args:
        function: Pure function of trees of arrays.
        *examples: Arguments of the shapes and dtypes that it will be called with.

    Returns:
        The compiled function.
    """
    import jax

    return jax.jit(function, donate_argnums=0).lower(*examples).compile()


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


def scan(step, state, places):
    """Returns the last state of a loop on the device, and what its steps returned.

    Args:
        step: Function `(state, place)` to `(state, output)`.
        state: Tree of arrays.
        places: Tree of arrays with one row a step.
    """
    import jax

    return jax.lax.scan(step, state, places)


def on_device(arrays):
    """Returns NumPy arrays as arrays on the device."""
    import jax

    return jax.device_put(arrays)


def integers(key, shape, end):
    """Returns int32 in `[0, end)`.

    Args:
        key: Of `nfm_keras.backend.random`.
        shape: Tuple of integers.
        end: Integer.
    """
    import jax

    return jax.random.randint(key, shape, 0, end)


def processes():
    """Returns how many devices and processes take part, and this one's number."""
    import jax

    return jax.device_count(), jax.process_count(), jax.process_index()


def any_process(flag):
    """Returns whether a flag is set in any process, once all have asked."""
    from jax.experimental import multihost_utils

    return bool(multihost_utils.process_allgather(np.asarray(flag)).any())
