"""How every app starts."""

import pathlib
import sys

from absl import app


def start(main):
    """Runs an app; an error that says what is wrong needs no traceback.

    Args:
        main: Function of the arguments, of which those that are flags were taken out.
    """
    try:
        app.run(main)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"{pathlib.Path(sys.argv[0]).stem}: {error}")
