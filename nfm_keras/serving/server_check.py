"""A running server, asked and compared with the SavedModel that it should serve."""

import time
from typing import Any, NamedTuple

import numpy as np

from nfm_keras.serving import checks, loading

TOLERANCE = 1e-4
"""Of a probability: another machine rounds otherwise, another model differs by more."""


class Answer(NamedTuple):
    """What a server said of some images.

    Attributes:
        classes: str `(batch,)`, the most probable class of each.
        probabilities: float32 `(batch, classes)`.
        milliseconds: What the request took, and what it took again: the first is slow
            where the model had no warm-up.
    """

    classes: Any
    probabilities: Any
    milliseconds: tuple[float, float]

    def lines(self, names):
        """Returns a line of text an image: name, class and probability.

        Args:
            names: What to call the images.
        """
        rows = zip(names, self.classes, self.probabilities, strict=True)
        return [f"{name}: {label} {certainty(row):.4f}" for name, label, row in rows]


def certainty(row) -> float:
    """Returns the probability of the class that is told of an image.

    Args:
        row: `(classes,)` probabilities; one alone is that of the second of two classes.

    Example:

    >>> certainty(np.array([0.25])), certainty(np.array([0.5, 0.1, 0.4]))
    (0.75, 0.5)
    """
    best = float(np.max(row))
    return max(best, 1 - best) if len(row) == 1 else best


def ask(client, values, signature) -> Answer:
    """Asks a server the same twice.

    Args:
        client: `RestClient` or `GrpcClient`.
        values: Images, or a list of files, as the signature takes them.
        signature: Its name.

    Example:

    >>> client = GrpcClient("localhost:8500", "digits")  # doctest: +SKIP
    >>> ask(client, [png], "serving_bytes").classes  # doctest: +SKIP
    array(['3'], dtype='<U1')
    """
    outputs, first = _timed(client, values, signature)
    _, second = _timed(client, values, signature)
    return Answer(outputs["classes"], outputs["probabilities"], (first, second))


def probabilities(folder, values, signature):
    """Returns the probabilities that a SavedModel gives.

    Args:
        folder: Its version folder, or the folder of all versions for the newest.
        values: As in `ask`.
        signature: Its name.

    Returns:
        float32 `(batch, classes)`.

    Raises:
        FileNotFoundError: If there is no SavedModel.
        ValueError: If it has no such signature, or the values do not go with it.
    """
    place = loading.version_folder(folder)
    answers = loading.answers(place, values, signature)
    return answers["probabilities"].numpy()


def compare(client, answer, folder, expected):
    """Returns the largest difference of a server's probabilities from a SavedModel's.

    Args:
        client: The client that asked.
        answer: Its `Answer`.
        folder: Version folder of the SavedModel, for the error.
        expected: What `probabilities` returned of it.

    Raises:
        RuntimeError: If they differ by more than `TOLERANCE`.
    """
    what, to = f"The probabilities from {client.name}", f"those of {folder}"
    return checks.compare(what, answer.probabilities, expected, TOLERANCE, to)


def _timed(client, values, signature):
    begun = time.perf_counter()
    outputs = client.predict(values, signature)
    return outputs, 1000 * (time.perf_counter() - begun)
