"""How every app starts."""

import contextlib
import os
import pathlib
import signal
import sys

from absl import app, flags

from nfm_keras.checks import unknown

from .stderr_filter import TensorFlowFinder

BACKENDS = ("tensorflow", "jax", "torch")

# TensorFlow says much when it is imported, before an app's own first line.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
# Where a CPU lacks neural-network instructions TensorFlow leaves oneDNN off, which
# doubles the time of a step (benchmarks/onednn.py).
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


class _Terminated(SystemExit):
    pass


def start(main, kept=""):
    """Runs an app; an error that says what is wrong needs no traceback.

    Ctrl-C and SIGTERM end it with one line and the status of a shell.

    Args:
        main: Function of the arguments, of which those that are flags were taken out.
        kept: What is not lost by that, and how to go on.
    """
    _explain(main.__module__)
    backend = os.environ.get("KERAS_BACKEND")
    if backend and backend not in BACKENDS:
        sys.exit(f"{_name()}: {unknown('KERAS_BACKEND', backend, BACKENDS)}")
    sys.meta_path.insert(0, TensorFlowFinder())
    try:
        with _named_errors():
            app.run(main)
    except KeyboardInterrupt:
        say("interrupted", kept)
        sys.exit(128 + signal.SIGINT)
    except _Terminated:
        say("terminated", kept)
        raise


def say(*parts):
    """Prints a line on standard error, as this app, if there is anything to say.

    Args:
        *parts: Strings; empty ones are left out.
    """
    told = "; ".join(part for part in parts if part)
    if told:
        print(f"{_name()}: {told}", file=sys.stderr)


@contextlib.contextmanager
def _named_errors():
    """Ends the process with one line for what goes wrong in it, or by SIGTERM."""

    def terminate(number, frame):
        raise _Terminated(128 + number)

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"{_name()}: {error}")
    except ImportError as error:
        sys.exit(f"{_name()}: {_missing(error)}")
    except MemoryError as error:
        sys.exit(f"{_name()}: out of memory. Received: {error or 'MemoryError'}")
    except Exception as error:
        # TensorFlow's own errors share no base class with Python's.
        if not type(error).__module__.startswith("tensorflow."):
            raise
        sys.exit(f"{_name()}: {_from_tensorflow(error)}")


def _from_tensorflow(error):
    """The line of TensorFlow's many that says what was wrong."""
    kind = type(error).__name__.removesuffix("Error")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if line.startswith("OOM ")]
    hint = ""
    if kind == "ResourceExhausted":
        hint = "TensorFlow is out of memory; a smaller --batch_size needs less. "
    return f"{hint}Received: {kind}: {(named or lines[-1:] or [''])[0]}"


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
