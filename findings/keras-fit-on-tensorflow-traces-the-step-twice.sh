#!/usr/bin/env bash
# Ground: Keras 3 on TensorFlow; the first step of `fit`.
# Guess: `compile` and a functional model, which is built, leave nothing to be made: the
#   first batch traces `train_step` once, and other batches find it traced.
# Seen: it is traced twice. The first trace makes the variables of the optimiser and of
#   the metrics, and a function that makes variables is traced again. A network that
#   takes seconds to trace takes them twice, at the start of every program. To build the
#   optimiser alone, or the metrics alone by a call of `evaluate`, changes nothing; where
#   both were built before it is once. On JAX it is once in any case.
# Versions: keras 3.15.1, tensorflow-cpu 2.21.0, jax 0.10.2. Date: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 tensorflow-cpu==2.21.0 \
  jax==0.10.2 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import sys

import keras
import numpy as np

images = np.zeros((64, 8), "float32")
labels = np.zeros(64, "int64")


class Counting(keras.Model):
    traced = 0

    def train_step(self, *args):
        self.traced += 1
        return super().train_step(*args)


def traces(prepare=lambda model: None):
    inputs = keras.Input((8,))
    model = Counting(inputs, keras.layers.Dense(3)(inputs))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, 0.9), loss, metrics=["accuracy"])
    prepare(model)
    before = model.traced
    model.fit(images, labels, batch_size=32, epochs=2, verbose=0)
    return model.traced - before


def optimiser(model):
    model.optimizer.build(model.trainable_variables)


def metrics(model):
    model.evaluate(images, labels, verbose=0)


def both(model):
    optimiser(model)
    metrics(model)


ways = {"as it is": lambda model: None}
ways |= {"optimiser built": optimiser, "metrics built": metrics, "both": both}
seen = {name: traces(prepare) for name, prepare in ways.items()}
print("keras", keras.__version__, "on", keras.backend.backend(), seen)
twice = {"as it is": 2, "optimiser built": 2, "metrics built": 2, "both": 1}
expected = twice if keras.backend.backend() == "tensorflow" else dict.fromkeys(ways, 1)
sys.exit(seen != expected)
PYTHON
export TF_CPP_MIN_LOG_LEVEL=3 PYTHONWARNINGS=ignore
for backend in tensorflow jax; do
  if ! KERAS_BACKEND=$backend "$folder/venv/bin/python" "$folder/check.py" 2>"$folder/log"; then
    tail -5 "$folder/log"
    echo "the behaviour has changed"
    exit 1
  fi
done
echo "as stated"
