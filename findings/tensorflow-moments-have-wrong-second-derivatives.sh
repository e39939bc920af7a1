#!/usr/bin/env bash
# Ground: TensorFlow, and Keras on it; curvature of networks with layer or group norm, as
#   flatness, influence, Newton steps and penalties on gradients ask for.
# Guess: what has the right gradient on a tape has the right gradient of that gradient.
# Seen: tf.nn.moments holds the mean within the variance constant. The first derivative of
#   the variance does not see it, and the second one does: of the variance of n numbers it
#   is 2 / n on the diagonal and 0 beside it, in place of 2 / n (1 - 1 / n) and -2 / n^2.
#   Keras' LayerNormalization and GroupNormalization are made of it: a number added to all
#   inputs changes nothing that they give, so there is no curvature that way, and the
#   Hessian says that there is. tf.math.reduce_variance is right.
# Versions: tensorflow 2.21.0, keras 3.15.1. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import sys

import keras
import numpy as np
import tensorflow as tf

N = 4


def derivatives(function, x):
    """Gradient and Hessian at one point, by two tapes."""
    x = tf.constant(x)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = function(x)
        gradient = inner.gradient(value, x)
    return gradient.numpy(), outer.jacobian(gradient, x).numpy()


def along_a_shift(function, x):
    """The curvature in the direction in which nothing changes: 0 if it is right."""
    shift = np.ones(len(x), "float32")
    change = function(tf.constant(x + 5 * shift)) - function(tf.constant(x))
    assert abs(float(change)) < 1e-4
    return float(shift @ derivatives(function, x)[1] @ shift)


def normalised(layer):
    layer.build((None, 8))
    weights = tf.constant([1.0, -2, 0.5, 3, -1, 2, 0.3, -0.7])
    return lambda x: tf.reduce_sum(tf.tanh(layer(x[None])) * weights)


x = np.random.default_rng(0).normal(size=8).astype("float32")
variance = derivatives(lambda x: tf.nn.moments(x, [0])[1], x[:N])[1]
seen = {
    "tf.nn.moments": along_a_shift(lambda x: tf.nn.moments(x, [0])[1], x),
    "LayerNormalization": along_a_shift(
        normalised(keras.layers.LayerNormalization()), x
    ),
    "GroupNormalization": along_a_shift(
        normalised(keras.layers.GroupNormalization(2)), x
    ),
}
right = along_a_shift(tf.math.reduce_variance, x)
print("tensorflow", tf.__version__, "keras", keras.__version__)
print("Hessian of the variance of 4 numbers:", *variance.round(3).tolist())
print("as it is:", *(2 / N * (np.eye(N) - 1 / N)).tolist())
print("curvature along a shift of all inputs, which is 0:")
for name, value in {**seen, "tf.math.reduce_variance": right}.items():
    print(f"{name:26}{value:.4f}")
as_stated = (
    np.allclose(variance, 2 / N * np.eye(N), atol=1e-5)
    and abs(right) < 1e-4
    and min(map(abs, seen.values())) > 0.1
)
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" "$folder/check.py" \
  2> "$folder/noise" || { cat "$folder/noise" >&2; exit 1; }
