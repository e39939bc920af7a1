"""How every app starts."""

import os
import pathlib
import sys

from absl import app, flags

from nfm_keras.checks import unknown

from .stderr_filter import TensorFlowFinder

BACKENDS = ("tensorflow", "jax", "torch")

# TensorFlow says much when it is imported, before an app's own first line.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")


def start(main):
    """Runs an app; an error that says what is wrong needs no traceback.

    Args:
        main: Function of the arguments, of which those that are flags were taken out.
    """
    _explain(main.__module__)
    backend = os.environ.get("KERAS_BACKEND")
    if backend and backend not in BACKENDS:
        sys.exit(f"{_name()}: {unknown('KERAS_BACKEND', backend, BACKENDS)}")
    sys.meta_path.insert(0, TensorFlowFinder())
    try:
        app.run(main)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"{_name()}: {error}")
    except ImportError as error:
        sys.exit(f"{_name()}: {_missing(error)}")


def _name():
    return pathlib.Path(sys.argv[0]).stem


def _explain(name):
    """Makes --help that of the app, where a console command has imported it."""
    if name == "__main__":
        return
    sys.modules["__main__"].__doc__ = sys.modules[name].__doc__
    for flag in flags.FLAGS.get_key_flags_for_module(name):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def _missing(error):
    """Returns what to do where a backend, or another package, is not installed."""
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if (error.name or "").partition(".")[0] != backend:
        return str(error)
    return (
        f"The Keras backend is {backend}, which is not installed: "
        f'pip install "nfm-keras[{backend}]", or choose another that is installed by '
        f"KERAS_BACKEND=jax (or torch, tensorflow). Received: {error}"
    )
