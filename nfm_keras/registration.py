"""Keras knows our classes by name, so that it can load a saved model.

`keras.saving.load_model` imports no module of ours: a class that is not registered when
a file is read cannot be made. Registering takes the import of Keras, which `import
nfm_keras` does not wait for; so it is done as soon as Keras is there, whoever imports
it, and in whatever order.
"""

import importlib
import importlib.abc
import os
import re
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `import nfm_keras` is to import nothing more
    import keras

    from nfm_keras.types import StrPath

MODULES = (
    "corruptions.layers",
    "mixing.layer",
    "mixing.model",
    "mixing.techniques.adversarial",
    "mixing.techniques.cutmix",
    "mixing.techniques.losses",
    "mixing.techniques.noisymix",
    "mixing.techniques.puzzlemix",
    "networks.blocks",
    "networks.plain_vit",
    "networks.vision_transformer",
    "training.optimizers",
)
"""The modules that have classes with `keras.saving.register_keras_serializable`."""


def register_with_keras():
    """Registers every serialisable class: now where Keras is imported, or once it is.

    Where a module of ours is being imported, which others may not import yet, it is
    done when the outermost of those is complete.
    """
    if "keras" in sys.modules and not _imports.depth:
        _stop_watching()
        for module in MODULES:
            importlib.import_module(f"nfm_keras.{module}")
    elif _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def load_model(path: "StrPath", **options: Any) -> "keras.Model":
    """Loads a Keras model that may have our layers, techniques or optimisers in it.

    Args:
        path: A `.keras` file, of this or an older version of nfm-keras.
        **options: As in `keras.saving.load_model`.

    Returns:
        The `keras.Model`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is truncated or not one of Keras, or has layers that nobody
            has imported.

    Example:

    >>> from nfm_keras import networks
    >>> networks.mlp((8, 8, 1), 10).save("classifier.keras")
    >>> load_model("classifier.keras").output_shape
    (None, 10)
    """
    import zipfile

    import keras

    register_with_keras()
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"No classifier at {path}. Expected a .keras file. Received: nothing there"
        )
    if str(path).endswith(".keras") and not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} is not a whole .keras file: truncated, or something else. "
            f"Received: {os.path.getsize(path)} bytes that are no zip archive"
        )
    try:
        return keras.saving.load_model(path, **options)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(
            f"{path} is not a whole .keras file. Received: {error}"
        ) from None
    except TypeError as error:
        what = re.search(r"Could not locate[^.\n]*", str(error))
        if what is None:
            raise
        raise ValueError(
            f"{path} has layers of its own: import the module that defines them first "
            f"(--import=MODULE in the commands). Received: {what[0]}"
        ) from None


class _Imports(threading.local):
    """How many modules of ours a thread is importing, one within another."""

    depth = 0


class _Finder(importlib.abc.MetaPathFinder):
    """Notices the import of Keras and of our modules, and registers after it."""

    def find_spec(self, name, path=None, target=None):
        ours = name.startswith("nfm_keras.")
        if not ours and name != "keras":
            return None
        others = (f for f in sys.meta_path if f is not self and hasattr(f, "find_spec"))
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next(filter(None, specs), None)
        if spec is not None and spec.loader is not None:
            _watch(spec.loader, ours)
        return spec


def _watch(loader, ours):
    """Makes a loader register once it has loaded the outermost module."""
    execute = loader.exec_module

    def exec_module(module):
        _imports.depth += ours
        try:
            execute(module)
        finally:
            _imports.depth -= ours
        if "keras" in sys.modules:
            register_with_keras()

    loader.exec_module = exec_module


def _stop_watching():
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)


_imports = _Imports()
_finder = _Finder()
