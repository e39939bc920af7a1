#!/usr/bin/env bash
# Ground: images on their way into a data set; the Image feature of datasets (Hugging Face).
# Guess: an image that Pillow opened from the bytes of a JPEG is stored as these bytes, or
#   without loss, as an array is.
# Seen: it is encoded a second time, at Pillow's default quality of 75 and with the colours
#   at half resolution: of a file of quality 98 a quarter is left, and values are off by
#   up to 40 levels and more. The same file, opened by its name, is kept to the byte.
# Versions: datasets 4.8.5, Pillow 12.3.0, numpy 2.4.6. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datasets==4.8.5 pillow==12.3.0 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import io
import sys

import datasets
import numpy as np
import PIL
from PIL import Image

print("datasets", datasets.__version__, "Pillow", PIL.__version__)
generator = np.random.default_rng(0)
coarse = generator.integers(0, 256, (32, 32, 3), "uint8")
image = Image.fromarray(coarse).resize((128, 128), Image.Resampling.BICUBIC)
buffer = io.BytesIO()
image.save(buffer, "JPEG", quality=98, subsampling=0)
encoded = buffer.getvalue()
path = sys.argv[1] + "/image.jpg"
with open(path, "wb") as file:
    file.write(encoded)


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)), "int16")


def stored(value):
    features = datasets.Features({"image": datasets.Image()})
    rows = datasets.Dataset.from_dict({"image": [value]}, features=features)
    return np.asarray(rows[0]["image"], "int16")


def kept(value):
    features = datasets.Features({"image": datasets.Image(decode=False)})
    return datasets.Dataset.from_dict({"image": [value]}, features=features)[0]["image"]


memory = kept(Image.open(io.BytesIO(encoded)))["bytes"]
off = np.abs(pixels(memory) - pixels(encoded))
by_name = np.abs(stored(Image.open(path)) - pixels(encoded)).max()
as_array = np.abs(stored(pixels(encoded).astype("uint8")) - pixels(encoded)).max()
print(f"bytes given {len(encoded)}, kept {len(memory)}")
print(f"levels off: from memory {off.mean():.1f} on average, at most {off.max()}")
print(f"levels off: opened by name {by_name}, as an array {as_array}")
as_stated = len(memory) < len(encoded) / 2 and off.max() > 20
as_stated &= by_name == 0 and as_array == 0
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/check.py" "$folder"
