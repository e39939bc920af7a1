"""Packages whose names resolve on first use."""

import lazy_loader


def attach(name, file):
    """Returns `__getattr__`, `__dir__` and `__all__` of a package.

    What is public, and in which module it is, stands in `__init__.pyi` beside the
    package's `__init__.py`. See PEP 562.

    Args:
        name: `__name__` of the package.
        file: Its `__file__`.
    """
    return lazy_loader.attach_stub(name, file)
