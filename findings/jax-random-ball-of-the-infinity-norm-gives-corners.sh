#!/usr/bin/env bash
# Ground: random starts of attacks, and noise that is uniform in an lp ball; jax.random.ball.
# Guess: p=inf is the norm of the cube, so that every coordinate is uniform in [-1, 1];
#   a large finite p comes close to that.
# Seen: with p=inf every coordinate of every sample is +1 or -1: only corners are drawn.
#   With p=10,000 nearly all coordinates are exactly 0, with p=100 four in ten; p=1,
#   2 and 8 are uniform. There is no error and no warning.
# Versions: jax 0.10.2. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.10.2 numpy==2.4.6
cat > "$folder/ball.py" <<'PYTHON'
import sys

import jax
import numpy as np

print("jax", jax.__version__)
dimensions, count, seen = 3, 20_000, {}
for p in (1, 2, 8, 100, 10_000, np.inf):
    points = np.asarray(jax.random.ball(jax.random.key(0), dimensions, p, (count,)))
    radii = np.linalg.norm(points, ord=p, axis=-1)
    # In a uniform ball the share of the volume within a point's radius has mean 1/2.
    volume = float(np.mean(radii**dimensions))
    corners = float(np.mean(np.abs(points) == 1))
    zeros = float(np.mean(points == 0))
    seen[p] = volume, corners, zeros
    print(f"p={p}: volume {volume:.3f}, exactly 1 {corners:.3f}, exactly 0 {zeros:.3f}")
as_stated = all(abs(seen[p][0] - 0.5) < 0.02 and seen[p][1] == 0 for p in (1, 2, 8))
as_stated &= seen[np.inf][1] == 1 and seen[10_000][2] > 0.9 and seen[100][2] > 0.3
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
JAX_PLATFORMS=cpu "$folder/venv/bin/python" "$folder/ball.py"
