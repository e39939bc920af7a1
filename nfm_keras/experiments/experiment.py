"""Experiments as data: rows and seeds to training runs, at any scale."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from nfm_keras import records
from nfm_keras.checks import check_count, unknown
from nfm_keras.evaluation.noise import check_id
from nfm_keras.mixing import schemes
from nfm_keras.records.ids import NO_PROTOCOL
from nfm_keras.records.schema import refuse_difference
from nfm_keras.training.config import Config
from nfm_keras.types import StrPath

SEED_FOLDER = "seed_{}"
LABEL = "label"
LIMITS = ("limit", "attack_limit", "corruption_limit")
"""What may be fewer than all test images, as in `evaluate`."""

# What a run fills in where its config leaves it open, besides a technique's settings.
_DECIDED = (
    *("alpha", "beta", "sigma_add", "sigma_mult", "noise", "sites", "sparsity"),
    *("label_smoothing", "rate_drops"),
    *("image_size", "eval_crop", "antialias", "classes"),
)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A table of the paper: schemes, settings and seeds, and how they are scored.

    Args:
        title: Heading of its table and figures.
        settings: Fields of `training.Config` that all runs share.
        rows: Row name -> the fields of `training.Config` that are its own, and `label`,
            what the paper calls it.
        seeds: One run of each row a seed.
        perturbations: Ids of what the classifiers are scored under, as in `evaluate`.
        protocol: `"reference"` or `"pixel"`, as in `evaluate`.
        also: Other protocols that the noises are scored under, for tables of their own.
        limits: `limit`, `attack_limit` and `corruption_limit` of `evaluate`: fewer test
            images than all.
        split: `"test"`, or `"validation"` to score the images that the runs hold out
            (`Config.validation`): for a choice among the rows.
        paper: Key of the paper's table in `paper_tables.json`, whose rows have the same
            names; `None` where it prints no numbers.

    Raises:
        ValueError: For a field that `Config` does not have or would not take, a row
            without a label, no row or no seed, or an unknown perturbation.

    Example:

    >>> digits = {"dataset": "digits", "network": "mlp", "epochs": 1}
    >>> rows = {"erm": {"label": "None", "scheme": "erm"}}
    >>> table = Experiment("Digits", digits, rows)
    >>> table.config("erm", seed=1).scheme
    'erm'
    """

    title: str
    settings: dict
    rows: dict[str, dict]
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    perturbations: tuple[str, ...] = ("clean", "white_noise", "salt_and_pepper")
    protocol: str = "reference"
    also: tuple[str, ...] = ()
    limits: dict[str, int] = dataclasses.field(default_factory=dict)
    split: str = "test"
    paper: str | None = None

    def __post_init__(self) -> None:
        if not self.rows or not self.seeds:
            raise ValueError(
                "An experiment needs at least one row and one seed. Received: "
                f"{len(self.rows)} row(s), {len(self.seeds)} seed(s)"
            )
        for name, row in self.rows.items():
            if not row.get(LABEL):
                raise ValueError(f"Row {name!r} must have a label. Received: {row}")
            schemes.lookup(self.config(name, self.seeds[0]).scheme)
            if self.split != "test" and not self.config(name, self.seeds[0]).validation:
                raise ValueError(
                    f"Row {name!r} must hold images out to be scored on. Received: "
                    f"split={self.split!r}, validation=0"
                )
        for text in self.perturbations:
            check_id(text)

    def by_protocol(self) -> "list[Experiment]":
        """Returns the experiment under each of its protocols, `protocol` first.

        Example:

        >>> rows = {"erm": {"label": "None", "scheme": "erm"}}
        >>> table = Experiment("Digits", {}, rows, also=("pixel",))
        >>> [view.protocol for view in table.by_protocol()]
        ['reference', 'pixel']
        """
        names = self.protocol, *self.also
        return [dataclasses.replace(self, protocol=name, also=()) for name in names]

    def label(self, row: str) -> str:
        """Returns what the paper calls a row."""
        return self.rows[row][LABEL]

    def config(self, row: str, seed: int) -> Config:
        """Returns the training config of a row and a seed.

        Raises:
            ValueError: For a field or value that `Config` refuses.
        """
        fields = self.settings | self.rows[row] | {"seed": seed}
        fields.pop(LABEL)
        known = {field.name for field in dataclasses.fields(Config)}
        for name in fields:
            if name not in known:
                raise unknown("config field", name, sorted(known))
        return Config(**fields)

    def scaled(
        self,
        seeds: int | None = None,
        rows: Sequence[str] | None = None,
        limits: Mapping[str, int | None] | None = None,
        **settings: Any,
    ) -> "Experiment":
        """Returns the experiment with other settings in every row.

        Args:
            seeds: How many seeds to run, the first ones first; `None` for all.
            rows: Names of the rows to run, in this order; `None` for all.
            limits: Replaces `limits`, where a value is not `None`.
            **settings: Fields of `Config`, for all rows: `width`, `epochs`, `limit`.
                Those of a technique, such as `attack_steps`, go to the rows that have
                it.

        Raises:
            ValueError: For a row there is not, or what `Experiment` refuses.

        Example:

        >>> digits = {"dataset": "digits", "network": "mlp", "epochs": 100}
        >>> rows = {"erm": {"label": "None", "scheme": "erm"}}
        >>> short = Experiment("Digits", digits, rows).scaled(seeds=1, epochs=2)
        >>> short.seeds, short.config("erm", 0).epochs
        ((0,), 2)
        """
        for name in rows or ():
            if name not in self.rows:
                raise unknown("row", name, self.rows)
        if seeds is not None:
            check_count("seeds", seeds)
        count = len(self.seeds) if seeds is None else seeds
        # More than the table has go on counting.
        more = range(max(self.seeds) + 1, max(self.seeds) + 1 + count)
        new = {key: value for key, value in (limits or {}).items() if value is not None}
        return dataclasses.replace(
            self,
            rows={
                name: self.rows[name] | _taken(self.config(name, 0).scheme, settings)
                for name in rows or self.rows
            },
            seeds=(*self.seeds, *more)[:count],
            limits=self.limits | new,
        )


