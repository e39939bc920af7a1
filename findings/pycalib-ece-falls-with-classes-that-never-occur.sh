#!/usr/bin/env bash
# Ground: calibration; pycalib, a library of calibration metrics and reliability diagrams.
# Guess: `pycalib.metrics.ECE(labels, probabilities)` is the expected calibration error of
#   the predicted class, which its function `conf_ECE` computes, too.
# Seen: by default it bins every entry of the probability matrix, those of the classes that
#   were not predicted among them, and averages over all. A network of ten classes that is
#   overconfident by 20 points reads 4 points, and ninety more columns of zeros, classes
#   that never occur, make that ten times smaller. The usual number is ece_full=False.
# Versions: pycalib 0.1.0.dev6, numpy 2.4.6. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --pre pycalib==0.1.0.dev6 numpy==2.4.6
cat > "$folder/errors.py" <<'PYTHON'
import importlib.metadata
import sys

import numpy as np
from pycalib.metrics import ECE, conf_ECE

print("pycalib", importlib.metadata.version("pycalib"), "numpy", np.__version__)
random = np.random.default_rng(0)
logits = random.normal(0, 2, (5000, 10))
truth = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
labels = np.array([random.choice(10, p=row) for row in truth])
sharp = truth**2 / (truth**2).sum(1, keepdims=True)  # overconfident
wide = np.concatenate([sharp, np.zeros((5000, 90))], 1)

# By hand: 15 bins of equal width over the confidence in the predicted class.
confidence, right = sharp.max(1), sharp.argmax(1) == labels
place = np.minimum((confidence * 15).astype(int), 14)
gaps = [
    abs(confidence[place == b].mean() - right[place == b].mean()) * np.mean(place == b)
    for b in range(15)
    if (place == b).any()
]
expected = sum(gaps)
plain, more = ECE(labels, sharp), ECE(labels, wide)
usual = [ECE(labels, p, ece_full=False) for p in (sharp, wide)]
named = [conf_ECE(labels, p) for p in (sharp, wide)]
print(f"by hand {expected:.4f}, conf_ECE {named[0]:.4f}, with 90 classes {named[1]:.4f}")
print(f"ECE {plain:.4f}, with 90 classes {more:.4f}")
print(f"ECE with ece_full=False {usual[0]:.4f}, with 90 classes {usual[1]:.4f}")
as_stated = (
    np.allclose([*usual, *named], expected, atol=1e-9)
    and plain < expected / 3
    and np.isclose(more, plain / 10, rtol=1e-6)
)
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/errors.py"
