"""A run as data: frozen dataclasses to JSON and back.

A record says what was trained, with which resolved settings, on which machine, how
training went and how the result scored. Tables and figures are made from records
alone, so a run is never loaded again to be reported.
"""

import dataclasses
import json
import math
import os
import pathlib
import typing
import warnings

FORMAT = 1
"""Version of the file format. A file of any other version is refused."""

FILE = "record.json"
"""Name of a run's record inside the run's folder."""

PROTOCOLS = ("reference", "pixel", "none")
"""`none` is for scores no protocol touches, such as clean accuracy."""


@dataclasses.dataclass(frozen=True)
class Score:
    """Accuracy of one classifier under one perturbation.

    Args:
        perturbation: str. Its id: `"clean"`, `"white_noise@0.1"`, `"pgd@0.0314"`.
        severity: float. The number after the `@`, 0 when there is none.
        protocol: str. `"reference"`, `"pixel"` or `"none"`.
        value: float. Accuracy in percent.
        low, high: float. Ends of the Wilson 95 % interval, in percent.
        n, correct: int. Images scored, and those classified correctly.
        seed: int. Seed of the perturbation, not of the training run.
        seconds: float. Wall-clock time of the evaluation.
        settings: dict of JSON values: steps, step size, norm and so on.

    Raises:
        ValueError: if `protocol` is unknown or `correct` is not in `[0, n]`.

    Example:

    >>> Score("pgd@0.03", 0.03, "none", 90.0, 82.6, 94.5, 100, 90, seed=0,
    ...       seconds=1.5, settings={"steps": 7}).value
    90.0
    """

    perturbation: str
    severity: float
    protocol: str
    value: float
    low: float
    high: float
    n: int
    correct: int
    seed: int
    seconds: float
    settings: dict

    def __post_init__(self):
        if self.protocol not in PROTOCOLS:
            raise ValueError(
                f"`protocol` must be one of {PROTOCOLS}. Received: {self.protocol!r}"
            )
        if not 0 <= self.correct <= self.n:
            raise ValueError(
                "`correct` must lie between 0 and `n`. "
                f"Received: correct={self.correct}, n={self.n}"
            )


@dataclasses.dataclass(frozen=True)
class Record:
    """One training run and everything measured on its result.

    Args:
        name: str. Name of the run.
        scheme, dataset, network: str. Their names.
        config: dict of JSON values. The resolved flags; tuples read back as lists.
        sites: tuple of str. Names of the layers that could be mixed.
        parameters: int. Trainable and other weights of the classifier.
        versions, hardware: dicts, from `nfm_keras.environment`.
        command: str. What to type to repeat the run.
        seconds: float. Wall-clock time of training.
        started: str. ISO 8601 time.
        history: dict of str to list of float, one number an epoch. NaN and the
            infinities survive: the file holds them as the strings `"NaN"`,
            `"Infinity"` and `"-Infinity"`, since JSON has no such numbers.
        scores: tuple of `Score`.
    """

    name: str
    scheme: str
    dataset: str
    network: str
    config: dict
    sites: tuple[str, ...]
    parameters: int
    versions: dict
    hardware: dict
    command: str
    seconds: float
    started: str
    history: dict[str, list[float]]
    scores: tuple[Score, ...] = ()


def save(record, path):
    """Write a record as strict JSON, whole or not at all (`write_json`)."""
    write_json(path, {"format": FORMAT} | dataclasses.asdict(record))


def load(path):
    """Read a record written by `save`; it equals the one saved.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated, is not JSON, misses a key, has one too
            many, has a value of the wrong type or is of another format version.
    """
    return read(path, Record, FORMAT)


def read(path, kind, version):
    """Read a dataclass that was written as JSON with a `format` beside its fields.

    Args:
        path: file to read.
        kind: the dataclass.
        version: the only `format` that is accepted.

    Raises:
        FileNotFoundError, ValueError: as `load`.
    """
    content = read_json(path)
    name = kind.__name__.lower()
    try:
        _expect(dict, content, name)
        received = content.pop("format", None)
        if received != version:
            raise ValueError(f"Expected format {version}. Received: {received!r}")
        return _build(kind, content, name)
    except ValueError as error:
        raise ValueError(f"{path} is not a valid {name}. {error}") from None


