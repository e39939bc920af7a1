"""What is named `module:function`: sets of images and networks of one's own."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any


def is_imported(name: str) -> bool:
    """Returns whether a name is of the form `module:function`.

    Example:

    >>> is_imported("my_project.data:flowers"), is_imported("folder:my photos/flowers")
    (True, False)
    """
    module, colon, function = name.partition(":")
    parts = [*module.split("."), function]
    return bool(colon) and all(part.isidentifier() for part in parts)


def imported(what: str, name: str) -> Callable[..., Any]:
    """Returns the function of a name; modules of the folder at hand are found, too.

    Args:
        what: What the function gives, for the error: `"dataset"`.
        name: `"module:function"`.

    Raises:
        ValueError: If there is no such module or function in it.

    Example:

    >>> imported("number", "math:sqrt")(9)
    3.0
    """
    module, _, function = name.partition(":")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"A {what} of one's own must be the name of a function, module:function, "
            f"of a module that can be imported. Received: {name!r}, {error}"
        ) from error
    if not callable(found):
        raise ValueError(
            f"A {what} of one's own must be a function. Received: {name!r}, which is a "
            f"{type(found).__name__}"
        )
    return found
