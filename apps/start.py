"""How every app starts."""

import pathlib
import sys

from absl import app


def start(main):
    """Runs an app; an error that says what is wrong needs no traceback.

    Args:
        main: function of the arguments that are no flags.
    """
    try:
        app.run(main)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"{pathlib.Path(sys.argv[0]).stem}: {error}")
