#!/usr/bin/env bash
# Ground: Keras; data that are other in each epoch: orders, crops, a noise that rises.
# Guess: a PyDataset that counts its epochs in on_epoch_end serves epoch 0 first, then 1,
#   and as validation data the same; on_epoch_begin and on_epoch_end come in pairs.
# Seen: fit calls on_epoch_end once more before the first epoch, so that training begins
#   with epoch 1 and what was meant for epoch 0 is looked at once and trained on never. Of
#   validation data it is called twice between two epochs: they serve the epochs 1, 3, 5.
#   on_epoch_begin does not tell either: here and on PyTorch it, too, is called once too
#   often.
#   TensorFlow and PyTorch were seen to serve the same epochs. There is no warning.
# Versions: keras 3.15.1, jax 0.10.2. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import sys

import jax
import keras
import numpy as np


class Counted(keras.utils.PyDataset):
    """Three batches an epoch, each the number of its epoch, counted as one would."""

    def __init__(self):
        super().__init__()
        self.epoch, self.begun, self.ended = 0, 0, 0

    def __len__(self):
        return 3

    def __getitem__(self, step):
        epochs = np.full((4, 1), self.epoch, "float32")
        return epochs, epochs

    def on_epoch_begin(self):
        self.begun += 1

    def on_epoch_end(self):
        self.ended += 1
        self.epoch += 1


class Mean(keras.metrics.Mean):
    """The mean of the labels: the number of the epoch that was served."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(y_true)


model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
model.compile("sgd", "mse", metrics=[Mean(name="epoch")])
trained, held_out = Counted(), Counted()
history = model.fit(
    trained, validation_data=held_out, epochs=3, shuffle=False, verbose=0
).history
print("keras", keras.__version__, "jax", jax.__version__)
print("epochs of the data trained on  ", history["epoch"])
print("epochs of the data validated on", history["val_epoch"])
print(f"on_epoch_begin {trained.begun} times, on_epoch_end {trained.ended} times")
as_stated = (
    history["epoch"] == [1, 2, 3]
    and history["val_epoch"] == [1, 3, 5]
    and (trained.begun, trained.ended) == (4, 4)
)
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
KERAS_BACKEND=jax JAX_PLATFORMS=cpu "$folder/venv/bin/python" "$folder/check.py"
