"""Packages whose names resolve on first use."""

import lazy_loader

from nfm_keras import registration


def attach(name, file):
    """Returns `__getattr__`, `__dir__` and `__all__` of a package.

    What is public, and in which module it is, stands in `__init__.pyi` beside the
    package's `__init__.py`. See PEP 562.

    Args:
        name: `__name__` of the package.
        file: Its `__file__`.
    """
    resolve, names, public = lazy_loader.attach_stub(name, file)

    def __getattr__(attribute):
        value = resolve(attribute)
        registration.register_with_keras()
        return value

    return __getattr__, names, public
