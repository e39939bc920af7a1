#!/usr/bin/env bash
# Ground: robust classifiers by a bound on the Lipschitz constant; Keras'
#   SpectralNormalization around a layer, on JAX.
# Guess: the kernel has a largest singular value of 1 after `fit`, and `evaluate` scores
#   the network that was trained, as it is on TensorFlow 2.21.0 and PyTorch 2.13.0.
# Seen: the kernel keeps the norm that it began with, so the bound does not hold, and
#   `evaluate` gives another loss than training on the same images, by a factor of two and
#   more. Within a training step the kernel is normalised. One call with training=True
#   outside of `fit` normalises it for good, and both losses agree.
# Versions: keras 3.15.1, jax 0.10.2, numpy 2.4.6. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 numpy==2.4.6
cat > "$folder/fit.py" <<'PYTHON'
import sys

import jax
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 16)).astype("float32")
y = rng.integers(0, 3, 64)
keras.utils.set_random_seed(0)
start = keras.initializers.RandomNormal(stddev=1.0)
normed = layers.SpectralNormalization(
    layers.Dense(16, kernel_initializer=start), power_iterations=20
)
model = keras.Sequential([keras.Input((16,)), normed, layers.Dense(3)])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.SGD(0.1), loss)


def norm():
    return float(np.linalg.norm(ops.convert_to_numpy(normed.layer.kernel), 2))


def evaluated():
    return float(model.evaluate(x, y, verbose=0))


print("keras", keras.__version__, "jax", jax.__version__)
print(f"at first: norm {norm():.2f}")
history = model.fit(x, y, batch_size=64, epochs=30, verbose=0).history
trained, scored, after = history["loss"][-1], evaluated(), norm()
print(f"after fit: norm {after:.2f}, loss in training {trained:.3f}, scored {scored:.3f}")
model(x, training=True)
again, called = evaluated(), norm()
print(f"after a call with training=True: norm {called:.2f}, scored {again:.3f}")
as_stated = after > 5 and scored > 2 * trained
as_stated &= abs(called - 1) < 0.05 and abs(again - trained) < 0.05
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
KERAS_BACKEND=jax JAX_PLATFORMS=cpu "$folder/venv/bin/python" "$folder/fit.py"
