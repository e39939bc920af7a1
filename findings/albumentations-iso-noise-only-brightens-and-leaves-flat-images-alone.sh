#!/usr/bin/env bash
# Ground: camera noise in training; ISONoise of Albumentations.
# Guess: luminance noise of both signs, of a strength that intensity sets, the same on
#   a flat image and on one of high contrast.
# Seen: no value ever falls: the noise is a Poisson count, added. Its strength follows the
#   spread of lightness over the image: a flat grey image, or a black one, stays as it is
#   to the bit.
# Versions: albumentations 2.0.8, opencv-python-headless 5.0.0.93, numpy 2.4.6.
# Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet albumentations==2.0.8 \
    opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import sys

import albumentations
import cv2
import numpy as np

print("albumentations", albumentations.__version__, "OpenCV", cv2.__version__)
noise = albumentations.Compose(
    [
        albumentations.ISONoise(
            color_shift=(0, 0), intensity=(0.5, 0.5), p=1
        )
    ],
    seed=1,
)
# Vertical stripes of two greys, which survive the way to HLS and back.
as_stated, spreads = True, []
for contrast in (0, 20, 60):
    image = np.full((128, 128, 3), 128 - contrast, "uint8")
    image[:, ::2] = 128 + contrast
    there_and_back = cv2.cvtColor(
        cv2.cvtColor(image, cv2.COLOR_RGB2HLS_FULL), cv2.COLOR_HLS2RGB_FULL
    )
    added = noise(image=image)["image"].astype(int) - there_and_back
    spreads.append(added.std())
    print(f"stripes of 128 +- {contrast}: lowest {added.min()}, mean {added.mean():.2f}, "
          f"std {spreads[-1]:.2f}")
    as_stated &= added.min() >= 0
as_stated &= spreads[0] == 0 and spreads[2] > 1.5 * spreads[1] > 1
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
