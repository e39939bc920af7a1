#!/usr/bin/env bash
# Ground: Keras on JAX; noise or dropout inside a recurrent cell of one's own.
# Guess: as on TensorFlow and PyTorch, every step of time draws anew; unroll=True changes
#   speed and memory, not the law of what is computed.
# Seen: called with training=True, RNN adds the same noise at every step, and with
#   unroll=True noise of its own at each of them. There is no error and no warning. So does
#   Dropout in the place of the noise. TimeDistributed draws anew at each step.
# Versions: keras 3.15.1, jax 0.10.2. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import sys

import jax
import keras
import numpy as np
from keras import layers, ops


class Cell(layers.Layer):
    """Gives its input back, through a layer that is random in training."""

    state_size = 1

    def __init__(self, random):
        super().__init__()
        self.random = random

    def build(self, shape):
        pass

    def call(self, inputs, states, training=None):
        return self.random(inputs, training=training), states


def apart(layer):
    """The mean square of the difference between two steps of time."""
    ones = ops.ones((4, 3, 2000))
    steps = np.asarray(layer(ones, training=True))
    return float(np.mean((steps[:, 0] - steps[:, 1]) ** 2))


print("keras", keras.__version__, "jax", jax.__version__)
seen = {}
for kind, value in ((layers.GaussianNoise, 1.0), (layers.Dropout, 0.5)):
    for unroll in (False, True):
        cell = Cell(kind(value, seed=1))
        rnn = layers.RNN(cell, return_sequences=True, unroll=unroll)
        seen[kind.__name__, unroll] = apart(rnn)
        print(f"{kind.__name__:14}unroll={unroll!s:6}{seen[kind.__name__, unroll]:.3f}")
    seen[kind.__name__, "each"] = apart(layers.TimeDistributed(kind(value, seed=1)))
    print(f"{kind.__name__:14}TimeDistributed {seen[kind.__name__, 'each']:.3f}")
as_stated = all(
    seen[name, False] == 0 and seen[name, True] > 1.5 and seen[name, "each"] > 1.5
    for name in ("GaussianNoise", "Dropout")
)
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
KERAS_BACKEND=jax JAX_PLATFORMS=cpu "$folder/venv/bin/python" "$folder/check.py"
