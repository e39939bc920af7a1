"""Ours against the authors' AutoAttack, image by image.

`tests/data/autoattack/README.md` says what was recorded, and where the bars come from.
"""

import json
import pathlib
import types

import keras
import numpy as np
import pytest
from keras import layers

from nfm_keras.attacks import NORMS, AutoAttack
from nfm_keras.backend.classifier import PlainClassifier

pytestmark = pytest.mark.backends

FILES = pathlib.Path(__file__).parents[1] / "data" / "autoattack"
RECORD = json.loads((FILES / "original.json").read_text())
NAMES = "apgd_ce", "apgd_t", "fab_t", "square"


def broken(rows):
    return np.array([[letter != "-" for letter in row] for row in rows])


def differing(found, runs):
    """On how many images one differs from runs that all agree there."""
    agreed = (runs == runs[0]).all(axis=0)
    return int((found != runs[0])[agreed].sum())


@pytest.fixture(scope="module")
def given():
    """The network with its images and labels."""
    stored = np.load(FILES / "network.npz")
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(12, 3, activation="relu"),
            layers.Conv2D(12, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    model.set_weights([stored[f"weight_{i}"] for i in range(6)])
    return PlainClassifier(model), stored["images"], stored["labels"].astype(int)


@pytest.fixture(scope="module", params=NORMS)
def runs(request, given):
    """What each of our attacks breaks alone, and what was recorded of the others."""
    recorded = RECORD["norms"][request.param]
    settings = RECORD["settings"] | {"norm": request.param, "last_row": False}
    attack = AutoAttack(recorded["epsilon"], **settings)
    assert tuple(one.name for one in attack.attacks) == NAMES
    ours = {one.name: one(*given, batch_size=100).success for one in attack.attacks}
    theirs = {name: broken(recorded[name]) for name in (*NAMES, "first")}
    return types.SimpleNamespace(attack=attack, ours=ours, theirs=theirs)


def test_what_holds_and_what_is_broken_is_the_same(runs):
    """The cascade breaks what its attacks break alone, as autoattack_test shows."""
    found = np.any(list(runs.ours.values()), axis=0)
    assert 40 < found.sum() < 60
    assert (found != runs.theirs["first"]).sum(axis=1).max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_each_attack_breaks_what_the_original_breaks(runs, name):
    found, theirs = runs.ours[name], runs.theirs[name]
    others = (np.delete(theirs, i, axis=0) for i in range(len(theirs)))
    usual = max(differing(row, rest) for row, rest in zip(theirs, others, strict=True))
    assert differing(found, theirs) <= usual + 1


def test_windows_that_reach_the_last_row_break_more(runs, given):
    """So the comparison above needs `last_row=False`, on images as small as these."""
    paper = AutoAttack(**vars(runs.attack) | {"last_row": True}).attacks[-1]
    most = runs.theirs["square"].sum(axis=1).max()
    assert runs.ours["square"].sum() <= most
    assert paper(*given, batch_size=100).success.sum() > most
