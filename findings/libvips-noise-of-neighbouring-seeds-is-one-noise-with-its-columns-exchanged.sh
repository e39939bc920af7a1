#!/usr/bin/env bash
# Ground: noise as a corruption, several seeds of it; libvips, through pyvips.
# Guess: gaussnoise(seed=1) and gaussnoise(seed=2) are independent.
# Seen: for seeds 0 to 255 an image 256 wide has the same columns, in another order: that
#   of seed a is at column x what that of seed b is at column x XOR a XOR b. Whatever is
#   summed over the image (mean, variance, extremes) is the same for all 256 seeds, and a
#   spread over seeds is none. Seeds that are far apart give other noise.
# Versions: pyvips 3.2.0, pyvips-binary 8.18.7 (libvips 8.18.7), numpy 2.4.6.
# Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pyvips==3.2.0 pyvips-binary==8.18.7 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import sys

import numpy as np
import pyvips

print("libvips", ".".join(str(pyvips.version(i)) for i in range(3)))
SIDE = 256
columns = np.arange(SIDE)


def noise(seed):
    return pyvips.Image.gaussnoise(SIDE, SIDE, mean=0, sigma=1, seed=seed).numpy()


first = noise(1)
as_stated = 0.95 < first.std() < 1.05
for seed in (0, 2, 3, 100, 255):
    other = noise(seed)
    exchanged = np.array_equal(other, first[:, columns ^ 1 ^ seed])
    sums = np.array_equal(np.sort(other, axis=None), np.sort(first, axis=None))
    print(f"seed {seed}: columns exchanged {exchanged}, same values {sums}")
    as_stated &= exchanged and sums and not np.array_equal(other, first)
far = noise(123456)
print("seed 123456: same values", bool(np.isin(far, first).mean() > 0.5))
as_stated &= np.isin(far, first).mean() < 0.5
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
