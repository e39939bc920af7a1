#!/usr/bin/env bash
# Ground: mixing, labels of CutMix; MONAI.
# Guess: monai.transforms.CutMix(images, labels) returns labels interpolated by lambda,
#   or by the share of the image that is kept.
# Seen: one-hot labels (batch, classes) come back as the partner's alone, for every
#   lambda, while most pixels are still the image's own: the label goes through the
#   function that pastes boxes, and has no axes to paste in.
# Versions: monai 1.6.1, torch 2.14.1. Date: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet monai==1.6.1 torch==2.14.1 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import sys

import monai
import torch
from monai.transforms import CutMix

N, SIDE, BATCHES = 32, 16, 50
print("monai", monai.__version__, "torch", torch.__version__)
cutmix = CutMix(batch_size=N, alpha=1.0)
cutmix.set_random_state(seed=0)
numbers = torch.arange(float(N))
images = numbers[:, None, None, None].expand(N, 1, SIDE, SIDE).contiguous()
labels = torch.eye(N)
own_label, own_pixels = [], []
for _ in range(BATCHES):
    mixed, mixed_labels = cutmix(images, labels)
    same = (mixed == images).float().mean((1, 2, 3))
    has_partner = same < 1
    own_label += torch.diagonal(mixed_labels)[has_partner].tolist()
    own_pixels += same[has_partner].tolist()
label, pixels = (sum(v) / len(v) for v in (own_label, own_pixels))
print(f"{len(own_label)} images with a box of another one")
print(f"share of their own in the label {label:.3f}, in the pixels {pixels:.3f}")
as_stated = max(own_label) == 0 and pixels > 0.6
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
