"""Which seeds make a program with keras-cv's layers draw again: augmentation.md."""

import subprocess
import sys

import pytest
from conftest import BACKEND

_PROGRAM = """
import hashlib, sys
import keras, keras_cv, numpy as np
seed = {"seed": 1} if "seed" in sys.argv else {}
if "program" in sys.argv:
    keras.utils.set_random_seed(3)
of = keras_cv.layers
images = np.random.default_rng(0).integers(0, 250, (8, 24, 24, 3)).astype("float32")
for layer in (
    of.RandomBrightness(0.3, **seed),
    of.RandomContrast((0, 255), 0.5, **seed),
    of.RandomSaturation((0.3, 0.7), **seed),
    of.RandomHue(0.5, (0, 255), **seed),
    of.RandomCutout(0.3, 0.3, **seed),
):
    seen = np.asarray(layer(images, training=True)).round(2)
    print("seen", hashlib.sha256(seen.tobytes()).hexdigest())
"""


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="layers of TensorFlow")
@pytest.mark.parametrize(
    ("given", "repeats"),
    [("seed", "00001"), ("program", "11100"), ("seed program", "11111")],
)
def test_which_seed_makes_a_program_with_layers_of_keras_cv_draw_again(given, repeats):
    def seen():
        command = [sys.executable, "-c", _PROGRAM, *given.split()]
        said = subprocess.run(command, capture_output=True, text=True, check=True)
        return [line for line in said.stdout.splitlines() if line.startswith("seen")]

    same = [a == b for a, b in zip(seen(), seen(), strict=True)]
    assert same == [kept == "1" for kept in repeats]
