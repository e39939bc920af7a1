"""The flag `--import`: modules with the layers of somebody's own classifier."""

import importlib
import os
import sys

from absl import flags

_IMPORT = flags.DEFINE_list(
    "import", [], "Modules to import first, with the layers of a classifier."
)


def import_layers():
    """Imports the modules of `--import`, and makes Keras know what is in them.

    Modules are looked for in the folder at hand too. Every class and function that one
    defines is known by its name, whether or not it is registered with Keras.
    """
    if not _IMPORT.value:
        return
    sys.path.insert(0, os.getcwd())
    for name in _IMPORT.value:
        module = importlib.import_module(name)
        own = {
            key: value
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == name
        }
        import keras  # which an app without --import does not wait for

        keras.saving.get_custom_objects().update(own)
