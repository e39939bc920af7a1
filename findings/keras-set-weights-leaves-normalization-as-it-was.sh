#!/usr/bin/env bash
# Ground: Keras; copies of networks that normalise their images, as EfficientNet does.
# Guess: a clone that is given the weights of a network, all of them equal, computes what
#   the network does; and saving and loading changes nothing of that.
# Seen: Normalization goes on with the mean and the variance that it had when it was built
#   or adapted: set_weights (and assign) changes its weights and not what it computes.
#   get_weights() is the same on both sides, outputs are not. Saved and loaded, or given
#   the weights by save_weights and load_weights, the clone is the network. There is no
#   error and no warning. finalize_state(), which adapt() calls, brings it about too.
# Versions: keras 3.15.1, jax 0.10.2. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import pathlib
import sys

import jax
import keras
import numpy as np
from keras import layers

folder = pathlib.Path(sys.argv[1])
images = np.random.default_rng(0).random((64, 8, 8, 3), "float32") + 3
network = keras.Sequential(
    [keras.Input((8, 8, 3)), layers.Normalization(), layers.Flatten(), layers.Dense(4)]
)
network.layers[0].adapt(images)


def off(other):
    """The largest difference to the network, over its largest output."""
    ours, theirs = (np.asarray(model(images)) for model in (network, other))
    return float(np.abs(ours - theirs).max() / np.abs(ours).max())


def same_weights(other):
    pairs = zip(network.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


given = keras.models.clone_model(network)
given.set_weights(network.get_weights())
given.save(folder / "given.keras")
loaded = keras.models.load_model(folder / "given.keras")
network.save_weights(folder / "network.weights.h5")
read = keras.models.clone_model(network)
read.load_weights(folder / "network.weights.h5")

print("keras", keras.__version__, "jax", jax.__version__)
seen = {}
for name, model in {
    "clone, set_weights": given,
    "the same, saved and loaded": loaded,
    "clone, load_weights": read,
}.items():
    seen[name] = off(model)
    print(f"{name:28}equal weights: {same_weights(model)}  off by {seen[name]:.3f}")
before = off(given)
given.layers[0].finalize_state()
print(f"after finalize_state        off by {off(given):.3f}")
as_stated = (
    all(map(same_weights, (given, loaded, read)))
    and before > 0.5
    and max(off(loaded), off(read), off(given)) < 1e-4
)
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
KERAS_BACKEND=jax JAX_PLATFORMS=cpu "$folder/venv/bin/python" "$folder/check.py" "$folder"
