#!/usr/bin/env bash
# Ground: noise for robustness; scikit-image's random_noise(mode="poisson").
# Guess: shot noise of a pixel depends on its brightness, and on a fixed scale (as with
#   255 photons for white).
# Seen: the scale is the number of different values in the whole image, rounded up to a
#   power of two. A grey area gets noise of standard deviation .49 alone, .31 beside one
#   other value, .03 beside 256 and .008 beside 5,000 of them: the same photograph is
#   noisier as 8-bit file than as float, and a flat or quantised one is destroyed.
# Versions: scikit-image 0.26.0, numpy 2.4.6. Date: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scikit-image==0.26.0 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import sys

import numpy as np
import skimage
from skimage.util import random_noise

print("scikit-image", skimage.__version__, "numpy", np.__version__)
deviations = []
for values in (1, 2, 256, 5000):
    image = np.full((200, 200), 0.5)
    if values > 1:
        image[:100] = np.resize(np.linspace(0.4, 0.6, values), (100, 200))
    noisy = random_noise(image, mode="poisson", rng=0)
    deviations.append(noisy[100:].std())
    print(f"{values} values: the half that is .5 has deviation {deviations[-1]:.4f}")
as_stated = np.allclose(deviations, [0.489, 0.312, 0.0315, 0.0079], rtol=0.05)
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
