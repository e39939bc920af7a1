#!/usr/bin/env bash
# Ground: images stored by codecs that have one interface, `level` among its arguments.
# Guess: level=100 is each codec's best, and no worse than its default, which is lossless
#   for all six here.
# Seen: it is lossless for WebP, AVIF and JPEG XR. It makes JPEG XL lossy, by 4 of 255, and
#   JPEG 2000, by 2, whose level is a signal-to-noise ratio. For JPEG-LS it is the error
#   that is allowed: pixels are off by up to 100, and level=1 is better than level=100.
# Versions: imagecodecs 2026.3.6, numpy 2.4.6. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet imagecodecs==2026.3.6 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import sys

import imagecodecs
import numpy as np

print("imagecodecs", imagecodecs.__version__)
image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype("uint8")


def off(codec, **settings):
    """The largest difference of a pixel after a round trip."""
    encode = getattr(imagecodecs, f"{codec}_encode")
    decoded = getattr(imagecodecs, f"{codec}_decode")(encode(image, **settings))
    return int(np.abs(decoded.astype(int) - image).max())


expected = {"webp": (0, 0), "avif": (0, 0), "jpegxr": (0, 0)}
expected |= {"jpegxl": (1, 8), "jpeg2k": (1, 8), "jpegls": (90, 100)}
as_stated = True
for codec, (least, most) in expected.items():
    default, best = off(codec), off(codec, level=100)
    print(f"{codec}: by default off by {default}, with level=100 by {best}")
    as_stated &= default == 0 and least <= best <= most
print(f"jpegls with level=1: off by {off('jpegls', level=1)}")
as_stated &= off("jpegls", level=1) == 1
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
