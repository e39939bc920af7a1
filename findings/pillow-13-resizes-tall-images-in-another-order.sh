#!/usr/bin/env bash
# Ground: pixels of evaluations; Pillow's Image.resize, which torchvision and most
#   evaluations on photographs stand on.
# Guess: bilinear resizing with antialiasing has given the same pixels for years, and a
#   new release of Pillow keeps them.
# Seen: from 13.0.0 on, an image of more than twice its width in height that shrinks is
#   made less tall first, and less wide first otherwise and before. Each pass rounds to
#   8 bits, so about a fifth of the values of a tall image differ by one between 12.3.0
#   and 13.0.0; a wide one, and the same pixels turned by 90 degrees, are equal.
# Versions: Pillow 12.3.0 and 13.0.0, numpy 2.4.6. Date: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 12.3.0 13.0.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet "pillow==$version" numpy==2.4.6
done
cat > "$folder/resize.py" <<'PYTHON'
import sys

import numpy as np
import PIL
from PIL import Image

print("Pillow", PIL.__version__, "numpy", np.__version__)
pixels = np.random.default_rng(0).integers(0, 256, (500, 200, 3), "uint8")
results = {}
for name, array, size in (
    ("tall", pixels, (100, 250)),
    ("wide", pixels.transpose(1, 0, 2).copy(), (250, 100)),
):
    image = Image.fromarray(array).resize(size, Image.Resampling.BILINEAR)
    results[name] = np.asarray(image)
np.savez(sys.argv[1], **results)
PYTHON
cat > "$folder/compare.py" <<'PYTHON'
import sys

import numpy as np

before, after = (np.load(path) for path in sys.argv[1:])
shares = {}
for name in ("tall", "wide"):
    gap = np.abs(before[name].astype(int) - after[name].astype(int))
    shares[name] = np.mean(gap > 0)
    print(f"{name}: {shares[name]:.1%} of the values differ, by at most {gap.max()}")
    assert gap.max() <= 1, "more than rounding"
as_stated = 0.1 < shares["tall"] < 0.3 and shares["wide"] == 0
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
for version in 12.3.0 13.0.0; do
  "$folder/$version/bin/python" "$folder/resize.py" "$folder/$version.npz"
done
"$folder/13.0.0/bin/python" "$folder/compare.py" "$folder/12.3.0.npz" "$folder/13.0.0.npz"
