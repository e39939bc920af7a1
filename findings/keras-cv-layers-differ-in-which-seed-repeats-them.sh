#!/usr/bin/env bash
# Ground: augmentation; keras-cv's random layers, in a program that is run twice.
# Guess: either a layer's own `seed` makes its first draws those of the last time, or
#   `keras.utils.set_random_seed` does; surely each does for all layers alike.
# Seen: it depends on the layer. With its own seed alone only RandomCutout draws again;
#   with the program's alone only RandomBrightness, RandomContrast and RandomSaturation;
#   RandomHue needs both. A program that sets one of the two repeats only in part.
# Versions: keras-cv 0.9.0, keras 3.15.1, tensorflow-cpu 2.21.0. Date: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras-cv==0.9.0 keras==3.15.1 \
  tensorflow-cpu==2.21.0 numpy==2.4.6
cat > "$folder/draw.py" <<'PYTHON'
import hashlib
import sys

import keras
import keras_cv
import numpy as np

own = {"seed": 1} if "own" in sys.argv else {}
if "program" in sys.argv:
    keras.utils.set_random_seed(3)
images = np.random.default_rng(0).integers(0, 250, (8, 24, 24, 3)).astype("float32")
for name, arguments in {
    "RandomBrightness": (0.3,),
    "RandomContrast": ((0, 255), 0.5),
    "RandomSaturation": ((0.3, 0.7),),
    "RandomHue": (0.5, (0, 255)),
    "RandomCutout": (0.3, 0.3),
}.items():
    layer = getattr(keras_cv.layers, name)(*arguments, **own)
    seen = np.asarray(layer(images, training=True)).round(2)
    print(name, hashlib.sha256(seen.tobytes()).hexdigest())
PYTHON
export KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 PYTHONWARNINGS=ignore
repeated() {
  for run in 1 2; do
    "$folder/venv/bin/python" "$folder/draw.py" "$@" 2>/dev/null |
      grep '^Random' > "$folder/run_$run"
  done
  comm -12 <(sort "$folder/run_1") <(sort "$folder/run_2") | cut -d' ' -f1 | xargs
}
echo "keras-cv 0.9.0, keras 3.15.1, tensorflow-cpu 2.21.0"
own=$(repeated own)
program=$(repeated program)
both=$(repeated own program)
echo "drawn again with the layer's seed: $own"
echo "with the program's: $program"
echo "with both: $both"
if [[ "$own" == "RandomCutout" ]] &&
  [[ "$program" == "RandomBrightness RandomContrast RandomSaturation" ]] &&
  [[ "$both" == "RandomBrightness RandomContrast RandomCutout RandomHue RandomSaturation" ]]; then
  echo "as stated"
else
  echo "the behaviour has changed"
  exit 1
fi
