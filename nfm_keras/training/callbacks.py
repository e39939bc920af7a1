"""Callbacks that say more of a run: its learning rate, its accuracy under noise."""

import keras
import numpy as np
from keras import ops

from nfm_keras.backend import keras_private
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.data import labels as metrics
from nfm_keras.evaluation.noise import parse
from nfm_keras.records.ids import NOISES


class LearningRate(keras.callbacks.Callback):
    """Puts `learning_rate`, that of the epoch's last step, into the logs.

    Callbacks after it in the list see it.

    Example:

    >>> model.fit(x, y, callbacks=[LearningRate(), checkpoint])  # doctest: +SKIP
    """

    def on_epoch_end(self, epoch, logs=None):
        optimizer = self.model.optimizer
        last = keras_private.step_count(optimizer) - 1
        logs["learning_rate"] = keras_private.learning_rate_at(optimizer, last)


class NoisyAccuracy(keras.callbacks.Callback):
    """Measures the accuracy under one noise whenever `fit` validates.

    The noise is that of `nfm_keras.evaluation.scoring`, keyed by image: every epoch, and every
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

    >>> watch = NoisyAccuracy(test.images, test.labels, std=test.spec.std)
    ... # doctest: +SKIP
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
        self._noisy(range(1))  # refuses now what it would refuse after an epoch

    def set_model(self, model):
        super().set_model(model)
        # An NFMModel's network, which takes [0, 1]: its sites are silent.
        self._classifier = PlainClassifier(getattr(model, "model", model))

    def on_test_end(self, logs=None):
        starts = range(0, len(self.images), self.batch_size)
        self._accuracy = float(np.mean(np.concatenate([*map(self._hits, starts)])))

    def on_epoch_end(self, epoch, logs=None):
        if self._accuracy is not None:
            logs[self.key], self._accuracy = self._accuracy, None

    def _hits(self, start):
        indices = range(start, min(start + self.batch_size, len(self.images)))
        logits = self._classifier.logits(self._noisy(indices))
        return metrics.hits(ops.convert_to_numpy(logits), self.labels[indices])

    def _noisy(self, indices):
        images = self.images[indices.start : indices.stop]
        return self.perturbation(images, indices, **self._settings)
