#!/usr/bin/env bash
# Ground: noise in training; batchgenerators, the augmentation of nnU-Net.
# Guess: GaussianNoiseTransform(noise_variance=(v, v)) adds noise of variance v, as its name
#   and the names in its source say.
# Seen: v is the standard deviation. For the default range, at most 0.1, the noise has at
#   most variance 0.01: a tenth of what is asked for at 0.1, a hundredth at 0.01; above 1
#   it is stronger than asked for. RicianNoiseTransform does the same.
# Versions: batchgenerators 0.25.1, numpy 2.4.6. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet batchgenerators==0.25.1 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import importlib.metadata
import sys

import numpy as np
from batchgenerators.transforms.noise_transforms import (
    GaussianNoiseTransform,
    RicianNoiseTransform,
)

print("batchgenerators", importlib.metadata.version("batchgenerators"))
as_stated = True
for asked in (0.01, 0.1, 4.0):
    black = np.zeros((1, 1, 512, 512), "float32")
    transform = GaussianNoiseTransform(noise_variance=(asked, asked), p_per_sample=1)
    gaussian = transform(data=black.copy())["data"].var()
    # Of a signal far above its noise, Rician noise is normal, and of the same variance.
    bright = np.full((1, 1, 512, 512), 100.0)
    transform = RicianNoiseTransform(noise_variance=(asked, asked), p_per_sample=1)
    rician = transform(data=bright)["data"].var()
    print(f"variance asked for {asked}, Gaussian {gaussian:.5f}, Rician {rician:.5f}")
    for seen in (gaussian, rician):
        as_stated &= abs(seen / asked**2 - 1) < 0.03
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
