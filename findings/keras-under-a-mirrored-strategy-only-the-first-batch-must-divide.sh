#!/usr/bin/env bash
# Ground: Keras on TensorFlow, training and validation on several devices.
# Guess: replicas of a MirroredStrategy share any batch, 101 images by two as 51 and 50; or
#   if no smaller part is taken, then in no batch.
# Seen: the first batch of each fit, each evaluate and each validation has to divide by the
#   number of replicas, or the call ends in an error of AddN about shapes; batches after
#   the first may be of any size, and predict takes all. So 100 images and then 1 are
#   validated on, and 101 at once are not: whether a training that ran through its first
#   epoch ends there depends on validation_batch_size and the number of devices alone.
# Versions: keras 3.15.1, tensorflow 2.21.0. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 tensorflow==2.21.0 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
logical = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, logical)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x = np.linspace(0, 1, 101, dtype="float32")[:, None]
even = x[:100]


def outcome(call):
    """What a new compiled model makes of a call: "goes", or which error it ends in."""
    with strategy.scope():
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    try:
        call(model)
    except tf.errors.InvalidArgumentError as error:
        return "error about AddN" if "AddN" in str(error) else f"error: {error}"
    return "goes"


calls = {
    "fit, 101": lambda m: m.fit(x, x, batch_size=101, verbose=0),
    "fit, 100 + 1": lambda m: m.fit(x, x, batch_size=100, verbose=0),
    "evaluate, 101": lambda m: m.evaluate(x, x, batch_size=101, verbose=0),
    "evaluate, 100 + 1": lambda m: m.evaluate(x, x, batch_size=100, verbose=0),
    "fit, 100, validated on 101": lambda m: m.fit(
        *(even, even, 100),
        validation_data=(x, x),
        validation_batch_size=101,
        verbose=0,
    ),
    "predict, 101": lambda m: m.predict(x, batch_size=101, verbose=0),
}
print("keras", keras.__version__, "tensorflow", tf.__version__)
seen = {name: outcome(call) for name, call in calls.items()}
for name, what in seen.items():
    print(f"{name:28}{what}")
wrong = "fit, 101", "evaluate, 101", "fit, 100, validated on 101"
as_stated = all(
    what == ("error about AddN" if name in wrong else "goes")
    for name, what in seen.items()
)
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
KERAS_BACKEND=tensorflow "$folder/venv/bin/python" "$folder/check.py" 2> "$folder/noise" ||
  { cat "$folder/noise" >&2; exit 1; }
