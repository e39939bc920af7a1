#!/usr/bin/env bash
# Ground: mixup's weight, drawn from Beta(alpha, alpha), with an alpha near 0.
# Guess: the law is symmetric, so its mean is 1/2 at any alpha; and numba's np.random.beta,
#   which compiles NumPy's function, has NumPy's law.
# Seen: numba and random.betavariate of Python return 0 where both gamma variates that they
#   divide round to 0: the mean is 0.39 at alpha 0.001 and 0.07 at 0.0001. NumPy's own
#   draws there have a mean of 0.50. From alpha 0.01 on all three agree.
# Versions: Python 3.11.7, numba 0.68.1, numpy 2.4.6. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numba==0.68.1 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import random
import sys

import numba
import numpy as np

print("Python", sys.version.split()[0], "numba", numba.__version__, "numpy", np.__version__)
N = 100_000


@numba.njit
def of_numba(alpha, seed):
    np.random.seed(seed)
    return np.array([np.random.beta(alpha, alpha) for _ in range(N)])


random.seed(0)
means = {}
for alpha in (0.1, 0.01, 0.001, 0.0001):
    python = np.mean([random.betavariate(alpha, alpha) for _ in range(N)])
    means[alpha] = of_numba(alpha, 0).mean(), python
    means[alpha] += (np.random.default_rng(0).beta(alpha, alpha, N).mean(),)
    print("alpha {}: mean of numba {:.3f}, of Python {:.3f}, of NumPy {:.3f}".format(
        alpha, *means[alpha]))
# A mean of N draws of 0 or 1 has a standard error of 0.0016.
as_stated = all(abs(m - 0.5) < 0.01 for alpha in (0.1, 0.01) for m in means[alpha])
as_stated &= all(abs(values[2] - 0.5) < 0.01 for values in means.values())
as_stated &= all(abs(m - 0.386) < 0.01 for m in means[0.001][:2])
as_stated &= all(abs(m - 0.069) < 0.01 for m in means[0.0001][:2])
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
