#!/usr/bin/env bash
# Ground: corruptions; dm_pix (images in JAX).
# Guess: a Gaussian blur leaves an image of one colour as it is: others reflect or repeat
#   the border.
# Seen: pixels outside count as black. A white image of 32 by 32 blurred with sigma 3 has
#   corners of .32, and 61 % of its pixels lose more than one 8-bit level; of a corruption
#   benchmark a part of what "blur" does is a dark frame.
# Versions: dm-pix 0.4.5, jax 0.10.2. Date: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dm-pix==0.4.5 jax==0.10.2 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import sys
from importlib.metadata import version

import dm_pix
import jax.numpy as jnp
import numpy as np

print("dm-pix", version("dm-pix"), "jax", version("jax"))
white = jnp.ones((32, 32, 3))
blurred = np.asarray(dm_pix.gaussian_blur(white, sigma=3.0, kernel_size=13))
corner, centre = blurred[0, 0, 0], blurred[16, 16, 0]
share = np.mean(blurred < 1 - 1 / 255)
print(f"corner {corner:.3f}, centre {centre:.3f}, darker by a level: {share:.2f}")
as_stated = abs(corner - 0.323) < 0.01 and centre > 0.999 and share > 0.5
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
