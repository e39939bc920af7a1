"""Callbacks that say how a run goes: rate, accuracy under noise, history, time left."""

import sys
import time

import keras
import numpy as np

from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.backend.inner import network_of
from nfm_keras.backend.keras_compiled import learning_rate_at, step_count
from nfm_keras.data.images import as_images
from nfm_keras.data.labels import hits
from nfm_keras.evaluation.noise import parse
from nfm_keras.records import history
from nfm_keras.records.ids import NOISES
from nfm_keras.theory import SmoothnessLogger

_SMOOTH = 64  # images that smoothness is logged of


class LearningRate(keras.callbacks.Callback):
    """Puts `learning_rate`, that of the epoch's last step, into the logs.

    Callbacks after it in the list see it.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.125), "mse")
    >>> points, values = np.eye(2), np.ones((2, 1))
    >>> done = model.fit(points, values, verbose=0, callbacks=[LearningRate()])
    >>> done.history["learning_rate"]
    [0.125]
    """

    def on_epoch_end(self, epoch, logs=None):
        optimizer = self.model.optimizer
        logs["learning_rate"] = learning_rate_at(optimizer, step_count(optimizer) - 1)


class NoisyAccuracy(keras.callbacks.Callback):
    """Measures the accuracy under one noise whenever `fit` validates.

    The noise is that of `nfm_keras.evaluate`, keyed by image: every epoch, and every
    run, meets the same, and the last epoch's number is the one that an evaluation of
    the classifier gives. It is put into the logs as `key`, for
    `"white_noise@0.1"` as `val_accuracy_white_noise@0.1`, in [0, 1] as `val_accuracy`.

    Order: before the callbacks that are to see it (checkpoint, CSV, TensorBoard), and
    before `keras.callbacks.SwapEMAWeights`, so that it measures the averaged weights
    as the validation does: it runs as the validation ends, and they are swapped back
    by the callback after it.

    Args:
        images: uint8 `(n, height, width, channels)`, or float in [0, 1].
        labels: Integers `(n,)`.
        perturbation: Id of a noise.
        protocol: `"reference"` or `"pixel"`.
        std: `(channels,)` of the training set in units of [0, 1], which white noise
            needs in the reference protocol.
        batch_size: Images at a time.

    Raises:
        ValueError: For another perturbation, bad images, or no `std` where it is
            needed.

    Example:

    >>> from nfm_keras import data
    >>> test = data.load("digits").test
    >>> NoisyAccuracy(test.images, test.labels, std=test.spec.std).key
    'val_accuracy_white_noise@0.1'
    """

    def __init__(
        self,
        images,
        labels,
        perturbation="white_noise@0.1",
        *,
        protocol="reference",
        std=None,
        batch_size=250,
    ):
        super().__init__()
        self.perturbation = parse(perturbation)
        if self.perturbation.kind not in NOISES:
            raise ValueError(
                f"`perturbation` must be one of {', '.join(NOISES)} "
                f"with a severity. Received: {perturbation!r}"
            )
        self.key = f"val_accuracy_{self.perturbation.id}"
        self.images, self.labels = images, np.asarray(labels)
        self.batch_size = batch_size
        self._settings = {"protocol": protocol, "std": std}
        self._accuracy = self._classifier = None
        self._noisy(np.arange(1))  # refuses now what it would refuse after an epoch

    def set_model(self, model):
        super().set_model(model)
        # An NFMModel's network, which takes [0, 1]: its sites are silent.
        self._classifier = PlainClassifier(network_of(model))

    def on_test_end(self, logs=None):
        starts = range(0, len(self.images), self.batch_size)
        self._accuracy = float(np.mean(np.concatenate([*map(self._hits, starts)])))

    def on_epoch_end(self, epoch, logs=None):
        if self._accuracy is not None:
            logs[self.key], self._accuracy = self._accuracy, None

    def _hits(self, start):
        indices = np.arange(start, min(start + self.batch_size, len(self.images)))
        noisy, kept = self._noisy(indices)
        if not len(noisy):
            return np.zeros(0, bool)
        logits = self._classifier.logits_of(noisy, self.batch_size)
        return hits(logits, self.labels[indices[kept]])

    def _noisy(self, indices):
        """Noisy images, and which of the indices they are: those that can be read."""
        images, kept = _read(self.images[indices[0] : indices[-1] + 1])
        if not len(images):
            return images, kept
        return self.perturbation(images, indices[kept], **self._settings), kept


