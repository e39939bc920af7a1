"""Adversarial images on disk: a `.npy` file an attack, and what it is of."""

import pathlib
from typing import Any

import numpy as np

from nfm_keras.records.evaluation import Evaluation
from nfm_keras.records.files import read_json, write_json
from nfm_keras.records.score import Score
from nfm_keras.types import StrPath


class Saved:
    """A folder of adversarial images.

    Of `pgd@8/255` there is `pgd@8_255.npy`, float32 `(n, height, width, channels)` in
    [0,1], in the order of the images, written a part at a time; and `pgd@8_255.json`,
    which says of which classifier, images and settings they are and, in `hits`, which
    of them are still classified correctly (`Score.right` reads it). Where the attack
    failed, the image is what `AttackResult.images` has there.

    Args:
        folder: Path; created if needed.
    """

    def __init__(self, folder: StrPath) -> None:
        self.folder = pathlib.Path(folder)
        self._open: np.memmap | None = None

    def put(self, perturbation: str, n: int, at: slice, images: np.ndarray) -> None:
        """Writes some of the images of an attack.

        Args:
            perturbation: str, the id of the attack.
            n: int, how many there will be.
            at: slice, which ones these are.
            images: float32 array.
        """
        if at.start == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            hidden = self._path(perturbation, ".part")
            self._open = np.lib.format.open_memmap(
                hidden, "w+", np.dtype("float32"), (n, *images.shape[1:])
            )
        assert self._open is not None
        self._open[at] = images

    def finish(self, score: Score, evaluation: Evaluation) -> None:
        """Gives the images of an attack that is done their name."""
        if self._open is None:
            return
        self._open.flush()
        self._open = None
        file = self._path(score.perturbation, ".npy")
        self._path(score.perturbation, ".json").unlink(missing_ok=True)
        self._path(score.perturbation, ".part").replace(file)
        write_json(self._path(score.perturbation, ".json"), _of(score, evaluation))

    def holds(self, score: Score, evaluation: Evaluation) -> bool:
        """Returns whether the folder has the images of a score that was measured."""
        beside = self._path(score.perturbation, ".json")
        if not (beside.exists() and beside.with_suffix(".npy").exists()):
            return False
        return bool(read_json(beside) == _of(score, evaluation))

    def _path(self, perturbation: str, ending: str) -> pathlib.Path:
        name = perturbation.replace("/", "_")
        hidden = "." if ending == ".part" else ""
        return self.folder / f"{hidden}{name}{ending}"


def _of(score: Score, evaluation: Evaluation) -> dict[str, Any]:
    """What images are of."""
    of = {name: getattr(evaluation, name) for name in _EVALUATION}
    return of | {name: getattr(score, name) for name in _SCORE}


_EVALUATION = ("model", "dataset", "images", "weights", "structure")
_SCORE = ("perturbation", "n", "correct", "hits", "seed", "settings", "revision")
