"""What is to be seen of code that is not a library's: instructions and settings."""

import hashlib
import inspect
import types
from typing import Any

import numpy as np

# What they do is known by their version, and hardly ever changes what a layer answers.
_LIBRARIES = {"builtins", "jax", "keras", "nfm_keras", "tensorflow", "torch"}
_IDLE = {"built", "name", "trainable", "training"}


def code_of(part: Any) -> list:
    """Returns what is to be seen of the code of a layer, a module or another object.

    That is of classes and functions which do not come from Keras, its backends or this
    package: the instructions of their methods, and attributes that are numbers, texts,
    arrays or functions. What these call in turn is not followed.

    Args:
        part: Any object.

    Returns:
        List of JSON values, the same in every process of one version of Python.

    Example:

    >>> one, two = (types.SimpleNamespace(factor=factor) for factor in (1, 2))
    >>> code_of(one) == code_of(one), code_of(one) == code_of(two)
    (True, False)
    """
    kinds = [kind for kind in type(part).__mro__ if is_own(kind)]
    text: list = []
    for kind in kinds:
        members = [[key, _function(value)] for key, value in vars(kind).items()]
        text.append([kind.__name__, sorted(each for each in members if each[1])])
    attributes = sorted(getattr(part, "__dict__", {}).items())
    for key, value in attributes:
        function = isinstance(value, types.FunctionType) and is_own(value)
        shows = kinds and isinstance(value, (int, float, str, np.ndarray))
        if (function or shows) and key[0] != "_" and key not in _IDLE:
            text.append([key, _function(value) or _value(value)])
    return text


def is_own(value: Any) -> bool:
    """Returns whether a class or function is neither ours nor a library's."""
    root = (getattr(value, "__module__", None) or "").partition(".")[0]
    return root not in _LIBRARIES


def _value(value):
    if isinstance(value, np.ndarray):
        return [str(value.dtype), hashlib.sha256(value.tobytes()).hexdigest()]
    if isinstance(value, types.FunctionType):
        return _instructions(value.__code__)
    simple = value is None or isinstance(value, (int, float, str, tuple))
    return repr(value) if simple else type(value).__name__


def _function(value):
    """A function's instructions, defaults and closure; None of what is no function."""
    for name in ("fget", "__func__", "python_function", "func"):
        value = getattr(value, name, value)
    value = inspect.unwrap(value) if callable(value) else value
    if not isinstance(value, types.FunctionType):
        return None
    cells = (_content(cell) for cell in value.__closure__ or ())
    given = [_value(each) for each in (*(value.__defaults__ or ()), *cells)]
    return [_instructions(value.__code__), given]


def _content(cell):
    try:
        return cell.cell_contents
    except ValueError:  # of a name that is set later
        return None


def _instructions(code):
    constants = [
        _instructions(value) if isinstance(value, types.CodeType) else _constant(value)
        for value in code.co_consts
    ]
    return [code.co_code.hex(), list(code.co_names), constants]


def _constant(value):
    # The order of a set of texts is another one in every process.
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)
