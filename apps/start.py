"""How every app starts."""

import contextlib
import functools
import os
import pathlib
import shlex
import signal
import sys
import warnings

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
    warnings.formatwarning = _line
    try:
        with _named_errors():
            app.run(functools.partial(_without_help, main))
    except KeyboardInterrupt:
        say("interrupted", kept)
        sys.exit(128 + signal.SIGINT)
    except _Terminated:
        say("terminated", kept)
        raise


def module(app):
    """Returns what follows `python -m` for an app, in a checkout or installed.

    Args:
        app: str, the name of its file, such as `"serve_check"`.
    """
    return f"{__package__}.{app}"


def typed(app, arguments):
    """Returns what to type to run an app: its console command, once it is installed.

    Args:
        app: As in `module`.
        arguments: Its flags, list of str.
    """
    installed = __package__ != "apps"
    words = [f"nfm-{app}"] if installed else ["python", "-m", module(app)]
    return shlex.join([*words, *arguments])


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
        sys.exit(f"{_name()}: {_told(error)}")
    except ImportError as error:
        sys.exit(f"{_name()}: {_missing(error)}")
    except MemoryError as error:
        sys.exit(f"{_name()}: out of memory. Received: {error or 'MemoryError'}")
    except Exception as error:
        # TensorFlow's own errors share no base class with Python's.
        if not type(error).__module__.startswith("tensorflow."):
            raise
        sys.exit(f"{_name()}: {_from_tensorflow(error)}")


def _without_help(main, argv):
    """Runs an app; of wrong flags one line is said, not all the help before it."""
    try:
        return main(argv)
    except app.UsageError as error:
        raise ValueError(f"{error} See --help.") from None


def _line(message, category, filename, lineno, line=None):
    """A warning as a line of the app, without the place in its source."""
    return f"{_name()}: {message}\n"


def _told(error):
    """What an error says; of a file, in words."""
    if isinstance(error, FileNotFoundError) and error.filename and error.errno:
        return f"{error.filename} must be there. Received: no such file or folder"
    if isinstance(error, OSError) and error.strerror and not error.filename:
        return error.strerror  # a sentence of ours, without its number
    return str(error)


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
