#!/usr/bin/env bash
# Ground: Keras on JAX; checking gradients, losses and attacks in float64.
# Guess: with jax_enable_x64 and keras.config.set_floatx("float64") what float64 arrays go
#   into is computed in float64, or at the least the result's dtype says that it was not.
# Seen: tanh, sin, cos, sinh, arctan, var and norm give float32 back, while exp, log1p,
#   sqrt and matmul give float64. mean gives an array that says float64 and has the digits
#   of float32: a check of a mean loss against a tolerance of 1e-12 fails by 1e-8, and the
#   dtype gives no hint. jax.numpy is right in all of them.
# Versions: keras 3.15.1, jax 0.10.2. Date: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import sys

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras import ops

jax.config.update("jax_enable_x64", True)
keras.config.set_floatx("float64")
print("keras", keras.__version__, "jax", jax.__version__)
x = np.random.default_rng(0).normal(size=(3, 4))
assert ops.convert_to_tensor(x).dtype == "float64"
seen = {}
for name in ("tanh", "sin", "cos", "sinh", "arctan", "var", "mean", "exp", "square"):
    exact = getattr(np, name)(x)
    found = getattr(ops, name)(ops.convert_to_tensor(x))
    theirs = float(np.max(np.abs(np.asarray(getattr(jnp, name)(x)) - exact)))
    error = float(np.max(np.abs(np.asarray(found, "float64") - exact)))
    seen[name] = (str(found.dtype), error > 1e-12)
    print(f"{name:8}{found.dtype!s:9}error {error:.0e}, of jax.numpy {theirs:.0e}")
    assert theirs < 1e-14
cut = ("tanh", "sin", "cos", "sinh", "arctan", "var")
as_stated = all(seen[name] == ("float32", True) for name in cut)
as_stated &= seen["mean"] == ("float64", True)
as_stated &= all(seen[name] == ("float64", False) for name in ("exp", "square"))
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
KERAS_BACKEND=jax JAX_PLATFORMS=cpu "$folder/venv/bin/python" "$folder/check.py"
