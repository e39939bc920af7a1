"""Adversarial images on disk: a `.npy` file an attack, and what it is of."""

import hashlib
import io
import json
import os
import pathlib
import secrets
import weakref
from typing import Any, BinaryIO

import numpy as np

from nfm_keras.records.evaluation import Evaluation
from nfm_keras.records.files import read_json, write_json
from nfm_keras.records.score import Score
from nfm_keras.types import StrPath


class Saved:
    """A folder of adversarial images.

    Of `pgd@8/255` there is `pgd@8_255.npy`, float32 `(n, height, width, channels)` in
    [0,1], in the order of the images, written a part at a time; and `pgd@8_255.json`,
    which says of which classifier, images and settings they are, in `hits`, which of
    them are still classified correctly (`Score.right` reads it), and in `sha256` what
    the images' bytes are. Where the attack failed, the image is what
    `AttackResult.images` has there. The same attack with other settings on the same
    images is kept beside them, with a few letters for its settings in the name.

    Args:
        folder: Path; created if needed.
    """

    def __init__(self, folder: StrPath) -> None:
        self.folder = pathlib.Path(folder)
        self._file: BinaryIO | None = None
        self._sha256 = hashlib.sha256()

    def put(self, perturbation: str, n: int, at: slice, images: np.ndarray) -> None:
        """Writes some of the images of an attack.

        Args:
            perturbation: str, the id of the attack.
            n: int, how many there will be.
            at: slice, which ones these are: parts come in their order.
            images: float32 array.

        Raises:
            OSError: If they cannot be written, as on a full disk.
        """
        if at.start == 0:
            self._begin(perturbation, (n, *images.shape[1:]))
        # Not through a memory map: on a full disk that ends the process.
        self._write(np.ascontiguousarray(images, "<f4").tobytes())

    def finish(self, score: Score, evaluation: Evaluation) -> None:
        """Gives the images of an attack that is done their name."""
        if self._file is None:
            return
        of, file, self._file = _of(score, evaluation), self._file, None
        with file:
            file.flush()
            os.fsync(file.fileno())
        beside = self._place(of)
        beside.unlink(missing_ok=True)
        pathlib.Path(file.name).replace(beside.with_suffix(".npy"))
        write_json(beside, of | {"sha256": self._sha256.hexdigest()})

    def holds(self, score: Score, evaluation: Evaluation) -> bool:
        """Returns whether the folder has the images of a score that was measured."""
        of = _of(score, evaluation)
        beside = self._place(of)
        images = beside.with_suffix(".npy")
        if not (beside.exists() and images.exists()):
            return False
        known = read_json(beside)
        return bool(known == of | {"sha256": _digest(images)})

    def _begin(self, perturbation, shape):
        self.folder.mkdir(parents=True, exist_ok=True)
        token = secrets.token_hex(4)  # of this process alone
        path = self.folder / f".{_stem(perturbation)}.{token}.part"
        self._file, self._sha256 = path.open("xb"), hashlib.sha256()
        weakref.finalize(self._file, path.unlink, missing_ok=True)
        header = io.BytesIO()
        told = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, told)
        self._write(header.getvalue())

    def _write(self, values):
        assert self._file is not None
        try:
            self._file.write(values)
            self._file.flush()
        except OSError as error:
            said = f"Cannot write {self._file.name}: {error.strerror}"
            raise OSError(error.errno, said) from None
        self._sha256.update(values)

    def _place(self, of):
        """The `.json` of an attack: its own name, if no other settings have it."""
        beside = self.folder / f"{_stem(of['perturbation'])}.json"
        if not beside.exists():
            return beside
        known = read_json(beside)
        same_images = all(known.get(name) == of[name] for name in _EVALUATION)
        if not same_images or _settings(known) == _settings(of):
            return beside
        letters = hashlib.sha256(_settings(of).encode()).hexdigest()[:6]
        return beside.with_name(f"{beside.stem}.{letters}.json")


def _of(score: Score, evaluation: Evaluation) -> dict[str, Any]:
    """What images are of."""
    of = {name: getattr(evaluation, name) for name in _EVALUATION}
    return of | {name: getattr(score, name) for name in _SCORE}


def _stem(perturbation: str) -> str:
    return perturbation.replace("/", "_")


def _settings(of: dict[str, Any]) -> str:
    return json.dumps([of["settings"], of["seed"]], sort_keys=True)


def _digest(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_EVALUATION = ("model", "dataset", "images", "weights", "structure")
_SCORE = ("perturbation", "n", "correct", "hits", "seed", "settings", "revision")
