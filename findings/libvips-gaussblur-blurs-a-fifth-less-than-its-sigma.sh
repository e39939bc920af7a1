#!/usr/bin/env bash
# Ground: blur as a corruption and before thumbnails; libvips through pyvips, which
#   image servers and data loaders use for large pictures.
# Guess: `image.gaussblur(sigma)` blurs by sigma up to how a mask samples a bell curve,
#   as SciPy does: at sigma 2 by 2.00, at sigma 0.5 by a little less than a half.
# Seen: the mask ends where the curve falls below a fifth of its peak, so the standard
#   deviation of what a single point becomes is 0.74 for sigma 1, 1.6 for 2, 6.6 for 8,
#   and at 0.5 the picture stays as it is. precision="float" changes the second decimal;
#   only min_ampl, at 0.2 by default, brings the blur that sigma names.
# Versions: pyvips 3.2.0, pyvips-binary 8.18.7 (libvips 8.18.7), scipy 1.17.1, numpy
#   2.4.6. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet \
  pyvips==3.2.0 pyvips-binary==8.18.7 scipy==1.17.1 numpy==2.4.6
cat > "$folder/blur.py" <<'PYTHON'
import sys

import numpy as np
import pyvips
import scipy
from scipy.ndimage import gaussian_filter

print("pyvips", pyvips.__version__, "libvips", *map(pyvips.version, range(3)), end=" ")
print("scipy", scipy.__version__)
size, middle = 201, 100
point = np.zeros((size, size), "float32")
point[middle, middle] = 1e4
image = pyvips.Image.new_from_memory(point.tobytes(), size, size, 1, "float")


def spread(array):
    """Standard deviation of where the light of one point went, along a row."""
    weights = array.sum(0) / array.sum()
    return np.sqrt((weights * (np.arange(size) - middle) ** 2).sum())


def by_vips(sigma, **settings):
    blurred = image.gaussblur(sigma, **settings)
    return spread(blurred.cast("double").numpy().reshape(size, size))


as_stated = True
for sigma in (0.5, 1, 2, 4, 8):
    plain = by_vips(sigma)
    exact = by_vips(sigma, precision="float")
    whole = by_vips(sigma, precision="float", min_ampl=0.001)
    other = spread(gaussian_filter(point.astype(float), sigma))
    print(
        f"sigma {sigma}: libvips {plain:.2f}, precision float {exact:.2f}, "
        f"min_ampl 0.001 {whole:.2f}, SciPy {other:.2f}"
    )
    as_stated &= plain < 0.86 * sigma and exact < 0.86 * sigma
    as_stated &= plain == 0 if sigma == 0.5 else plain > 0.7 * sigma
    as_stated &= abs(whole - other) < 0.02
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/blur.py"
