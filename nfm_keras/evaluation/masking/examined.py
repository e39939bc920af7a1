"""What the gradient-masking checks share: a classifier, images, attacks done once."""

import functools

import numpy as np
from keras import ops

from nfm_keras.attacks.attack import prepared
from nfm_keras.checks import check_count
from nfm_keras.data.images import as_images
from nfm_keras.data.labels import check_labels

EVERYTHING = 0.5
"""The epsilon that turns every image into plain grey, where no robustness is left."""


class Examined:
    """A compiled classifier, checked images, and what attacks have left right."""

    def __init__(self, classifier, images, labels, epsilon, seed, batch_size):
        if not 0 < epsilon < EVERYTHING:
            raise ValueError(
                f"`epsilon` must lie between 0 and {EVERYTHING}. Received: {epsilon!r}"
            )
        check_count("batch_size", batch_size)
        self.classifier = classifier
        self.images = as_images(images)
        self.epsilon, self.seed, self.batch_size = epsilon, seed, batch_size
        self.logits = self.forward(self.images)
        if self.logits.ndim != 2:
            raise ValueError(
                "The classifier must give logits of shape (batch, classes). "
                f"Received: shape {self.logits.shape}"
            )
        n, classes = self.logits.shape
        self.labels = check_labels(labels, n, classes)
        self.clean_hits = self.logits.argmax(axis=1) == self.labels
        self.hits = functools.cache(self._hits)

    def map(self, run, *arrays):
        """Returns the rows of `run(*arrays)`, in batches filled up to one size."""
        n, rows = len(self.images), []
        for first in range(0, n, self.batch_size):
            where = np.minimum(first + np.arange(min(n, self.batch_size)), n - 1)
            batch = ops.convert_to_numpy(run(*(array[where] for array in arrays)))
            rows.append(batch[: n - first])
        return np.concatenate(rows)

    def forward(self, images):
        """Returns the logits of all images."""
        return self.map(self.classifier.logits, images)

    def _hits(self, attack):
        """Which images an attack leaves right."""
        # The report says itself what an attack by itself would refuse or warn of.
        given = prepared(self.classifier, self.images, self.labels)
        result, _ = attack.attacked(given, self.seed, self.batch_size)
        return ~result.success