def smoothness(train, every):
    """Returns the callback of `smoothness_every` in a list, empty for None.

    Args:
        train: `data.Split`, of which 64 images are looked at, drawn with a fixed seed.
        every: int, epochs, or None.
    """
    if not every:
        return []
    rows = np.random.default_rng(0).permutation(len(train.labels))[:_SMOOTH]
    part = train.subset(np.sort(rows))  # the first ones of a folder are of one class
    given, kept = _read(part.images)
    return [SmoothnessLogger(as_images(given), part.labels[kept], every=every)]


def _read(images):
    """Images as an array, and which of them they are: a file may be broken."""
    if hasattr(images, "read"):
        return images.read()
    return np.asarray(images), np.ones(len(images), bool)


class HistoryFile(keras.callbacks.Callback):
    """Writes the history of a run as a table after each epoch.

    Args:
        path: The file, `history.csv`.
        checkpoint: The run's `nfm_keras.training.checkpoints.Checkpoint`, which keeps
            the history. It has to come before in the list.
        measured_on: `"validation"` or `"test"`, what `fit` validates on.

    Example:

    >>> from nfm_keras.training.checkpoints import Checkpoint
    >>> checkpoint = Checkpoint("checkpoints")
    >>> callbacks = [checkpoint, HistoryFile("history.csv", checkpoint)]
    """

    def __init__(self, path, checkpoint, measured_on="validation"):
        super().__init__()
        self.path, self.checkpoint = path, checkpoint
        self.measured_on = measured_on

    def on_epoch_end(self, epoch, logs=None):
        self.write()

    def write(self):
        """Writes all epochs that the checkpoint knows of."""
        seconds = {"seconds": self.checkpoint.epoch_seconds}
        measured = self.checkpoint.history | seconds
        history.write_history(self.path, measured, self.measured_on)


class TimeLeft(keras.callbacks.Callback):
    """Says after each epoch when the run will be over.

    Args:
        epochs: Length of the run.
        steps: Steps in a whole epoch; that in which a run goes on has fewer.

    Example:

    >>> callback = TimeLeft(epochs=200, steps=391)
    """

    def __init__(self, epochs, steps):
        super().__init__()
        self.epochs, self.steps = epochs, steps

    def on_train_begin(self, logs=None):
        self._begun, self._done = time.monotonic(), 0.0

    def on_epoch_end(self, epoch, logs=None):
        self._done += self.params["steps"] / self.steps
        seconds = (time.monotonic() - self._begun) / self._done
        left = (self.epochs - epoch - 1) * seconds
        minutes = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
        print(f"epoch {epoch + 1}/{self.epochs} done, {minutes} left", file=sys.stderr)


class ProgressBar(keras.callbacks.ProgbarLogger):
    """Keras' bar, which says `test_...`, not `val_...`, of what test images measure.

    `fit` adds none of its own where this one is among the callbacks.

    Args:
        measured_on: `"validation"` or `"test"`, as in `records.history.write_history`.

    Example:

    >>> callback = ProgressBar("test")
    """

    # As Keras' own: a step does not wait until its numbers are printed.
    async_safe = True

    def __init__(self, measured_on):
        super().__init__()
        self.measured_on = measured_on

    def on_epoch_end(self, epoch, logs=None):
        names = history.names(logs or {}, self.measured_on)
        super().on_epoch_end(epoch, names)


def progress_callbacks(epochs, steps, measured_on):
    """Returns the callbacks that say on a terminal how far a run is.

    Args:
        epochs, steps: As in `TimeLeft`.
        measured_on: As in `ProgressBar`.
    """
    # The bar ends its line first.
    return [ProgressBar(measured_on), TimeLeft(epochs, steps)]
