#!/usr/bin/env bash
# Ground: JPEG compression as a corruption and as a step of data pipelines; simplejpeg, a
#   thin layer over TurboJPEG that image loaders take for speed.
# Guess: `encode_jpeg(..., fastdct=False)` computes the exact DCT, and so makes the same
#   pixels as Pillow with the same quality and subsampling; fastdct=True loses a little.
# Seen: up to quality 95 the two settings write the same bytes, and neither makes
#   Pillow's pixels: most values differ from quality 75 on, single ones by a tenth of the
#   range. From quality 96 on all three agree to the bit. The flag of decode_jpeg works.
# Versions: simplejpeg 1.9.0, Pillow 13.0.0, numpy 2.4.6. Date: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet simplejpeg==1.9.0 pillow==13.0.0 numpy==2.4.6
cat > "$folder/encode.py" <<'PYTHON'
import io
import sys

import numpy as np
import PIL
import simplejpeg
from PIL import Image

print("simplejpeg", simplejpeg.__version__, "Pillow", PIL.__version__)
rows, columns = np.mgrid[:128, :128]
waves = [128 + 90 * np.sin(columns / 5 + c) * np.cos(rows / 7 - c) for c in range(3)]
noise = np.random.default_rng(0).normal(0, 15, (128, 128, 3))
image = np.clip(np.stack(waves, -1) + noise, 0, 255).astype("uint8")


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def by_pillow(quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()


as_stated = True
for quality in (25, 75, 90, 95, 96, 100):
    fast, exact = (
        simplejpeg.encode_jpeg(
            image, quality=quality, colorsubsampling="444", fastdct=flag
        )
        for flag in (True, False)
    )
    gap = np.abs(pixels(exact) - pixels(by_pillow(quality)))
    print(
        f"quality {quality}: fastdct makes {'no' if fast == exact else 'a'} difference; "
        f"{np.mean(gap > 0):.1%} of the values are not Pillow's, by up to {gap.max()}"
    )
    as_stated &= fast == exact
    as_stated &= gap.max() == 0 if quality >= 96 else np.mean(gap > 0) > 0.1
    as_stated &= quality not in (75, 90, 95) or np.mean(gap > 0) > 0.5

data = by_pillow(90)
exact, fast = (
    simplejpeg.decode_jpeg(data, fastdct=flag).astype(int) for flag in (False, True)
)
print("decoding: exact", np.abs(exact - pixels(data)).max(), "fast", end=" ")
print(np.abs(fast - pixels(data)).max())
as_stated &= np.array_equal(exact, pixels(data)) and not np.array_equal(fast, exact)
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/encode.py"
