"""The paper's toy: what a regulariser makes of the boundary between two circles."""

import dataclasses
import os
import pathlib

import keras
import numpy as np

from nfm_keras import records
from nfm_keras.checks import unknown
from nfm_keras.experiments.toy.training import (
    RESOLUTION,
    SEEDS,
    Run,
    Settings,
    compile_model,
    frame_steps,
    train,
)
from nfm_keras.records.environment import environment

FILE = "toy.json"
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Toy:
    """All that was trained into a folder: the content of its toy.json.

    Args:
        settings: dict. The fields of `Settings`, and the Keras `backend`, which has
            draws of its own.
        regularisers: dict from name to the fields of a `Regulariser`.
        runs: tuple of `Run`.
        versions, hardware: dicts, from `nfm_keras.records.environment`, of the last run.
        command: str. What was typed last.
    """

    settings: dict
    regularisers: dict
    runs: tuple[Run, ...]
    versions: dict
    hardware: dict
    command: str

    def find(self, regulariser, seed) -> Run | None:
        """Returns the run of a regulariser and a seed, if there is one."""
        wanted = regulariser, seed
        return next((r for r in self.runs if (r.regulariser, r.seed) == wanted), None)


def choose(regularisers, names) -> dict:
    """Returns some rows of a table of regularisers.

    Args:
        regularisers: dict from name to `Regulariser`.
        names: The names wanted; `None` for all.

    Raises:
        ValueError: For a name that is not in the table, or no name.
    """
    names = list(regularisers) if names is None else names
    for name in names:
        if name not in regularisers:
            raise unknown("regulariser", name, regularisers)
    if not names:
        raise ValueError("Expected at least one regulariser. Received: none")
    return {name: regularisers[name] for name in names}


def load(folder) -> Toy:
    """Reads the toy.json of a folder.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: Naming the file, if it is broken.
    """
    return records.read(pathlib.Path(folder) / FILE, Toy, FORMAT)


def run(
    regularisers, folder, settings=None, seeds=(0,), *, frames=0, command="", tell=None
) -> Toy:
    """Trains every regulariser with every seed; what is on file is not repeated.

    After each training toy.json is written and, for the first seed, its surfaces.

    Args:
        regularisers: dict from name to `Regulariser`.
        folder: Where to write.
        settings: A `Settings`; `None` for the defaults.
        seeds: Integers in [0, 2048).
        frames: Surfaces of the first seed that are kept on the way (`frame_steps`).
        command: What to type to repeat it.
        tell: Function that is called with a line of text after each training.

    Returns:
        The `Toy` with what was there before and what is new.

    Raises:
        ValueError: For bad seeds or frames, a broken toy.json, or one of other
            settings.

    Example:

    >>> row = {"nfm": Regulariser("NFM", scheme="nfm")}
    >>> run(row, "runs/toy", seeds=range(5)).runs[0].accuracy  # doctest: +SKIP
    90.0
    """
    settings, folder, seeds = settings or Settings(), pathlib.Path(folder), [*seeds]
    _check(seeds)
    ends = frame_steps(settings, frames)
    toy = _opened(folder, regularisers, settings)
    for name, regulariser in regularisers.items():
        todo = [seed for seed in seeds if toy.find(name, seed) is None]
        if seeds[0] not in todo and not _has_surfaces(folder, name, seeds[0], ends):
            todo.insert(0, seeds[0])
        model = compile_model(regulariser, settings) if todo else None
        for seed in todo:
            drawn = seed == seeds[0]
            found, surfaces = train(
                model, name, seed, settings, ends if drawn else ends[-1:]
            )
            if drawn:
                _write_surfaces(surface_path(folder, name, seed), surfaces)
            toy = _extended(toy, found, command)
            content = {"format": FORMAT} | dataclasses.asdict(toy)
            records.write_json(folder / FILE, content)
            if tell:
                tell(_line(found))
    return toy


def surface_path(folder, name, seed) -> pathlib.Path:
    """Returns where the surfaces of a regulariser and the first seed are kept."""
    return pathlib.Path(folder) / "surfaces" / f"{name}_{seed}.npy"


def load_surfaces(folder, name, seed) -> np.ndarray:
    """Reads what a network of the first seed says of the points of a grid.

    Args:
        folder: Where `run` wrote to.
        name: Name of the regulariser.
        seed: The first of the seeds.

    Returns:
        uint8 `(frames, 181, 181)`: the probability of the inner circle times 255, rows
        from the lowest y to the highest.

    Raises:
        FileNotFoundError: If there are none.
        ValueError: Naming the file, if it is broken.
    """
    path = surface_path(folder, name, seed)
    try:
        surfaces = np.load(path)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is broken; delete it. Received: {error}") from None
    if surfaces.dtype != np.uint8 or surfaces.shape[1:] != (RESOLUTION, RESOLUTION):
        raise ValueError(
            f"{path} must hold uint8 (frames, {RESOLUTION}, {RESOLUTION}). "
            f"Received: {surfaces.dtype} {surfaces.shape}"
        )
    return surfaces


def _check(seeds):
    if not seeds or not all(0 <= seed < SEEDS for seed in seeds):
        raise ValueError(
            f"Expected at least one seed, all from 0 to {SEEDS - 1}. Received: {seeds}"
        )


def _opened(folder, regularisers, settings):
    """What the folder holds; refused where rows or settings are not those wanted."""
    settings = dataclasses.asdict(settings) | {"backend": keras.backend.backend()}
    rows = {name: dataclasses.asdict(row) for name, row in regularisers.items()}
    if not (folder / FILE).exists():
        return Toy(settings, rows, (), *environment(), command="")
    held = load(folder)
    pairs = {"": (held.settings, settings)} | {
        f" of {name!r}": (held.regularisers.get(name, row), row)
        for name, row in rows.items()
    }
    for what, (theirs, ours) in pairs.items():
        if theirs != ours:
            raise ValueError(
                f"{folder / FILE} holds other settings{what}: name another folder. "
                f"Expected: {theirs}. Received: {ours}"
            )
    return dataclasses.replace(held, regularisers=rows | held.regularisers)


def _extended(toy, found, command):
    """The record with one more run, which replaces an older one of its name."""
    kept = tuple(r for r in toy.runs if r != toy.find(found.regulariser, found.seed))
    versions, hardware = environment()
    return dataclasses.replace(
        toy, runs=(*kept, found), versions=versions, hardware=hardware, command=command
    )


def _has_surfaces(folder, name, seed, steps):
    exists = surface_path(folder, name, seed).exists()
    return exists and len(load_surfaces(folder, name, seed)) == len(steps)


def _write_surfaces(path, surfaces):
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.tmp")
    with open(hidden, "wb") as file:
        np.save(file, surfaces)
    os.replace(hidden, path)


def _line(found):
    return (
        f"{found.regulariser}, seed {found.seed}: test {found.accuracy:.1f} %, "
        f"training {found.train_accuracy:.1f} %, {found.seconds:.1f} s"
    )
