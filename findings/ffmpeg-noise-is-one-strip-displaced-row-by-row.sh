#!/usr/bin/env bash
# Ground: additive noise as a corruption of images and video; FFmpeg's filter `noise`, as
#   the binary of imageio-ffmpeg has it.
# Guess: `noise=all_strength=20` draws every pixel by itself, with a standard deviation of
#   20 levels; with the flag `u` uniformly from -20 to 20.
# Seen: the standard deviation is 11.2, and `u` goes from -10 to 9. A picture of a million
#   pixels holds about 1,500 different values in a row: each line is a piece of one strip,
#   so that half of the others are the first line displaced, and lines recur
#   as they are. Without the flag `t` every frame has the same noise.
# Versions: imageio-ffmpeg 0.6.0 (its FFmpeg is printed), numpy 2.4.6. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet imageio-ffmpeg==0.6.0 numpy==2.4.6
cat > "$folder/noise.py" <<'PYTHON'
import subprocess
import sys

import imageio_ffmpeg
import numpy as np

ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
said = subprocess.run([ffmpeg, "-version"], capture_output=True, text=True).stdout
print("imageio-ffmpeg", imageio_ffmpeg.__version__, said.splitlines()[0][:40])


def noise(flags, height=2048, width=512, frames=1):
    """What the filter adds to grey of level 128, `(frames, height, width)`."""
    grey = np.full((frames, height, width), 128, "uint8")
    raw = ["-f", "rawvideo", "-pix_fmt", "gray"]
    command = [ffmpeg, "-v", "error", *raw, "-s", f"{width}x{height}", "-r", "1"]
    command += ["-i", "-", "-vf", f"noise=all_strength=20{flags}", *raw, "-"]
    done = subprocess.run(command, input=grey.tobytes(), capture_output=True, check=True)
    noisy = np.frombuffer(done.stdout, "uint8").reshape(grey.shape)
    return noisy.astype(int) - 128


def is_displaced(line, other, most=256):
    """Whether one line is the other, at most so many pixels to the left or right."""
    n = len(line) - most
    pairs = ((line, other), (other, line))
    return any(
        np.array_equal(a[s : s + n], b[:n]) for a, b in pairs for s in range(most + 1)
    )


plain, uniform = noise("")[0], noise(":all_flags=u")[0]
lines = {line.tobytes() for line in plain}
pieces = {tuple(line[s : s + 16]) for line in plain for s in range(0, 512 - 16)}
displaced = np.mean([is_displaced(plain[0], line) for line in plain[1:200]])
still, moving = noise("", 64, 64, 2), noise(":all_flags=t", 64, 64, 2)
print(f"standard deviation {plain.std():.2f}, uniform {uniform.min()}..{uniform.max()}")
print(f"{len(lines)} different lines of {len(plain)}; {len(pieces)} different pieces")
print(f"{displaced:.0%} of 199 lines are the first one displaced by up to 256 pixels")
frames_alike = np.array_equal(*still), np.array_equal(*moving)
print("two frames alike: %s, with the flag t: %s" % frames_alike)
as_stated = (
    abs(plain.std() - 11.2) < 0.3
    and -11 <= uniform.min() <= uniform.max() <= 10
    and len(lines) < 1200
    and len(pieces) < 1700
    and displaced > 0.4
    and frames_alike == (True, False)
)
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/noise.py"
