#!/usr/bin/env bash
# Ground: noise and displacement as corruptions; Pillow's Image.effect_noise, effect_spread.
# Guess: each program draws other noise, or what random.seed or numpy.random.seed says.
# Seen: every process draws the same, whatever those seeds are: the numbers are those of C's
#   rand(), which nothing seeds and no argument reaches. Workers that corrupt images one
#   part each all use one noise; within a process the next call is another draw.
# Versions: Pillow 13.0.0, numpy 2.4.6, with glibc. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.4.6
cat > "$folder/draw.py" <<'PYTHON'
import hashlib
import random
import sys

import numpy as np
from PIL import Image

random.seed(int(sys.argv[1]))
np.random.seed(int(sys.argv[1]))
ramp = Image.fromarray(np.arange(4096, dtype="uint32").astype("uint8").reshape(64, 64))
for _ in range(2):
    noise = np.asarray(Image.effect_noise((64, 64), 20))
    spread = np.asarray(ramp.effect_spread(3))
    for drawn in (noise, spread):
        print(hashlib.sha256(drawn.tobytes()).hexdigest()[:12])
PYTHON
cat > "$folder/check.py" <<'PYTHON'
import subprocess
import sys

import PIL

print("Pillow", PIL.__version__)
script = sys.argv[1] + "/draw.py"
processes = []
for seed in ("1", "2", "3"):
    command = [sys.executable, script, seed]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    processes.append(done.stdout.split())
    print(f"seed {seed}: noise, spread, noise, spread:", *processes[-1])
first = processes[0]
as_stated = all(other == first for other in processes) and len(set(first)) == 4
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/check.py" "$folder"