@dataclasses.dataclass(frozen=True)
class Run:
    """One row with one seed: what to train, and where it goes.

    Args:
        row: Name of the row.
        config: `training.Config`.
        folder: Where it goes.
        split: As in `Experiment`.
    """

    row: str
    config: Config
    folder: pathlib.Path
    split: str = "test"

    @property
    def name(self) -> str:
        """Its row and seed, such as `"nfm/seed_0"`."""
        return f"{self.row}/{self.folder.name}"

    @property
    def record(self) -> records.Record | None:
        """Its record, if it is trained.

        Raises:
            ValueError: If the record is broken or is of another config.
        """
        path = self.folder / records.FILE
        if not path.exists():
            return None
        record = records.load(path, self.split)
        check_same(self.config, record, path)
        return record


def runs(experiment: Experiment, folder: StrPath) -> list[Run]:
    """Returns the runs of an experiment, seed by seed: a first table comes early.

    Args:
        experiment: `Experiment`.
        folder: Each run has `<folder>/<row>/seed_<n>`.

    Example:

    >>> rows = {"erm": {"label": "None", "scheme": "erm"}}
    >>> table = Experiment("Digits", {"dataset": "digits"}, rows, seeds=(0, 1))
    >>> [run.name for run in runs(table, "results")]
    ['erm/seed_0', 'erm/seed_1']
    """
    folder = pathlib.Path(folder)
    return [
        Run(
            row,
            experiment.config(row, n),
            folder / row / SEED_FOLDER.format(n),
            experiment.split,
        )
        for n in experiment.seeds
        for row in experiment.rows
    ]


def check_same(config: Config, record: records.Record, path: StrPath) -> None:
    """Refuses a record of another config.

    Fields that are the scheme's, the schedule's or the set's to decide may be left open
    (`None`), and a record from before a field existed has its default.

    Raises:
        ValueError: Naming the fields that differ.
    """
    wanted, defaults = config.to_json(), Config().to_json()
    decided = {*_DECIDED, *schemes.technique_fields()}
    wanted = {
        name: value
        for name, value in wanted.items()
        if value is not None or name not in decided
    }
    refuse_difference(
        f"{path} is of a run",
        {name: record.config.get(name, defaults[name]) for name in wanted},
        wanted,
        "Give another folder, or take it away.",
    )


def unscored(experiment: Experiment, record: records.Record, images: int) -> list[str]:
    """Returns the ids that an experiment asks for and a record has no whole score for.

    Args:
        experiment: `Experiment`.
        record: `Record` of one of its runs.
        images: How many images there are to score; `limits` may ask for fewer.

    Example:

    >>> unscored(table, record, images=10_000)  # doctest: +SKIP
    ['white_noise@0.35']
    """
    from nfm_keras.evaluation.plan import Suite, conditions  # which imports Keras

    scored: dict[str, int] = {}
    for score in record.scores:
        if score.protocol in (experiment.protocol, NO_PROTOCOL):
            scored[score.perturbation] = max(score.n, scored.get(score.perturbation, 0))
    limits = {name: experiment.limits.get(name) or images for name in LIMITS}
    suite = Suite(
        experiment.perturbations,
        limit=limits["limit"],
        attack_limit=limits["attack_limit"],
        corruption_limit=limits["corruption_limit"],
    )
    return [
        condition.id
        for condition in conditions(suite)
        if scored.get(condition.id, 0)
        < min(images, limits["limit"], condition.limit or images)
    ]


def _taken(scheme, settings):
    techniques = schemes.technique_fields()
    return {
        name: value
        for name, value in settings.items()
        if name not in techniques or schemes.takes(scheme, name)
    }
