"""All trainings of the paper's toy, and what a folder holds of them."""

import dataclasses
import pathlib

import keras
import numpy as np

from nfm_keras.experiments.toy import training
from nfm_keras.records import schema
from nfm_keras.records.environment import environment
from nfm_keras.records.files import whole
from nfm_keras.records.lock import locked

FILE, FORMAT = "toy.json", 1


@dataclasses.dataclass(frozen=True)
class Toy:
    """All that was trained into a folder: the content of its toy.json."""

    settings: dict  # the fields of `Settings`, and the Keras `backend` of the draws
    regularisers: dict  # from name to the fields of a `Regulariser`
    runs: tuple[training.Run, ...]
    versions: dict  # of the last run, as are hardware and command
    hardware: dict
    command: str

    def run(self, regulariser, seed):
        """Returns the `Run` of a regulariser and a seed, None without."""
        runs = {(run.regulariser, run.seed): run for run in self.runs}
        return runs.get((regulariser, seed))


def load(folder):
    """Reads the `Toy` of a folder; its errors name the file."""
    return schema.read(pathlib.Path(folder) / FILE, Toy, FORMAT)


def train_all(
    regularisers, folder, settings, seeds, *, frames=0, command="", tell=print
):
    """Trains every regulariser with every seed; what is on file is not repeated.

    After each training toy.json is written and, for the first seed, its surfaces.

    Args:
        regularisers: dict from name to `Regulariser`.
        folder: Where to write.
        settings: `Settings`.
        seeds: ints in [0, 2048).
        frames: int. Surfaces of the first seed that are kept (`Settings.frames`).
        command: str. What to type to repeat it.
        tell: Function that is called with each new `Run`.

    Returns:
        The `Toy` with what was there before and what is new.

    Raises:
        ValueError: If a number is out of its range, or toy.json of other settings.
        BlockingIOError: If another process trains into the folder.
    """
    folder, seeds, most = pathlib.Path(folder), [*seeds], training.SEEDS - 1
    if not seeds or not all(0 <= seed <= most for seed in seeds):
        raise ValueError(
            f"Expected at least one seed, all from 0 to {most}. Received: {seeds}"
        )
    ends = settings.frames(frames)
    only = f"{folder} is in use: one process at a time may train into it"
    with locked(folder / ".lock", only):
        toy = _opened(folder, regularisers, settings)
        return _trained(toy, regularisers, folder, settings, seeds, ends, command, tell)


def surface_path(folder, name, seed):
    """Returns where the surfaces of a regulariser and the first seed are kept."""
    return pathlib.Path(folder) / "surfaces" / f"{name}_{seed}.npy"


def load_surfaces(folder, name, seed):
    """Reads surfaces, uint8 `(frames, 181, 181)`, or returns None without a file."""
    path, side = surface_path(folder, name, seed), training.RESOLUTION
    if not path.exists():
        return None
    try:
        return np.load(path).astype("uint8", casting="no").reshape(-1, side, side)
    except (ValueError, TypeError, EOFError) as error:
        raise ValueError(f"{path} is broken; delete it. Received: {error}") from None


def _opened(folder, regularisers, settings):
    """Returns what a folder holds; refuses other settings or rows of other settings."""
    settings = dataclasses.asdict(settings) | {"backend": keras.backend.backend()}
    rows = {name: dataclasses.asdict(row) for name, row in regularisers.items()}
    path = folder / FILE
    if not path.exists():
        return Toy(settings, rows, (), *environment(), command="")
    toy = load(folder)
    known = {name: toy.regularisers.get(name, row) for name, row in rows.items()}
    pair = toy.settings | known, settings | rows
    schema.refuse_difference(f"{path} holds runs", *pair, "Name another folder.")
    return dataclasses.replace(toy, regularisers=rows | toy.regularisers)


def _trained(toy, regularisers, folder, settings, seeds, ends, command, tell):
    for name, regulariser in regularisers.items():
        todo = [seed for seed in seeds if toy.run(name, seed) is None]
        if seeds[0] not in todo:
            kept = load_surfaces(folder, name, seeds[0])
            if kept is None or len(kept) != len(ends):
                todo.insert(0, seeds[0])
        model = training.compile_model(regulariser, settings) if todo else None
        for seed in todo:
            steps = ends if seed == seeds[0] else ends[-1:]
            new, surfaces = training.train(model, name, seed, settings, steps)
            if seed == seeds[0]:
                with whole(surface_path(folder, name, seed)) as hidden:
                    np.save(hidden, surfaces)
            runs = *(run for run in toy.runs if run != toy.run(name, seed)), new
            made_on = dict(zip(("versions", "hardware"), environment()))
            toy = dataclasses.replace(toy, runs=runs, command=command, **made_on)
            schema.write(folder / FILE, toy, FORMAT)
            tell(new)
    return toy
