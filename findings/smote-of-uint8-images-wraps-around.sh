#!/usr/bin/env bash
# Ground: samples mixed with their neighbours, lambda uniform; SMOTE of imbalanced-learn on
#   images as they come, of uint8.
# Guess: a sample between two of levels 100 to 109 has levels 100 to 109.
# Seen: differences are taken in uint8 and wrap: nearly half of the new values lie outside
#   what they are mixed from, from 0 to 255, without a word. In float32 all lie between.
# Versions: imbalanced-learn 0.14.2, scikit-learn 1.9.1, numpy 2.4.6. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet imbalanced-learn==0.14.2 scikit-learn==1.9.1 \
    numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import sys
import warnings

import imblearn
import numpy as np
from imblearn.over_sampling import SMOTE

warnings.simplefilter("error")
print("imbalanced-learn", imblearn.__version__, "numpy", np.__version__)
generator = np.random.default_rng(0)
many = generator.integers(0, 256, (400, 64), "uint8")
few = generator.integers(100, 110, (40, 64), "uint8")
images = np.concatenate([many, few])
labels = np.repeat([0, 1], [400, 40])


def outside(dtype):
    mixed, _ = SMOTE(random_state=0).fit_resample(images.astype(dtype), labels)
    new = mixed[len(images) :]
    print(f"{dtype}: {len(new)} new images, levels {new.min():g} to {new.max():g}")
    return np.mean((new < 100) | (new > 109))


wrapped, between = outside("uint8"), outside("float32")
print(f"outside of 100 to 109: {wrapped:.3f} of uint8, {between:.3f} of float32")
as_stated = 0.3 < wrapped < 0.6 and between == 0
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
