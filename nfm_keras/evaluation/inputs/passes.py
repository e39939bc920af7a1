"""What several passes of a classifier over a few images show of it."""

import numpy as np

from nfm_keras.backend.classifier import padded_size
from nfm_keras.backend.heads import check_probabilities
from nfm_keras.data.labels import check_logits, hits
from nfm_keras.evaluation.inputs.outputs import check_width
from nfm_keras.evaluation.store import probes


def logits_of(classifier, images, size):
    """Returns the logits `(n, classes)` of images, a batch at a time.

    Args:
        classifier: `PlainClassifier`.
        images: `(n, height, width, channels)`, uint8 or float in [0,1].
        size: int, images in a batch.
    """
    starts = range(0, len(images), size)
    batches = [classifier.logits_of(images[i : i + size], size) for i in starts]
    return np.concatenate(batches)


def first_logits(classifier, images, labels, size, num_classes=None):
    """Returns the logits of the probe images, once they are checked.

    Args:
        classifier: `PlainClassifier`.
        images: What `probes.probe_images` returned.
        labels: `(m,)` integers, of the first half of them.
        size: int, images in a batch.
        num_classes: int, of the set; None where it does not say.

    Raises:
        ValueError: If they are no logits, or do not fit the labels or the classes.
    """
    first = logits_of(classifier, images, size)
    if not classifier.from_logits:
        check_probabilities(first)
    check_width(check_logits(first, len(images)), num_classes)
    hits(first[: len(labels)], labels)
    return first


def check_steady(classifier, images, first, size, instead="allow_stochastic=True"):
    """Refuses a classifier that changes between two passes over the same images.

    They are passed in other company, at other places in the batch, and in the small
    batch that few images are attacked in.

    Args:
        classifier: `PlainClassifier`.
        images: `(n, ...)`.
        first: `(n, classes)`, their logits.
        size: int, images in a batch.
        instead: str, how such a classifier is scored.

    Raises:
        ValueError: If their logits are others than the first ones.
    """
    half = images[: -(-len(images) // 2)]
    turned = logits_of(classifier, images[::-1], size)[::-1]
    alone = classifier.logits_of(images[:1], padded_size(1, size))
    for again in (logits_of(classifier, half, size), turned, alone):
        ours = first[: len(again)]
        if not probes.alike(ours, again, probes.ROUNDING):
            raise ValueError(
                "The classifier must not change between two passes over the same "
                "images, whatever else is in the batch: turn its noise, dropout or "
                f"batch statistics off, or {instead}. Received: logits "
                f"that differ by {np.abs(ours - again).max():.3g}"
            )


def check_random(passes):
    """Refuses a classifier that is said to be random, and never changes.

    Averages over its passes would be those of one draw, and attacks of a defence that
    stands still would look like those of one that moves.

    Args:
        passes: List of `(n, classes)` arrays, logits of the same images.

    Raises:
        ValueError: If all are equal to the last bit.
    """
    if all(np.array_equal(one, passes[0]) for one in passes):
        raise ValueError(
            "With allow_stochastic=True the classifier must change between two passes "
            "over the same images. If it is not random, leave that out. If it is, it "
            "was compiled with a draw made once: pass the model itself, not a function "
            "around it, and let it draw from a keras.random.SeedGenerator or from its "
            f"library's generator, not NumPy's. Received: {len(passes)} passes with "
            "the same logits"
        )
