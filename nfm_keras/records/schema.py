"""Dataclasses to JSON and back: every field checked against its type hint."""

import dataclasses
import typing
from typing import Any

from nfm_keras.records.files import NON_FINITE, read_json, write_json


def write(path, value, version):
    """Writes a dataclass as strict JSON, whole or not at all.

    Args:
        path: File to write; its folder is created.
        value: Instance of a dataclass whose fields are JSON values or dataclasses.
        version: int, the `format` that is written beside the fields.
    """
    write_json(path, {"format": version} | dataclasses.asdict(value))


def read(path, kind, version, older=None, optional=()):
    """Reads a dataclass that `write` wrote.

    Args:
        path: File to read.
        kind: The dataclass.
        version: int, the `format` of the file.
        older: Dict from an older version to a function that turns the content of such
            a file, a dict without its `format`, into that of the next version.
        optional: Names of fields that the file need not have; those have their
            defaults then.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is truncated, is not JSON, misses a key, has one too
            many, has a value of the wrong type or is of another format version.
    """
    content, older = read_json(path), older or {}
    name = kind.__name__.lower()
    try:
        _expect(dict, content, name)
        received = content.pop("format", None)
        while received in older:
            content, received = older[received](content), received + 1
        if received != version:
            raise ValueError(f"Expected format {version}. Received: {received!r}")
        return _build(kind, content, name, optional)
    except ValueError as error:
        raise ValueError(f"{path} is not a valid {name}. {error}") from None


def differing(
    one: dict[str, Any], other: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the entries in which two dicts differ; a missing one counts as None.

    Returns:
        Two dicts with the same sorted keys, empty where there is no difference.

    Example:

    >>> differing({"seed": 3, "alpha": 1.0}, {"seed": 3, "beta": 2.0})
    ({'alpha': 1.0, 'beta': None}, {'alpha': None, 'beta': 2.0})
    """
    keys = sorted(one.keys() | other.keys())
    keys = [key for key in keys if one.get(key) != other.get(key)]
    return {k: one.get(k) for k in keys}, {k: other.get(k) for k in keys}


def refuse_difference(what, expected, received, remedy=""):
    """Refuses settings that are not those that something was made with.

    Args:
        what: str, the start of the error: `"runs/nfm holds a run"`.
        expected: Dict, what it was made with.
        received: Dict, what is asked for.
        remedy: str, a sentence that says what to do.

    Raises:
        ValueError: If they differ; with the entries in which they do.

    Example:

    >>> refuse_difference("runs/nfm holds a run", {"seed": 0}, {"seed": 0})
    """
    expected, received = differing(expected, received)
    if expected:
        remedy = f" {remedy}" if remedy else ""
        raise ValueError(
            f"{what} with another config.{remedy} Expected {expected}. "
            f"Received: {received}"
        )


def _decode(value):
    if isinstance(value, dict):
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return NON_FINITE.get(value, value) if isinstance(value, str) else value


def _build(kind, content, where, optional=()):
    """Makes the dataclass `kind` from a dict that has its fields and no other."""
    _expect(dict, content, where)
    fields = typing.get_type_hints(kind)
    for name in set(optional) - content.keys():
        del fields[name]
    missing, unknown = sorted(fields.keys() - content), sorted(content.keys() - fields)
    if missing or unknown:
        raise ValueError(
            f"`{where}` must have exactly the keys {sorted(fields)}. "
            f"Received: missing {missing}, unknown {unknown}"
        )
    hints = fields.items()
    return kind(**{n: _convert(h, content[n], f"{where}.{n}") for n, h in hints})


def _convert(hint, value, where):
    """Checks one value against a field's type hint and restores floats and tuples."""
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if dataclasses.is_dataclass(origin):
        return _build(origin, value, where)
    if origin is float and isinstance(value, str):
        value = NON_FINITE.get(value, value)
    if origin is bool and isinstance(value, bool):
        return value
    _expect({float: (float, int), tuple: list}.get(origin, origin), value, where)
    if origin in (tuple, list):
        items = enumerate(value)
        return origin(_convert(inner[0], x, f"{where}[{i}]") for i, x in items)
    if origin is dict and inner:
        return {k: _convert(inner[1], x, f"{where}.{k}") for k, x in value.items()}
    return _decode(value) if origin is dict else origin(value)


def _expect(kind, value, where):
    # bool is an int to Python, not to us.
    if isinstance(value, kind) and not isinstance(value, bool):
        return
    name = kind[0].__name__ if isinstance(kind, tuple) else kind.__name__
    raise ValueError(f"`{where}` must be a {name}. Received: {value!r:.80}")
