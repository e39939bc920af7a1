"""Keras knows our classes by name, so that it can load a saved model.

`keras.saving.load_model` imports no module of ours: a class that is not registered when
a file is read cannot be made. Registering takes the import of Keras, which `import
nfm_keras` does not wait for; so it is done as soon as Keras is there.
"""

import importlib
import importlib.abc
import importlib.util
import inspect
import sys

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
    "networks.vit_lite",
    "training.optimizers",
)
"""The modules that have classes with `keras.saving.register_keras_serializable`."""

_registered = False


def register_with_keras():
    """Registers every serialisable class where Keras is imported, or once it will be.

    While a module of ours is being imported nothing is done: the next use of a name
    does it.
    """
    global _registered
    if _registered or _inside_the_package():
        return
    if "keras" not in sys.modules:
        if not any(isinstance(finder, _KerasFinder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _KerasFinder())
        return
    _registered = True
    for module in MODULES:
        importlib.import_module(f"nfm_keras.{module}")


def load_model(path, **options):
    """Loads a Keras model that may have our layers, techniques or optimisers in it.

    Args:
        path: A `.keras` file, of this or an older version of nfm-keras.
        **options: As in `keras.saving.load_model`.

    Returns:
        The `keras.Model`.

    Raises:
        ValueError: If there is no such file, or it is not one of Keras.

    Example:

    >>> model = load_model("runs/nfm-0/classifier.keras")  # doctest: +SKIP
    """
    import keras

    register_with_keras()
    return keras.saving.load_model(path, **options)


class _KerasFinder(importlib.abc.MetaPathFinder):
    """Notices when Keras is imported, and registers our classes after it."""

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            register_with_keras()

        spec.loader.exec_module = exec_module
        return spec


def _inside_the_package():
    """Whether a module of ours is being imported: others may not import it yet."""
    frame = inspect.currentframe()
    while frame is not None:
        code = frame.f_code.co_name
        if code == "<module>" and frame.f_globals["__name__"].startswith("nfm_keras."):
            return True
        frame = frame.f_back
    return False
