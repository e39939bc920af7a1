"""Compiled programs kept in a folder, for JAX alone."""

import keras


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