def find(folder, *, skip_broken=False):
    """Read every `record.json` under a folder, in the order of their paths.

    Hidden folders are passed over: they hold work in progress. So are SavedModels,
    which hold a copy of their run's record.

    Args:
        folder: path of a folder, or of one record file.
        skip_broken: bool. Warn about a broken record and go on without it.

    Raises:
        FileNotFoundError: if `folder` does not exist.
        ValueError: naming the file, if one of the records is broken and
            `skip_broken` is false.

    Example:

    >>> [record.name for record in find("runs")]  # doctest: +SKIP
    ['nfm-0', 'nfm-1']
    """
    folder = pathlib.Path(folder)
    if folder.is_file():
        return [load(folder)]
    if not folder.is_dir():
        raise FileNotFoundError(f"No folder of runs at {folder}.")
    found = []
    for path in sorted(folder.rglob(FILE)):
        hidden = any(p.startswith(".") for p in path.relative_to(folder).parts)
        if hidden or path.with_name("saved_model.pb").exists():
            continue
        try:
            found.append(load(path))
        except ValueError as error:
            if not skip_broken:
                raise
            warnings.warn(f"Skipped: {error}", stacklevel=2)
    return found


def write_json(path, obj):
    """Write JSON values to a file, whole or not at all.

    The text goes to a hidden file beside `path`, is flushed to the disk and then
    renamed over it. NaN and the infinities become `"NaN"`, `"Infinity"` and
    `"-Infinity"`; NumPy numbers and arrays become numbers and lists.

    Args:
        path: file to write; its folder is created.
        obj: dicts with string keys, lists, tuples, strings, numbers, booleans, None.

    Raises:
        OSError: one line naming the file (full disk, read-only folder).
        TypeError: if a value is none of these, or a key is not a string.
        In both cases the older file is untouched.
    """
    write_text(path, json.dumps(_encode(obj), indent=1, allow_nan=False) + "\n")


def write_text(path, text):
    """Write a file of text as `write_json` does, whole or not at all.

    Raises:
        OSError: one line naming the file; the older file is untouched.
    """
    path = pathlib.Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, text)
    except OSError as error:
        reason = error.strerror or str(error)
        # Given an errno, OSError makes the right subclass (PermissionError ...).
        raise OSError(error.errno, f"Cannot write {path}: {reason}") from None


def read_json(path):
    """Read a file of strict JSON; NaN and the infinities are strings in it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the content is truncated or is not strict JSON.
    """
    content = pathlib.Path(path).read_bytes()
    try:
        return json.loads(content.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is truncated or is not JSON ({error}). "
            f"Received: {len(content)} bytes ending in {content[-40:]!r}"
        ) from None


def differing(one, other):
    """The entries in which two dicts differ; one that is missing counts as None.

    Returns:
        Two dicts with the same sorted keys, empty where there is no difference.

    Example:

    >>> differing({"seed": 3, "alpha": 1.0}, {"seed": 3, "beta": 2.0})
    ({'alpha': 1.0, 'beta': None}, {'alpha': None, 'beta': 2.0})
    """
    keys = sorted(one.keys() | other.keys())
    keys = [key for key in keys if one.get(key) != other.get(key)]
    return {k: one.get(k) for k in keys}, {k: other.get(k) for k in keys}


def _refuse_constant(name):
    raise ValueError(f"{name} is not strict JSON")


def _replace(path, text):
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # an interrupt must not leave the temporary file either
        temporary.unlink(missing_ok=True)
        raise


def _encode(value):
    if hasattr(value, "tolist"):  # NumPy arrays and scalars alike
        value = value.tolist()
    if isinstance(value, dict):
        return {_key(key): _encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)  # NaN, Infinity, -Infinity, as text
    return value


def _key(key):
    # json.dumps would turn the key 1 into "1", which does not read back equal.
    if not isinstance(key, str):
        raise TypeError(f"Keys must be strings. Received: {key!r}")
    return key


_NON_FINITE = {json.dumps(x): x for x in (math.nan, math.inf, -math.inf)}


def _decode(value):
    if isinstance(value, dict):
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value


def _build(kind, content, where):
    """Makes the dataclass `kind` from a dict that has its fields and no other."""
    _expect(dict, content, where)
    fields = typing.get_type_hints(kind)
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
        value = _NON_FINITE.get(value, value)
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
