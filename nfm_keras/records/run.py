"""Record: a training run as data, written down whole or not at all.

A record says what was trained, with which resolved settings, on which machine and how
training went. How the result scored is in the evaluation beside it, and comes with the
record when it is read. Tables and figures are made from records alone, so a run is
never loaded again to be reported.
"""

import dataclasses
import pathlib
import warnings
from collections.abc import Iterable

from nfm_keras.records import evaluation, schema
from nfm_keras.records.files import write_json
from nfm_keras.records.score import Score, merge
from nfm_keras.types import StrPath

FORMAT = 2
"""Version of the file format. Files of older ones are read, of newer ones refused."""

FILE = "record.json"
"""Name of a run's record inside the run's folder."""

_LATER = ("skipped", "extended", "best", "measured_on")


@dataclasses.dataclass(frozen=True)
class Record:
    """One training run and the scores of its result.

    Args:
        name: str. Name of the run.
        scheme, dataset, network: str. Their names.
        config: dict of JSON values. The resolved flags; tuples read back as lists.
        sites: tuple of str. Names of the layers that could be mixed.
        parameters: int. Trainable and other weights of the classifier.
        versions, hardware: dicts, from `nfm_keras.records.environment`.
        command: str. What to type to repeat the run.
        seconds: float. Wall-clock time of training.
        started: str. ISO 8601 time.
        history: dict of str to list of float, one number an epoch. NaN and the
            infinities are kept.
        skipped: tuple of str. Names of the image files that could not be read.
        extended: tuple of int. The lengths, in epochs, that the run had before it was
            extended to that of its config.
        best: dict with `metric`, `value` and `epoch` (from 1) of `best.keras`, where
            the run kept its best classifier, else empty.
        measured_on: str. What was measured in training, `"validation"` or `"test"`,
            where the config does not say: a set may bring images to validate on. Empty
            where it does.
        scores: tuple of `Score`, those of the evaluation beside the record; they are
            not written to the record's own file.
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
    skipped: tuple[str, ...] = ()
    extended: tuple[int, ...] = ()
    best: dict = dataclasses.field(default_factory=dict)
    measured_on: str = ""


def save(record: Record, path: StrPath) -> None:
    """Writes a record without its scores as strict JSON, whole or not at all.

    Args:
        record: `Record`.
        path: File to write; its folder is created.
    """
    content = dataclasses.asdict(record)
    del content["scores"]
    for name in _LATER:
        if not content[name]:
            del content[name]  # as in files of before there were any
    write_json(path, {"format": FORMAT} | content)


def load(path: StrPath, split: str = "test") -> Record:
    """Reads a record, with the scores of the evaluation beside it.

    A record of format 1 has scores of its own, which are kept where the evaluation does
    not have them.

    Args:
        path: File to read.
        split: `"test"` for the scores of the images to test on, in `evaluation.json`;
            `"validation"` for those of the images that the run held out, in
            `validation.json`, alone.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If one of the two files is truncated, is not JSON, misses a key,
            has one too many, has a value of the wrong type or is of a newer format.
    """
    path = pathlib.Path(path)
    older = {1: _with_full_scores}
    record = schema.read(
        path, Record, FORMAT, older=older, optional=("scores", *_LATER)
    )
    record = dataclasses.replace(record, config=with_later_fields(record.config))
    if split != "test":
        record = dataclasses.replace(record, scores=())
    beside = path.with_name(evaluation.EVALUATION_FILES[split])
    if not beside.exists():
        return record
    scores = merge(record.scores, evaluation.load_evaluation(beside).scores)
    return dataclasses.replace(record, scores=scores)


def with_later_fields(config: dict) -> dict:
    """Returns the config of a run with the fields that have come since it was trained.

    Runs of before the config held `rate_drops` had a tenth of the rate from exactly 50,
    75 and 90 % of their length on; those of before `on_nan` and `swa_epochs` had what
    is the default now. Fields whose default is `None` need no filling in.

    Args:
        config: Dict of JSON values, of a run of `nfm_keras.training`; another one, such
            as that of a model trained by its own script, is returned as it is.
    """
    if "scheme" not in config:
        return config
    config = {"on_nan": "stop", "swa_epochs": 0} | config
    if config.get("schedule") != "step" or "rate_drops" in config:
        return config
    epochs = config.get("epochs")
    if epochs is None:
        return config
    return config | {"rate_drops": [epochs * part / 100 for part in (50, 75, 90)]}


def paths(folder: StrPath, names: Iterable[str] = (FILE,)) -> list[pathlib.Path]:
    """Returns where the records under a folder are, in order.

    Hidden folders are passed over: they hold work in progress. So are SavedModels,
    which hold a copy of their run's record.

    Args:
        folder: Path of a folder, or of one record file.
        names: Names of the files to look for, where others than records are meant.

    Returns:
        List of `pathlib.Path`.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    folder = pathlib.Path(folder)
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise FileNotFoundError(f"No folder of runs at {folder}.")
    return [
        path
        for path in sorted(path for name in names for path in folder.rglob(name))
        if not any(p.startswith(".") for p in path.relative_to(folder).parts)
        and not path.with_name("saved_model.pb").exists()
    ]


def find(folder: StrPath, *, skip_broken: bool = False) -> list[Record]:
    """Reads the records under a folder, in the order of their `paths`.

    Args:
        folder: Path of a folder, or of one record file.
        skip_broken: bool. Warn about a broken record and go on without it.

    Returns:
        List of `Record`.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: Naming the file, if one of the records is broken and `skip_broken`
            is false.

    Example:

    >>> [record.name for record in find("runs")]  # doctest: +SKIP
    ['nfm-0', 'nfm-1']
    """
    records = []
    for path in paths(folder):
        try:
            records.append(load(path))
        except ValueError as error:
            if not skip_broken:
                raise
            warnings.warn(f"Skipped: {error}", stacklevel=2)
    return records


def _with_full_scores(content):
    """Format 1 had scores of its own, without the images behind them."""
    rest = {"hits": "", "calibration": {}, "stages": {}, "warnings": {}}
    rest["revision"] = 0
    scores = content.get("scores")
    if isinstance(scores, list):
        scores = [s | rest if isinstance(s, dict) else s for s in scores]
    return content | {"scores": scores}
