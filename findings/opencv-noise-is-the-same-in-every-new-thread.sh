#!/usr/bin/env bash
# Ground: noise added to images by a pool of threads, as data loaders do it.
# Guess: setRNGSeed makes the run repeatable, and threads draw different noise after it.
# Seen: every thread has a generator of its own, which setRNGSeed of another thread does not
#   reach, and which begins at the same state: the first images of all threads of a pool, and
#   of the next pool, have the same noise whatever the seed.
# Versions: opencv-python-headless 5.0.0.93, numpy 2.4.6. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

print("OpenCV", cv2.__version__)
THREADS = 4


def noise():
    return cv2.randn(np.zeros((32, 32), np.float32), 0, 1)


def of_pool(seed):
    """The first noise that each thread of a new pool draws."""
    cv2.setRNGSeed(seed)
    all_there = threading.Barrier(THREADS)

    def draw(_):
        all_there.wait()
        return noise()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(draw, range(THREADS)))


first, second = of_pool(1), of_pool(2)
same = sum(np.array_equal(one, first[0]) for one in first + second)
cv2.setRNGSeed(1)
of_one = noise()
cv2.setRNGSeed(2)
of_two = noise()
repeats = np.array_equal(of_one, of_two)
print(f"{same} of {2 * THREADS} threads of two pools, seeds 1 and 2, drew the same noise;")
print(f"in the main thread seeds 1 and 2 give {'the same' if repeats else 'other'} noise")
as_stated = same == 2 * THREADS and not repeats and 0.9 < first[0].std() < 1.1
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
