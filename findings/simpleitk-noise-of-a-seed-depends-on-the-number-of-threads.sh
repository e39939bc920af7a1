#!/usr/bin/env bash
# Ground: noise as a corruption, repeatable by a seed; SimpleITK.
# Guess: one seed gives one image, however many threads compute it.
# Seen: the image is cut into one piece a thread, with a generator each, so that with 2
#   threads half of the noise is another one than with 1, with 4 three quarters. By default
#   there are as many as the machine has processors. So is it with all four noises.
# Versions: SimpleITK 2.5.7, numpy 2.4.6. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet SimpleITK==2.5.7 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import sys

import numpy as np
import SimpleITK as sitk

print("SimpleITK", sitk.Version.VersionString(), "numpy", np.__version__)
grey = sitk.GetImageFromArray(np.full((256, 256), 50, "float32"))
FILTERS = (
    sitk.AdditiveGaussianNoiseImageFilter,
    sitk.ShotNoiseImageFilter,
    sitk.SpeckleNoiseImageFilter,
    sitk.SaltAndPepperNoiseImageFilter,
)


def noisy(kind, threads):
    noise = kind()
    noise.SetSeed(7)
    noise.SetNumberOfThreads(threads)
    noise.SetNumberOfWorkUnits(threads)
    return sitk.GetArrayFromImage(noise.Execute(grey))


as_stated = True
for kind in FILTERS:
    one = noisy(kind, 1)
    as_stated &= np.array_equal(one, noisy(kind, 1)) and (one != 50).any()
    # Of pixels that either hits: salt and pepper leaves most alone.
    shares = []
    for threads in (2, 4):
        other = noisy(kind, threads)
        hit = (one != 50) | (other != 50)
        shares.append((one == other)[hit].mean())
    print(kind.__name__, "as with 1 thread: of 2 %.2f, of 4 %.2f" % tuple(shares))
    as_stated &= 0.3 < shares[0] < 0.6 and shares[1] < 0.3
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
