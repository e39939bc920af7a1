"""Apps run in the process of a test: another one takes seconds to start."""

import importlib
import signal
import sys

from absl import flags, logging
from absl.testing import flagsaver

from apps import start


def run_app(name, *arguments):
    """Runs an app, and leaves none of its flags behind: others have the same names.

    Raises:
        SystemExit: With its last line, for an error that says what is wrong.
    """
    known, loaded = set(flags.FLAGS), set(sys.modules)
    parsed, verbosity = flags.FLAGS.is_parsed(), logging.get_verbosity()
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        app = importlib.import_module(f"apps.{name}")
        with flagsaver.flagsaver(), start._named_errors():
            flags.FLAGS([name, *map(str, arguments)])
            app.main([name])
    finally:
        for flag in set(flags.FLAGS) - known:
            delattr(flags.FLAGS, flag)
        for module in set(sys.modules) - loaded:
            if module.startswith("apps."):
                del sys.modules[module]
        logging.set_verbosity(verbosity)
        signal.signal(signal.SIGTERM, terminate)
        if not parsed:
            flags.FLAGS.unparse_flags()
