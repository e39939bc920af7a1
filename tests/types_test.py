"""Whoever checks his types finds those of all public names."""

import importlib
import inspect
import pathlib

import pytest

import nfm_keras

ROOT = pathlib.Path(nfm_keras.__file__).parent
PACKAGES = [
    ".".join(stub.parent.relative_to(ROOT.parent).parts)
    for stub in sorted(ROOT.rglob("__init__.pyi"))
]
# Methods that are public in spite of their underscores.
CALLED = {"__init__", "__call__", "__len__", "__getitem__", "__post_init__"}


def untyped(function):
    """The parameters of a function without a type, and `return`."""
    signature = inspect.signature(function)
    missing = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.annotation is parameter.empty
        and parameter.name not in ("self", "cls")
    ]
    return missing + ["return"] * (signature.return_annotation is signature.empty)


def functions(kind):
    """The public functions, methods and accessors of a class and its bases of ours."""
    for owner in kind.__mro__:
        if owner.__module__.startswith("nfm_keras"):
            for name, member in vars(owner).items():
                if name.startswith("_") and name not in CALLED:
                    continue
                member = getattr(member, "__func__", member)
                accessors = getattr(member, "fget", None), getattr(member, "fset", None)
                for function in (member, *accessors):
                    if inspect.isfunction(function) and not generated(function):
                        yield f"{owner.__name__}.{name}", function


def generated(function):
    """Whether a dataclass or a named tuple wrote it."""
    return function.__code__.co_filename == "<string>"


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_have_types(package):
    module, missing = importlib.import_module(package), {}
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value):
            missing.update((name, untyped(found)) for name, found in functions(value))
        elif inspect.isfunction(value):
            missing[name] = untyped(value)
    assert {name: names for name, names in missing.items() if names} == {}
